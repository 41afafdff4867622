package peer

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/xdr"
)

// jobContext keeps the signatures of jobs short.
type jobContext = context.Context

// feed is the connection on which the daemon sends events.
//
//	off --Subscribe--> opening --opened--> on --nobody subscribed--> off
//	                    |  ^                \--lost--> pause --> opening
//	                    +--+ failed, as long as somebody is subscribed
type feed struct {
	client  *rpc.Client // nil unless on
	opening uint64      // serial of the job that opens it; 0: none
	pausing bool        // until the next attempt
	pause   time.Duration
	waiting []subscriber // answered when it is on, or has failed
}

type subscriber struct {
	who *actor.PID
	ask *call.Subscribe
}

// The pause between two attempts doubles from the first to the second.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

type (
	opened   = kit.Done[*subscription]
	feedLost struct{ client *rpc.Client }
	reopen   struct{}
	heard    struct {
		from *rpc.Client
		ev   rpc.Event
	}
)

// Urgent keeps events in order with the answers to subscriptions.
func (*heard) Urgent() bool { return true }

// Urgent keeps the gap in the events short.
func (*feedLost) Urgent() bool { return true }

// subscription is an open connection with the daemon's callbacks registered.
type subscription struct{ client *rpc.Client }

// registrars are the procedures that register for a driver's events, all of the same form.
var registrars = map[string]struct {
	object string
	proc   *protocol.Procedure
}{
	"network": {"network", protocol.ConnectNetworkEventRegisterAny.Procedure},
	"storage": {"storage_pool", protocol.ConnectStoragePoolEventRegisterAny.Procedure},
	"nodedev": {"node_device", protocol.ConnectNodeDeviceEventRegisterAny.Procedure},
	"secret":  {"secret", protocol.ConnectSecretEventRegisterAny.Procedure},
}

// events handles what concerns events, and reports whether the message did.
func (p *peer) events(ctx actor.Context) bool {
	switch m := ctx.Message().(type) {
	case *call.Subscribe:
		if _, ok := registrars[p.branch]; ok && p.feed.client == nil {
			p.feed.waiting = append(p.feed.waiting, subscriber{ctx.Sender(), m})
			p.openFeed(ctx)
			return true
		}
	case *opened:
		p.feedOpened(ctx, m)
		return true
	case *heard:
		if ev := eventOf(registrars[p.branch].object, m.ev); ev != nil && m.from == p.feed.client {
			p.bus.Publish(ctx, ev)
		}
		return true
	case *feedLost:
		if m.client == p.feed.client {
			p.feed.client, p.lost = nil, time.Now()
			p.log.Warn().Err(m.client.Err()).Str("driver", p.branch).Msg("the events of the foreign daemon are interrupted")
			p.reopenLater(ctx)
		}
		return true
	case *reopen:
		p.feed.pausing = false
		if p.bus.Subscribers() > 0 {
			p.openFeed(ctx)
		}
		return true
	}
	if !p.bus.Receive(ctx) {
		return false
	}
	if p.feed.client != nil && p.bus.Subscribers() == 0 {
		p.farewell(ctx, p.feed.client) // the daemon drops the registrations with the connection
		p.feed.client = nil
	}
	return true
}

func (p *peer) openFeed(ctx actor.Context) {
	if p.feed.opening != 0 || p.feed.client != nil {
		return
	}
	at, branch, patience := p.at, p.branch, p.patience()
	run := kit.Job[*subscription]{
		Name: "register for events of " + p.at.Daemon, Timeout: connectPatience,
		Run: func(c jobContext, _ *kit.Undo) (*subscription, error) { return at.subscribe(c, branch, patience) },
		Discard: func(s *subscription) {
			if s != nil {
				_ = s.client.Close()
			}
		},
	}.Start(ctx)
	p.feed.opening = run.Serial
}

// subscribe opens a connection and registers for all events of a driver. An event that the daemon does not know yet is
// left out.
func (a Address) subscribe(ctx context.Context, branch string, patience time.Duration) (*subscription, error) {
	c, err := a.dial(ctx, identity{own: true}, patience)
	if err != nil {
		return nil, err
	}
	reg := registrars[branch]
	for id := int32(0); ; id++ {
		if _, ok := protocol.LookupEvent(reg.object, id); !ok {
			return &subscription{c}, nil
		}
		var ret raw
		// The four forms differ in the object, which none here names.
		err := c.Call(ctx, reg.proc, &protocol.ConnectNetworkEventRegisterAnyArgs{EventID: id}, &ret)
		if err != nil && id == 0 {
			_ = c.Close()
			return nil, a.clear(ctx, err)
		}
	}
}

func (p *peer) feedOpened(ctx actor.Context, m *opened) {
	if m.Serial != p.feed.opening {
		m.Discard()
		return
	}
	p.feed.opening = 0
	if m.Err != nil {
		p.feed.refuse(ctx, liberr.From(liberr.FromRPC, m.Err))
		p.reopenLater(ctx)
		return
	}
	p.feed.client, p.feed.pause, p.lost = m.Value.client, 0, time.Time{}
	root, self, client := ctx.ActorSystem().Root, ctx.Self(), m.Value.client
	go func() {
		for ev := range client.Events() {
			root.Send(self, &heard{client, ev})
		}
		<-client.Done()
		root.Send(self, &feedLost{client})
	}()
	for _, s := range p.feed.waiting { // now for the bus
		ctx.RequestWithCustomSender(ctx.Self(), s.ask, s.who)
	}
	p.feed.waiting = nil
}

// reopenLater tries again, as long as there are subscribers.
func (p *peer) reopenLater(ctx actor.Context) {
	if p.bus.Subscribers() == 0 || p.feed.pausing {
		return
	}
	p.feed.pausing = true
	p.feed.pause = min(max(firstPause, 2*p.feed.pause), lastPause)
	root, self := ctx.ActorSystem().Root, ctx.Self()
	time.AfterFunc(p.feed.pause, func() { root.Send(self, &reopen{}) })
}

// refuse answers all that wait for the feed.
func (f *feed) refuse(ctx actor.Context, err *liberr.Error) {
	for _, s := range f.waiting {
		ctx.Send(s.who, &call.SubscribeResult{Serial: s.ask.Serial, Err: err})
	}
	f.waiting = nil
}

// eventOf turns a message of the daemon into an event; nil when it is none of the object's.
func eventOf(object string, m rpc.Event) *call.Event {
	if m.Program != protocol.RemoteProgram || m.Type != rpc.Message || len(m.Payload) < 4 {
		return nil
	}
	for id := int32(0); ; id++ {
		e, ok := protocol.LookupEvent(object, id)
		if !ok {
			return nil
		}
		if e.Message.Number != m.Proc {
			continue
		}
		ev := &call.Event{Object: object, ID: id, Payload: m.Payload[4:]} // behind the callback's id
		d := xdr.NewDecoder(ev.Payload)
		if object != "secret" {
			ev.Name = d.String(protocol.RemoteStringMax)
		}
		if object != "node_device" {
			d.FixedOpaque(ev.UUID[:])
		}
		if d.Err() != nil {
			return nil
		}
		return ev
	}
}
