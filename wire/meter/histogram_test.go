package meter

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func TestDurationsFallIntoTheirBuckets(t *testing.T) {
	if !slices.IsSorted(Bounds[:]) {
		t.Fatal("the bounds are not in order")
	}
	var h Histogram
	var want Reading
	observe := func(d time.Duration, bucket int) {
		h.Observe(d)
		want.Buckets[bucket]++
		want.Sum += max(d, 0)
	}
	observe(-time.Second, 0)
	for i, b := range Bounds {
		observe(b, i)
		observe(b+1, i+1)
	}
	observe(time.Hour, len(Bounds))
	if got := h.Read(); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := h.Read(); got.Count() != uint64(2*len(Bounds)+2) {
		t.Errorf("%d observations", got.Count())
	}
}

func TestManyCountAtOnce(t *testing.T) {
	var h Histogram
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				h.Observe(time.Duration(i) * time.Microsecond)
			}
		})
	}
	wg.Wait()
	r := h.Read()
	if r.Count() != 8000 || r.Sum != 8*499500*time.Microsecond {
		t.Errorf("%d observations of %v", r.Count(), r.Sum)
	}
}

func TestAnObservationAllocatesNothing(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Observe(80 * time.Microsecond)
		}
	})
}
