package client

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// streamKey is what the packets of a stream have in common.
type streamKey struct {
	program uint32
	proc    int32
	serial  uint32
}

// stream pumps between the client's socket and a descriptor. The actor owns the bookkeeping; two
// goroutines do the copying: in writes what the client sends, out sends what the descriptor yields.
//
//	open --finish--> draining --written, ended--> gone (finish answered)
//	     --abort---> gone (answered)      --I/O error--> gone (client told)
type stream struct {
	key    streamKey
	header rpc.Header
	spec   call.Stream
	from   *actor.PID // whose descriptor it is
	file   *os.File
	buf    []byte // of the sending goroutine, for what is no file
	ctx    context.Context
	cancel context.CancelFunc

	in inbox // packets of the client that are not written yet
}

// streamOver is sent by a stream's goroutines when they are done.
type streamOver struct {
	key    streamKey
	finish bool // the client's finish was reached: all before it is written
	err    error
}

// Urgent keeps a stream's end before new work.
func (*streamOver) Urgent() bool { return true }

// inbox is an unbounded queue between the actor and the writing goroutine; the reader's gate bounds it.
type inbox struct {
	mu     sync.Mutex
	wake   chan struct{}
	items  []*rpc.Packet
	closed bool
}

func (q *inbox) put(p *rpc.Packet) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.items = append(q.items, p)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take waits for the next packet; nil when ctx ends.
func (q *inbox) take(ctx context.Context) *rpc.Packet {
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			p := q.items[0]
			q.items[0] = nil
			q.items = q.items[1:]
			q.mu.Unlock()
			return p
		}
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// close refuses further packets and returns those left.
func (q *inbox) close() []*rpc.Packet {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := q.items
	q.items = nil
	return left
}

// openStream starts the pumps of a stream that a good reply opens.
func (c *client) openStream(ctx actor.Context, h rpc.Header, proc *protocol.Procedure, from *actor.PID, spec *call.Stream) {
	_ = unix.SetNonblock(spec.FD, true) // pipes and sockets then wait in the poller, not in a thread
	s := &stream{
		key: streamKey{h.Program, h.Proc, h.Serial}, header: h, spec: *spec, from: from,
		file: os.NewFile(uintptr(spec.FD), "stream of "+proc.Name),
	}
	s.in.wake = make(chan struct{}, 1)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if c.streams == nil {
		c.streams = map[streamKey]*stream{}
	}
	c.streams[s.key] = s
	root, self, conn := ctx.ActorSystem().Root, ctx.Self(), c.conn
	over := func(finish bool, err error) { root.Send(self, &streamOver{s.key, finish, err}) }
	gate := c.gate
	go func() { over(s.write(gate)) }()
	if spec.Out {
		go func() {
			if err := s.send(conn); err != nil {
				over(false, err)
			}
		}()
	}
}

// streamPacket hands a packet to its stream. One for no stream is dropped: it came after the end.
func (c *client) streamPacket(ctx actor.Context, p *rpc.Packet) {
	s := c.streams[streamKey{p.Program, p.Proc, p.Serial}]
	if s == nil {
		c.done(p)
		return
	}
	what, err := rpc.ParseStream(p)
	if err != nil {
		c.done(p)
		c.endStream(s)
		_ = c.conn.SendStreamError(s.header, liberr.New(liberr.FromRPC, liberr.RPC, "%v", err))
		return
	}
	switch {
	case what.Kind == rpc.StreamAbort:
		c.done(p)
		c.endStream(s)
		c.tellOwner(ctx, s, true, func(*liberr.Error) { _ = c.conn.SendFinish(s.header) })
	case what.Kind == rpc.StreamGap && !s.spec.Sparse:
		c.log.Warn().Msg("client sends holes in a stream that has none: closing")
		c.done(p)
		c.close(ctx)
	default:
		c.gate.enterStream(held(p))
		if !s.in.put(p) {
			c.gate.leaveStream(held(p))
			p.Release()
		}
	}
}

// streamOver ends a stream after its finish or its failure.
func (c *client) streamOver(ctx actor.Context, m *streamOver) {
	s := c.streams[m.key]
	if s == nil {
		return
	}
	c.endStream(s)
	if m.err != nil {
		// Whoever gave the descriptor may know better why it takes or yields no more.
		c.tellOwner(ctx, s, true, func(err *liberr.Error) {
			if err == nil {
				err = liberr.From(liberr.FromStreams, m.err)
			}
			_ = c.conn.SendStreamError(s.header, err)
		})
		return
	}
	c.tellOwner(ctx, s, false, func(err *liberr.Error) {
		if err != nil {
			_ = c.conn.SendStreamError(s.header, err)
			return
		}
		_ = c.conn.SendFinish(s.header)
	})
}

// endStream stops the pumps and forgets the stream.
func (c *client) endStream(s *stream) {
	delete(c.streams, s.key)
	for _, p := range s.cut() {
		c.gate.leaveStream(held(p))
		p.Release()
	}
}

// cut closes the descriptor under the pumps.
func (s *stream) cut() []*rpc.Packet {
	s.cancel()
	_ = s.file.Close()
	return s.in.close()
}

// tellOwner tells who gave the descriptor that the stream is over, and continues with the answer.
func (c *client) tellOwner(ctx actor.Context, s *stream, aborted bool, then func(*liberr.Error)) {
	if s.spec.Ended == "" {
		then(nil)
		return
	}
	to := actor.NewPID(s.from.Address, s.spec.Ended)
	serial, _ := c.asks.Add(to, time.Time{}, &pending{then: func(_ actor.Context, answer any) {
		switch m := answer.(type) {
		case *call.StreamResult:
			then(m.Err)
		case *call.Reply:
			then(m.Err)
		default:
			then(nil)
		}
	}})
	c.watch(ctx, to)
	ctx.Request(to, &call.StreamEnded{Token: s.spec.Token, Serial: serial, Aborted: aborted})
}

// errTooMuch is what a client hears that sends more than the stream was opened for.
var errTooMuch = liberr.New(liberr.FromStreams, liberr.InternalError, "stream data exceeds the length of the stream")

// write is the goroutine that takes the client's packets in order. It returns with finish at the client's
// finish, or with an error.
func (s *stream) write(g *gate) (finish bool, err error) {
	left := s.spec.Limit
	for {
		p := s.in.take(s.ctx)
		if p == nil {
			return false, nil
		}
		what, perr := rpc.ParseStream(p)
		switch {
		case perr != nil:
			err = perr
		case what.Kind == rpc.StreamData:
			if left >= 0 && int64(len(what.Data)) > left {
				err = errTooMuch
				break
			}
			_, err = s.file.Write(what.Data)
			if left >= 0 {
				left -= int64(len(what.Data))
			}
		case what.Kind == rpc.StreamGap:
			err = hole(s.file, what.Length)
		case what.Kind == rpc.StreamFinish:
			finish = true
		}
		g.leaveStream(held(p))
		p.Release()
		if finish || err != nil {
			if s.ctx.Err() != nil {
				return false, nil
			}
			return finish, err
		}
	}
}
