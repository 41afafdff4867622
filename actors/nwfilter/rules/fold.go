package rules

import "slices"

// folded is a run of rules of one chain. If they have conditions in common, those are tested once, and the rules stand in a
// chain of their own, without them: what the kernel has to load and a packet to pass is a fraction of it.
type folded struct {
	common []match
	rules  []rule
}

// foldGain is how many conditions must be saved for a chain to be worth it.
const foldGain = 8

// fold cuts a chain's rules into runs, in order.
func fold(rules []rule) (runs []folded) {
	plain := func(r rule) {
		if n := len(runs); n > 0 && runs[n-1].common == nil {
			runs[n-1].rules = append(runs[n-1].rules, r)
			return
		}
		runs = append(runs, folded{rules: []rule{r}})
	}
	for len(rules) > 0 {
		n, common := run(rules)
		if n == 0 {
			plain(rules[0])
			rules = rules[1:]
			continue
		}
		f := folded{common: common}
		for _, r := range rules[:n] {
			r.matches = slices.DeleteFunc(slices.Clone(r.matches), func(m match) bool { return slices.Contains(common, m) })
			f.rules = append(f.rules, r)
		}
		runs = append(runs, f)
		rules = rules[n:]
	}
	return runs
}

// run finds how many rules from the first on are best folded; none if it is not worth it.
func run(rules []rule) (n int, common []match) {
	have := []match(nil)
	best := foldGain
	for i := range rules {
		r := &rules[i]
		if !foldable(r) {
			break
		}
		if i == 0 {
			have = r.matches
		} else if kept := intersect(have, r.matches); len(kept) < len(have) {
			have = kept
		}
		if len(have) == 0 {
			break
		}
		if gain := i * len(have); gain > best {
			n, common, best = i+1, have, gain
		}
	}
	return n, common
}

// foldable tells whether a rule does the same one chain further down: whether its verdict does not depend on where it is
// returned to, and its conditions may be tested in any order. Counting connections is more than a test.
func foldable(r *rule) bool {
	return r.verdict != goBack && r.verdict != jump && r.verdict != goOn &&
		!slices.ContainsFunc(r.matches, func(m match) bool { return m.field == connLimit || m.field == ipSet })
}

func intersect(a, b []match) (both []match) {
	for _, m := range a {
		if slices.Contains(b, m) {
			both = append(both, m)
		}
	}
	return both
}
