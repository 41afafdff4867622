package dispatch

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// period of the clock that looks for hosts which are stuck in an actor. Each tick wakes a thread: at 2 ms the clock
// alone ate half of what this package saves.
const period = 10 * time.Millisecond

// lull is for how many periods without work the clock goes on, so that it is not started for each message.
const lull = 5

// throughput is after how many messages a mailbox lets other goroutines run. protoactor's default is 300, which in a flood of
// messages that take 100 µs each is as long as the runtime takes to step in by itself; with fewer nothing is lost.
const throughput = 32

// Dispatcher runs actors on hosts, or else on goroutines. It belongs to one actor system.
type Dispatcher struct {
	open  atomic.Pointer[Host] // the host that takes work before its run; nil: none
	alone atomic.Pointer[Host] // the host that runs, while it is the only one
	busy  atomic.Int32         // hosts that run
	runs  atomic.Uint64
	ticks atomic.Bool // the clock runs

	mu    sync.Mutex
	hosts map[*Host]uint64 // the run that the clock saw in the period before
	last  uint64           // runs in the period before
	quiet int              // periods without a run
}

var _ actor.Dispatcher = (*Dispatcher)(nil)

// New makes the dispatcher for the actors of one system: actor.WithDispatcher(d).
func New() *Dispatcher { return &Dispatcher{hosts: map[*Host]uint64{}} }

// Schedule is called by mailboxes.
func (d *Dispatcher) Schedule(work func()) {
	if h := d.open.Load(); h != nil && h.add(work) {
		return
	}
	// One host runs and nothing else does: what its actor sends to the next one is the same call on its way, and
	// goes on in the same goroutine. With several hosts at work there are goroutines enough to keep all cores busy.
	if h := d.alone.Load(); h != nil && d.busy.Load() == 1 && h.add(work) {
		return
	}
	go work()
}

// Throughput is asked for by mailboxes.
func (d *Dispatcher) Throughput() int { return throughput }

// Host is a reader goroutine that can run actors. Its methods are that goroutine's alone.
type Host struct {
	d        *Dispatcher
	takeover func()
	seq      uint64        // the last run
	running  atomic.Uint64 // the run under way; 0: none

	mu        sync.Mutex
	accepting bool
	work      []func()
}

// NewHost makes the calling reader a host until Close. takeover is called, on a new goroutine, to read on instead of
// a reader that is stuck in Run; the host is then that goroutine's.
func (d *Dispatcher) NewHost(takeover func()) *Host {
	h := &Host{d: d, takeover: takeover}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts[h] = 0
	return h
}

// Open takes what is scheduled from now on, until Run. If another host is open, that one goes on to do so.
func (h *Host) Open() {
	h.mu.Lock()
	h.accepting = true
	h.mu.Unlock()
	h.d.open.CompareAndSwap(nil, h)
}

func (h *Host) add(work func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.accepting {
		h.work = append(h.work, work)
	}
	return h.accepting
}

// take ends what Open has begun. The first piece of work is returned, the others are started. With more, work is
// taken on as long as there was any.
func (h *Host) take(more bool) (first func()) {
	h.d.open.CompareAndSwap(h, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accepting = more && len(h.work) > 0
	for i, work := range h.work {
		if i == 0 {
			first = work
		} else {
			go work()
		}
		h.work[i] = nil
	}
	h.work = h.work[:0]
	return first
}

// Run does the work that has come since Open. False: another goroutine reads on, and the caller must leave
// at once and touch nothing of the reader's.
func (h *Host) Run() bool {
	work := h.take(true)
	if work == nil {
		return true
	}
	h.seq++
	seq := h.seq
	h.running.Store(seq)
	h.d.runs.Add(1)
	h.d.busy.Add(1)
	h.d.alone.CompareAndSwap(nil, h)
	if !h.d.ticks.Load() {
		h.d.startClock()
	}
	for ; work != nil; work = h.take(true) {
		work()
		if h.running.Load() != seq { // relieved: the host is somebody else's
			return false
		}
	}
	if !h.running.CompareAndSwap(seq, 0) {
		return false
	}
	h.over()
	return true
}

// over ends a run, in the host's own goroutine or in that of the clock which relieved it.
func (h *Host) over() {
	h.d.alone.CompareAndSwap(h, nil)
	h.d.busy.Add(-1)
}

// flush starts what was left to a host that is relieved.
func (h *Host) flush() {
	if work := h.take(false); work != nil {
		go work()
	}
}

// Close starts what is left to do and ends the host.
func (h *Host) Close() {
	h.flush()
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	delete(h.d.hosts, h)
}

func (d *Dispatcher) startClock() {
	if d.ticks.CompareAndSwap(false, true) {
		time.AfterFunc(period, d.tick)
	}
}

// tick relieves the hosts whose run is the same as a period ago.
func (d *Dispatcher) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	busy := false
	for h, before := range d.hosts {
		now := h.running.Load()
		if now != 0 && now == before && h.running.CompareAndSwap(now, 0) {
			h.over()
			h.flush()
			go h.takeover()
			now = 0
		}
		d.hosts[h] = now
		busy = busy || now != 0
	}
	runs := d.runs.Load()
	if d.quiet++; busy || runs != d.last {
		d.quiet = 0
	}
	d.last = runs
	if d.quiet < lull {
		time.AfterFunc(period, d.tick)
		return
	}
	d.quiet = 0
	d.ticks.Store(false)
	if d.runs.Load() != runs { // one began while the clock still seemed to run
		d.startClock()
	}
}
