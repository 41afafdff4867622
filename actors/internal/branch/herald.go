package branch

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
)

// herald is a child of a branch's actor that outlives nothing: when the branch is restarted after a panic, in
// place and under its old name, nobody who watches it hears of that, but its children are stopped. The
// herald then tells the subscribers that the new instance does not know them.
type herald struct {
	branch      *actor.PID
	subscribers map[string]*actor.PID
}

// subscribed and unsubscribed keep the herald's list.
type (
	subscribed   struct{ who *actor.PID }
	unsubscribed struct{ who *actor.PID }
)

func newHerald(ctx actor.Context) *actor.PID {
	branch := ctx.Self()
	props := kit.Props(func() actor.Actor {
		return &herald{branch: branch, subscribers: map[string]*actor.PID{}}
	}, kit.Kind("events"), kit.Limit(0))
	pid, err := ctx.SpawnNamed(props, "events")
	if err != nil { // the predecessor's name is not free yet
		pid = ctx.Spawn(props)
	}
	return pid
}

func (h *herald) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *subscribed:
		h.subscribers[key(m.who)] = m.who
	case *unsubscribed:
		delete(h.subscribers, key(m.who))
	case *actor.Stopping:
		for _, who := range h.subscribers {
			ctx.RequestWithCustomSender(who, &call.SubscriptionLost{}, h.branch)
		}
	case *actor.Started, *actor.Restarting:
	default:
		kit.Unhandled(ctx, m)
	}
}
