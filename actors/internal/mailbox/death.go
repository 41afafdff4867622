package mailbox

import (
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
)

// bury finds out whether the actor has just stopped, which nobody tells a mailbox: its name is then no longer
// registered, or is a successor's. It answers what is left.
func (m *Mailbox) bury() { m.buried() }

func (m *Mailbox) buried() (watchers []*actor.PID, died bool) {
	if m.system == nil {
		return nil, false
	}
	if p, ok := m.system.ProcessRegistry.GetLocal(m.self.Id); ok && p == m.process {
		return nil, false
	}
	m.mu.Lock()
	m.dead = true
	rest := m.lane[urgent].drain(nil)
	rest = m.requests.drain(rest)
	late := m.lane[system].drain(nil)
	watchers, m.watchers = m.watchers, nil
	m.mu.Unlock()
	m.unregister()
	for _, msg := range rest {
		m.answer(msg, Gone)
	}
	for _, msg := range late {
		if w, ok := msg.(*actor.Watch); ok {
			m.tell(w.Watcher, &actor.Terminated{Who: m.self})
		}
	}
	return watchers, true
}

// Abandon gives up on an actor that does not come back from Receive. The message in hand is answered with InHand, its queue
// with Stuck, now and later; its
// watchers and its parent get Terminated, its children are told to stop. The name stays taken until the actor comes
// back, so a successor needs another one. Reports false when the actor is dead or was abandoned before.
func (m *Mailbox) Abandon() bool {
	m.mu.Lock()
	if m.dead || m.abandoned || m.system == nil {
		m.mu.Unlock()
		return false
	}
	m.abandoned = true
	hand := m.current
	rest := m.lane[urgent].drain(nil)
	rest = m.requests.drain(rest)
	watchers := m.watchers
	m.watchers = nil
	// If it ever comes back it stops as it should: Stopping runs and gives its resources back.
	m.lane[system].push(entry{&actor.Stop{}, stamp()})
	run := m.claim()
	m.mu.Unlock()
	if run {
		m.dispatcher.Schedule(m.loop)
	}
	if hand != nil {
		m.answer(hand, InHand)
	}
	for _, msg := range rest {
		m.answer(msg, Stuck)
	}
	gone := &actor.Terminated{Who: m.self}
	for _, w := range watchers {
		m.tell(w, gone)
	}
	if m.parent != nil {
		m.tell(m.parent, gone) // the framework's list of children must forget it, or the parent can never stop
	}
	if r := RegistryOf(m.system); r != nil {
		for _, child := range r.Below(m.self.Id) {
			child.PostSystemMessage(&actor.Stop{})
		}
	}
	return true
}

func (m *Mailbox) addWatcher(pid *actor.PID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.abandoned && !slices.ContainsFunc(m.watchers, pid.Equal) {
		m.watchers = append(m.watchers, pid)
	}
}

func (m *Mailbox) dropWatcher(pid *actor.PID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = slices.DeleteFunc(m.watchers, pid.Equal)
}

func (m *Mailbox) answer(message any, why Reason) {
	if m.opts.Answer == nil || m.system == nil {
		return
	}
	_, msg, sender := actor.UnwrapEnvelope(message)
	m.opts.Answer(m.system, m.self, sender, msg, why)
}

// tell sends a system message; a watcher may be in another process, then the registry's resolver takes it.
func (m *Mailbox) tell(pid *actor.PID, msg any) {
	if m.system == nil || pid == nil {
		return
	}
	if p, ok := m.system.ProcessRegistry.Get(pid); ok {
		p.SendSystemMessage(pid, msg)
	}
}

// below reports whether id is somewhere under parent.
func below(id, parent string) bool {
	return len(id) > len(parent)+1 && id[len(parent)] == '/' && strings.HasPrefix(id, parent)
}
