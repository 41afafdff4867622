package network

import (
	"fmt"
	"slices"
	"strings"

	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// readMetadata keeps of a <metadata> element what libvirt keeps: the first child of each namespace.
func readMetadata(n *node) *node {
	if n == nil {
		return nil
	}
	out := &node{name: "metadata"}
	seen := map[string]bool{}
	for _, k := range n.kids {
		if k.name == "" || k.space == "" || seen[k.space] {
			continue
		}
		seen[k.space] = true
		out.kids = append(out.kids, k)
	}
	return out
}

// dumpMetadata writes the element as libxml2 prints it: double quotes, and what has text in it is not indented.
func (w *writer) dumpMetadata(n *node) {
	if n == nil {
		return
	}
	if len(n.kids) == 0 {
		w.line("<metadata/>")
		return
	}
	w.line("<metadata>")
	for _, k := range n.kids {
		dump(&w.Builder, k, w.depth+1, true)
	}
	w.line("</metadata>")
}

func dump(b *strings.Builder, n *node, depth int, pretty bool) {
	if pretty {
		b.WriteString(strings.Repeat("  ", depth))
		defer b.WriteByte('\n')
	}
	if n.name == "" {
		dumpText(b, n.text, false)
		return
	}
	b.WriteString("<" + n.qname())
	for _, declarations := range []bool{true, false} {
		for _, a := range n.attrs {
			if (a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns") == declarations {
				b.WriteString(" " + qname(a.Name) + `="`)
				dumpText(b, a.Value, true)
				b.WriteByte('"')
			}
		}
	}
	kids := n.kids
	mixed := slices.ContainsFunc(kids, func(k *node) bool { return k.name == "" && strings.TrimSpace(k.text) != "" })
	if !mixed {
		kids = slices.DeleteFunc(slices.Clone(kids), func(k *node) bool { return k.name == "" })
	}
	if len(kids) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	inner := pretty && !mixed
	if inner {
		b.WriteByte('\n')
	}
	for _, k := range kids {
		dump(b, k, depth+1, inner)
	}
	if inner {
		b.WriteString(strings.Repeat("  ", depth))
	}
	b.WriteString("</" + n.qname() + ">")
}

func dumpText(b *strings.Builder, s string, attribute bool) {
	for _, r := range s {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case attribute && r == '"':
			b.WriteString("&quot;")
		case r == '\r', attribute && (r == '\n' || r == '\t'):
			fmt.Fprintf(b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
}

// metadataOf returns one piece of metadata, "" when there is none.
func (d *definition) metadataOf(typ int32, uri string) string {
	switch typ {
	case virt.DomainMetadataDescription:
		return d.description
	case virt.DomainMetadataTitle:
		return d.title
	}
	if d.metadata == nil {
		return ""
	}
	for _, k := range d.metadata.kids {
		if k.space != uri {
			continue
		}
		var b strings.Builder
		dump(&b, bare(k, uri), 0, true)
		return strings.TrimSuffix(b.String(), "\n")
	}
	return ""
}

// bare is the element without the prefix and the declaration of its namespace: as the client gave it.
func bare(n *node, uri string) *node {
	c := *n
	if c.space == uri {
		c.prefix = ""
	}
	c.attrs = slices.DeleteFunc(slices.Clone(n.attrs), func(a nodeAttr) bool {
		return (a.Name.Space == "xmlns" || a.Name.Local == "xmlns") && a.Value == uri
	})
	c.kids = make([]*node, len(n.kids))
	for i, k := range n.kids {
		c.kids[i] = k
		if k.name != "" {
			c.kids[i] = bare(k, uri)
		}
	}
	return &c
}

// setMetadata changes one piece of metadata; an empty text removes it. The definition must be the caller's own.
func (d *definition) setMetadata(typ int32, text, key, uri string) error {
	switch typ {
	case virt.DomainMetadataDescription:
		d.description = text
		return nil
	case virt.DomainMetadataTitle:
		if strings.Contains(text, "\n") {
			return liberr.New(liberr.FromNetwork, liberr.XMLDetail, "invalid char in title: \n")
		}
		d.title = text
		return nil
	case virt.DomainMetadataElement:
	default:
		return liberr.New(from, liberr.InvalidArg, "unknown metadata type %d", typ)
	}
	next := &node{name: "metadata"}
	if d.metadata != nil {
		for _, k := range d.metadata.kids {
			if k.space != uri {
				next.kids = append(next.kids, k)
			}
		}
	}
	if text != "" {
		n, err := scan(text, "", "(metadata_xml)")
		if err != nil {
			return err
		}
		n = inSpace(n, key, uri)
		n.attrs = append(n.attrs, nodeAttr{Name: attrName("xmlns", key), Value: uri})
		next.kids = append(next.kids, n)
	}
	d.metadata = next
	if len(next.kids) == 0 {
		d.metadata = nil
	}
	return nil
}

// inSpace puts the elements without a prefix into a namespace.
func inSpace(n *node, key, uri string) *node {
	c := *n
	if c.prefix == "" && c.space == "" {
		c.prefix, c.space = key, uri
	}
	c.kids = make([]*node, len(n.kids))
	for i, k := range n.kids {
		c.kids[i] = k
		if k.name != "" {
			c.kids[i] = inSpace(k, key, uri)
		}
	}
	return &c
}
