package domxml

import (
	"slices"
	"strconv"
	"strings"
)

// node is one element. A leaf has text and no kids; text between kids is dropped, except below raw elements.
type node struct {
	name  string // with its prefix, "qemu:arg"
	attrs []attr
	kids  []*node
	text  string
	open  bool   // <a></a> on two lines when empty
	raw   string // verbatim content in libvirt's own layout (metadata); kids are empty then
}

type attr struct{ name, value string }

func elem(name string, pairs ...string) *node {
	n := &node{name: name}
	for i := 0; i+1 < len(pairs); i += 2 {
		n.set(pairs[i], pairs[i+1])
	}
	return n
}

func leaf(name, text string) *node { return &node{name: name, text: text} }

// get returns the attribute's value, "" when it is missing. A nil node has no attributes.
func (n *node) get(name string) string {
	v, _ := n.lookup(name)
	return v
}

func (n *node) lookup(name string) (string, bool) {
	if n == nil {
		return "", false
	}
	for i := range n.attrs {
		if n.attrs[i].name == name {
			return n.attrs[i].value, true
		}
	}
	return "", false
}

func (n *node) has(name string) bool {
	_, ok := n.lookup(name)
	return ok
}

func (n *node) set(name, value string) {
	for i := range n.attrs {
		if n.attrs[i].name == name {
			n.attrs[i].value = value
			return
		}
	}
	n.attrs = append(n.attrs, attr{name, value})
}

// setDefault sets the attribute where it is missing.
func (n *node) setDefault(name, value string) {
	if !n.has(name) {
		n.set(name, value)
	}
}

func (n *node) unset(names ...string) {
	if n == nil {
		return
	}
	n.attrs = slices.DeleteFunc(n.attrs, func(a attr) bool { return slices.Contains(names, a.name) })
}

// kid returns the first child of that name, nil when there is none; a path "a/b" descends.
func (n *node) kid(path string) *node {
	for n != nil {
		name, rest, more := strings.Cut(path, "/")
		i := slices.IndexFunc(n.kids, func(k *node) bool { return k.name == name })
		if i < 0 {
			return nil
		}
		n = n.kids[i]
		if !more {
			return n
		}
		path = rest
	}
	return nil
}

// all returns every child of that name, in order.
func (n *node) all(name string) []*node {
	if n == nil {
		return nil
	}
	var out []*node
	for _, k := range n.kids {
		if k.name == name {
			out = append(out, k)
		}
	}
	return out
}

// ensure returns the first child of that name, adding it where it is missing.
func (n *node) ensure(name string) *node {
	if k := n.kid(name); k != nil {
		return k
	}
	k := &node{name: name}
	n.kids = append(n.kids, k)
	return k
}

func (n *node) add(kids ...*node) { n.kids = append(n.kids, kids...) }

// insertBefore puts k before the sibling, or last when there is none.
func (n *node) insertBefore(sibling, k *node) {
	i := slices.Index(n.kids, sibling)
	if i < 0 {
		i = len(n.kids)
	}
	n.kids = slices.Insert(n.kids, i, k)
}

func (n *node) remove(k *node) {
	n.kids = slices.DeleteFunc(n.kids, func(x *node) bool { return x == k })
}

func (n *node) drop(names ...string) {
	if n == nil {
		return
	}
	n.kids = slices.DeleteFunc(n.kids, func(x *node) bool { return slices.Contains(names, x.name) })
}

// kidText is the text of a leaf child, "" when it is missing.
func (n *node) kidText(path string) string {
	if k := n.kid(path); k != nil {
		return k.text
	}
	return ""
}

// uint reads a number an earlier check has already accepted.
func (n *node) uint(name string) (uint64, bool) {
	v, ok := n.lookup(name)
	if !ok {
		return 0, false
	}
	u, ok := parseUint(v)
	return u, ok
}

func (n *node) empty() bool { return len(n.attrs) == 0 && len(n.kids) == 0 && n.text == "" }

func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := *n
	c.attrs = slices.Clone(n.attrs)
	c.kids = make([]*node, len(n.kids))
	for i, k := range n.kids {
		c.kids[i] = k.clone()
	}
	return &c
}

// parseUint reads decimal, 0x hexadecimal or 0 octal, as libvirt's base 0 conversions do.
func parseUint(s string) (uint64, bool) {
	u, err := strconv.ParseUint(cNumber(s), 0, 64)
	return u, err == nil
}

// cNumber rewrites what C accepts and Go does not (a leading blank or plus), and spoils what only Go accepts.
func cNumber(s string) string {
	s = strings.TrimLeft(s, " \t\n\r\v\f")
	s = strings.TrimPrefix(s, "+")
	if strings.ContainsAny(s, "_oObB") && !strings.HasPrefix(s, "0x") && !strings.HasPrefix(s, "0X") {
		return "x"
	}
	if strings.Contains(s, "_") {
		return "x"
	}
	return s
}

func utoa[T ~int | ~uint | ~uint64 | ~int64](v T) string { return strconv.FormatInt(int64(v), 10) }
