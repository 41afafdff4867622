package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
)

// Body is anything that can append its XDR form: every generated protocol type.
type Body interface { // is protocol.Encoder
	AppendXDR(b []byte) []byte
}

// Errors of Send.
var (
	ErrClosed    = errors.New("rpc: connection is closed")
	ErrQueueFull = errors.New("rpc: peer does not read, output queue is full")
	ErrTooLarge  = errors.New("rpc: packet exceeds the protocol's limit")
	ErrNoFDs     = errors.New("rpc: connection cannot carry file descriptors")
)

// writer queues packets and flushes them.
//
//	Send --> pending --swap--> flushing --> socket
//
// Exactly one goroutine flushes at a time (busy). Usually it is the sender itself:
// on an empty queue it writes in place, without waiting, and whoever sends
// meanwhile only appends, so that their packets leave together in the next write.
// When the kernel takes no more, a goroutine of its own waits for the socket and
// drains the queue; it ends when the queue is empty. Transports that cannot write
// without waiting (TLS) always use that goroutine.
type writer struct {
	conn net.Conn
	sock *socket // nil: only conn.Write
	opt  *Options

	mu       sync.Mutex
	pending  chain
	busy     bool // somebody flushes, and owns flushing
	corked   int
	queued   int           // bytes accepted and not yet taken by the kernel
	full     bool          // queued rose above HighWater and is not yet down at LowWater
	drained  chan struct{} // closed at the end of full; nil while nobody waits
	lastWill bool          // accept nothing more, close when empty
	err      error         // sticky; the connection is closed

	flushing *outgoing // owned by the flusher
}

// outgoing is a run of bytes, with marks where a descriptor leaves.
type outgoing struct {
	bytes []byte
	fds   []markedFD
	data  *Data // what bytes point into, if that is stream data that was not copied
	next  *outgoing

	sent, fdsSent, settled int // progress: bytes, descriptors, bytes already subtracted from queued
}

// chain is a queue of runs. Packets join the last run, stream data is a run of its own.
type chain struct{ first, last *outgoing }

func (c *chain) add(o *outgoing) {
	if c.last == nil {
		c.first = o
	} else {
		c.last.next = o
	}
	c.last = o
}

func (c *chain) take() *outgoing {
	o := c.first
	if c.first = o.next; c.first == nil {
		c.last = nil
	}
	o.next = nil
	return o
}

// markedFD is a descriptor that leaves before bytes[at], on a byte of its own.
type markedFD struct {
	at   int
	file *os.File
}

// Emptied queue buffers go back to a pool rather than staying with an idle
// connection.
var outgoings = sync.Pool{New: func() any { return &outgoing{bytes: make([]byte, 0, 4<<10)} }}

const (
	keepBuffer   = 1 << 19              // larger buffers are not worth keeping
	writeChunk   = prefixSize + MaxData // how much a waiting write does between two looks at the queue
	inPlaceTurns = 8                    // how often a sender writes for others before a goroutine takes over
)

func (o *outgoing) recycle() {
	for _, m := range o.fds[o.fdsSent:] {
		m.file.Close()
	}
	clear(o.fds)
	if o.data != nil {
		o.data.Release()
		return
	}
	*o = outgoing{bytes: o.bytes[:0], fds: o.fds[:0]}
	if cap(o.bytes) <= keepBuffer {
		outgoings.Put(o)
	}
}

