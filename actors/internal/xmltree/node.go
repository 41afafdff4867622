package xmltree

import (
	"slices"
	"strings"
)

// Type says what a node is. Everything but elements is kept below <metadata> only.
type Type uint8

// The types of nodes.
const (
	Element Type = iota
	Text         // Node.Text are its characters
	CData        // Node.Text is the section as it was written; so with the next two
	Comment
	Instruction
)

func (t Type) text() bool { return t == Text || t == CData }

// Node is one element. Its Text has all characters that stand directly in it, references resolved; blanks between child
// elements are left out.
type Node struct {
	Name  string // as it was written, with its prefix: "qemu:arg"
	Space string // the URI of its namespace; "" when it has none
	Attrs []Attr // in order, namespace declarations too
	Kids  []*Node
	Text  string
	Line  int32 // where it begins; 0 of a node that was made
	Type  Type
	Open  bool // printed as two tags when it is empty

	mixed  bool  // it has text between which blanks count
	before int32 // how much of the parent's text stands before it
}

// Attr is an attribute; its name has its prefix.
type Attr struct{ Name, Value string }

// Declares tells whether the attribute declares a namespace.
func (a Attr) Declares() bool { return a.Name == "xmlns" || strings.HasPrefix(a.Name, "xmlns:") }

// Elem makes an element with attributes: names and values in turn.
func Elem(name string, pairs ...string) *Node {
	n := &Node{Name: name}
	for i := 0; i+1 < len(pairs); i += 2 {
		n.Set(pairs[i], pairs[i+1])
	}
	return n
}

// Leaf makes an element that has just text.
func Leaf(name, text string) *Node { return &Node{Name: name, Text: text} }

// Local is the element's name without the prefix of its namespace.
func (n *Node) Local() string {
	if n.Space == "" {
		return n.Name
	}
	return n.Name[strings.IndexByte(n.Name, ':')+1:]
}

// Is tells whether the element has that name in that namespace.
func (n *Node) Is(space, name string) bool { return n.Space == space && n.Local() == name }

// A nil node may be looked at: it has no attributes, children or text.

// Lookup is an attribute's value and whether it is there.
func (n *Node) Lookup(name string) (string, bool) {
	if n != nil {
		for i := range n.Attrs {
			if n.Attrs[i].Name == name {
				return n.Attrs[i].Value, true
			}
		}
	}
	return "", false
}

// Get is an attribute's value, "" when it is missing.
func (n *Node) Get(name string) string {
	v, _ := n.Lookup(name)
	return v
}

// Has tells whether the attribute is there.
func (n *Node) Has(name string) bool {
	_, ok := n.Lookup(name)
	return ok
}

// named tells whether a path of libvirt's would find the element: a name without a prefix is of no namespace.
func (n *Node) named(name string) bool {
	return n.Name == name && (n.Space == "" || strings.IndexByte(name, ':') >= 0)
}

// Kid is the first child of that name, nil when there is none; a path "a/b" descends into first children.
func (n *Node) Kid(path string) *Node {
	for n != nil {
		name, rest, more := strings.Cut(path, "/")
		i := slices.IndexFunc(n.Kids, func(k *Node) bool { return k.named(name) })
		if i < 0 {
			return nil
		}
		n = n.Kids[i]
		if !more {
			return n
		}
		path = rest
	}
	return nil
}

// All are the children of that name, in order.
func (n *Node) All(name string) (all []*Node) {
	if n == nil {
		return nil
	}
	for _, k := range n.Kids {
		if k.named(name) {
			all = append(all, k)
		}
	}
	return all
}

// KidText is the text of the child at the end of a path, "" when it is missing.
func (n *Node) KidText(path string) string {
	if k := n.Kid(path); k != nil {
		return k.Text
	}
	return ""
}

// Content is all text in the element and below it, in the document's order: what a path of libvirt's yields as a string.
func (n *Node) Content() string {
	switch {
	case n == nil:
		return ""
	case len(n.Kids) == 0:
		return n.Text
	}
	var b strings.Builder
	written := 0
	for _, k := range n.Kids {
		if at := min(int(k.before), len(n.Text)); at > written {
			b.WriteString(n.Text[written:at])
			written = at
		}
		switch k.Type {
		case Element:
			b.WriteString(k.Content())
		case Text:
			b.WriteString(k.Text)
		case CData:
			b.WriteString(k.Text[len(cdataStart) : len(k.Text)-len(cdataEnd)])
		}
	}
	b.WriteString(n.Text[written:])
	return b.String()
}

// Empty tells whether there is nothing in the element.
func (n *Node) Empty() bool { return len(n.Attrs) == 0 && len(n.Kids) == 0 && n.Text == "" }
