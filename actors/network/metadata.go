package network

import (
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// metadataOf returns one piece of metadata, "" when there is none.
func (d *definition) metadataOf(typ int32, uri string) string {
	switch typ {
	case virt.DomainMetadataDescription:
		return d.description
	case virt.DomainMetadataTitle:
		return d.title
	}
	text, _ := xmltree.Metadata(d.metadata, uri)
	return text
}

// setMetadata changes one piece of metadata; nil removes it. The definition must be the caller's own.
func (d *definition) setMetadata(typ int32, text *string, key, uri string) error {
	plain := str(text)
	switch typ {
	case virt.DomainMetadataDescription:
		d.description = plain
		return nil
	case virt.DomainMetadataTitle:
		if strings.Contains(plain, "\n") {
			return liberr.New(liberr.FromNetwork, liberr.XMLDetail, "invalid char in title: \n")
		}
		d.title = plain
		return nil
	case virt.DomainMetadataElement:
	default:
		return liberr.New(from, liberr.InvalidArg, "unknown metadata type %d", typ)
	}
	next, err := xmltree.SetMetadata(d.metadata, text, key, uri, from)
	if err == nil {
		d.metadata = next
	}
	return err
}
