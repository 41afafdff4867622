package mailbox

import (
	"sync"
	"sync/atomic"
	"time"
)

// A stamp per message must not cost a time.Now per message, so mailboxes read a clock that is a few moments old. It is
// moved on by one goroutine while there is traffic. After a quiet while that goroutine ends, and the next message starts
// it again: an idle daemon has no timer ticking.
const (
	tick      = 50 * time.Millisecond // how much a stamp may be behind
	quietEnds = 5                     // ticks without a message until the clock ends
)

var clock struct {
	now    atomic.Int64 // nanoseconds since the epoch below
	active atomic.Bool  // something was sent since the last tick
	awake  atomic.Bool  // the goroutine runs

	mu      sync.Mutex
	started chan struct{} // closed at the next start; nil while nobody waits for it
}

var epoch = time.Now()

// exact is the precise time on the scale of the stamps. Never 0, which means "no stamp".
func exact() int64 { return int64(time.Since(epoch)) + 1 }

// stamp is the coarse time. On its common path it reads three shared words and writes none.
func stamp() int64 {
	if !clock.active.Load() {
		clock.active.Store(true)
	}
	if !clock.awake.Load() && clock.awake.CompareAndSwap(false, true) {
		startClock()
	}
	return clock.now.Load()
}

func startClock() {
	clock.now.Store(exact())
	clock.mu.Lock()
	if clock.started != nil {
		close(clock.started)
		clock.started = nil
	}
	clock.mu.Unlock()
	go runClock()
}

func runClock() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for quiet := 0; quiet < quietEnds; {
		<-t.C
		clock.now.Store(exact())
		if clock.active.Swap(false) {
			quiet = 0
		} else {
			quiet++
		}
	}
	clock.awake.Store(false)
	if clock.active.Load() && clock.awake.CompareAndSwap(false, true) {
		startClock() // for a message that still saw it awake
	}
}

// Traffic returns a channel that is closed as soon as any actor of the process is sent something. It is nil while that
// happens, and for a moment after. It is for those who look at actors at intervals: among actors of which none was busy
// when there was no traffic, none can be stuck before there is.
func Traffic() <-chan struct{} {
	clock.mu.Lock()
	defer clock.mu.Unlock()
	if clock.awake.Load() {
		return nil
	}
	if clock.started == nil {
		clock.started = make(chan struct{})
	}
	return clock.started
}
