package rules

import (
	"bytes"
	"slices"
)

// span is a range of values of a field, both ends included.
type span struct{ lo, hi [16]byte }

// setWorth is how many rules must go together for a set to be worth it.
const setWorth = 4

// together finds how many rules from the first on differ in nothing but the value or range of one field, so that one rule
// with a set does the same. Fewer than setWorth are none.
func together(rules []rule) int {
	n := 0
	for n < len(rules) {
		r := &rules[n]
		if len(r.matches) != 1 || r.comment != "" || r.verdict == jump || r.verdict == goOn {
			break
		}
		m, first := &r.matches[0], &rules[0]
		if fields[m.field].base == baseNone || m.negated || m.operator != equal && m.operator != between ||
			r.verdict != first.verdict || m.field != first.matches[0].field {
			break
		}
		n++
	}
	if n < setWorth {
		return 0
	}
	return n
}

// spans are the values of such rules, in order, joined where they touch.
func spans(rules []rule) (all []span) {
	n := fields[rules[0].matches[0].field].length
	for i := range rules {
		m := &rules[i].matches[0]
		s := span{lo: m.a, hi: m.b}
		if m.operator == equal {
			s.hi = m.a
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b span) int { return bytes.Compare(a.lo[:n], b.lo[:n]) })
	joined := all[:1]
	for _, s := range all[1:] {
		last := &joined[len(joined)-1]
		next, over := after(last.hi, n)
		if !over && bytes.Compare(s.lo[:n], next[:n]) > 0 {
			joined = append(joined, s)
		} else if bytes.Compare(s.hi[:n], last.hi[:n]) > 0 {
			last.hi = s.hi
		}
	}
	return joined
}

// after is the value that follows in n octets; over if there is none.
func after(v [16]byte, n uint8) (next [16]byte, over bool) {
	next = v
	for i := int(n) - 1; i >= 0; i-- {
		next[i]++
		if next[i] != 0 {
			return next, false
		}
	}
	return next, true
}
