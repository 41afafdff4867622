package meter

import (
	"sync/atomic"
	"time"
)

// Bounds are the upper ends, inclusive, of all buckets but the last one, which has none. They are the same for all
// histograms, so that those of several processes can be added up.
var Bounds = [...]time.Duration{
	25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Histogram counts durations by size. The zero value is ready; it must not be copied.
type Histogram struct {
	buckets [len(Bounds) + 1]atomic.Uint64
	sum     atomic.Int64 // ns
}

// Observe counts one duration. Below zero counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(Bounds) && d > Bounds[i] { // what is frequent is short, and found at once
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Reading is what a histogram has counted.
type Reading struct {
	Buckets [len(Bounds) + 1]uint64 // each its own, not the ones before it
	Sum     time.Duration
}

// Count is the number of observations.
func (r *Reading) Count() (n uint64) {
	for _, b := range r.Buckets {
		n += b
	}
	return n
}

// Read returns what was counted so far.
func (h *Histogram) Read() (r Reading) {
	for i := range h.buckets {
		r.Buckets[i] = h.buckets[i].Load()
	}
	r.Sum = time.Duration(h.sum.Load())
	return r
}
