package client

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/wire/rpc"
)

// packet is one packet for the client's actor.
type packet struct{ *rpc.Packet }

// hangup tells that nothing more will come, and why.
type hangup struct{ err error }

// gate holds the reader back while too many bytes of its packets are held. It is the only thing that the
// reader and the actor share.
type gate struct {
	mu     sync.Mutex
	free   sync.Cond
	held   int
	limit  int
	closed bool
}

func newGate(limit int) *gate {
	g := &gate{limit: limit}
	g.free.L = &g.mu
	return g
}

// enter waits until the bytes held are below the limit, and adds n.
func (g *gate) enter(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.held > g.limit && !g.closed {
		g.free.Wait()
	}
	g.held += n
}

// leave gives n bytes back.
func (g *gate) leave(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.held
	g.held -= n
	if was > g.limit && g.held <= g.limit {
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

// read is the reader goroutine: it ends with the connection.
func read(root *actor.RootContext, self *actor.PID, conn *rpc.Conn, g *gate) {
	for {
		p, err := conn.ReadPacket()
		if err != nil {
			root.Send(self, &hangup{err})
			return
		}
		g.enter(len(p.Payload) + overhead)
		root.Send(self, &packet{p})
	}
}

// full tells whether the reader is held back.
func (g *gate) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held > g.limit
}
