package domxml

import (
	"slices"

	"virtree/actors/internal/xmltree"
)

// stashNamespace marks elements that libvirtxml.Domain has no field for. They travel as metadata of a namespace no
// client ever sees: Format puts them back where they belong, and documents cannot bring their own.
const stashNamespace = "virtree:stash"

// stashed are the children of <domain> it is needed for.
var stashed = []string{"on_lockfailure"}

// stash copies what the struct cannot hold into the metadata, which it makes where there is none.
func stash(root, meta *node) *node {
	for _, k := range root.Kids {
		if !slices.Contains(stashed, k.Name) {
			continue
		}
		box := xmltree.Elem("virtree:" + k.Name)
		box.Space = stashNamespace
		box.Set("xmlns:virtree", stashNamespace)
		box.Add(&node{Type: xmltree.Text, Text: k.Text})
		if meta == nil {
			meta = xmltree.Elem(metadataName)
			box.Set("alone", "yes")
		} else {
			c := *meta
			c.Kids = slices.Clone(meta.Kids)
			meta = &c
		}
		meta.Add(box)
	}
	return meta
}

// unstash is the way back.
func unstash(root, meta *node) {
	alone := false
	meta.Kids = slices.DeleteFunc(meta.Kids, func(k *node) bool {
		if k.Space != stashNamespace {
			return false
		}
		alone = alone || k.Get("alone") == "yes"
		name := k.Name[len("virtree:"):]
		if slices.Contains(stashed, name) && len(k.Kids) == 1 {
			root.Add(xmltree.Leaf(name, k.Kids[0].Text))
		}
		return true
	})
	if alone && len(meta.Kids) == 0 {
		root.Remove(meta)
	}
}
