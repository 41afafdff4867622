package kit

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/mailbox"
	"virtree/supervisors"
)

// Watchdog looks at all actors of a system at an interval and reports those that do not come back from a message. It
// reads what mailboxes publish, so nothing that an actor does can hold it up. Zero fields have defaults.
type Watchdog struct {
	System  *actor.ActorSystem
	Log     zerolog.Logger
	Every   time.Duration // between two looks; 500 ms
	Slow    time.Duration // report; 1 s. Options of the kind of actor (Slow) go before it
	Abandon time.Duration // after so long the supervisor is told; 10 s; < 0 = never. Likewise (Abandon)
	// OnAbandon replaces telling the parent.
	OnAbandon func(Stuck)
	// Each abandoned actor keeps a goroutine and what it holds. When more than MaxAbandoned have not come back, OnTooMany
	// is called, once: in split mode the process is then recycled. 0 = never.
	MaxAbandoned int
	OnTooMany    func(n int)
	// OnSlow is told at each report, OnBack when such an actor has come back.
	OnSlow, OnBack func(Stuck)

	seen    map[*mailbox.Mailbox]*episode
	boxes   []*mailbox.Mailbox // of a sweep, for the next one
	toldAll bool
	last    time.Time // of the looks
	thawed  time.Time // when the process last went on after a pause
}

// Why these limits. A Receive takes microseconds, so a second is an error to report, and with a look each half second it is
// named within two. What it costs to give up an actor that would have come back is one error for each call that it holds; what
// it costs to wait is all calls on its object. libvirt's clients bear 30 s of waiting for an object's job and as much of
// silence: at 10 s they have an answer, and a successor, in the middle of that.
const (
	watchdogEvery   = 500 * time.Millisecond
	watchdogSlow    = time.Second
	watchdogAbandon = 10 * time.Second
)

// Stuck is an actor that has been in one message for long.
type Stuck struct {
	PID, Parent *actor.PID
	Message     string // type of the message in hand
	Busy        time.Duration
	Waiting     int // user messages behind it
	Stack       string
}

// episode is one message that was reported.
type episode struct {
	message uint64
	stuck   Stuck
	told    bool // the supervisor was
	looked  bool // in this sweep
}

// Run sweeps until ctx ends. While no actor is busy and none is sent anything it sleeps: an idle process has no timer
// of its watchdog's.
func (w *Watchdog) Run(ctx context.Context) {
	w.defaults()
	t := time.NewTicker(w.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		traffic := mailbox.Traffic() // before the look: what is sent after it closes the channel
		if w.sweep() || traffic == nil {
			continue
		}
		t.Stop()
		select {
		case <-ctx.Done():
			return
		case <-traffic:
			w.last = time.Now()
			t.Reset(w.Every)
		}
	}
}

func (w *Watchdog) defaults() {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&w.Every, watchdogEvery)
	or(&w.Slow, watchdogSlow)
	or(&w.Abandon, watchdogAbandon)
	if w.seen == nil {
		w.seen = make(map[*mailbox.Mailbox]*episode)
	}
	if w.OnAbandon == nil {
		w.OnAbandon = w.tellParent
	}
}

// sweep looks at all actors once, and tells whether any was in a message.
func (w *Watchdog) sweep() (anyBusy bool) {
	w.defaults()
	now := time.Now()
	if !w.last.IsZero() && now.Sub(w.last) > 4*w.Every+time.Second {
		w.thawed = now // we did not run, so nobody did: all have their time again
	}
	w.last = now
	var all stacks // taken once per sweep, and only when there is news
	abandoned := 0
	w.boxes = mailbox.RegistryOf(w.System).Busy(w.boxes[:0])
	defer func() { clear(w.boxes) }()
	for _, m := range w.boxes {
		busy, message := m.BusyFor()
		anyBusy = anyBusy || busy > 0
		if !w.thawed.IsZero() {
			busy = min(busy, now.Sub(w.thawed))
		}
		limit, giveUp := cmp.Or(m.SlowAfter(), w.Slow), cmp.Or(m.AbandonAfter(), w.Abandon)
		if busy < limit {
			if e := w.seen[m]; e != nil && e.message == message {
				e.looked = true // reported before a pause
			}
			continue
		}
		e := w.seen[m]
		if e != nil && e.message != message {
			w.back(e)
			e = nil
		}
		if e == nil {
			if all == nil {
				all = newStacks()
			}
			s := m.Stats()
			e = &episode{message: message, stuck: Stuck{PID: m.PID(), Parent: m.Parent(), Message: s.Current, Stack: all.find(m.PID().Id, "")}}
			w.seen[m] = e
			e.stuck.Busy, e.stuck.Waiting = busy, s.Depth()
			w.report(e)
		}
		if m.Abandoned() {
			abandoned++
		}
		e.looked = true
		e.stuck.Busy = busy
		if w.Abandon > 0 && busy >= max(giveUp, limit) && !e.told {
			e.told = true
			w.OnAbandon(e.stuck)
		}
	}
	if w.MaxAbandoned > 0 && abandoned > w.MaxAbandoned && !w.toldAll && w.OnTooMany != nil {
		w.toldAll = true
		w.OnTooMany(abandoned)
	}
	for m, e := range w.seen {
		if !e.looked {
			delete(w.seen, m)
			w.back(e)
		}
		e.looked = false
	}
	return anyBusy
}

func (w *Watchdog) report(e *episode) {
	s := e.stuck
	w.Log.Error().Str("actor", s.PID.Id).Str("type", s.Message).Dur("busy", s.Busy).Int("waiting", s.Waiting).
		Str("stack", s.Stack).Msg("actor does not come back")
	supervisors.Report(w.System, supervisors.Trouble{
		Kind: supervisors.TroubleStuck, Actor: s.PID.Id, Message: s.Message, Stack: s.Stack,
		Reason: fmt.Sprintf("not back from one message after %v, %d behind it", s.Busy.Round(time.Millisecond), s.Waiting),
	})
	if w.OnSlow != nil {
		w.OnSlow(s)
	}
}

func (w *Watchdog) back(e *episode) {
	w.Log.Warn().Str("actor", e.stuck.PID.Id).Str("type", e.stuck.Message).Dur("busy", e.stuck.Busy).Msg("actor came back")
	supervisors.Recovered(w.System, e.stuck.PID.Id)
	if w.OnBack != nil {
		w.OnBack(e.stuck)
	}
}

// tellParent leaves the decision to the supervisor; an actor without one can only be reported.
func (w *Watchdog) tellParent(s Stuck) {
	if s.Parent == nil {
		w.Log.Error().Str("actor", s.PID.Id).Msg("stuck actor has no supervisor")
		return
	}
	w.System.Root.Send(s.Parent, &supervisors.ChildStuck{Child: s.PID, Message: s.Message, Busy: s.Busy, Stack: s.Stack})
}
