package client

import (
	"regexp"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
	"virtree/wire/xdr"
)

// registration is one event callback of the client.
type registration struct {
	id     int32 // the callback id; -1 in the legacy forms, which have none
	object string
	event  int32
	filter *protocol.UUID // only this object's events
	name   string         // likewise, for node devices; for monitor events the event's name
	match  *regexp.Regexp // monitor events by pattern instead
}

// registry holds the client's registrations and the subscriptions to branches they need.
type registry struct {
	list   []registration
	nextID int32
	// subscribed holds, by branch name, who delivers that branch's events.
	subscribed map[string]*actor.PID
}

// release ends all subscriptions.
func (r *registry) release(ctx actor.Context) {
	for _, pid := range r.subscribed {
		ctx.Request(pid, &call.Unsubscribe{})
	}
	r.subscribed = nil
}

// lost forgets the subscription to a branch that died, and tells whether somebody registered for its events.
func (r *registry) lost(who *actor.PID) bool {
	for name, pid := range r.subscribed {
		if pid.Id == who.Id && pid.Address == who.Address {
			delete(r.subscribed, name)
			return len(r.list) > 0
		}
	}
	return false
}

// resubscribe reminds a client that a branch it had subscribed to was lost.
type resubscribe struct{}

// Urgent keeps the gap in the events short.
func (*resubscribe) Urgent() bool { return true }

// resubscribePause is how long a branch gets to come back before it is asked again.
const resubscribePause = 200 * time.Millisecond

func (c *client) resubscribeLater(ctx actor.Context) {
	root, self := ctx.ActorSystem().Root, ctx.Self()
	time.AfterFunc(resubscribePause, func() { root.Send(self, &resubscribe{}) })
}

// resubscribe subscribes to every branch that registrations need and that does not deliver: the branch was
// restarted, and has forgotten its subscribers.
func (c *client) resubscribe(ctx actor.Context) {
	asked := map[string]bool{}
	for _, reg := range c.events.list {
		branch := c.eventBranch(reg.object)
		if _, ok := c.events.subscribed[branch]; ok || branch == "" || asked[branch] || c.closing {
			continue
		}
		asked[branch] = true
		to := c.conf.Branch(branch)
		if to == nil {
			c.resubscribeLater(ctx)
			continue
		}
		c.subscribe(ctx, branch, to, func(ctx actor.Context, err *liberr.Error) {
			if err != nil {
				c.resubscribeLater(ctx)
			}
		})
	}
}

// eventBranch names the branch whose events an object kind has.
func (c *client) eventBranch(object string) string {
	switch object {
	case "network", "secret":
		return c.branchOf(object)
	case "storage_pool":
		return c.branchOf("storage")
	case "node_device":
		return c.branchOf("nodedev")
	}
	if !hypervisors[c.scheme] {
		return ""
	}
	return c.branchOf("hypervisor")
}

// register enters a registration, and answers the packet once the branch delivers.
func (c *client) register(ctx actor.Context, p *rpc.Packet, reg registration, legacy bool, answer func(id int32) protocol.Encoder) (protocol.Encoder, error) {
	proc, err := c.lookup(p.Header)
	if err != nil {
		return nil, err
	}
	if !c.opened {
		return nil, notOpen(proc)
	}
	if reg.event != call.EventMonitor && c.events.has(&reg) {
		return nil, errTracked
	}
	branch := c.eventBranch(reg.object)
	to := c.conf.Branch(branch)
	if branch == "" || to == nil {
		if reg.object == "domain" && reg.event != call.EventMonitor {
			proc = protocol.ConnectDomainEventCallbackRegisterAny.Procedure // the function behind all forms
		}
		return nil, call.Unsupported(proc)
	}
	reg.id = -1
	if !legacy {
		reg.id = c.events.nextID
		c.events.nextID++
	}
	// Also with a subscription: its answer comes behind all events that happened before the registration, which
	// are not for it.
	c.subscribe(ctx, branch, to, func(_ actor.Context, err *liberr.Error) {
		if err != nil {
			c.refuse(p, err)
			return
		}
		if reg.event != call.EventMonitor && c.events.has(&reg) { // registered twice at once
			c.refuse(p, errTracked)
			return
		}
		c.events.list = append(c.events.list, reg)
		c.respond(p, answer(reg.id))
	})
	return nil, errLater
}

// subscribe asks a branch for its events.
func (c *client) subscribe(ctx actor.Context, branch string, to *actor.PID, then func(actor.Context, *liberr.Error)) {
	pend := &pending{then: func(ctx actor.Context, answer any) {
		err := liberr.New(liberr.FromRPC, liberr.InternalError, "unexpected answer %T", answer)
		switch m := answer.(type) {
		case *call.SubscribeResult:
			err = m.Err
		case *call.Reply:
			err = m.Err
		}
		if err == nil {
			if c.events.subscribed == nil {
				c.events.subscribed = map[string]*actor.PID{}
			}
			c.events.subscribed[branch] = to
		}
		then(ctx, err)
	}}
	serial, _ := c.asks.Add(to, time.Time{}, pend)
	c.watch(ctx, to)
	ctx.Request(to, &call.Subscribe{Serial: serial})
}

// errTracked is the answer to a second registration for the same events, in whatever form.
var errTracked = liberr.New(liberr.FromNone, liberr.InvalidArg, "event callback already tracked")

// has tells whether the same events of the same object are registered for.
func (r *registry) has(reg *registration) bool {
	for i := range r.list {
		o := &r.list[i]
		if o.object == reg.object && o.event == reg.event && o.name == reg.name &&
			(o.filter == nil) == (reg.filter == nil) && (o.filter == nil || *o.filter == *reg.filter) {
			return true
		}
	}
	return false
}

// remove drops the first registration that fits, or says that there is none.
func (c *client) remove(p *rpc.Packet, fits func(*registration) bool, missing *liberr.Error) (protocol.Encoder, error) {
	if !c.opened {
		proc, err := c.lookup(p.Header)
		if err != nil {
			return nil, err
		}
		return nil, notOpen(proc)
	}
	for i := range c.events.list {
		if fits(&c.events.list[i]) {
			c.events.list = append(c.events.list[:i], c.events.list[i+1:]...)
			return nil, nil
		}
	}
	return nil, missing
}

// event sends one event to every callback that wants it.
func (c *client) event(ev *call.Event) {
	if c.closing {
		return
	}
	c.conn.Cork()
	defer c.conn.Uncork()
	for i := range c.events.list {
		r := &c.events.list[i]
		if r.object != ev.Object || r.event != ev.ID || !r.wants(ev) {
			continue
		}
		proc, legacy := messageOf(ev)
		if r.id < 0 {
			if legacy != nil {
				c.message(legacy, ev.Payload)
			}
			continue
		}
		c.message(proc, append(xdr.AppendInt32(make([]byte, 0, 4+len(ev.Payload)), r.id), ev.Payload...))
	}
}

// wants checks the filters.
func (r *registration) wants(ev *call.Event) bool {
	switch {
	case r.filter != nil && *r.filter != ev.UUID:
		return false
	case r.match != nil:
		return r.match.MatchString(ev.Name)
	case r.name != "":
		return r.name == ev.Name
	}
	return true
}

// messageOf finds the procedures that carry an event: with callback id, and the legacy one.
func messageOf(ev *call.Event) (proc, legacy *protocol.Procedure) {
	if ev.ID == call.EventMonitor {
		return protocol.QemuDomainMonitorEvent.Procedure, nil
	}
	e, _ := protocol.LookupEvent(ev.Object, ev.ID)
	return e.Message, e.Legacy
}
