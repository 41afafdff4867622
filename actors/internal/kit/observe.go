package kit

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/mailbox"
	"virtree/supervisors"
)

// Observe is how the supervisors, who may not know mailboxes, see the actors of a system.
func Observe(system *actor.ActorSystem) supervisors.Observer { return observer{system} }

type observer struct{ system *actor.ActorSystem }

func (o observer) Actors() []supervisors.ActorInfo {
	boxes := mailbox.RegistryOf(o.system).Sorted()
	infos := make([]supervisors.ActorInfo, 0, len(boxes))
	for _, m := range boxes {
		infos = append(infos, info(m))
	}
	return infos
}

func (o observer) Actor(id string) (supervisors.ActorInfo, bool) {
	m := mailbox.RegistryOf(o.system).Find(id)
	if m == nil {
		return supervisors.ActorInfo{}, false
	}
	return info(m), true
}

func info(m *mailbox.Mailbox) supervisors.ActorInfo {
	s := m.Stats()
	return supervisors.ActorInfo{
		ID: s.PID.Id, Kind: s.Kind, Depth: s.Depth(), Limit: s.Limit, Oldest: s.Oldest, Busy: s.Busy, Current: s.Current,
		Processed: s.Processed, Refused: s.Refused, MaxDepth: s.MaxDepth,
		Suspended: s.Suspended, Stopping: s.Stopping, Abandoned: s.Abandoned,
	}
}

func (o observer) Jobs() []supervisors.JobInfo { return jobsOf(o.system).all() }

func (o observer) Abandon(id string) bool {
	m := mailbox.RegistryOf(o.system).Find(id)
	if m == nil || !m.Abandon() {
		return false
	}
	debtsOf(o.system).fail(id)
	for _, r := range jobsOf(o.system).of(id) { // nobody will take their results
		r.Cancel(ErrActorGone)
	}
	return true
}
