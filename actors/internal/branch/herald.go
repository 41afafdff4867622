package branch

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
)

// herald is a child of a branch's actor that outlives nothing: when the branch is restarted after a panic, in
// place and under its old name, nobody who watches it hears of that, but its children are stopped. The
// herald then tells the subscribers that the new instance does not know them.
type herald struct {
	branch *actor.PID
	roll   *roll
}

func newHerald(ctx actor.Context, r *roll) *actor.PID {
	branch := ctx.Self()
	props := kit.Props(func() actor.Actor { return &herald{branch, r} }, kit.Kind("events"), kit.Limit(0))
	pid, err := ctx.SpawnNamed(props, "events")
	if err != nil { // the predecessor's name is not free yet
		pid = ctx.Spawn(props)
	}
	return pid
}

func (h *herald) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Stopping:
		for _, who := range h.roll.all() {
			ctx.RequestWithCustomSender(who, &call.SubscriptionLost{}, h.branch)
		}
	case *actor.Started, *actor.Restarting:
	default:
		kit.Unhandled(ctx, m)
	}
}

// roll is the list of subscribers. The branch's actor writes it and the herald reads it as it stops; it is
// shared, not sent, because a stop overtakes messages and the last ones to subscribe would not be told.
type roll struct {
	mu  sync.Mutex
	who map[string]*actor.PID
}

// add enters a subscriber, and tells whether it is a new one.
func (r *roll) add(who *actor.PID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.who[key(who)]; ok {
		return false
	}
	r.who[key(who)] = who
	return true
}

// drop forgets a subscriber, and tells whether it was one. A nil roll has none.
func (r *roll) drop(who *actor.PID) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.who[key(who)]; !ok {
		return false
	}
	delete(r.who, key(who))
	return true
}

func (r *roll) all() []*actor.PID {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*actor.PID, 0, len(r.who))
	for _, who := range r.who {
		list = append(list, who)
	}
	return list
}

func key(p *actor.PID) string { return p.Address + "/" + p.Id }
