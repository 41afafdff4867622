package network

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// node is one element of a document. Networks are read from trees, not into libvirtxml's types: those have no place for a
// portgroup's bandwidth or a network's connections, and cannot tell a missing number from a bad one, which libvirt answers
// with different errors.
type node = xmltree.Node

// reader reads documents whose root must be an element called root, "" is any. origin is how libvirt names such a document.
func reader(root, origin string) xmltree.Reader {
	return xmltree.Reader{Origin: origin, From: liberr.FromNetwork, Root: root}
}

// yesNo reads an attribute that is "yes", "no" or missing ("").
func yesNo(n *node, attr string) (string, error) { return oneOf(n, attr, "yes", "no") }

func oneOf(n *node, attr string, values ...string) (string, error) {
	v, ok := n.Lookup(attr)
	if !ok || slices.Contains(values, v) {
		return v, nil
	}
	return "", n.BadValue(attr, v, "")
}

const wantsNumber = " Expected non-negative integer value"

// numberOf reads an attribute that is a number that is not negative.
func numberOf(n *node, attr string, bits int) (value uint64, given bool, err error) {
	v, ok := n.Lookup(attr)
	if !ok {
		return 0, false, nil
	}
	value, err = parseNumber(v, bits)
	if err != nil {
		return 0, true, n.BadValue(attr, v, wantsNumber)
	}
	return value, true, nil
}

// parseNumber reads a decimal number as strtoul does: blanks and a sign may stand before it, nothing behind it.
func parseNumber(s string, bits int) (uint64, error) {
	return strconv.ParseUint(strings.TrimPrefix(strings.TrimLeft(s, " \t\n\v\f\r"), "+"), 10, bits)
}

// writer builds a document as libvirt's buffers do: two blanks per level, single quotes.
type writer struct {
	strings.Builder
	depth int
}

// line writes one indented line.
func (w *writer) line(format string, args ...any) {
	for range w.depth {
		w.WriteString("  ")
	}
	fmt.Fprintf(w, format, args...)
	w.WriteByte('\n')
}

func (w *writer) in()  { w.depth++ }
func (w *writer) out() { w.depth-- }

// opt is the attribute, or nothing when its value is empty.
func opt(name, value string) string {
	if value == "" {
		return ""
	}
	return " " + name + "='" + xmltree.Escape(value) + "'"
}
