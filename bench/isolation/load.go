package isolation

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"virtree/bench/internal/lab"
)

// probe is one kind of call, made at a fixed rate over a connection of its own.
type probe struct {
	name   string
	group  string // what the report adds up
	every  time.Duration
	packet func() []byte
	line   *line

	ping   bool // a keepalive request
	opens  bool // connects, opens and closes, each time anew
	single bool // not made while the one before is in flight: order matters to it
	// accept decides what a good answer is; nil: any that is no error.
	accept func(status uint32, payload []byte) bool

	next     int64
	inFlight int
}

// sample is one call that was made: due and answered at, on the monotonic clock.
type sample struct {
	probe *probe
	due   int64
	took  int64 // until the answer, or until it was given up
	ok    bool
	why   string // of a failure
}

const (
	retryAfter = 10 * time.Millisecond
	mostOpens  = 200 // connections being opened at once
)

// load drives the probes of one system.
type load struct {
	probes  []*probe
	lines   []*line
	orders  chan func()
	wake    int // eventfd
	epoll   int
	timer   int
	byFD    map[int]*line
	opening map[*line]due
	running bool
	ended   bool
	samples []sample
	late    []int64 // how late calls were made
	events  int     // that came on lines with an event
	stopped chan struct{}
}

func newLoad(probes []*probe, others ...*line) (*load, error) {
	l := &load{probes: probes, orders: make(chan func(), 16), byFD: map[int]*line{}, opening: map[*line]due{}, stopped: make(chan struct{})}
	seen := map[*line]bool{}
	for _, p := range probes {
		if p.line != nil && !p.opens && !seen[p.line] {
			seen[p.line] = true
			l.lines = append(l.lines, p.line)
		}
	}
	l.lines = append(l.lines, others...)
	for _, c := range l.lines {
		c.fd = -1
		c.done = l.done
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, err
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, err
	}
	for _, fd := range []int{l.wake, l.timer} {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return nil, err
		}
	}
	go l.run()
	return l, nil
}

// do runs f on the load's thread and waits for it.
func (l *load) do(f func()) {
	done := make(chan struct{})
	l.orders <- func() {
		f()
		close(done)
	}
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-done
}

// start makes calls due from now on.
func (l *load) start() {
	l.do(func() {
		now := nanotime()
		l.samples, l.late, l.events, l.running = nil, nil, 0, true
		for i, p := range l.probes {
			p.next = now + int64(p.every)*int64(i+1)/int64(len(l.probes)+1) // not all at once
		}
	})
}

// stop makes no more calls, and waits for the answers to those that were made.
func (l *load) stop(drain time.Duration) (samples []sample, late []int64, events int) {
	l.do(func() { l.running = false })
	for end := time.Now().Add(drain); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		open := 0
		l.do(func() { open = l.inFlight() })
		if open == 0 {
			break
		}
	}
	time.Sleep(20 * time.Millisecond) // the last event may be behind the last answer
	l.do(func() {
		now := nanotime()
		for _, c := range l.lines {
			if len(c.open()) > 0 { // answers that come now would be taken for those of the next window
				l.lose(c, errSilent)
			}
		}
		for c, d := range l.opening {
			l.record(d, false, errSilent.Error(), now)
			l.forget(c)
		}
		samples, late, events = l.samples, l.late, l.events
		l.samples, l.late = nil, nil
	})
	return samples, late, events
}

// close ends the thread and all connections.
func (l *load) close() {
	l.do(func() { l.ended = true })
	<-l.stopped
}

func (l *load) inFlight() int {
	n := len(l.opening)
	for _, c := range l.lines {
		n += len(c.calls) + len(c.pings) + len(c.waiting)
	}
	return n
}

