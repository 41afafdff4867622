package client

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/wire/remoting/dispatch"
	"virtree/wire/rpc"
)

// packet is one packet for the client's actor.
type packet struct{ *rpc.Packet }

// hangup tells that nothing more will come, and why.
type hangup struct{ err error }

// gate holds the reader back while too many bytes of its packets are held. It is the only thing that the
// reader and the actor share.
type gate struct {
	mu      sync.Mutex
	free    sync.Cond
	held    int
	packets int  // as many are held
	stream  int  // those of held that are data for streams
	slow    bool // stream rose above streamHigh and is not yet down at streamLow
	limit   int  // of held, without stream
	many    int  // limit of packets
	unread  bool // the client leaves its replies unread
	closed  bool
}

// Data that a stream's descriptor takes more slowly than the client sends it is held up between these marks, in bytes. A
// descriptor that takes nothing at all slows the reader down to a packet in each streamPause, so that pings are answered and
// calls are served until streamMost is reached.
//
// Of a client that leaves its replies unread so few packets are taken as unreadFew says: the others stay in its socket.
const (
	unreadFew   = 64
	streamMost  = 64 << 20
	streamHigh  = 4 << 20
	streamLow   = 2 << 20
	streamPause = 200 * time.Millisecond
)

func newGate(l Limits) *gate {
	g := &gate{limit: l.BytesHeld, many: l.Backlog}
	g.free.L = &g.mu
	return g
}

// enter adds a packet of n bytes.
func (g *gate) enter(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held += n
	g.packets++
}

// over tells whether too much is held. Call with mu held.
func (g *gate) over() bool {
	return g.held-g.stream > g.limit || g.stream > streamMost || g.packets > g.many || g.unread && g.packets > unreadFew
}

// setUnread tells whether the client leaves its replies unread.
func (g *gate) setUnread(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.over()
	g.unread = on
	if was && !g.over() {
		g.free.Broadcast()
	}
}

// wait returns when what is held is within the limits, and those of streams below theirs or the pause is over.
func (g *gate) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.slow && !g.closed {
		over := false
		t := time.AfterFunc(streamPause, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			over = true
			g.free.Broadcast()
		})
		for g.slow && !over && !g.closed {
			g.free.Wait()
		}
		t.Stop()
	}
	for g.over() && !g.closed {
		g.free.Wait()
	}
}

// enterStream counts n of the bytes held as data for a stream; leaveStream gives them back.
func (g *gate) enterStream(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stream += n
	g.slow = g.slow || g.stream > streamHigh
}

func (g *gate) leaveStream(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.over()
	g.stream -= n
	g.held -= n
	g.packets--
	eased := g.slow && g.stream <= streamLow
	if eased {
		g.slow = false
	}
	if eased || was && !g.over() {
		g.free.Broadcast()
	}
}

// leave gives a packet of n bytes back.
func (g *gate) leave(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.over()
	g.held -= n
	g.packets--
	if was && !g.over() {
		g.free.Broadcast()
	}
}

// close lets the reader go for good.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.free.Broadcast()
}

// overhead is what a packet is charged beside its payload, so that empty ones are not free.
const overhead = 256

// held is what a packet is charged.
func held(p *rpc.Packet) int { return len(p.Payload) + overhead }

// reader is the goroutine that reads the connection, and its successors: it hosts the client's actor and
// what that calls, and a host that is stuck in one of them is relieved. See package dispatch.
type reader struct {
	root *actor.RootContext
	self *actor.PID
	conn *rpc.Conn
	gate *gate
	host *dispatch.Host

	give atomic.Bool // the connection is to be given away
	turn turn        // the reading goroutine's own
}

// detached is a connection that this process does not read any more.
type detached struct {
	fd    int
	ahead []byte
	err   error
}

// giveAway asks the reader to detach the connection; detached comes when it has.
func (r *reader) giveAway() {
	r.give.Store(true)
	_ = r.conn.SetReadDeadline(time.Unix(1, 0)) // in case it waits in ReadPacket
}

func (r *reader) detach() {
	fd, ahead, err := r.conn.Detach()
	r.root.Send(r.self, &detached{fd, ahead, err})
	r.host.Close()
}

func (r *reader) start() {
	r.host = kit.Dispatcher.NewHost(func() {
		r.endBatch() // an actor is stuck: others wait for the seat, and for their replies
		r.run()
	})
	go r.run()
}

// run ends with the connection, or when another goroutine has taken over.
func (r *reader) run() {
	for {
		if r.give.Load() {
			r.detach()
			return
		}
		p, err := r.conn.ReadPacket()
		if err != nil {
			if r.give.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			r.root.Send(r.self, &hangup{err})
			r.host.Close()
			return
		}
		if r.turn.crowding(r.conn) {
			r.turn.begin()
			r.conn.Cork() // the replies leave together
		}
		r.host.Open()
		r.deliver(p)
		for range 16 { // what came in the same read goes to the actor in one run of it
			if !r.conn.PacketBuffered() {
				break
			}
			if p, err = r.conn.ReadPacket(); err != nil {
				r.root.Send(r.self, &hangup{err})
				r.endBatch()
				r.host.Close()
				return
			}
			r.deliver(p)
		}
		if !r.host.Run() {
			return
		}
		r.endBatch()
		r.gate.wait()
	}
}

func (r *reader) endBatch() {
	if r.turn.on {
		r.conn.Uncork()
		r.turn.end()
	}
}

func (r *reader) deliver(p *rpc.Packet) {
	r.gate.enter(held(p))
	r.root.Send(r.self, &packet{p})
}

// holds is how many bytes are held.
func (g *gate) holds() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// full tells whether the reader is held back.
func (g *gate) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over()
}
