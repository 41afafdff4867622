package network

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// bitmap writes a set of numbers as libvirt does: "0-2,5".
func bitmap(set map[uint]bool) string {
	var all []uint
	for n, in := range set {
		if in {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	var parts []string
	for i := 0; i < len(all); {
		j := i
		for j+1 < len(all) && all[j+1] == all[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, strconv.Itoa(int(all[i])))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", all[i], all[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// maxBit bounds what parseBitmap makes of a range.
const maxBit = 1 << 16

func parseBitmap(s string) (out []uint) {
	for _, part := range strings.Split(s, ",") {
		a, b, isRange := strings.Cut(part, "-")
		if !isRange {
			b = a
		}
		from, err1 := strconv.ParseUint(a, 10, 32)
		to, err2 := strconv.ParseUint(b, 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		for n := from; n <= to && n < maxBit; n++ {
			out = append(out, uint(n))
		}
	}
	return out
}