// enqueue appends one packet: body if it is not nil, else payload. Descriptors
// belong to the queue from here on, also on error.
func (w *writer) enqueue(h Header, payload []byte, body Body, fds []*os.File) error {
	if len(fds) > 0 {
		if err := w.admitFDs(fds); err != nil {
			closeFiles(fds)
			return err
		}
	}
	w.mu.Lock()
	if err := w.admit(); err != nil {
		w.mu.Unlock()
		closeFiles(fds)
		return err
	}
	o := w.pending.last
	if o == nil || o.data != nil {
		o = outgoings.Get().(*outgoing)
		w.pending.add(o)
	}
	start := len(o.bytes)
	o.bytes = appendPacket(o.bytes, h, payload, body, len(fds))
	size := len(o.bytes) - start
	if size > MaxPacket+lengthSize {
		// Nothing of it stays in the queue: the caller can answer with an
		// error in place of the result.
		o.bytes = o.bytes[:start]
		w.mu.Unlock()
		closeFiles(fds)
		return ErrTooLarge
	}
	for _, f := range fds {
		o.fds = append(o.fds, markedFD{len(o.bytes), f})
	}
	flush := w.added(size)
	w.mu.Unlock()
	if flush {
		w.run()
	}
	return nil
}

// added accounts for size more bytes, and tells whether the caller has to flush. It holds mu.
func (w *writer) added(size int) (flush bool) {
	w.queued += size
	if w.queued > w.opt.HighWater {
		w.full = true
	}
	if w.busy || w.corked > 0 {
		return false
	}
	w.busy = true
	return true
}

// enqueueData queues the packet that d holds and, when nothing is before it, stays until the kernel has taken it: a
// pump has nothing better to do, and one goroutine less has to be woken for each packet.
func (w *writer) enqueueData(d *Data, packet []byte) error {
	o := &outgoing{bytes: packet, data: d}
	w.mu.Lock()
	if err := w.admit(); err != nil {
		w.mu.Unlock()
		d.Release()
		return err
	}
	w.pending.add(o)
	flush := w.added(len(packet))
	w.mu.Unlock()
	switch {
	case !flush:
	case w.sock == nil:
		go w.drain()
	case w.swap() && w.finish() && w.swap():
		go w.drain() // what others have sent meanwhile
	}
	return nil
}

// appendPacket encodes one packet behind b.
func appendPacket(b []byte, h Header, payload []byte, body Body, fds int) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = h.Append(b)
	if h.Type == CallWithFDs || h.Type == ReplyWithFDs {
		b = binary.BigEndian.AppendUint32(b, uint32(fds))
	}
	if body != nil {
		b = body.AppendXDR(b)
	} else {
		b = append(b, payload...)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func (w *writer) admitFDs(fds []*os.File) error {
	if w.sock == nil || !w.sock.unix {
		return ErrNoFDs
	}
	if len(fds) > MaxFDs {
		return ErrTooLarge
	}
	return nil
}

// admit says whether a packet may join the queue. The caller holds mu.
func (w *writer) admit() error {
	switch {
	case w.err != nil:
		return w.err
	case w.lastWill:
		return ErrClosed
	case w.queued >= w.opt.MaxQueue:
		return ErrQueueFull
	}
	return nil
}

// run flushes in place as far as the kernel takes it, the rest in a goroutine.
// The caller has set busy.
func (w *writer) run() {
	if w.sock != nil {
		for range inPlaceTurns {
			if !w.swap() {
				return
			}
			done, err := w.write(false)
			if err != nil {
				w.fail(err)
				return
			}
			if !done {
				break
			}
		}
	}
	go w.drain()
}

// drain flushes until the queue is empty, waiting for the socket.
func (w *writer) drain() {
	for w.swap() && w.finish() {
	}
}

// finish writes the rest of flushing, waiting for the socket; false is an error, which ended the connection.
func (w *writer) finish() bool {
	for {
		done, err := w.write(true)
		if err != nil {
			w.fail(err)
		}
		if err != nil || done {
			return err == nil
		}
		w.mu.Lock()
		w.settle()
		w.mu.Unlock()
	}
}

// swap makes what is pending the next to be written. When there is nothing left, it
// ends the flush and returns false.
func (w *writer) swap() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.flushing; o != nil {
		w.settle()
		if o.sent < len(o.bytes) || o.fdsSent < len(o.fds) {
			return true // a goroutine takes over in the middle
		}
		w.flushing = nil
		o.recycle()
	}
	if w.err == nil && w.pending.first != nil {
		w.flushing = w.pending.take()
		return true
	}
	w.busy = false
	if w.err != nil {
		w.discard()
	} else if w.lastWill {
		w.shut(ErrClosed)
	}
	return false
}

