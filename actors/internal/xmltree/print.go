package xmltree

import (
	"fmt"
	"slices"
	"strings"
)

// Print writes the tree as libvirt's buffers do: two blanks per level, single quotes, <a/> for what is empty. The content of
// <metadata> is written as libxml2 does.
func (n *Node) Print(b *strings.Builder, depth int) {
	indent(b, depth)
	b.WriteByte('<')
	b.WriteString(n.Name)
	for _, a := range n.Attrs {
		b.WriteByte(' ')
		b.WriteString(a.Name)
		b.WriteString("='")
		escapeTo(b, a.Value)
		b.WriteByte('\'')
	}
	switch {
	case len(n.Kids) > 0 || n.Open:
		b.WriteString(">\n")
		for _, k := range n.Kids {
			if n.Name == metadata {
				k.Dump(b, depth+1)
			} else {
				k.Print(b, depth+1)
			}
		}
		indent(b, depth)
	case n.Text != "":
		b.WriteByte('>')
		escapeTo(b, n.Text)
	default:
		b.WriteString("/>\n")
		return
	}
	b.WriteString("</")
	b.WriteString(n.Name)
	b.WriteString(">\n")
}

func indent(b *strings.Builder, depth int) {
	for range depth {
		b.WriteString("  ")
	}
}

// Escape is a text or a value as libvirt prints it: the five special characters as entities, control characters that XML
// forbids dropped.
func Escape(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || strings.ContainsRune(`<>&"'`, r) }) < 0 {
		return s
	}
	var b strings.Builder
	escapeTo(&b, s)
	return b.String()
}

func escapeTo(b *strings.Builder, s string) {
	start := 0
	for i := 0; i < len(s); i++ {
		var with string
		switch c := s[i]; {
		case c == '<':
			with = "&lt;"
		case c == '>':
			with = "&gt;"
		case c == '&':
			with = "&amp;"
		case c == '"':
			with = "&quot;"
		case c == '\'':
			with = "&apos;"
		case c < 0x20 && c != '\t' && c != '\n' && c != '\r':
		default:
			continue
		}
		b.WriteString(s[start:i])
		b.WriteString(with)
		start = i + 1
	}
	b.WriteString(s[start:])
}

// Dump writes a line, or more, as libxml2 does for libvirt: double quotes, and no indentation inside an element that has
// text.
func (n *Node) Dump(b *strings.Builder, depth int) { n.dump(b, depth, true) }

func (n *Node) dump(b *strings.Builder, depth int, format bool) {
	if format {
		indent(b, depth)
		defer b.WriteByte('\n')
	}
	switch n.Type {
	case Text:
		dumpEscaped(b, n.Text, false)
		return
	case CData, Comment, Instruction:
		b.WriteString(n.Text)
		return
	}
	b.WriteString("<" + n.Name)
	for _, declarations := range []bool{true, false} {
		for _, a := range n.Attrs {
			if a.Declares() == declarations {
				b.WriteString(" " + a.Name + "=\"")
				dumpEscaped(b, a.Value, true)
				b.WriteByte('"')
			}
		}
	}
	if len(n.Kids) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	inner := format && !slices.ContainsFunc(n.Kids, func(k *Node) bool { return k.Type.text() })
	if inner {
		b.WriteByte('\n')
	}
	for _, k := range n.Kids {
		k.dump(b, depth+1, inner)
	}
	if inner {
		indent(b, depth)
	}
	b.WriteString("</" + n.Name + ">")
}

func dumpEscaped(b *strings.Builder, s string, attribute bool) {
	for _, r := range s {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '\r', attribute && (r == '\n' || r == '\t'):
			fmt.Fprintf(b, "&#%d;", r)
		case attribute && r == '"':
			b.WriteString("&quot;")
		case attribute && r >= 0x80:
			fmt.Fprintf(b, "&#x%X;", r)
		default:
			b.WriteRune(r)
		}
	}
}