// run is the thread.
func (l *load) run() {
	runtime.LockOSThread() // and never unlocked: its priority must not be inherited
	raise()
	defer close(l.stopped)
	events := make([]unix.EpollEvent, 64)
	scratch := make([]byte, 256<<10)
	for !l.ended {
		l.arm(l.tick(nanotime()))
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			panic(fmt.Sprintf("isolation: epoll: %v", err))
		}
		for _, ev := range events[:max(n, 0)] {
			fd := int(ev.Fd)
			switch fd {
			case l.wake, l.timer:
				_, _ = unix.Read(fd, scratch[:8])
			default:
				if c := l.byFD[fd]; c != nil {
					l.serve(c, scratch)
				}
			}
		}
		for more := true; more; {
			select {
			case f := <-l.orders:
				f()
			default:
				more = false
			}
		}
	}
	for _, c := range l.lines {
		if c.fd >= 0 {
			unix.Close(c.fd)
		}
	}
	for c := range l.opening {
		unix.Close(c.fd)
	}
	unix.Close(l.epoll)
	unix.Close(l.wake)
	unix.Close(l.timer)
}

// raise has the thread go before everything else, so that its own waits are not taken for the daemon's. What it does at a time
// is microseconds of work.
func raise() {
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}, 0)
	if err != nil { // where that is not allowed
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -15)
	}
}

func (l *load) serve(c *line, scratch []byte) {
	c.flush()
	err := c.read(scratch)
	d, once := l.opening[c]
	switch {
	case once && err == nil && c.phase == ready:
		l.record(d, true, "", nanotime())
		l.forget(c)
	case once && err != nil:
		l.record(d, false, err.Error(), nanotime())
		l.forget(c)
	case err != nil:
		l.lose(c, err)
	}
}

func (l *load) forget(c *line) {
	unix.Close(c.fd)
	delete(l.byFD, c.fd)
	delete(l.opening, c)
}

func (l *load) lose(c *line, err error) {
	now := nanotime()
	delete(l.byFD, c.fd)
	for _, d := range c.open() {
		l.record(d, false, err.Error(), now)
	}
	c.lose(now)
}

// tick makes what is due and returns when the next thing will be.
func (l *load) tick(now int64) int64 {
	next := now + int64(time.Hour)
	for _, c := range l.lines {
		if c.fd >= 0 {
			continue
		}
		if c.retry <= now {
			if err := c.connect(l.epoll, now); err != nil {
				for _, d := range c.waiting {
					l.record(d, false, err.Error(), now)
				}
				c.waiting = nil
			} else {
				l.byFD[c.fd] = c
			}
		}
		if c.fd < 0 {
			next = min(next, c.retry)
		}
	}
	if !l.running {
		return next
	}
	for _, p := range l.probes {
		for p.next <= now {
			at := p.next
			p.next += int64(p.every)
			if p.single && p.inFlight > 0 {
				continue
			}
			l.late = append(l.late, nanotime()-at)
			p.inFlight++
			if p.opens {
				l.once(due{p, at})
			} else {
				p.line.call(due{p, at})
			}
		}
		next = min(next, p.next)
	}
	return next
}

var (
	errMany   = errors.New("too many connections are being opened")
	errSilent = errors.New("never answered")
)

// once opens a connection for its own sake.
func (l *load) once(d due) {
	now := nanotime()
	if len(l.opening) >= mostOpens {
		l.record(d, false, errMany.Error(), now)
		return
	}
	c := &line{socket: d.probe.line.socket, uri: d.probe.line.uri, fd: -1, done: l.done}
	if err := c.connect(l.epoll, now); err != nil {
		l.record(d, false, err.Error(), now)
		return
	}
	l.byFD[c.fd] = c
	l.opening[c] = d
}

func (l *load) arm(at int64) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(at, 1))}
	_ = unix.TimerfdSettime(l.timer, unix.TFD_TIMER_ABSTIME, &spec, nil)
}

// done is called for every answer.
func (l *load) done(d due, ok bool, status uint32, payload []byte) {
	why := ""
	if d.probe.accept != nil {
		ok = d.probe.accept(status, payload)
	}
	if !ok {
		why = "not answered"
		if status != 0 {
			why = lab.PacketError(payload)
		}
	}
	l.record(d, ok, why, nanotime())
}

func (l *load) record(d due, ok bool, why string, now int64) {
	d.probe.inFlight--
	l.samples = append(l.samples, sample{probe: d.probe, due: d.at, took: now - d.at, ok: ok, why: why})
}

func nanotime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
