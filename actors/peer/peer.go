package peer

import (
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
func New(branchName string, at Address, log zerolog.Logger) actor.Producer {
	return func() actor.Actor {
		return &peer{
			branch: branchName, at: at, log: log,
			links: map[identity]*link{}, dialing: map[uint64]*link{}, calls: map[uint64]*outstanding{},
			streams: map[uint64]*streaming{}, ending: map[uint64]*streaming{},
		}
	}
}

// peer is the actor.
type peer struct {
	branch string
	at     Address
	log    zerolog.Logger

	links   map[identity]*link
	dialing map[uint64]*link        // by the serial of the job that connects
	calls   map[uint64]*outstanding // with the daemon, by the serial of the job that waits
	lost    time.Time               // when a connection was last lost; zero: never
	ticking bool

	streams map[uint64]*streaming // by token
	ending  map[uint64]*streaming // by the serial of the job that ends it
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
	client  *rpc.Client // nil while dialing
	waiting []*call.Request
	busy    int       // calls and streams that use it
	idle    time.Time // since when nobody does
}

// outstanding is a call that the daemon has.
type outstanding struct {
	request *call.Request
	link    *link
}

// answered is what came of a call; the stream is nil for most.
type answered struct {
	reply  *call.Reply
	stream *rpc.ClientStream
}

type (
	connected = kit.Done[*rpc.Client]
	finished  = kit.Done[answered]
	linkLost  struct{ link *link }
	sweep     struct{}
)

// Urgent lets the loss of a connection be known before the next call is sent into it.
func (*linkLost) Urgent() bool { return true }

// Receive serves calls, events and the ends of streams.
func (p *peer) Receive(ctx actor.Context) {
	if p.events(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Stopping, *actor.Restarting:
		p.stop(ctx)
	case *call.Call:
		p.call(ctx, m)
	case *connected:
		p.connected(ctx, m)
	case *finished:
		p.finished(ctx, m)
	case *linkLost:
		p.linkLost(ctx, m.link)
	case *call.StreamEnded:
		p.streamEnded(ctx, m)
	case *streamOver:
		p.streamOver(m)
	case *sweep:
		p.sweep(ctx)
	case *kit.Done[struct{}]: // a farewell: how it went is of no interest
	default:
		kit.Unhandled(ctx, m)
	}
}

// call takes a call on. A procedure that is not this driver's is answered like one that no route names.
func (p *peer) call(ctx actor.Context, m *call.Call) {
	r := call.NewRequest(ctx, m)
	if len(m.FDs) > 0 || m.Proc != protocol.ConnectOpen.Procedure && m.Proc.Driver != p.branch {
		call.CloseFDs(m.FDs)
		r.Fail(call.Unsupported(m.Proc))
		return
	}
	who := identityOf(m.Caller)
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
	run := kit.Job[*rpc.Client]{
		Name: "connect to " + p.at.Daemon, Timeout: connectPatience,
		Run: func(c jobContext, _ *kit.Undo) (*rpc.Client, error) { return at.dial(c, who, patience) },
		Discard: func(c *rpc.Client) {
			if c != nil {
				_ = c.Close()
			}
		},
	}.Start(ctx)
	p.dialing[run.Serial] = l
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

func (p *peer) connected(ctx actor.Context, m *connected) {
	l := p.dialing[m.Serial]
	if l == nil { // of our predecessor
		m.Discard()
		return
	}
	delete(p.dialing, m.Serial)
	if m.Err != nil {
		delete(p.links, l.who)
		p.log.Warn().Err(m.Err).Str("driver", p.branch).Msg("cannot reach the foreign daemon")
		for _, r := range l.waiting {
			r.Fail(m.Err)
		}
		return
	}
	p.lost = time.Time{}
	l.client, l.idle = m.Value, time.Now()
	root, self, done := ctx.ActorSystem().Root, ctx.Self(), m.Value.Done()
	go func() {
		<-done
		root.Send(self, &linkLost{l})
	}()
	// Nobody subscribes here; what the daemon says on its own would pile up.
	go func() {
		for ev := range m.Value.Events() {
			_ = ev
		}
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
	run := kit.Job[answered]{
		Name: r.Proc.Name, Timeout: timeout,
		Run: func(c jobContext, _ *kit.Undo) (answered, error) {
			reply, stream, err := relay(c, client, m)
			if err != nil {
				return answered{}, err
			}
			return answered{reply, stream}, nil
		},
		Discard: func(a answered) {
			if a.stream != nil { // nobody will finish it, so the connection that carries it has no use
				_ = client.Close()
			}
		},
	}.Start(ctx)
	l.busy++
	p.calls[run.Serial] = &outstanding{r, l}
}

func (p *peer) finished(ctx actor.Context, m *finished) {
	if s := p.ending[m.Serial]; s != nil {
		delete(p.ending, m.Serial)
		p.streamFinished(ctx, s, m.Err)
		return
	}
	o := p.calls[m.Serial]
	if o == nil {
		m.Discard()
		return
	}
	delete(p.calls, m.Serial)
	switch {
	case m.Err != nil:
		o.request.Fail(m.Err)
	case m.Value.stream != nil:
		p.streamOpened(ctx, o, m.Value) // keeps the link in use
		return
	default:
		o.request.ReplyRaw(m.Value.reply)
	}
	p.release(ctx, o.link)
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
	kit.Job[struct{}]{Name: "disconnect from " + p.at.Daemon, Timeout: connectPatience, Run: func(j jobContext, _ *kit.Undo) (struct{}, error) {
		return struct{}{}, c.Disconnect(j)
	}}.Start(ctx)
}

// stop answers everybody and closes everything.
func (p *peer) stop(ctx actor.Context) {
	gone := liberr.New(liberr.FromRPC, liberr.InternalError, "the peer of the %s driver is gone", p.branch)
	for _, o := range p.calls {
		o.request.Fail(gone)
	}
	for _, l := range p.links {
		for _, r := range l.waiting {
			r.Fail(gone)
		}
	}
	for _, s := range p.streams {
		s.cut()
	}
	clients := []*rpc.Client{p.feed.client}
	for _, l := range p.links {
		clients = append(clients, l.client)
	}
	p.links, p.calls, p.streams = nil, nil, nil
	p.feed.refuse(ctx, gone)
	p.feed = feed{}
	kit.CancelJobs(ctx)
	for _, c := range clients {
		if c != nil {
			go func() { _ = c.Close() }() // it waits for its reader
		}
	}
}
