package def

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
)

// Params are values of variables: of a binding, or of a reference to a filter. A variable with several values is a list.
type Params map[string][]string

// parseParams reads the parameters below a filterref. Compat: what has no valid name or value is passed over in silence.
func parseParams(n *node) Params {
	p := Params{}
	for _, k := range n.Kids {
		name, ok := k.Lookup("name")
		value, also := k.Lookup("value")
		if k.Name != "parameter" || !ok || !also || !spans(name, nameChars) || value == "" || !spans(value, nameChars+".:") {
			continue
		}
		p[name] = append(p[name], value)
	}
	return p
}

// ref writes a reference to a filter.
func (w *writer) ref(filter string, p Params) {
	if len(p) == 0 {
		w.line("<filterref filter='", xmltree.Escape(filter), "'/>")
		return
	}
	w.line("<filterref filter='", xmltree.Escape(filter), "'>")
	w.depth++
	for _, name := range slices.Sorted(maps.Keys(p)) {
		for _, v := range p[name] {
			w.line("<parameter name='", xmltree.Escape(name), "' value='", xmltree.Escape(v), "'/>")
		}
	}
	w.depth--
	w.line("</filterref>")
}

// Access is one use of a variable in a rule: $NAME, $NAME[@1] or $NAME[2].
type Access struct {
	Name    string
	Element bool   // one value of a list, else each of them in turn
	Index   uint32 // of the element, or of the iterator
}

// maxIterator is the highest index of an iterator.
const maxIterator = 1000

// ParseAccess reads a use of a variable, without its dollar sign.
func ParseAccess(s string) (a Access, ok bool) {
	end := len(s) - len(strings.TrimLeft(s, nameChars))
	a.Name = s[:end]
	if end == len(s) {
		return a, true
	}
	if s[end] != '[' {
		return a, false
	}
	s = strings.TrimLeft(s[end+1:], spaces)
	a.Element = !strings.HasPrefix(s, "@")
	s = strings.TrimPrefix(s, "@")
	digits := len(s) - len(strings.TrimLeft(s, spaces+"+-"))
	for digits < len(s) && '0' <= s[digits] && s[digits] <= '9' {
		digits++
	}
	if a.Index, ok = number(s[:digits], 10); !ok || !a.Element && a.Index > maxIterator {
		return a, false
	}
	// Compat: what follows the bracket is not looked at.
	return a, strings.HasPrefix(strings.TrimLeft(s[digits:], spaces), "]")
}

const spaces = " \t\n\v\f\r"

// String is the use as libvirt prints it, without the dollar sign.
func (a Access) String() string {
	switch n := strconv.FormatUint(uint64(a.Index), 10); {
	case a.Element:
		return a.Name + "[" + n + "]"
	case a.Index != 0:
		return a.Name + "[@" + n + "]"
	}
	return a.Name
}

// Resolves tells whether the values have one for this use.
func (a Access) Resolves(p Params) bool {
	values, ok := p[a.Name]
	return ok && (!a.Element || uint64(a.Index) < uint64(len(values)))
}
