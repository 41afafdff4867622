package def

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"

	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

const from = liberr.FromStorage

// element is a part of a document as it was written.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element  `xml:",any"`
}

func (e *element) attr(name string) string {
	v, _ := e.lookup(name)
	return v
}

func (e *element) lookup(name string) (string, bool) {
	if e != nil {
		for _, a := range e.Attrs {
			if a.Name.Space == "" && a.Name.Local == name {
				return a.Value, true
			}
		}
	}
	return "", false
}

// find walks down the first children of these names; nil when there is no such path. A nil element has no children.
func (e *element) find(names ...string) *element {
next:
	for _, n := range names {
		if e == nil {
			return nil
		}
		for i := range e.Children {
			if e.Children[i].XMLName == (xml.Name{Local: n}) {
				e = &e.Children[i]
				continue next
			}
		}
		return nil
	}
	return e
}

func (e *element) text(names ...string) string {
	if c := e.find(names...); c != nil {
		return c.Text
	}
	return ""
}

func (e *element) all(name string) (out []*element) {
	if e == nil {
		return nil
	}
	for i := range e.Children {
		if e.Children[i].XMLName == (xml.Name{Local: name}) {
			out = append(out, &e.Children[i])
		}
	}
	return out
}

// read reads a document whose root must have that name. origin is what libvirt calls a document that came with a call.
func read(doc, root, origin string) (*element, error) {
	dec := xml.NewDecoder(strings.NewReader(doc))
	var e element
	err := dec.Decode(&e)
	for err == nil {
		var t xml.Token
		if t, err = dec.Token(); err == io.EOF {
			if e.XMLName.Local != root {
				return nil, liberr.New(liberr.FromXML, liberr.XMLError, "expecting root element of '%s', not '%s'", root, e.XMLName.Local)
			}
			return &e, nil
		}
		if _, more := t.(xml.StartElement); more {
			err = &xml.SyntaxError{Msg: "Extra content at the end of the document", Line: 1}
		}
	}
	return nil, syntaxError(doc, origin, err)
}

// syntaxError says in libxml2's words why a document is not well formed; the scanner of domain documents knows them.
func syntaxError(doc, origin string, own error) error {
	_, err := domxml.Parse([]byte(doc), domxml.Env{}, domxml.ParseTrusted|domxml.ParseNoCaps)
	var e *liberr.Error
	if errors.As(err, &e) && e.Code == liberr.XMLDetail {
		if rest, ok := strings.CutPrefix(e.Message, "(domain_definition)"); ok {
			return liberr.Raw(from, liberr.XMLDetail, origin+rest).WithCause(own)
		}
	}
	return liberr.Raw(from, liberr.XMLDetail, origin+":1: "+own.Error()).WithCause(own)
}

func badXML(format string, args ...any) error {
	return liberr.New(from, liberr.XMLError, format, args...)
}

// parseUUID takes what libvirt takes: 32 hexadecimal digits with dashes between bytes, and space around.
func parseUUID(s string) (u protocol.UUID, ok bool) {
	s = strings.TrimSpace(s)
	for i := range u {
		s = strings.TrimLeft(s, "-")
		if len(s) < 2 {
			return u, false
		}
		n, err := strconv.ParseUint(s[:2], 16, 8)
		if err != nil {
			return u, false
		}
		u[i], s = byte(n), s[2:]
	}
	return u, s == ""
}

var units = map[byte]uint{'k': 10, 'm': 20, 'g': 30, 't': 40, 'p': 50, 'e': 60}

// scale multiplies a number by its unit, as virScaleInteger does: KiB and K are 1024, KB is 1000.
func scale(n uint64, unit string) (uint64, error) {
	low := strings.ToLower(unit)
	var factor uint64 = 1
	switch {
	case low == "" || low == "b" || low == "byte" || low == "bytes":
		return n, nil
	case units[low[0]] != 0 && (len(low) == 1 || low[1:] == "ib"):
		factor = 1 << units[low[0]]
	case units[low[0]] != 0 && low[1:] == "b":
		for range units[low[0]] / 10 {
			factor *= 1000
		}
	default:
		return 0, liberr.New(liberr.FromNone, liberr.InvalidArg, "unknown suffix '%s'", unit)
	}
	if n > (1<<64-1)/factor {
		return 0, liberr.New(liberr.FromNone, liberr.Overflow, "value too large: %d%s", n, unit)
	}
	return n * factor, nil
}

// size reads a scaled number out of an element.
func size(e *element, what string) (uint64, error) {
	s := strings.TrimSpace(e.Text)
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, badXML("malformed %s element", what)
	}
	return scale(n, e.attr("unit"))
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")

func esc(s string) string { return escaper.Replace(s) }

// cleanPath is libvirt's tidying of a path: no doubled slashes (but two at the front stay), none at the end.
func cleanPath(p string) string {
	lead := ""
	if strings.HasPrefix(p, "//") && !strings.HasPrefix(p, "///") {
		lead = "/"
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] == '/' && i > 0 && p[i-1] == '/' {
			continue
		}
		b.WriteByte(p[i])
	}
	out := b.String()
	if len(out) > 1 {
		out = strings.TrimSuffix(out, "/")
	}
	return lead + out
}

// CleanPath is cleanPath for paths that come with calls.
func CleanPath(p string) string { return cleanPath(p) }
