package network

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// node is one element of a document. Networks are read from a tree of our own, not into libvirtxml's types: those have no
// place for a portgroup's bandwidth or a network's connections, and cannot tell a missing number from a bad one, which
// libvirt answers with different errors.
type node struct {
	name   string // without prefix
	space  string // namespace URI
	prefix string
	attrs  []xml.Attr
	kids   []*node // elements, and text as nodes without a name
	text   string  // of a text node
}

// maxNodes and maxDepth bound what a document may cost.
const (
	maxNodes = 1 << 20
	maxDepth = 256
)

// scan reads a document whose root must be an element called root. origin is how libvirt names the document in messages.
func scan(doc, root, origin string) (*node, error) {
	syntax := func(line int, format string, args ...any) error {
		text := fmt.Sprintf(format, args...)
		return liberr.New(from, liberr.XMLDetail, "%s:%d: %s", origin, line, text)
	}
	if doc == "" {
		return nil, syntax(1, "Document is empty\n(null)\n^")
	}
	d := xml.NewDecoder(strings.NewReader(doc))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var top *node
	var open []*node
	spaces := []map[string]string{{}}
	count := 0
	for {
		before := d.InputOffset()
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		line, _ := d.InputPos()
		if err != nil {
			var se *xml.SyntaxError
			if errors.As(err, &se) && se.Msg == "unexpected EOF" {
				return nil, syntax(se.Line, "%s", cutTag(doc, se.Line))
			}
			if errors.As(err, &se) {
				return nil, syntax(se.Line, "%s", se.Msg)
			}
			return nil, syntax(line, "%s", err)
		}
		if count++; count > maxNodes {
			return nil, syntax(line, "Document is too large")
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if len(open) >= maxDepth || top != nil && len(open) == 0 {
				return nil, syntax(line, "Extra content at the end of the document\n%s", pointer(doc, before))
			}
			scope := spaces[len(spaces)-1]
			n := &node{name: t.Name.Local, prefix: t.Name.Space, attrs: slices.Clone(t.Attr)}
			for _, a := range n.attrs {
				if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
					scope = withSpace(scope, a)
				}
			}
			n.space = scope[n.prefix]
			spaces = append(spaces, scope)
			if len(open) > 0 {
				p := open[len(open)-1]
				p.kids = append(p.kids, n)
			} else {
				top = n
			}
			open = append(open, n)
		case xml.EndElement:
			if len(open) == 0 {
				return nil, syntax(line, "Extra content at the end of the document")
			}
			n := open[len(open)-1]
			if n.name != t.Name.Local || n.prefix != t.Name.Space {
				return nil, syntax(line, "Opening and ending tag mismatch: %s line %d and %s\n%s", n.qname(), line, qname(t.Name), pointer(doc, d.InputOffset()))
			}
			open, spaces = open[:len(open)-1], spaces[:len(spaces)-1]
		case xml.CharData:
			if len(open) > 0 {
				p := open[len(open)-1]
				p.kids = append(p.kids, &node{text: string(t)})
			}
		}
	}
	line, _ := d.InputPos()
	if len(open) > 0 {
		n := open[len(open)-1]
		return nil, syntax(line, "Premature end of data in tag %s line 1\n%s", n.qname(), pointer(doc, d.InputOffset()))
	}
	if top == nil {
		at := 0
		if strings.TrimSpace(doc) == "" {
			at = len(doc)
		}
		return nil, syntax(1, "Start tag expected, '<' not found\n%s", pointer(doc, int64(at)))
	}
	if root != "" && top.name != root {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "expecting root element of '%s', not '%s'", root, top.name)
	}
	return top, nil
}

// cutTag is libxml2's complaint about a document that ends within a tag.
func cutTag(doc string, line int) string {
	at := strings.LastIndexByte(doc, '<')
	name := doc[at+1:]
	if i := strings.IndexAny(name, " \t\r\n/"); i >= 0 {
		name = name[:i]
	}
	if name == "" {
		return "StartTag: invalid element name\n" + pointer(doc, int64(len(doc)))
	}
	return fmt.Sprintf("Couldn't find end of Start Tag %s line %d\n%s", name, line, pointer(doc, int64(len(doc))))
}

