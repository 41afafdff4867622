package remoting

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/wire/remoting/dispatch"
)

// link is one connection. Its reader and writer end with it.
//
// Whoever sets flushing owns the socket's sending side: the actor that sends, if the socket is idle, which
// saves a hop to another goroutine; else the writer.
type link struct {
	frames
	node *Node
	cred *unix.Ucred

	// Constant once the handshake is done.
	ep    *endpoint
	peer  hello
	types []peerType
	since time.Time

	// Guarded by ep.mu.
	flushing  bool
	rest      chunk // sent in part, for the writer; no buf: none
	lastFlush time.Time
	leaving   bool // the peer has said goodbye
	missed    int  // ticks in a row without a byte from the peer, while somebody waited

	accepted, answered atomic.Int64 // requests of the peer that came, and those that were answered or refused
	parted             atomic.Bool  // the peer has answered our goodbye

	heard atomic.Bool             // since the last tick
	cause atomic.Pointer[Failure] // why it ended; set once, before the connection is closed
	wake  chan struct{}           // for the writer; holds one token
	ended chan struct{}           // closed by the endpoint when it has let go of the link

	// The reader's own.
	host    *dispatch.Host // nil without Options.Dispatcher
	open    bool           // the host
	env     envelope
	targets names
	senders names
}

// names keeps PIDs that frames mention again and again from being made anew.
type names map[string]*actor.PID

const maxNames = 4096

func (m names) pid(address string, id []byte) *actor.PID {
	if pid := m[string(id)]; pid != nil {
		return pid
	}
	pid := actor.NewPID(address, string(id))
	if !isFuture(pid.Id) { // those never come again
		if len(m) >= maxNames {
			clear(m)
		}
		m[pid.Id] = pid
	}
	return pid
}

// local is the PID of an actor of this process.
func (l *link) local(id string) *actor.PID { return actor.NewPID(l.node.address, id) }

// kick makes the writer look at the queue.
func (l *link) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// fail ends the link. Its reader finds out and does the rest.
func (l *link) fail(cause *Failure) {
	l.cause.CompareAndSwap(nil, cause)
	_ = l.conn.Close()
}

// write is the writer's goroutine: it sends what the senders have left to it.
func (l *link) write() {
	for {
		select {
		case <-l.wake:
		case <-l.ended:
			return
		}
		for l.writeOne() {
		}
	}
}

func (l *link) writeOne() bool {
	ep := l.ep
	ep.mu.Lock()
	if ep.link != l {
		ep.mu.Unlock()
		return false
	}
	c := l.rest
	l.rest = chunk{}
	if c.buf == nil {
		var ok bool
		if c, ok = ep.out.take(); !ok {
			l.flushing = false
			ep.mu.Unlock()
			return false
		}
	}
	ep.mu.Unlock()

	_, err := l.send(&c, true)
	now := time.Now()

	ep.mu.Lock()
	ep.out.done(&c)
	l.lastFlush = now
	ep.mu.Unlock()
	if err != nil {
		l.fail(failure(Lost, "%s: %v", ep.address, err))
		return false
	}
	return true
}

// startReading has the endpoint's mutex, in the state up.
func (l *link) startReading() {
	l.node.running.Add(1)
	if d := l.node.opts.Dispatcher; d != nil {
		l.host = d.NewHost(l.read)
	}
	go l.read()
}

// errRelieved: an actor holds this goroutine, and another one reads on.
var errRelieved = errors.New("relieved")

// read is the reader's goroutine, and the end of the link.
func (l *link) read() {
	err := l.readAll()
	if err == errRelieved {
		return
	}
	defer l.node.running.Done()
	if l.host != nil {
		l.host.Close()
	}
	cause := l.cause.Load()
	if cause == nil {
		cause = failure(Lost, "%s: %v", l.ep.address, err)
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			cause = failure(Lost, "%s has closed the connection", l.ep.address)
		}
	}
	l.fail(cause)
	l.ep.lost(l, cause)
	closeAll(l.fds)
	l.fds = nil
}

func (l *link) readAll() error {
	for {
		if l.open && !l.buffered() {
			l.open = false
			if !l.host.Run() {
				return errRelieved
			}
		}
		body, owned, err := l.next()
		if err != nil {
			return err
		}
		if l.host != nil && !l.open {
			l.open = true
			l.host.Open()
		}
		l.ep.traffic.receive(prefix + len(body))
		if err := l.env.decode(body); err != nil {
			return err
		}
		fds, err := l.takeFDs(l.env.fds)
		if err != nil {
			return err
		}
		if l.cause.Load() != nil { // given up: what is still in the buffer was already answered for
			closeAll(fds)
			return nil
		}
		if fds != nil && l.env.kind != kindUser {
			closeAll(fds)
			return errFrame
		}
		if err := l.handle(&l.env, fds, owned); err != nil {
			return err
		}
	}
}

// handle takes over fds.
func (l *link) handle(e *envelope, fds []int, owned bool) error {
	defer l.node.survive("delivery")
	switch e.kind {
	case kindPing:
		if e.flags&flagRequest != 0 {
			l.ep.post(&header{kind: kindPing}, "")
		}
	case kindUser, kindMulti:
		l.onMessage(e, fds, owned)
	case kindWatch:
		l.onWatch(e)
	case kindUnwatch:
		l.onUnwatch(e)
	case kindTerminated:
		l.onTerminated(e)
	case kindStop:
		id := string(e.target)
		if process, ok := l.node.system.ProcessRegistry.GetLocal(id); ok {
			process.Stop(l.local(id))
		}
	case kindError:
		l.onError(e)
	case kindGoodbye:
		l.onGoodbye(e)
	default: // the kinds of the handshake
		return errFrame
	}
	return nil
}
