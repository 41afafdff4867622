package domxml

import "slices"

// stashNamespace marks elements that libvirtxml.Domain has no field for. They travel as metadata of a namespace no
// client ever sees: Format puts them back where they belong, and documents cannot bring their own.
const stashNamespace = "virtree:stash"

// stashed are the children of <domain> it is needed for.
var stashed = []string{"on_lockfailure"}

// stash copies what the struct cannot hold into the metadata, which it makes where there is none.
func stash(root, meta *node) *node {
	for _, k := range root.kids {
		if !slices.Contains(stashed, k.name) {
			continue
		}
		box := elem("virtree:" + k.name)
		box.set("xmlns:virtree", stashNamespace)
		box.add(&node{name: textNode, text: k.text})
		if meta == nil {
			meta = elem(metadataName)
			box.set("alone", "yes")
		} else {
			c := *meta
			c.kids = slices.Clone(meta.kids)
			meta = &c
		}
		meta.add(box)
	}
	return meta
}

// unstash is the way back.
func unstash(root, meta *node) {
	alone := false
	meta.kids = slices.DeleteFunc(meta.kids, func(k *node) bool {
		if k.namespace() != stashNamespace {
			return false
		}
		alone = alone || k.get("alone") == "yes"
		name := k.name[len("virtree:"):]
		if slices.Contains(stashed, name) && len(k.kids) == 1 {
			root.add(leaf(name, k.kids[0].text))
		}
		return true
	})
	if alone && len(meta.kids) == 0 {
		root.remove(meta)
	}
}
