package domxml

import (
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

const metadataName = "metadata"

// sanitizeMetadata keeps what virXMLNodeSanitizeNamespaces keeps: child elements with a namespace, the first of each.
func sanitizeMetadata(n *node) {
	seen := map[string]bool{}
	n.Kids = slices.DeleteFunc(n.Kids, func(k *node) bool {
		uri := namespaceOf(k)
		if k.Type != xmltree.Element || uri == "" || uri == stashNamespace || seen[uri] {
			return true
		}
		seen[uri] = true
		return false
	})
	n.Text = ""
}

// namespaceOf is the URI a child of <metadata> belongs to. Its declaration has to be its own: nothing above it declares
// any that survives.
func namespaceOf(n *node) string {
	prefix, _, ok := strings.Cut(n.Name, ":")
	if !ok {
		return n.Get("xmlns")
	}
	return n.Get("xmlns:" + prefix)
}

// dumpMetadata prints the element's content as libxml2 does for libvirt: double quotes, and no indentation inside an
// element that has text.
func dumpMetadata(n *node, depth int) string {
	var b strings.Builder
	for _, k := range n.Kids {
		k.Dump(&b, depth)
	}
	return b.String()
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
	for _, k := range n.Kids {
		if namespaceOf(k) != uri {
			continue
		}
		if prefix, _, ok := strings.Cut(k.Name, ":"); ok {
			k.Unset("xmlns:" + prefix)
			dropPrefix(k, prefix+":")
		} else {
			k.Unset("xmlns")
		}
		var b strings.Builder
		k.Dump(&b, 0)
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
		n = xmltree.Elem(metadataName)
	}
	n.Kids = slices.DeleteFunc(n.Kids, func(k *node) bool { return namespaceOf(k) == uri })
	if text != "" {
		// The scanner keeps mixed content below <metadata> only.
		wrapped, err := xmltree.Scan("<domain><metadata>" + text + "</metadata></domain>")
		if err != nil {
			// The place is reported in the text the client sent.
			if _, own := xmltree.Scan(text); own != nil {
				err = own
			}
			return err.Libvirt(liberr.FromDomain, "(metadata_xml)")
		}
		for _, k := range wrapped.Kid(metadataName).Kids {
			if k.Type == xmltree.Element {
				addPrefix(k, key+":")
				k.Attrs = append(k.Attrs, attr{Name: "xmlns:" + key, Value: uri})
				n.Add(k)
				break
			}
		}
	}
	if len(n.Kids) == 0 {
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
	root, err := xmltree.Scan("<domain><metadata>" + d.Metadata.XML + "</metadata></domain>")
	if err != nil {
		return nil
	}
	return root.Kid(metadataName)
}

// addPrefix puts the element and its descendants without a prefix of their own into a namespace.
func addPrefix(n *node, p string) {
	if n.Type != xmltree.Element || n.Has("xmlns") {
		return
	}
	if !strings.Contains(n.Name, ":") {
		n.Name = p + n.Name
	}
	for _, k := range n.Kids {
		addPrefix(k, p)
	}
}

func dropPrefix(n *node, p string) {
	n.Name = strings.TrimPrefix(n.Name, p)
	for i := range n.Attrs {
		n.Attrs[i].Name = strings.TrimPrefix(n.Attrs[i].Name, p)
	}
	for _, k := range n.Kids {
		dropPrefix(k, p)
	}
}
