package client

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/sockets"
	"virtree/sockets/sasl"
	"virtree/supervisors"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// client is one connection. All fields belong to Receive.
type client struct {
	// Constant after start.
	conf   *Config
	id     uint64
	kind   sockets.Kind
	peer   sockets.Peer
	conn   *rpc.Conn
	gate   *gate
	reader *reader
	since  time.Time
	log    zerolog.Logger
	server *actor.PID

	// Who it is and what it opened.
	caller   *call.Caller // replaced, never changed: calls under way share it
	authed   bool
	sasl     *sasl.Session // under way; nil before and after
	saslBusy bool          // a step is being computed
	opening  bool          // calls sent behind CONNECT_OPEN wait for its answer
	opened   bool
	scheme   string // of the open connection: "qemu", "network" ...
	uri      string
	driver   *actor.PID // the branch it was opened with

	// Work under way.
	asks     kit.Asks[*pending]
	watched  map[string]*actor.PID // actors whose death we hear of, by address and id
	jobs     map[uint64]func(ctx actor.Context, err error)
	inFlight int
	backlog  []*rpc.Packet
	streams  map[streamKey]*stream

	events     registry
	keepalive  *rpc.Keepalive
	pinger     *time.Timer
	pings      bool // the client understands pings, as another process was told
	closeWatch bool // it asked to be told when the hypervisor's connection goes
	closing    bool
	handing    *handing // the connection is on its way to another process
}

// pending is a call whose answer is awaited: from a branch, or from a job of our own.
type pending struct {
	bytes int // held at the gate by a call that counts as in flight; 0 for what the client asks on its own behalf
	then  func(ctx actor.Context, answer any)
}

// tick is the keepalive timer.
type tick struct{}

// Urgent keeps the clock before the work.
func (*tick) Urgent() bool { return true }

// Disconnect ends the connection, as virt-admin asks.
type Disconnect struct{}

// Urgent keeps it before the work.
func (*Disconnect) Urgent() bool { return true }

// Receive is the client's table of contents.
func (c *client) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *packet:
		c.packet(ctx, m.Packet)
	case *call.Reply:
		c.answered(ctx, m.Serial, m)
	case *kit.Failed:
		c.answered(ctx, m.Serial, &call.Reply{Serial: m.Serial, Err: m.Err})
	case *detached:
		c.detached(ctx, m)
	case *AdoptResult:
		c.answered(ctx, m.Serial, m)
	case *call.SubscribeResult:
		c.answered(ctx, m.Serial, m)
	case *call.StreamResult:
		c.answered(ctx, m.Serial, m)
	case *call.Event:
		c.event(m)
	case *call.SubscriptionLost:
		if from := ctx.Sender(); from != nil && c.events.lost(from) {
			c.resubscribeLater(ctx)
		}
	case *streamOver:
		c.streamOver(ctx, m)
	case *kit.Done[struct{}]:
		if then, ok := c.jobs[m.Serial]; ok {
			delete(c.jobs, m.Serial)
			then(ctx, m.Err)
		}
	case *resubscribe:
		c.resubscribe(ctx)
	case *drained:
		c.gate.setUnread(false)
		c.goOn(ctx)
	case *tick:
		c.ping(ctx)
	case *actor.Started:
		c.started(ctx)
	case *hangup:
		c.hangup(ctx, m.err)
	case *Disconnect:
		c.close(ctx)
	case *infoRequest:
		ctx.Respond(c.info())
	case *actor.Terminated:
		c.lost(ctx, m.Who, m.Why)
	case *actor.Stopping, *actor.Restarting:
		c.release(ctx)
	default:
		kit.Unhandled(ctx, m)
	}
}

func (c *client) started(ctx actor.Context) {
	supervisors.Describe(ctx, supervisors.Facts{Title: fmt.Sprintf("%s pid %d (%s)", c.peer.User, c.peer.PID, c.kind), Kind: "client"})
	c.log.Debug().Str("peer", c.peer.RemoteAddr()).Int32("pid", c.peer.PID).Uint32("uid", c.peer.UID).Msg("client connected")
	c.reader = &reader{root: ctx.ActorSystem().Root, self: ctx.Self(), conn: c.conn, gate: c.gate}
	c.reader.start()
	if c.pings {
		c.startKeepalive(ctx)
	}
}

// hangup ends the connection after the peer did, or after a packet that breaks the framing.
func (c *client) hangup(ctx actor.Context, err error) {
	var frame *rpc.FrameError
	switch {
	case errors.As(err, &frame):
		c.log.Warn().Str("peer", c.peer.RemoteAddr()).Err(err).Msg("client sent a malformed packet")
	case !errors.Is(err, io.EOF) && !c.closing:
		c.log.Debug().Err(err).Msg("client connection ended")
	}
	c.close(ctx)
}

