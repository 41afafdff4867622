package xmltree

import "slices"

// Set gives an attribute its value; a new one is the last.
func (n *Node) Set(name, value string) {
	for i := range n.Attrs {
		if n.Attrs[i].Name == name {
			n.Attrs[i].Value = value
			return
		}
	}
	n.Attrs = append(n.Attrs, Attr{name, value})
}

// SetDefault sets the attribute where it is missing.
func (n *Node) SetDefault(name, value string) {
	if !n.Has(name) {
		n.Set(name, value)
	}
}

// Unset removes attributes.
func (n *Node) Unset(names ...string) {
	if n != nil {
		n.Attrs = slices.DeleteFunc(n.Attrs, func(a Attr) bool { return slices.Contains(names, a.Name) })
	}
}

// Ensure returns the first child of that name, adding it where it is missing.
func (n *Node) Ensure(name string) *Node {
	if k := n.Kid(name); k != nil {
		return k
	}
	k := &Node{Name: name}
	n.Add(k)
	return k
}

// Add appends children.
func (n *Node) Add(kids ...*Node) {
	for _, k := range kids {
		k.before = int32(len(n.Text))
	}
	n.Kids = append(n.Kids, kids...)
}

// InsertBefore puts k before the sibling, or last when there is none.
func (n *Node) InsertBefore(sibling, k *Node) {
	i := slices.Index(n.Kids, sibling)
	if i < 0 {
		n.Add(k)
		return
	}
	k.before = sibling.before
	n.Kids = slices.Insert(n.Kids, i, k)
}

// Remove takes one child away.
func (n *Node) Remove(k *Node) {
	n.Kids = slices.DeleteFunc(n.Kids, func(x *Node) bool { return x == k })
}

// Drop takes the children of these names away.
func (n *Node) Drop(names ...string) {
	if n != nil {
		n.Kids = slices.DeleteFunc(n.Kids, func(x *Node) bool { return slices.Contains(names, x.Name) })
	}
}

// Clone is a copy that shares nothing with n.
func (n *Node) Clone() *Node {
	if n == nil {
		return nil
	}
	c := *n
	c.Attrs = slices.Clone(n.Attrs)
	c.Kids = make([]*Node, len(n.Kids))
	for i, k := range n.Kids {
		c.Kids[i] = k.Clone()
	}
	return &c
}
