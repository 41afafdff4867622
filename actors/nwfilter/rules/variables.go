package rules

import (
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// scope are the variables that a filter sees: its own parameters, and those of the filters that lead to it, which win.
type scope struct {
	outer *scope // nil for the binding's
	vars  map[string][]string
}

func (s *scope) lookup(name string) []string {
	var found []string
	for ; s != nil; s = s.outer {
		if v := s.vars[name]; len(v) > 0 {
			found = v
		}
	}
	return found
}

// access is how a rule names a variable: $IP, $IP[@2] (iterator 2) or $IP[3] (fourth value). $IP is $IP[@0].
type access struct {
	name    string
	element bool
	number  int // of the element or of the iterator
}

// maxIterator is the highest number of an iterator.
const maxIterator = 1000

const (
	letters   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits    = "0123456789"
	nameChars = letters + digits + "_"
	// valueChars are all that a parameter's value may have.
	valueChars = letters + digits + ".:"
)

func onlyOf(text, chars string) bool {
	return text != "" && strings.Trim(text, chars) == ""
}

// parseAccess reads what follows the dollar sign.
func parseAccess(text string) (a access, ok bool) {
	name, index, indexed := strings.Cut(text, "[")
	a.name = name
	if !onlyOf(name, nameChars) {
		return a, false
	}
	if !indexed {
		return a, true
	}
	index, closed := strings.CutSuffix(strings.TrimLeft(index, " "), "]")
	number, iterator := strings.CutPrefix(index, "@")
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 31)
	if err != nil || !closed || iterator && n > maxIterator {
		return a, false
	}
	a.element, a.number = !iterator, int(n)
	return a, true
}

// String is the access as libvirt names it in errors.
func (a access) String() string {
	switch {
	case a.element:
		return a.name + "[" + strconv.Itoa(a.number) + "]"
	case a.number != 0:
		return a.name + "[@" + strconv.Itoa(a.number) + "]"
	}
	return a.name
}

// available tells whether the variable has a value to start with.
func (a access) available(s *scope) bool {
	v := s.lookup(a.name)
	return len(v) > 0 && (!a.element || a.number < len(v))
}

// wheel is one iterator: the lists that turn with it, all of the same length, and the turns that are not repetitions.
type wheel struct {
	iterator int // -1 for a single element
	lists    [][]string
	turns    []int
	at       int
}

// combination is how a rule's variables are multiplied out: the first wheel turns fastest. That of plain $IP is always
// the first, even if no variable is on it.
type combination struct {
	wheels []*wheel
	slots  []slot // one for each access, in the order of the rule's attributes
}

type slot struct {
	wheel *wheel
	list  int
}

func newCombination(accesses []access, s *scope) (*combination, error) {
	c := &combination{wheels: []*wheel{{}}}
	for _, a := range accesses {
		list := s.lookup(a.name)
		if a.element {
			w := &wheel{iterator: -1, lists: [][]string{list[a.number : a.number+1]}}
			c.wheels = append(c.wheels, w)
			c.slots = append(c.slots, slot{w, 0})
			continue
		}
		var w *wheel
		for _, have := range c.wheels {
			if have.iterator == a.number {
				w = have
			}
		}
		if w == nil {
			w = &wheel{iterator: a.number}
			c.wheels = append(c.wheels, w)
		}
		if len(w.lists) > 0 && len(w.lists[0]) != len(list) {
			return nil, liberr.New(liberr.FromNwfilter, liberr.InternalError,
				"Cardinality of list items must be the same for processing them in parallel")
		}
		c.slots = append(c.slots, slot{w, len(w.lists)})
		w.lists = append(w.lists, list)
	}
	for _, w := range c.wheels {
		w.turns = w.distinct()
	}
	return c, nil
}

// distinct are the turns at which the lists have values together that they had at no turn before.
func (w *wheel) distinct() []int {
	if len(w.lists) == 0 {
		return []int{0}
	}
	seen := make(map[string]bool, len(w.lists[0]))
	var turns []int
	for i := range w.lists[0] {
		key := w.lists[0][i]
		for _, l := range w.lists[1:] {
			key += "\x00" + l[i]
		}
		if !seen[key] {
			seen[key] = true
			turns = append(turns, i)
		}
	}
	return turns
}

// count is how many combinations there are, or limit+1 if they are more than that.
func (c *combination) count(limit int) int {
	n := 1
	for _, w := range c.wheels {
		if n *= len(w.turns); n > limit {
			return limit + 1
		}
	}
	return n
}

// value is what an access stands for now.
func (c *combination) value(i int) string {
	s := c.slots[i]
	return s.wheel.lists[s.list][s.wheel.turns[s.wheel.at]]
}

// next turns to the next combination; false when all have been.
func (c *combination) next() bool {
	for _, w := range c.wheels {
		if w.at++; w.at < len(w.turns) {
			return true
		}
		w.at = 0
	}
	return false
}
