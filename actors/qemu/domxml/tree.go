package domxml

import (
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
)

// A document is worked on as a tree, element by element.
type (
	node = xmltree.Node
	attr = xmltree.Attr
)

// elements are the children of a node, which may be nil.
func elements(n *node) []*node {
	if n == nil {
		return nil
	}
	return n.Kids
}

// attributes are those of a node, which may be nil.
func attributes(n *node) []attr {
	if n == nil {
		return nil
	}
	return n.Attrs
}

// keep drops every other attribute.
func keep(n *node, names ...string) {
	n.Attrs = slices.DeleteFunc(n.Attrs, func(a attr) bool { return !slices.Contains(names, a.Name) })
}

// uintOf reads a number an earlier check has already accepted.
func uintOf(n *node, name string) (uint64, bool) {
	v, ok := n.Lookup(name)
	if !ok {
		return 0, false
	}
	u, ok := parseUint(v)
	return u, ok
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
