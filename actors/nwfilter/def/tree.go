package def

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"virtree/wire/liberr"
)

const from = liberr.FromNwfilter

// node is one element of a document, or a piece of text, which has no name.
type node struct {
	name  string
	attrs []xml.Attr
	kids  []*node
	text  string
}

// maxNodes and maxDepth bound what a document may cost.
const (
	maxNodes = 1 << 20
	maxDepth = 256
)

// scan reads a document whose root must be an element called root. origin is how libvirt names the document in messages.
func scan(doc, root, origin string) (*node, error) {
	s := scanner{doc: doc, origin: origin, dec: xml.NewDecoder(strings.NewReader(doc))}
	if strings.TrimSpace(doc) == "" {
		return nil, s.fail(1, "Document is empty\n(null)\n^")
	}
	s.dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	for {
		tok, err := s.dec.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = s.take(tok)
		}
		if err != nil {
			return nil, s.explain(err)
		}
	}
	switch line, _ := s.dec.InputPos(); {
	case len(s.open) > 0:
		return nil, s.fail(line, "Premature end of data in tag %s line %d\n%s", s.open[len(s.open)-1].name, s.lines[len(s.lines)-1], s.pointer(len(doc)))
	case s.top == nil:
		return nil, s.fail(1, "Start tag expected, '<' not found\n%s", s.pointer(0))
	case root != "" && s.top.name != root:
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "expecting root element of '%s', not '%s'", root, s.top.name)
	}
	return s.top, nil
}

// scanner builds the tree.
type scanner struct {
	doc, origin string
	dec         *xml.Decoder
	top         *node
	open        []*node
	lines       []int // where the open elements begin
	count       int
}

func (s *scanner) take(tok xml.Token) error {
	line, _ := s.dec.InputPos()
	if s.count++; s.count > maxNodes {
		return s.fail(line, "Document is too large")
	}
	switch t := tok.(type) {
	case xml.StartElement:
		if len(s.open) >= maxDepth || s.top != nil && len(s.open) == 0 {
			return s.fail(line, "Extra content at the end of the document\n%s", s.pointer(int(s.dec.InputOffset())))
		}
		n := &node{name: qname(t.Name), attrs: slices.Clone(t.Attr)}
		for i := range n.attrs { // an attribute has one line; tabs may have been meant
			n.attrs[i].Value = blanks.Replace(n.attrs[i].Value)
		}
		if len(s.open) > 0 {
			p := s.open[len(s.open)-1]
			p.kids = append(p.kids, n)
		} else {
			s.top = n
		}
		s.open, s.lines = append(s.open, n), append(s.lines, line)
	case xml.EndElement:
		last := len(s.open) - 1
		if last < 0 {
			return s.fail(line, "Extra content at the end of the document\n%s", s.pointer(int(s.dec.InputOffset())))
		}
		if n := s.open[last]; n.name != qname(t.Name) {
			return s.fail(line, "Opening and ending tag mismatch: %s line %d and %s\n%s", n.name, s.lines[last], qname(t.Name), s.pointer(int(s.dec.InputOffset())))
		}
		s.open, s.lines = s.open[:last], s.lines[:last]
	case xml.CharData:
		if len(s.open) > 0 {
			p := s.open[len(s.open)-1]
			p.kids = append(p.kids, &node{text: string(t)})
		} else if strings.TrimSpace(string(t)) != "" {
			if s.top == nil {
				return s.fail(line, "Start tag expected, '<' not found\n%s", s.pointer(0))
			}
			return s.fail(line, "Extra content at the end of the document\n%s", s.pointer(int(s.dec.InputOffset())))
		}
	}
	return nil
}

var blanks = strings.NewReplacer("\n", " ", "\r", " ")

func qname(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

func (s *scanner) fail(line int, format string, args ...any) error {
	return liberr.Raw(from, liberr.XMLDetail, fmt.Sprintf("%s:%d: ", s.origin, line)+fmt.Sprintf(format, args...))
}

// explain puts an error of Go's reader into libvirt's form.
func (s *scanner) explain(err error) error {
	var own *liberr.Error
	var se *xml.SyntaxError
	switch {
	case errors.As(err, &own):
		return err
	case errors.As(err, &se):
		if len(s.open) > 0 && int(s.dec.InputOffset()) >= len(s.doc) {
			return s.fail(se.Line, "Premature end of data in tag %s line %d\n%s", s.open[len(s.open)-1].name, s.lines[len(s.lines)-1], s.pointer(len(s.doc)))
		}
		return s.fail(se.Line, "%s\n%s", se.Msg, s.pointer(int(s.dec.InputOffset())))
	}
	line, _ := s.dec.InputPos()
	return s.fail(line, "%s", err)
}

// pointer shows the line of a place in the document and an arrow below it, as libxml2's messages do.
func (s *scanner) pointer(at int) string {
	i := min(at, len(s.doc))
	start := strings.LastIndexByte(s.doc[:i], '\n') + 1
	end := strings.IndexByte(s.doc[i:], '\n')
	if end < 0 {
		end = len(s.doc) - i
	}
	return s.doc[start:i+end] + "\n" + strings.Repeat("-", i-start) + "^"
}

// attr is an attribute's value and whether it is there.
func (n *node) attr(name string) (string, bool) {
	if n != nil {
		for _, a := range n.attrs {
			if a.Name.Space == "" && a.Name.Local == name {
				return a.Value, true
			}
		}
	}
	return "", false
}

// get is an attribute's value; libvirt takes an empty one for a missing one in most places.
func (n *node) get(name string) string {
	v, _ := n.attr(name)
	return v
}

// kid is the first child of that name, nil when there is none.
func (n *node) kid(name string) *node {
	if n != nil {
		for _, k := range n.kids {
			if k.name == name {
				return k
			}
		}
	}
	return nil
}

// content is the text of an element and all below it.
func (n *node) content() string {
	if n == nil {
		return ""
	}
	if n.name == "" {
		return n.text
	}
	var b strings.Builder
	for _, k := range n.kids {
		b.WriteString(k.content())
	}
	return b.String()
}

// writer builds a document as libvirt's buffers do: two blanks per level.
type writer struct {
	strings.Builder
	depth int
}

func (w *writer) indent() {
	for range w.depth {
		w.WriteString("  ")
	}
}

// line writes one indented line of these parts.
func (w *writer) line(parts ...string) {
	w.indent()
	for _, p := range parts {
		w.WriteString(p)
	}
	w.WriteByte('\n')
}

var escaper = strings.NewReplacer("<", "&lt;", ">", "&gt;", "&", "&amp;", `"`, "&quot;", "'", "&apos;")

// esc escapes a value for an attribute or a text; control characters that XML forbids are dropped.
func esc(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || strings.ContainsRune(`<>&"'`, r) }) < 0 {
		return s
	}
	return escaper.Replace(strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' {
			return -1
		}
		return r
	}, s))
}
