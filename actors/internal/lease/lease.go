package lease

import (
	"fmt"
	"sync"
)

// Range leases numbers from First to Last, lowest free one first.
type Range struct {
	First, Last int
	// Usable, when set, is asked before a number is leased: whether somebody outside uses it.
	Usable func(n int) bool

	mu   sync.Mutex
	held map[int]string
}

// Reserve leases the lowest free number to holder.
func (r *Range) Reserve(holder string) (int, error) {
	for n := r.First; n <= r.Last; n++ {
		if !r.take(n, holder) {
			continue
		}
		if r.Usable == nil || r.Usable(n) {
			return n, nil
		}
		r.Release(n, holder)
	}
	return 0, fmt.Errorf("no free number between %d and %d", r.First, r.Last)
}

// Take leases n itself, and reports false when another holder has it.
func (r *Range) Take(n int, holder string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h, ok := r.held[n]; ok {
		return h == holder
	}
	if r.held == nil {
		r.held = map[int]string{}
	}
	r.held[n] = holder
	return true
}

// take is Take for a number that nobody, not even holder, has.
func (r *Range) take(n int, holder string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.held[n]; ok {
		return false
	}
	if r.held == nil {
		r.held = map[int]string{}
	}
	r.held[n] = holder
	return true
}

// Release gives n back when holder has it.
func (r *Range) Release(n int, holder string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[n] == holder {
		delete(r.held, n)
	}
}

// Counter gives out numbers that are never used twice in a process's life.
type Counter struct {
	mu   sync.Mutex
	next int32
}

// Next returns the next number, from 1.
func (c *Counter) Next() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return c.next
}

// Seen moves the counter past a number that is in use already.
func (c *Counter) Seen(n int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = max(c.next, n)
}