// pointer shows the line of a place in the document and an arrow below it, as libxml2's messages do.
func pointer(doc string, at int64) string {
	i := min(int(at), len(doc))
	start := strings.LastIndexByte(doc[:i], '\n') + 1
	end := strings.IndexByte(doc[i:], '\n')
	if end < 0 {
		end = len(doc) - i
	}
	if start == i && i == len(doc) && i > 0 {
		return "(null)\n^" // behind the last line
	}
	return doc[start:i+end] + "\n" + strings.Repeat("-", i-start) + "^"
}

func withSpace(scope map[string]string, a xml.Attr) map[string]string {
	out := make(map[string]string, len(scope)+1)
	for k, v := range scope {
		out[k] = v
	}
	prefix := a.Name.Local
	if a.Name.Space == "" {
		prefix = ""
	}
	out[prefix] = a.Value
	return out
}

func qname(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

func (n *node) qname() string { return qname(xml.Name{Space: n.prefix, Local: n.name}) }

// attr is an attribute's value and whether it is there.
func (n *node) attr(name string) (string, bool) {
	if n == nil {
		return "", false
	}
	for _, a := range n.attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

// get is an attribute's value, "" when it is missing.
func (n *node) get(name string) string {
	v, _ := n.attr(name)
	return v
}

// kid is the first child of that name without a namespace, nil when there is none.
func (n *node) kid(name string) *node {
	if n == nil {
		return nil
	}
	for _, k := range n.kids {
		if k.name == name && k.space == "" {
			return k
		}
	}
	return nil
}

// all returns the children of that name.
func (n *node) all(name string) (out []*node) {
	if n == nil {
		return nil
	}
	for _, k := range n.kids {
		if k.name == name && k.space == "" {
			out = append(out, k)
		}
	}
	return out
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

// Errors of attributes, in libvirt's words and domain.

func badAttr(n *node, attr, value, expected string) error {
	return liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute '%s' in element '%s': '%s'.%s", attr, n.name, value, expected)
}

// yesNo reads an attribute that is "yes", "no" or missing ("").
func (n *node) yesNo(attr string) (string, error) { return n.oneOf(attr, "yes", "no") }

func (n *node) oneOf(attr string, values ...string) (string, error) {
	v, ok := n.attr(attr)
	if !ok || slices.Contains(values, v) {
		return v, nil
	}
	return "", badAttr(n, attr, v, "")
}

const wantsNumber = " Expected non-negative integer value"

// number reads an attribute that is a number that is not negative.
func (n *node) number(attr string, bits int) (value uint64, given bool, err error) {
	v, ok := n.attr(attr)
	if !ok {
		return 0, false, nil
	}
	value, err = parseNumber(v, bits)
	if err != nil {
		return 0, true, badAttr(n, attr, v, wantsNumber)
	}
	return value, true, nil
}

// parseNumber reads a decimal number as strtoul does: blanks and a sign may stand before it, nothing behind it.
func parseNumber(s string, bits int) (uint64, error) {
	return strconv.ParseUint(strings.TrimPrefix(strings.TrimLeft(s, " \t\n\v\f\r"), "+"), 10, bits)
}

// writer builds a document as libvirt's buffers do: two blanks per level, single quotes.
type writer struct {
	strings.Builder
	depth int
}

// line writes one indented line.
func (w *writer) line(format string, args ...any) {
	for range w.depth {
		w.WriteString("  ")
	}
	fmt.Fprintf(w, format, args...)
	w.WriteByte('\n')
}

func (w *writer) in()  { w.depth++ }
func (w *writer) out() { w.depth-- }

var escaper = strings.NewReplacer("<", "&lt;", ">", "&gt;", "&", "&amp;", `"`, "&quot;", "'", "&apos;")

// esc escapes a value for an attribute or a text; control characters that XML forbids are dropped.
func esc(s string) string {
	return escaper.Replace(strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' {
			return -1
		}
		return r
	}, s))
}

// opt is the attribute, or nothing when its value is empty.
func opt(name, value string) string {
	if value == "" {
		return ""
	}
	return " " + name + "='" + esc(value) + "'"
}

type nodeAttr = xml.Attr

func attrName(space, local string) xml.Name { return xml.Name{Space: space, Local: local} }
