package peer

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

const (
	// maxInFlight is one less than what a daemon serves of one connection at a time (max_client_requests): with
	// that many it does not read, and would not see a ping.
	maxInFlight = 4
	// maxWaiting bounds the calls of one caller that wait for their turn or for the connection.
	maxWaiting = 1024
	// idleLimit is how long a connection stays that nobody uses; sweepPause how often that is looked at.
	idleLimit  = 10 * time.Second
	sweepPause = 5 * time.Second
	// recently is how long after its loss a daemon counts as one that is being restarted.
	recently = 30 * time.Second
)

// New makes the peer of a branch, whose daemon is at an address.
func New(name string, at Address, log zerolog.Logger) actor.Producer {
	routes := routesOf(name)
	return func() actor.Actor {
		return &peer{
			branch: name, at: at, log: log, routes: routes, desk: branch.NewDesk(liberr.FromRPC, "peer of the "+name+" driver"),
			links: map[identity]*link{}, streams: map[uint64]*streaming{},
		}
	}
}

// peer is the actor.
type peer struct {
	branch string
	at     Address
	log    zerolog.Logger
	routes *call.Table[*peer]

	desk    branch.Desk
	links   map[identity]*link
	lost    time.Time // when a connection was last lost; zero: never
	ticking bool

	streams map[uint64]*streaming // by token
	tokens  uint64

	bus  branch.Bus
	feed feed
}

// link is the connection of one caller.
//
//	dialing --connected--> up --lost, idle--> gone
//	   \--failed--> gone (all that wait are answered)
type link struct {
	who     identity
	client  *rpc.Client // nil unless up
	waiting []*call.Request
	busy    int       // calls and streams that use it
	idle    time.Time // since when nobody does
}

type (
	linkLost struct{ link *link }
	sweep    struct{}
)

// Urgent lets the loss of a connection be known before the next call is sent into it.
func (*linkLost) Urgent() bool { return true }

// routesOf names every procedure of a driver, and the one that asks whether it is there.
func routesOf(name string) *call.Table[*peer] {
	var list []call.Route[*peer]
	for _, p := range protocol.Procedures(protocol.RemoteProgram) {
		if p.Driver == name || p == protocol.ConnectOpen.Procedure {
			list = append(list, call.Forward(protocol.Proc[protocol.Void, protocol.Void]{Procedure: p}, (*peer).call))
		}
	}
	return call.NewTable(list...)
}

// Receive serves calls, events and the ends of streams.
func (p *peer) Receive(ctx actor.Context) {
	if p.events(ctx) || p.desk.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Stopping, *actor.Restarting:
		p.stop(ctx)
	case *call.Call:
		branch.Serve(&p.desk, p.routes, p, ctx, m)
	case *linkLost:
		p.linkLost(ctx, m.link)
	case *call.StreamEnded:
		p.streamEnded(ctx, m)
	case *streamOver:
		p.streamOver(m)
	case *sweep:
		p.sweep(ctx)
	default:
		kit.Unhandled(ctx, m)
	}
}

// call takes a call on.
func (p *peer) call(ctx actor.Context, r *call.Request) {
	if len(r.FDs) > 0 { // no procedure of these drivers has any
		call.CloseFDs(r.FDs)
		r.Fail(call.Unsupported(r.Proc))
		return
	}
	who := identityOf(r.Caller)
	l := p.links[who]
	switch {
	case l == nil:
		l = p.dial(ctx, who)
	case l.client != nil && l.busy < maxInFlight:
		p.send(ctx, l, r)
		return
	}
	if len(l.waiting) >= maxWaiting {
		r.Fail(call.Busy(p.branch))
		return
	}
	l.waiting = append(l.waiting, r)
}

// dial starts a connection.
func (p *peer) dial(ctx actor.Context, who identity) *link {
	l := &link{who: who}
	p.links[who] = l
	at, patience := p.at, p.patience()
	p.desk.Do(ctx, kit.Job[any]{
		Name: "connect to " + p.at.Daemon, Timeout: connectPatience,
		Run:     func(c context.Context, _ *kit.Undo) (any, error) { return at.dial(c, who, patience) },
		Discard: func(c any) { _ = c.(*rpc.Client).Close() },
	}, func(ctx actor.Context, out any, err error) {
		if err != nil {
			p.refused(l, err)
			return
		}
		p.connected(ctx, l, out.(*rpc.Client))
	})
	p.tick(ctx)
	return l
}

// patience is how long a socket without a listener is worth waiting for.
func (p *peer) patience() time.Duration {
	if !p.lost.IsZero() && time.Since(p.lost) < recently {
		return restartPatience
	}
	return 0
}