// write sends flushing; done is false if there is more of it to send.
func (w *writer) write(wait bool) (done bool, err error) {
	o := w.flushing
	for {
		next := len(o.bytes)
		if o.fdsSent < len(o.fds) {
			next = o.fds[o.fdsSent].at
		}
		switch {
		case o.sent < next:
			b := o.bytes[o.sent:next]
			if wait && len(b) > writeChunk {
				b = b[:writeChunk]
			}
			var n int
			if w.sock != nil {
				n, err = w.sock.write(b, wait)
			} else {
				n, err = w.conn.Write(b)
			}
			o.sent += n
			if err != nil || o.sent < next {
				return false, err
			}
		case o.fdsSent < len(o.fds):
			sent, err := w.sock.writeFD(o.fds[o.fdsSent].file, wait)
			if err != nil || !sent {
				return false, err
			}
			o.fds[o.fdsSent].file.Close()
			o.fdsSent++
		default:
			return true, nil
		}
	}
}

// settle subtracts what was sent from queued and ends the back-pressure when it is
// time. The caller holds mu and flushes.
func (w *writer) settle() {
	o := w.flushing
	w.queued -= o.sent - o.settled
	o.settled = o.sent
	if w.full && w.queued <= w.opt.LowWater {
		w.relieve()
	}
}

// relieve ends the back-pressure. The caller holds mu.
func (w *writer) relieve() {
	w.full = false
	if w.drained != nil {
		close(w.drained)
		w.drained = nil
	}
	if w.opt.OnDrain != nil {
		w.opt.OnDrain()
	}
}

// fail closes the connection after a write error. The caller flushes.
func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	w.shut(err)
	w.discard()
}

// close ends the connection at once; what is queued is lost.
func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut(ErrClosed)
	if !w.busy {
		w.discard()
	}
}

// closeAfterFlush ends the connection when all that is queued has left.
func (w *writer) closeAfterFlush() {
	w.mu.Lock()
	w.lastWill, w.corked = true, 0
	idle := !w.busy
	w.busy = true
	w.mu.Unlock()
	if idle {
		w.run()
	}
}

// shut makes err sticky and closes the connection. The caller holds mu.
func (w *writer) shut(err error) {
	if w.err != nil {
		return
	}
	w.err = err
	w.conn.Close()
	if w.full || w.drained != nil {
		w.relieve()
	}
}

// discard drops what nobody will send. The caller holds mu, and nobody flushes.
func (w *writer) discard() {
	if w.flushing != nil {
		w.flushing.recycle()
	}
	for w.pending.first != nil {
		w.pending.take().recycle()
	}
	w.flushing, w.queued = nil, 0
}

func (w *writer) cork() {
	w.mu.Lock()
	w.corked++
	w.mu.Unlock()
}

func (w *writer) uncork() {
	w.mu.Lock()
	if w.corked > 0 {
		w.corked--
	}
	start := w.corked == 0 && !w.busy && w.pending.first != nil
	if start {
		w.busy = true
	}
	w.mu.Unlock()
	if start {
		w.run()
	}
}

func (w *writer) congested() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.full
}

func (w *writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued
}

// raise lifts the marks of the back-pressure.
func (w *writer) raise(high int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.opt.HighWater < high {
		w.opt.HighWater, w.opt.LowWater = high, high/4
	}
}

func (w *writer) waitDrained(ctx context.Context) error {
	w.mu.Lock()
	if w.err != nil || !w.full {
		defer w.mu.Unlock()
		return w.err
	}
	if w.drained == nil {
		w.drained = make(chan struct{})
	}
	c := w.drained
	w.mu.Unlock()
	select {
	case <-c:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
