package supervisors

import (
	"maps"
	"sync"
	"time"
)

// Idle ends a daemon that nobody needs: Expired is closed after the timeout has passed without a client and without an
// inhibitor (a running domain, an active network, a job). Any goroutine may call it.
//
//	held --last hold released--> counting --timeout--> expired (for good)
//	  ^----------a hold-------------|
type Idle struct {
	mu      sync.Mutex
	timeout time.Duration // 0 = never
	holds   map[string]int
	count   int
	timer   *time.Timer
	turn    int // of the timer; one that fires late finds another number
	expired chan struct{}
	over    bool
}

// NewIdle starts counting at once: a daemon that was started by activation and gets no client leaves again.
func NewIdle(timeout time.Duration) *Idle {
	i := &Idle{timeout: timeout, holds: map[string]int{}, expired: make(chan struct{})}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.rearm()
	return i
}

// Hold keeps the daemon alive until release is called; calling release again does nothing. why is for people: "client",
// "domain web1".
func (i *Idle) Hold(why string) (release func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.holds[why]++
	i.count++
	i.rearm()
	var once sync.Once
	return func() { once.Do(func() { i.drop(why) }) }
}

func (i *Idle) drop(why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.holds[why]--; i.holds[why] == 0 {
		delete(i.holds, why)
	}
	i.count--
	i.rearm()
}

// SetTimeout changes the timeout while running, as virt-admin's daemon-timeout does; the time until now does not count.
func (i *Idle) SetTimeout(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timeout = d
	i.rearm()
}

// Timeout is the one in force.
func (i *Idle) Timeout() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.timeout
}

// Holds says who keeps the daemon alive, and how often.
func (i *Idle) Holds() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.holds)
}

// Expired is closed once the daemon should leave. It does not open again: whoever comes now is served by the next one.
func (i *Idle) Expired() <-chan struct{} { return i.expired }

// rearm starts or stops the count. Call with mu held.
func (i *Idle) rearm() {
	i.turn++
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
	if i.count > 0 || i.timeout <= 0 || i.over {
		return
	}
	turn := i.turn
	i.timer = time.AfterFunc(i.timeout, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if turn == i.turn && !i.over {
			i.over = true
			close(i.expired)
		}
	})
}
