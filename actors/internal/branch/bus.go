package branch

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
)

// Bus hands the events of a branch to its subscribers: client actors of this process and of others.
// It belongs to the branch's actor and is touched only inside its Receive.
type Bus struct {
	subscribers map[string]*actor.PID
	herald      *actor.PID // nil before the first subscription
}

// Receive handles Subscribe, Unsubscribe and the death of a subscriber; it reports whether the message
// was one of these.
func (b *Bus) Receive(ctx actor.Context) bool {
	switch m := ctx.Message().(type) {
	case *call.Subscribe:
		if b.subscribers == nil {
			b.subscribers = map[string]*actor.PID{}
			b.herald = newHerald(ctx)
		}
		who := ctx.Sender()
		if _, ok := b.subscribers[key(who)]; !ok {
			b.subscribers[key(who)] = who
			ctx.Watch(who)
			ctx.Send(b.herald, &subscribed{who})
		}
		ctx.Respond(&call.SubscribeResult{Serial: m.Serial})
	case *call.Unsubscribe:
		if who := ctx.Sender(); who != nil && b.drop(ctx, who) {
			ctx.Unwatch(who)
		}
	case *actor.Terminated:
		return m.Who.Equal(b.herald) || b.drop(ctx, m.Who)
	default:
		return false
	}
	return true
}

// drop forgets a subscriber, and tells whether it was one.
func (b *Bus) drop(ctx actor.Context, who *actor.PID) bool {
	if _, ok := b.subscribers[key(who)]; !ok {
		return false
	}
	delete(b.subscribers, key(who))
	ctx.Send(b.herald, &unsubscribed{who})
	return true
}

// Publish sends the event to every subscriber.
func (b *Bus) Publish(ctx actor.Context, ev *call.Event) {
	for _, who := range b.subscribers {
		ctx.Send(who, ev)
	}
}

// Subscribers tells how many there are, so that a branch need not encode what nobody hears.
func (b *Bus) Subscribers() int { return len(b.subscribers) }

func key(p *actor.PID) string { return p.Address + "/" + p.Id }
