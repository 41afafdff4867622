package xmltree

import (
	"slices"
	"strings"

	"virtree/wire/liberr"
)

// <metadata> of a domain or a network has elements of its clients, each in a namespace of its own.

// SanitizeMetadata drops what libvirt does not keep of <metadata>: all but the first element of each namespace.
func SanitizeMetadata(meta *Node) {
	seen := map[string]bool{"": true}
	meta.Kids = slices.DeleteFunc(meta.Kids, func(k *Node) bool {
		drop := k.Type != Element || seen[k.Space]
		seen[k.Space] = true
		return drop
	})
	meta.Text = ""
}

// Metadata is the element of a namespace, printed without its prefix and the declaration of the namespace: as the client
// gave it.
func Metadata(meta *Node, uri string) (string, bool) {
	if meta == nil {
		return "", false
	}
	for _, k := range meta.Kids {
		if k.Type != Element || k.Space != uri {
			continue
		}
		k = k.Clone()
		prefix := ""
		if i := slices.IndexFunc(k.Attrs, func(a Attr) bool { return a.Declares() && a.Value == uri }); i >= 0 {
			prefix = k.Attrs[i].prefix()
			k.Attrs = slices.Delete(k.Attrs, i, i+1)
		}
		k.leave(uri, prefix)
		var b strings.Builder
		k.Dump(&b, 0)
		return strings.TrimSuffix(b.String(), "\n"), true
	}
	return "", false
}

// leave takes elements out of a namespace, and its prefix from attributes.
func (n *Node) leave(uri, prefix string) {
	if n.Type != Element {
		return
	}
	if n.Space == uri {
		n.Name, n.Space = n.Local(), ""
	}
	for i := range n.Attrs {
		if prefix != "" {
			n.Attrs[i].Name = strings.TrimPrefix(n.Attrs[i].Name, prefix+":")
		}
	}
	for _, k := range n.Kids {
		k.leave(uri, prefix)
	}
}

// SetMetadata returns <metadata> with the element that the text consists of in a namespace, under the prefix key, in the
// place of what it had; nil removes that. The given metadata may be nil, and is not changed. What is left is nil
// when there is nothing. Errors are *liberr.Error, of the driver's domain when the text is no element.
func SetMetadata(meta *Node, text *string, key, uri string, from liberr.Domain) (*Node, error) {
	next := Elem(metadata)
	if meta != nil {
		for _, k := range meta.Kids {
			if k.Space != uri {
				next.Add(k)
			}
		}
	}
	if text != nil {
		n, bad := scan(*text, true)
		if bad != nil {
			return nil, bad.Libvirt(from, "(metadata_xml)")
		}
		if n.Has("xmlns:" + key) {
			return nil, liberr.New(liberr.FromXML, liberr.InternalError, "failed to create a new XML namespace")
		}
		n.join(key, uri)
		n.Set("xmlns:"+key, uri)
		next.Add(n)
	}
	if len(next.Kids) == 0 {
		return nil, nil
	}
	return next, nil
}

// join puts elements that have no namespace into one.
func (n *Node) join(key, uri string) {
	if n.Type != Element {
		return
	}
	if n.Space == "" {
		n.Name, n.Space = key+":"+n.Name, uri
	}
	for _, k := range n.Kids {
		k.join(key, uri)
	}
}

// prefix is what a declaration declares.
func (a Attr) prefix() string { return strings.TrimPrefix(strings.TrimPrefix(a.Name, "xmlns"), ":") }