// close stops the actor; release does the rest.
func (c *client) close(ctx actor.Context) {
	c.closing = true
	ctx.Stop(ctx.Self())
}

// release frees all that the connection holds. It runs once, also when the actor is restarted after a
// panic: a connection whose state is lost is closed, and the client reconnects.
func (c *client) release(ctx actor.Context) {
	if _, restarting := ctx.Message().(*actor.Restarting); restarting {
		ctx.Stop(ctx.Self())
	}
	if !c.closing || c.inFlight > 0 {
		c.conf.calls.Add(-int64(c.inFlight))
		c.conf.figures.unanswered.Add(uint64(c.inFlight))
		c.inFlight = 0
	}
	c.closing = true
	if c.pinger != nil {
		c.pinger.Stop()
	}
	c.gate.close()
	_ = c.conn.Close()
	for _, s := range c.streams {
		s.cut()
	}
	kit.CancelJobs(ctx) // nobody types a password for a client that is gone
	supervisors.Forget(ctx)
	c.events.release(ctx)
	for _, who := range c.watched { // a watched actor remembers its watchers until they take it back
		ctx.Unwatch(who)
	}
	for _, p := range c.backlog {
		p.Release()
	}
	c.backlog = nil
}

// answered continues whatever waited for this serial.
func (c *client) answered(ctx actor.Context, serial uint64, answer any) {
	p, ok := c.asks.Take(serial)
	if !ok {
		if r, is := answer.(*call.Reply); is {
			r.Discard()
		}
		return
	}
	p.then(ctx, answer)
	c.finished(ctx, p)
}

// finished gives back what a call held and serves the next one that waits.
func (c *client) finished(ctx actor.Context, p *pending) {
	if p.bytes == 0 || c.closing {
		return
	}
	c.inFlight--
	c.conf.calls.Add(-1)
	c.gate.leave(p.bytes)
	c.goOn(ctx)
}

// goOn serves the calls that wait, as far as they may be.
func (c *client) goOn(ctx actor.Context) {
	for len(c.backlog) > 0 && !c.closing && c.ready() {
		next := c.backlog[0]
		c.backlog[0] = nil
		c.backlog = c.backlog[1:]
		c.call(ctx, next)
	}
	if len(c.backlog) == 0 {
		c.backlog = nil // with the memory of a burst
	}
}

// lost answers what waited for a branch that died, and tells the client when it asked for that. Of a link that was lost
// remoting answers each call by itself: some may go on to the branch's next instance.
func (c *client) lost(ctx actor.Context, who *actor.PID, why actor.TerminatedReason) {
	delete(c.watched, who.Address+"/"+who.Id)
	if why != actor.TerminatedReason_AddressTerminated {
		for _, p := range c.asks.Fail(who) {
			p.then(ctx, &call.Reply{Err: liberr.New(liberr.FromRPC, liberr.RPC, "the %s driver has gone away", who.Id)})
			c.finished(ctx, p)
		}
	}
	if c.events.lost(who) {
		c.resubscribeLater(ctx)
	}
	if c.closeWatch && c.opened && who.Equal(c.driver) {
		c.closeWatch = false
		msg := protocol.ConnectEventConnectionClosedMsg{Reason: closeReasonError}
		c.message(protocol.ConnectEventConnectionClosed.Procedure, msg.AppendXDR(nil))
	}
}

// watch makes sure that the death of a server is heard of, once per server and not once per call.
func (c *client) watch(ctx actor.Context, who *actor.PID) {
	key := who.Address + "/" + who.Id
	if c.watched[key] != nil {
		return
	}
	if c.watched == nil {
		c.watched = map[string]*actor.PID{}
	}
	c.watched[key] = who
	ctx.Watch(who)
}

// closeReasonError is VIR_CONNECT_CLOSE_REASON_ERROR.
const closeReasonError = 0

// message sends an event packet. A client that does not read loses its connection rather than events.
func (c *client) message(p *protocol.Procedure, payload []byte) {
	err := rpc.ErrQueueFull
	if c.conn.Queued() < unreadEvents {
		err = c.conn.Send(rpc.Header{Program: p.Program, Version: p.Version, Proc: p.Number, Type: rpc.Message, Serial: 1}, payload)
	}
	if errors.Is(err, rpc.ErrQueueFull) {
		c.log.Warn().Str("peer", c.peer.RemoteAddr()).Msg("client does not read its events: closing")
		c.conf.figures.dropped.Add(1)
		_ = c.conn.Close()
	}
	if err == nil {
		c.conf.figures.events.Add(1)
	}
}
