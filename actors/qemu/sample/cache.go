package sample

import (
	"sync"
	"sync/atomic"
	"time"

	"virtree/actors/internal/metrics"
)

// Round is what one round has found. It does not change after Put.
type Round struct {
	Began  time.Time
	Took   time.Duration
	States map[string]int // domains by state, inactive ones too
	Guests []Guest        // the running ones, by name
}

// Guest is what was found of one guest.
type Guest struct {
	Name, UUID string
	CPU        time.Duration // that its process has used, all threads
	VCPUs      int
	Maximum    uint64 // bytes, as Current, what the guest has of them
	Current    uint64
	Resident   uint64 // bytes of the host's memory
	Disks      []Disk // nil if the monitor did not answer
	Links      []Link
	Monitor    Outcome
}

// Outcome tells how asking a guest's monitor went.
type Outcome uint8

// Outcomes of asking a monitor.
const (
	Silent   Outcome = iota // there was nothing to ask
	Answered                // within the patience
	Late                    // not within it, or an earlier question is still open
	Failed                  // with an error
	outcomes
)

var outcomeNames = [outcomes]string{Answered: "ok", Late: "timeout", Failed: "error"}

// Disk is what a guest did with one disk since it was started.
type Disk struct {
	Target                           string // "vda"
	ReadBytes, Reads                 uint64
	WrittenBytes, Writes             uint64
	Flushes                          uint64
	ReadTime, WriteTime, FlushedTime time.Duration
}

// Link is what a guest received and sent by one interface, in its own directions.
type Link struct {
	Name           string // on the host
	Received, Sent Traffic
}

// Traffic is one direction of a link.
type Traffic struct{ Bytes, Packets, Errors, Drops uint64 }

const (
	// firstWait is how long the scrape that wakes the sampler waits for its round: guests that answer at once are on the
	// first page already.
	firstWait = 60 * time.Millisecond
	// usual is the distance of scrapes that is assumed before it is known.
	usual = 15 * time.Second
	// The time between two rounds is half of that between two scrapes, within these bounds, and rest times what a round took.
	shortest, longest = 5 * time.Second, 30 * time.Second
	rest              = 10
	// The sampler sleeps when so many times the distance of scrapes have gone by without one.
	patience    = 4
	atLeast     = time.Minute
	distanceMax = 10 * time.Minute
	// overdue is how long after its time a round is given up, its figures with it, and the sampler is woken again.
	overdue = time.Minute
)

// Cache keeps the last round. The zero value is ready, and any goroutine may use it.
type Cache struct {
	now func() time.Time // nil: the clock

	mu       sync.Mutex
	wake     func()
	awake    bool
	round    *Round
	arrived  chan struct{} // closed by the next Put; nil: nobody waits
	due      time.Time     // of the next round, while awake
	scraped  time.Time
	distance time.Duration // of the last two scrapes

	rounds atomic.Uint64
	asked  [outcomes]atomic.Uint64
}

func (c *Cache) clock() time.Time {
	if c.now != nil {
		return c.now()
	}
	return time.Now()
}

// Open says how to wake the sampler: wake asks for a round. It is called anew when the driver was restarted.
func (c *Cache) Open(wake func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake, c.awake = wake, false
}

// Put enters a round and says when the next one is due; 0 when nobody wants one any more, and the last one is
// forgotten then.
func (c *Cache) Put(r *Round) (next time.Duration) {
	c.rounds.Add(1)
	for _, g := range r.Guests {
		c.asked[g.Monitor].Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.arrived != nil {
		close(c.arrived)
		c.arrived = nil
	}
	distance := c.distance
	if distance == 0 {
		distance = usual
	}
	if c.clock().Sub(c.scraped) > max(patience*distance, atLeast) {
		c.awake, c.round = false, nil
		return 0
	}
	next = max(min(max(distance/2, shortest), longest), rest*r.Took)
	c.round, c.due = r, c.clock().Add(next)
	return next
}

// scrape notes that somebody scrapes, wakes the sampler, and returns the last round; nil if there is none.
func (c *Cache) scrape() *Round {
	now := c.clock()
	c.mu.Lock()
	if !c.scraped.IsZero() {
		c.distance = min(now.Sub(c.scraped), distanceMax)
	}
	c.scraped = now
	if c.awake && now.Sub(c.due) > overdue {
		c.awake, c.round = false, nil
	}
	if c.round != nil || c.wake == nil {
		defer c.mu.Unlock()
		return c.round
	}
	if c.arrived == nil {
		c.arrived = make(chan struct{})
	}
	asleep, arrived, wake := !c.awake, c.arrived, c.wake
	if asleep {
		c.awake, c.due = true, now
	}
	c.mu.Unlock()
	if asleep {
		wake()
	}
	select {
	case <-arrived:
	case <-time.After(firstWait):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.round
}

// Source is the cache as a part of the process's page.
func (c *Cache) Source(p *metrics.Page) {
	r := c.scrape()
	p.Family("virtree_sample_rounds_total", metrics.Counter, "Rounds in which the figures of guests were collected.")
	p.Count(c.rounds.Load())
	p.Family("virtree_domain_samples_total", metrics.Counter, "Questions to monitors of guests in these rounds, by outcome. Who does not answer is missing some figures, and is not asked again before it has.")
	for o := Answered; o < outcomes; o++ {
		p.Count(c.asked[o].Load(), "result", outcomeNames[o])
	}
	if r == nil {
		return
	}
	p.Family("virtree_sample_age_seconds", metrics.Gauge, "Age of the figures of guests.")
	p.Value(c.clock().Sub(r.Began).Seconds())
	p.Family("virtree_sample_duration_seconds", metrics.Gauge, "How long it took to collect them.")
	p.Value(r.Took.Seconds())
	r.write(p)
}
