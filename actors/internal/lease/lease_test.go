package lease

import (
	"sync"
	"testing"
)

func TestRange(t *testing.T) {
	r := Range{First: 5900, Last: 5903, Usable: func(n int) bool { return n != 5901 }}
	var mu sync.Mutex
	got := map[int]bool{}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			n, err := r.Reserve("a")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if got[n] {
				t.Errorf("%d was leased twice", n)
			}
			got[n] = true
		})
	}
	wg.Wait()
	if got[5901] {
		t.Error("a number in use outside was leased")
	}
	if _, err := r.Reserve("a"); err == nil {
		t.Error("an empty range leases")
	}
	r.Release(5900, "b")
	if r.Take(5900, "b") || !r.Take(5900, "a") {
		t.Error("a lease went to somebody else")
	}
	r.Release(5900, "a")
	if !r.Take(5900, "b") {
		t.Error("a released number stays leased")
	}
}

func TestCounter(t *testing.T) {
	var c Counter
	c.Seen(7)
	c.Seen(3)
	if n := c.Next(); n != 8 {
		t.Fatal(n)
	}
}
