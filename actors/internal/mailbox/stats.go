package mailbox

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Stats is what can be seen of an actor from outside, without asking it.
type Stats struct {
	PID       *actor.PID
	Kind      string
	System    int           // queued framework messages
	Urgent    int           // queued urgent messages
	Normal    int           // queued requests
	Limit     int           // of Normal; 0 = none
	Oldest    time.Duration // age of the message that waits longest
	Busy      time.Duration // how long the message in hand has been handled; 0 = idle
	Current   string        // type of the message in hand
	Processed uint64
	Refused   uint64
	Flows     int // of Normal: how many take turns
	MaxDepth  int
	Suspended bool // failed and waiting for its supervisor
	Stopping  bool
	Abandoned bool
}

// Depth is the number of user messages that wait.
func (s Stats) Depth() int { return s.Urgent + s.Normal }

// Stats takes the mailbox's lock for a moment; a stuck actor does not hold it. Times are up to 50 ms too large.
func (m *Mailbox) Stats() Stats {
	at := exact()
	m.mu.Lock()
	s := Stats{
		PID:       m.self,
		Kind:      m.opts.Kind,
		System:    m.lane[system].n,
		Urgent:    m.lane[urgent].n,
		Normal:    m.requests.n,
		Limit:     m.opts.Limit,
		Processed: m.processed,
		Refused:   m.refused,
		Flows:     m.requests.flows(),
		MaxDepth:  m.max,
		Suspended: m.suspended,
		Stopping:  m.stopping,
		Abandoned: m.abandoned,
	}
	oldest := m.requests.oldest()
	for i := range m.lane {
		if t := m.lane[i].oldest(); t != 0 && (oldest == 0 || t < oldest) {
			oldest = t
		}
	}
	current, since := m.current, m.since
	m.mu.Unlock()

	if oldest != 0 {
		s.Oldest = time.Duration(max(0, at-oldest))
	}
	if current != nil {
		s.Busy = time.Duration(max(1, at-since))
		s.Current = typeOf(current) // its type only: the content belongs to the actor now
	}
	return s
}

// BusyFor is the cheap part of Stats for the sweeper: how long the message in hand has taken, and its number.
func (m *Mailbox) BusyFor() (d time.Duration, message uint64) {
	at := exact()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil {
		return 0, m.processed
	}
	return time.Duration(max(1, at-m.since)), m.processed
}

// SlowAfter is Options.Slow of this kind of actor.
func (m *Mailbox) SlowAfter() time.Duration { return m.opts.Slow }

// AbandonAfter is Options.Abandon of this kind of actor.
func (m *Mailbox) AbandonAfter() time.Duration { return m.opts.Abandon }

// Parent is the supervisor of the actor; nil at the top.
func (m *Mailbox) Parent() *actor.PID { return m.parent }

// Abandoned reports that the actor was given up and has not come back.
func (m *Mailbox) Abandoned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.abandoned && !m.dead
}

// PID of the actor; nil before it was spawned.
func (m *Mailbox) PID() *actor.PID { return m.self }

func typeOf(msg any) string {
	if env, ok := msg.(*actor.MessageEnvelope); ok {
		msg = env.Message
	}
	return fmt.Sprintf("%T", plain(msg))
}
