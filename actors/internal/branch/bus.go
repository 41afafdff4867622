package branch

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
)

// Bus hands the events of a branch to its subscribers: client actors of this process and of others.
// It belongs to the branch's actor and is touched only inside its Receive.
type Bus struct {
	// Hold, if set, keeps the process from its idle exit while there are subscribers: the branch's Env.Hold.
	Hold func(why string) (release func())

	roll    *roll // nil before the first subscription
	herald  *actor.PID
	release func() // not nil exactly while Hold was called
}

// Receive handles Subscribe, Unsubscribe and the death of a subscriber; it reports whether the message
// was one of these.
func (b *Bus) Receive(ctx actor.Context) bool {
	switch m := ctx.Message().(type) {
	case *call.Subscribe:
		if b.roll == nil {
			b.roll = &roll{who: map[string]*actor.PID{}}
			b.herald = newHerald(ctx, b.roll)
		}
		if who := ctx.Sender(); b.roll.add(who) {
			ctx.Watch(who)
			b.holdOn()
		}
		ctx.Respond(&call.SubscribeResult{Serial: m.Serial})
	case *call.Unsubscribe:
		if who := ctx.Sender(); who != nil && b.roll.drop(who) {
			ctx.Unwatch(who)
			b.holdOn()
		}
	case *actor.Terminated:
		if m.Who.Equal(b.herald) {
			return true
		}
		if !b.roll.drop(m.Who) {
			return false
		}
		b.holdOn()
	case *actor.Stopping, *actor.Restarting:
		if b.release != nil {
			b.release()
			b.release = nil
		}
		return false // the actor has things of its own to end
	default:
		return false
	}
	return true
}

// holdOn holds the process while there is somebody to tell.
func (b *Bus) holdOn() {
	switch {
	case b.Hold == nil:
	case b.release == nil && len(b.roll.who) > 0:
		b.release = b.Hold("subscribers")
	case b.release != nil && len(b.roll.who) == 0:
		b.release()
		b.release = nil
	}
}

// Publish sends the event to every subscriber.
func (b *Bus) Publish(ctx actor.Context, ev *call.Event) {
	if b.roll == nil {
		return
	}
	// Only the branch's own actor changes the roll, so it reads it without the lock.
	for _, who := range b.roll.who {
		ctx.Send(who, ev)
	}
}

// Subscribers tells how many there are, so that a branch need not encode what nobody hears.
func (b *Bus) Subscribers() int {
	if b.roll == nil {
		return 0
	}
	return len(b.roll.who)
}
