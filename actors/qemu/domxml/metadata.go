package domxml

import (
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

const metadataName = "metadata"

// sanitizeMetadata keeps what libvirt keeps of <metadata>. What is ours alone no document can bring.
func sanitizeMetadata(n *node) {
	n.Kids = slices.DeleteFunc(n.Kids, func(k *node) bool { return k.Space == stashNamespace })
	xmltree.SanitizeMetadata(n)
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
	return xmltree.Metadata(metadataTree(d), uri)
}

// SetMetadata changes one piece of metadata; nil removes it. An element's text is one XML element without a namespace; it is
// stored under the prefix key. Errors are those of the element.
func SetMetadata(d *libvirtxml.Domain, typ MetadataType, text *string, key, uri string) error {
	plain := ""
	if text != nil {
		plain = *text
	}
	switch typ {
	case MetadataDescription:
		d.Description = plain
		return nil
	case MetadataTitle:
		d.Title = plain
		return nil
	}
	n, err := xmltree.SetMetadata(metadataTree(d), text, key, uri, liberr.FromDomain)
	switch {
	case err != nil:
		return err
	case n == nil:
		d.Metadata = nil
	default:
		d.Metadata = &libvirtxml.DomainMetadata{XML: "\n" + dumpMetadata(n, 2) + "  "}
	}
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
