package domxml

import "strings"

// write prints the tree as libvirt's buffers do: two blanks per level, single quotes, <a/> for what is empty.
func (n *node) write(b *strings.Builder, depth int) {
	indent(b, depth)
	b.WriteByte('<')
	b.WriteString(n.name)
	for _, a := range n.attrs {
		b.WriteByte(' ')
		b.WriteString(a.name)
		b.WriteString("='")
		escape(b, a.value)
		b.WriteByte('\'')
	}
	switch {
	case n.raw != "":
		b.WriteString(">\n")
		b.WriteString(n.raw)
		indent(b, depth)
	case len(n.kids) > 0 || n.open:
		b.WriteString(">\n")
		for _, k := range n.kids {
			k.write(b, depth+1)
		}
		indent(b, depth)
	case n.text != "":
		b.WriteByte('>')
		escape(b, n.text)
	default:
		b.WriteString("/>\n")
		return
	}
	b.WriteString("</")
	b.WriteString(n.name)
	b.WriteString(">\n")
}

func indent(b *strings.Builder, depth int) {
	for range depth {
		b.WriteString("  ")
	}
}

// escape writes s as virBufferEscapeString would: the five special characters as entities, control characters that
// XML 1.0 forbids dropped.
func escape(b *strings.Builder, s string) {
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
