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

// feed is the connection on which the daemon sends events.
//
//	off --Subscribe--> opening --opened--> on --nobody subscribed--> off
//	                    |  ^                \--lost--> pause --> opening
//	                    +--+ failed, as long as somebody is subscribed
type feed struct {
	kit.Stash             // keeps subscriptions until it is on
	client    *rpc.Client // nil unless on
	opening   bool
	pausing   bool // until the next attempt
	pause     time.Duration
}

// The pause between two attempts doubles from the first to the second.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

type (
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
		if _, ok := registrars[p.branch]; ok && p.feed.Hold(ctx) {
			p.openFeed(ctx)
			return true
		}
	case *heard:
		if ev := eventOf(registrars[p.branch].object, m.ev); ev != nil && m.from == p.feed.client {
			p.bus.Publish(ctx, ev)
		}
		return true
	case *feedLost:
		if m.client == p.feed.client {
			p.feed.off()
			p.lost = time.Now()
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
		p.feed.off()
	}
	return true
}

func (f *feed) off() {
	f.client = nil
	f.Close()
}

func (p *peer) openFeed(ctx actor.Context) {
	if p.feed.opening || p.feed.client != nil {
		return
	}
	p.feed.opening = true
	at, driver, patience := p.at, p.branch, p.patience()
	p.desk.Do(ctx, kit.Job[any]{
		Name: "register for events of " + p.at.Daemon, Timeout: connectPatience,
		Run:     func(c context.Context, _ *kit.Undo) (any, error) { return at.subscribe(c, driver, patience) },
		Discard: func(c any) { _ = c.(*rpc.Client).Close() },
	}, func(ctx actor.Context, out any, err error) {
		p.feed.opening = false
		if err != nil {
			p.feed.Refuse(ctx, liberr.From(liberr.FromRPC, err))
			p.reopenLater(ctx)
			return
		}
		p.feedOpened(ctx, out.(*rpc.Client))
	})
}

// subscribe opens a connection and registers for all events of a driver. An event that the daemon does not know yet is
// left out.
func (a Address) subscribe(ctx context.Context, branch string, patience time.Duration) (*rpc.Client, error) {
	c, err := a.dial(ctx, identity{own: true}, patience)
	if err != nil {
		return nil, err
	}
	reg := registrars[branch]
	for id := int32(0); ; id++ {
		if _, ok := protocol.LookupEvent(reg.object, id); !ok {
			return c, nil
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

func (p *peer) feedOpened(ctx actor.Context, c *rpc.Client) {
	p.feed.client, p.feed.pause, p.lost = c, 0, time.Time{}
	root, self := ctx.ActorSystem().Root, ctx.Self()
	go func() {
		for ev := range c.Events() {
			root.Send(self, &heard{c, ev})
		}
		<-c.Done()
		root.Send(self, &feedLost{c})
	}()
	p.feed.Release(ctx) // the subscriptions come again, now for the bus
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
