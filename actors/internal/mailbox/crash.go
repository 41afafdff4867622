package mailbox

import (
	"errors"

	"github.com/asynkron/protoactor-go/actor"
)

// errGoexit is the reason of a failure by runtime.Goexit (t.FailNow in a test's actor), which recover does not show.
var errGoexit = errors.New("runtime.Goexit in Receive")

// failed handles a panic in msg, on the panicking stack.
func (m *Mailbox) failed(panicked, msg any, lane int) {
	reason := panicked
	if m.opts.Crash != nil && m.system != nil {
		_, inner, sender := actor.UnwrapEnvelope(msg)
		reason = m.opts.Crash(m.system, m.self, sender, plain(inner), panicked)
	}
	if lane == system && m.system != nil && m.isStopping() {
		if t, ok := msg.(*actor.Terminated); ok && t.Who == m.self {
			// Even the nudge of finishStop panicked. Stop it without its help.
			m.system.ProcessRegistry.Remove(m.self)
		}
		if watchers, died := m.buried(); died {
			// A panic in Stopped: the framework has not yet told anyone, and never will.
			gone := &actor.Terminated{Who: m.self}
			for _, w := range append(watchers, m.parent) {
				m.tell(w, gone)
			}
			return
		}
		m.finishStop()
		return
	}
	m.invoker.EscalateFailure(reason, msg)
}

// finishStop does what the framework does after Stopping, when Stopping (or a child's Terminated) panicked: a failure
// here would otherwise turn the stop into a restart. The Terminated of itself makes the framework look whether children
// are left.
func (m *Mailbox) finishStop() {
	if s, ok := m.invoker.(actor.Supervisor); ok {
		s.StopChildren(s.Children()...)
	}
	m.PostSystemMessage(&actor.Terminated{Who: m.self})
}
