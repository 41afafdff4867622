package mailbox

import (
	"sync/atomic"
	"time"
)

// A stamp per message must not cost a time.Now per message, so mailboxes read a clock that is a few moments old. It is
// moved on by one goroutine while there is traffic. After a quiet while that goroutine ends, and the next message starts
// it again: an idle daemon has no timer ticking.
const (
	tick      = 50 * time.Millisecond // how much a stamp may be behind
	quietEnds = 20                    // ticks without a message until the clock ends
)

var clock struct {
	now    atomic.Int64 // nanoseconds since the epoch below
	active atomic.Bool  // something was sent since the last tick
	awake  atomic.Bool  // the goroutine runs
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
		clock.now.Store(exact())
		go runClock()
	}
	return clock.now.Load()
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
}
