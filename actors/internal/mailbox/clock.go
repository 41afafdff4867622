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
	tellTraffic()
	go runClock()
}

func tellTraffic() {
	clock.mu.Lock()
	defer clock.mu.Unlock()
	if clock.started != nil {
		close(clock.started)
		clock.started = nil
	}
}

func runClock() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
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
		// Something may have been sent since the last look by who still saw us awake.
		if !clock.active.Load() || !clock.awake.CompareAndSwap(false, true) {
			return
		}
		tellTraffic()
	}
}

// Traffic returns a channel that is closed when the next message is sent, to whatever actor of the process: who looks at
// mailboxes from time to time need not look while nothing happens. nil: messages are being sent, or were a moment ago.
func Traffic() <-chan struct{} {
	if clock.awake.Load() {
		return nil
	}
	clock.mu.Lock()
	defer clock.mu.Unlock()
	if clock.started == nil {
		clock.started = make(chan struct{})
	}
	if clock.awake.Load() { // it started before the channel was there
		return nil
	}
	return clock.started
}
