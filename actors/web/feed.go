package web

import (
	"context"
	"sync"
	"time"

	"virtree/actors/follow"
)

// feed looks at the tree: each interval while somebody watches, and now and then while nobody does, so that plots have a
// past. All viewers see the same looks.
type feed struct {
	follower *follow.Follower
	every    time.Duration

	mu       sync.Mutex
	watching int
	current  *moment // of the last look; what it holds does not change
	number   uint64
	news     chan struct{} // closed and replaced at each look
	wake     chan struct{} // somebody began to watch
}

// moment is one look, with what plots need of those before.
type moment struct {
	sample *follow.Sample
	past   []point
}

// point is what a plot shows of one look.
type point struct {
	At       int64                   `json:"t"` // Unix milliseconds
	Calls    [3]float64              `json:"c"` // per second, p50, p99 in seconds
	Messages float64                 `json:"m"`
	CPU      float64                 `json:"u"`
	Branches map[string]([3]float64) `json:"b,omitempty"`
}

const (
	pastKept = 5 * time.Minute
	unseen   = 5 // intervals between two looks while nobody watches
)

func newFeed(f *follow.Follower, every time.Duration) *feed {
	return &feed{follower: f, every: every, news: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// Run looks until ctx ends.
func (s *Server) Run(ctx context.Context) { s.feed.run(ctx) }

func (f *feed) run(ctx context.Context) {
	for ctx.Err() == nil {
		f.look()
		f.mu.Lock()
		pause := f.every
		if f.watching == 0 {
			pause *= unseen
		}
		f.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-f.wake:
		}
		timer.Stop()
	}
}

func (f *feed) look() {
	s := f.follower.Look()
	p := point{At: s.At.UnixMilli(), Calls: triple(s.Calls), Messages: s.Messages, Branches: map[string][3]float64{}}
	for _, o := range s.Processes {
		p.CPU += o.CPU
	}
	for _, b := range s.Branches {
		if b.Calls.Count > 0 || b.Calls.Rate > 0 {
			p.Branches[b.Name] = triple(b.Calls)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var past []point
	if f.current != nil {
		past = f.current.past
	}
	for len(past) > 0 && past[0].At < p.At-pastKept.Milliseconds() {
		past = past[1:]
	}
	f.current = &moment{sample: s, past: append(past[:len(past):len(past)], p)} // viewers may still read the old one
	f.number++
	close(f.news)
	f.news = make(chan struct{})
}

func triple(l follow.Latency) [3]float64 { return [3]float64{l.Rate, l.P50, l.P99} }

// watch makes looks frequent until release is called.
func (f *feed) watch() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watching++; f.watching == 1 {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.watching--
	}
}

// next waits for a look after the one of that number, and returns it with its own; nil when ctx ends before.
func (f *feed) next(ctx context.Context, after uint64) (*moment, uint64) {
	for {
		f.mu.Lock()
		m, number, news := f.current, f.number, f.news
		f.mu.Unlock()
		if m != nil && number > after {
			return m, number
		}
		select {
		case <-ctx.Done():
			return nil, 0
		case <-news:
		}
	}
}
