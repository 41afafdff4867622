package domxml

import "strings"

const qemuNamespace = "http://libvirt.org/schemas/domain/qemu/1.0"

// adoptNamespaces gives the root's children of QEMU's namespace the prefix libvirt prints, whatever the document calls
// it, and takes every other child with a prefix away from the grammar's sight.
func adoptNamespaces(root *node) {
	bound := map[string]string{} // prefix -> URI
	collectNamespaces(root, bound)
	used := false
	for _, k := range root.Kids {
		own := map[string]string{}
		collectNamespaces(k, own)
		prefix, _, ok := strings.Cut(k.Name, ":")
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
			toPrefix(k, prefix, "qemu")
		case prefix == "qemu":
			k.Name = "#foreign"
		}
	}
	root.Unset("xmlns:qemu")
	if used {
		root.Set("xmlns:qemu", qemuNamespace)
	}
}

func collectNamespaces(n *node, into map[string]string) {
	for _, a := range n.Attrs {
		if a.Name == "xmlns" {
			into[""] = a.Value
		} else if p, ok := strings.CutPrefix(a.Name, "xmlns:"); ok {
			into[p] = a.Value
		}
	}
}

func toPrefix(n *node, from, to string) {
	prefix, local, ok := strings.Cut(n.Name, ":")
	if !ok {
		prefix, local = "", n.Name
	}
	if prefix == from {
		n.Name = to + ":" + local
	}
	for _, k := range n.Kids {
		toPrefix(k, from, to)
	}
}
