package metrics

import (
	"maps"
	"slices"
	"sync"
)

// Source writes the figures of one part of a process. It is called at a scrape, on a goroutine of the scrape's, and must
// not wait for anybody: what takes time is collected before, and cached.
type Source func(*Page)

// Sources are the parts of a process that have figures, by name. The zero value is ready, and any goroutine may use it.
// A nil one takes all and has none.
type Sources struct {
	mu  sync.Mutex
	all map[string]Source
}

// Set enters a source in place of the one of that name: a driver that was restarted is another one.
func (s *Sources) Set(name string, source Source) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]Source{}
	}
	s.all[name] = source
}

// Write has all sources write.
func (s *Sources) Write(p *Page) {
	s.mu.Lock()
	all := maps.Clone(s.all)
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		all[name](p)
	}
}
