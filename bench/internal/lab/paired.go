package lab

import (
	"slices"
	"time"
)

// Took measures one thing.
func Took(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

// Median is the value in the middle; of an even number the upper one of the two.
func Median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	return s[len(s)/2]
}

// Paired compares two daemons round by round: what else the machine did in that second hit both. Each goes once before,
// unmeasured. It returns the median of the ratios and of the times.
func Paired(rounds int, ours, theirs func() time.Duration) (ratio float64, a, b time.Duration) {
	ours()
	theirs()
	var ratios, x, y []float64
	for range rounds {
		u, v := float64(ours()), float64(theirs())
		ratios, x, y = append(ratios, u/v), append(x, u), append(y, v)
	}
	return Median(ratios), time.Duration(Median(x)), time.Duration(Median(y))
}
