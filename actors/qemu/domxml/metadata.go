package domxml

import (
	"fmt"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"
)

const metadataName = "metadata"

// sanitizeMetadata keeps what virXMLNodeSanitizeNamespaces keeps: child elements with a namespace, the first of each.
func sanitizeMetadata(n *node) {
	seen := map[string]bool{}
	n.kids = slices.DeleteFunc(n.kids, func(k *node) bool {
		uri := k.namespace()
		if k.name[0] == '#' || uri == "" || uri == stashNamespace || seen[uri] {
			return true
		}
		seen[uri] = true
		return false
	})
	n.text = ""
}

// namespace is the URI a child of <metadata> belongs to. Its declaration has to be its own: nothing above it declares
// any that survives.
func (n *node) namespace() string {
	prefix, _, ok := strings.Cut(n.name, ":")
	if !ok {
		return n.get("xmlns")
	}
	return n.get("xmlns:" + prefix)
}

// dumpMetadata prints the element's content as libxml2 does for libvirt: double quotes, and no indentation inside an
// element that has text.
func dumpMetadata(n *node, depth int) string {
	var b strings.Builder
	for _, k := range n.kids {
		k.dump(&b, depth, true)
	}
	return b.String()
}

func (n *node) dump(b *strings.Builder, depth int, format bool) {
	if format {
		indent(b, depth)
		defer b.WriteByte('\n')
	}
	switch n.name {
	case textNode:
		dumpEscape(b, n.text, false)
		return
	case cdataNode, commentNode, piNode:
		b.WriteString(n.text)
		return
	}
	b.WriteString("<" + n.name)
	n.dumpAttrs(b, true)
	n.dumpAttrs(b, false)
	if len(n.kids) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteByte('>')
	inner := format && !slices.ContainsFunc(n.kids, func(k *node) bool { return k.name == textNode || k.name == cdataNode })
	if inner {
		b.WriteByte('\n')
	}
	for _, k := range n.kids {
		k.dump(b, depth+1, inner)
	}
	if inner {
		indent(b, depth)
	}
	b.WriteString("</" + n.name + ">")
}

// dumpAttrs prints the namespace declarations, or all else.
func (n *node) dumpAttrs(b *strings.Builder, namespaces bool) {
	for _, a := range n.attrs {
		if (a.name == "xmlns" || strings.HasPrefix(a.name, "xmlns:")) != namespaces {
			continue
		}
		b.WriteString(" " + a.name + "=\"")
		dumpEscape(b, a.value, true)
		b.WriteByte('"')
	}
}

func dumpEscape(b *strings.Builder, s string, attribute bool) {
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

// MetadataType selects what Metadata reads and SetMetadata changes.
type MetadataType int32

// The numbers are virDomainMetadataType's.
const (
	MetadataDescription MetadataType = iota
	MetadataTitle
	MetadataElement
)

// Metadata returns one piece of metadata, false when the domain has none. An element comes without the prefix it is
// stored under, as virDomainGetMetadata hands it out.
func Metadata(d *libvirtxml.Domain, typ MetadataType, uri string) (string, bool) {
	switch typ {
	case MetadataDescription:
		return d.Description, d.Description != ""
	case MetadataTitle:
		return d.Title, d.Title != ""
	}
	n := metadataTree(d)
	if n == nil {
		return "", false
	}
	for _, k := range n.kids {
		if k.namespace() != uri {
			continue
		}
		if prefix, _, ok := strings.Cut(k.name, ":"); ok {
			k.unset("xmlns:" + prefix)
			k.unprefix(prefix + ":")
		} else {
			k.unset("xmlns")
		}
		var b strings.Builder
		k.dump(&b, 0, true)
		return strings.TrimSuffix(b.String(), "\n"), true
	}
	return "", false
}

// SetMetadata changes one piece of metadata; an empty text removes it. An element's text is one XML element without a
// namespace; it is stored under the prefix key. Errors are syntax errors of the element.
func SetMetadata(d *libvirtxml.Domain, typ MetadataType, text, key, uri string) error {
	switch typ {
	case MetadataDescription:
		d.Description = text
		return nil
	case MetadataTitle:
		d.Title = text
		return nil
	}
	n := metadataTree(d)
	if n == nil {
		n = elem(metadataName)
	}
	n.kids = slices.DeleteFunc(n.kids, func(k *node) bool { return k.namespace() == uri })
	if text != "" {
		// The scanner keeps mixed content below <metadata> only.
		wrapped, err := scan("<domain><metadata>" + text + "</metadata></domain>")
		if err != nil {
			// The place is reported in the text the client sent.
			if _, own := scan(text); own != nil {
				err = own
			}
			return xmlSyntax("(metadata_xml)", err)
		}
		for _, k := range wrapped.kid(metadataName).kids {
			if k.name[0] != '#' {
				k.prefix(key + ":")
				k.attrs = append(k.attrs, attr{"xmlns:" + key, uri})
				n.add(k)
				break
			}
		}
	}
	if len(n.kids) == 0 {
		d.Metadata = nil
		return nil
	}
	d.Metadata = &libvirtxml.DomainMetadata{XML: "\n" + dumpMetadata(n, 2) + "  "}
	return nil
}

func metadataTree(d *libvirtxml.Domain) *node {
	if d.Metadata == nil {
		return nil
	}
	root, err := scan("<domain><metadata>" + d.Metadata.XML + "</metadata></domain>")
	if err != nil {
		return nil
	}
	return root.kid(metadataName)
}

// prefix puts the element and its descendants without a prefix of their own into a namespace.
func (n *node) prefix(p string) {
	if n.name[0] == '#' || n.has("xmlns") {
		return
	}
	if !strings.Contains(n.name, ":") {
		n.name = p + n.name
	}
	for _, k := range n.kids {
		k.prefix(p)
	}
}

func (n *node) unprefix(p string) {
	n.name = strings.TrimPrefix(n.name, p)
	for i := range n.attrs {
		n.attrs[i].name = strings.TrimPrefix(n.attrs[i].name, p)
	}
	for _, k := range n.kids {
		k.unprefix(p)
	}
}