func (p *peer) refused(l *link, err error) {
	delete(p.links, l.who)
	p.log.Warn().Err(err).Str("driver", p.branch).Msg("cannot reach the foreign daemon")
	for _, r := range l.waiting {
		r.Fail(err)
	}
}

func (p *peer) connected(ctx actor.Context, l *link, c *rpc.Client) {
	p.lost = time.Time{}
	l.client, l.idle = c, time.Now()
	root, self := ctx.ActorSystem().Root, ctx.Self()
	go func() {
		for range c.Events() { // nobody subscribes here; what comes all the same must not pile up
		}
		<-c.Done()
		root.Send(self, &linkLost{l})
	}()
	p.next(ctx, l)
}

// next sends what waits, as much as the daemon takes.
func (p *peer) next(ctx actor.Context, l *link) {
	for l.client != nil && len(l.waiting) > 0 && l.busy < maxInFlight {
		r := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		p.send(ctx, l, r)
	}
}

// send gives a call to the daemon.
func (p *peer) send(ctx actor.Context, l *link, r *call.Request) {
	if r.Proc == protocol.ConnectOpen.Procedure { // the link's being up is the answer
		r.Reply(nil)
		return
	}
	var timeout time.Duration
	if !r.Deadline.IsZero() {
		timeout = max(time.Until(r.Deadline), time.Millisecond)
	}
	client, m := l.client, r.Call
	l.busy++
	p.desk.Do(ctx, kit.Job[any]{
		Name: r.Proc.Name, Timeout: timeout,
		Run: func(c context.Context, _ *kit.Undo) (any, error) { return relay(c, client, m) },
		Discard: func(a any) {
			if a.(*answer).stream != nil { // nobody will end it, so the connection that carries it has no use
				_ = client.Close()
			}
		},
	}, func(ctx actor.Context, out any, err error) {
		switch {
		case errors.Is(err, rpc.ErrNotSent): // the connection was lost already: over a new one then
			p.release(ctx, l)
			p.linkLost(ctx, l)
			p.call(ctx, r)
			return
		case err != nil:
			r.Fail(err)
		case out.(*answer).stream != nil:
			p.openStream(ctx, l, r, out.(*answer)) // keeps the link in use
			return
		default:
			r.ReplyRaw(&call.Reply{Ret: out.(*answer).ret})
		}
		p.release(ctx, l)
	})
}

// release ends one use of a link.
func (p *peer) release(ctx actor.Context, l *link) {
	l.busy--
	l.idle = time.Now()
	p.next(ctx, l)
}

// linkLost forgets a connection. Calls in flight fail by themselves; those that wait for their turn were never sent,
// and go over the next connection.
func (p *peer) linkLost(ctx actor.Context, l *link) {
	if p.links[l.who] != l {
		return // closed by us
	}
	delete(p.links, l.who)
	p.lost = time.Now()
	p.log.Warn().Err(l.client.Err()).Str("driver", p.branch).Msg("the connection to the foreign daemon is lost")
	if len(l.waiting) > 0 {
		p.dial(ctx, l.who).waiting = l.waiting
	}
	l.client, l.waiting = nil, nil
}

// tick makes the sweep come while there are links.
func (p *peer) tick(ctx actor.Context) {
	if p.ticking {
		return
	}
	p.ticking = true
	root, self := ctx.ActorSystem().Root, ctx.Self()
	time.AfterFunc(sweepPause, func() { root.Send(self, &sweep{}) })
}

// sweep closes what nobody uses.
func (p *peer) sweep(ctx actor.Context) {
	p.ticking = false
	for who, l := range p.links {
		if l.client != nil && l.busy == 0 && len(l.waiting) == 0 && time.Since(l.idle) > idleLimit {
			delete(p.links, who)
			p.farewell(ctx, l.client)
		}
	}
	if len(p.links) > 0 {
		p.tick(ctx)
	}
}

// farewell closes a connection in order, without waiting for it.
func (p *peer) farewell(ctx actor.Context, c *rpc.Client) {
	p.desk.Do(ctx, kit.Job[any]{Name: "disconnect from " + p.at.Daemon, Timeout: connectPatience, Run: func(j context.Context, _ *kit.Undo) (any, error) {
		return nil, c.Disconnect(j)
	}}, func(actor.Context, any, error) {})
}

// stop closes everything; the desk answers the calls.
func (p *peer) stop(ctx actor.Context) {
	for _, s := range p.streams {
		s.cut()
	}
	clients := []*rpc.Client{p.feed.client}
	for _, l := range p.links {
		clients = append(clients, l.client)
	}
	p.feed.Refuse(ctx, liberr.New(liberr.FromRPC, liberr.InternalError, "the peer of the %s driver is gone", p.branch))
	for _, c := range clients {
		if c != nil {
			go func() { _ = c.Close() }() // it waits for its reader
		}
	}
}
