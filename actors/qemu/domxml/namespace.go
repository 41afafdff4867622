package domxml

import "strings"

const qemuNamespace = "http://libvirt.org/schemas/domain/qemu/1.0"

// adoptNamespaces gives the root's children of QEMU's namespace the prefix libvirt prints, whatever the document calls
// it, and takes every other child with a prefix away from the grammar's sight.
func adoptNamespaces(root *node) {
	bound := map[string]string{} // prefix -> URI
	collectNamespaces(root, bound)
	used := false
	for _, k := range root.kids {
		own := map[string]string{}
		collectNamespaces(k, own)
		prefix, _, ok := strings.Cut(k.name, ":")
		if !ok {
			prefix = ""
		}
		uri, ok := own[prefix]
		if !ok {
			uri = bound[prefix]
		}
		switch {
		case uri == qemuNamespace:
			used = true
			k.toPrefix(prefix, "qemu")
		case prefix == "qemu":
			k.name = "#foreign"
		}
	}
	root.unset("xmlns:qemu")
	if used {
		root.set("xmlns:qemu", qemuNamespace)
	}
}

func collectNamespaces(n *node, into map[string]string) {
	for _, a := range n.attrs {
		if a.name == "xmlns" {
			into[""] = a.value
		} else if p, ok := strings.CutPrefix(a.name, "xmlns:"); ok {
			into[p] = a.value
		}
	}
}

func (n *node) toPrefix(from, to string) {
	prefix, local, ok := strings.Cut(n.name, ":")
	if !ok {
		prefix, local = "", n.name
	}
	if prefix == from {
		n.name = to + ":" + local
	}
	for _, k := range n.kids {
		k.toPrefix(from, to)
	}
}
