package command

import (
	"strconv"
	"strings"
)

// parseSet reads a list of numbers as definitions write them: "0-3,5,^2".
func parseSet(s string) ([]int, error) {
	in := map[int]bool{}
	last := -1
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		not := strings.HasPrefix(part, "^")
		lo, hi, isRange := strings.Cut(strings.TrimPrefix(part, "^"), "-")
		from, err := strconv.Atoi(lo)
		to := from
		if err == nil && isRange {
			to, err = strconv.Atoi(hi)
		}
		if err != nil || from < 0 || to < from || to > 1<<16 {
			return nil, internal("Failed to parse bitmap '%s'", s)
		}
		for n := from; n <= to; n++ {
			in[n] = !not
			if n > last {
				last = n
			}
		}
	}
	var out []int
	for n := 0; n <= last; n++ {
		if in[n] {
			out = append(out, n)
		}
	}
	return out, nil
}

// ranges writes sorted numbers as runs: "0-3", "5".
func ranges(set []int) []string {
	var out []string
	for i := 0; i < len(set); {
		j := i
		for j+1 < len(set) && set[j+1] == set[j]+1 {
			j++
		}
		if i == j {
			out = append(out, itoa(set[i]))
		} else {
			out = append(out, itoa(set[i])+"-"+itoa(set[j]))
		}
		i = j + 1
	}
	return out
}

// number reads a number that a definition keeps as text; domxml has checked it.
func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 0, 64)
	return n
}
