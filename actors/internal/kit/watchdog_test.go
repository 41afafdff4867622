package kit

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/await"
	"virtree/actors/internal/mailbox"
	"virtree/supervisors"
)

type stall struct{ enter, leave chan struct{} }

//go:noinline
func stallHere(s stall) { s.enter <- struct{}{}; <-s.leave }

func TestWatchdogReportsOnceTellsTheParentAndSeesTheReturn(t *testing.T) {
	system, _ := newSystem()
	told := make(chan *supervisors.ChildStuck, 4)
	ready := make(chan *actor.PID, 2)
	system.Root.Spawn(Func(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			for range 2 {
				ready <- c.Spawn(Func(func(c actor.Context) {
					if s, ok := c.Message().(stall); ok {
						stallHere(s)
					}
				}))
			}
		case *supervisors.ChildStuck:
			told <- m
		}
	}))
	pid := await.From(t, ready, "a child")
	await.From(t, ready, "an innocent sibling")
	s := stall{make(chan struct{}), make(chan struct{})}
	system.Root.Send(pid, s)
	await.From(t, s.enter, "the stall")
	system.Root.Send(pid, request{1})

	log := &log{}
	reports, backs := make(chan Stuck, 4), make(chan Stuck, 4)
	w := &Watchdog{System: system, Log: zerolog.New(log), Slow: time.Nanosecond, Abandon: time.Millisecond,
		OnSlow: func(s Stuck) { reports <- s }, OnBack: func(s Stuck) { backs <- s }}
	for range 3 {
		time.Sleep(2 * time.Millisecond) // age is what is tested
		w.sweep()
	}
	r := await.From(t, reports, "the report")
	if r.PID.Id != pid.Id || r.Message != "kit.stall" || r.Waiting != 1 || !strings.Contains(r.Stack, "kit.stallHere") {
		t.Errorf("report %+v", r)
	}
	if m := await.From(t, told, "ChildStuck"); m.Child.Id != pid.Id || m.Busy < time.Millisecond || m.Stack == "" {
		t.Errorf("told %+v", m)
	}
	close(s.leave)
	await.True(t, "it has come back", func() bool { w.sweep(); return len(backs) == 1 })
	if len(reports)+len(told) != 0 {
		t.Errorf("%d more reports, %d more told", len(reports), len(told))
	}
	if l := log.String(); strings.Count(l, "does not come back") != 1 || strings.Count(l, "came back") != 1 {
		t.Errorf("log %s", l)
	}
}

// An endless loop is seen like a wait, and what the actor started is not taken for the actor.
func TestWatchdogSeesAnEndlessLoop(t *testing.T) {
	system, _ := newSystem()
	var end atomic.Bool
	enter, helper := make(chan struct{}), make(chan struct{})
	pid := system.Root.Spawn(Func(func(c actor.Context) {
		if _, ok := c.Message().(request); ok {
			go func() { <-helper }() // inherits the label
			close(enter)
			spinHere(&end)
		}
	}))
	system.Root.Send(pid, request{1})
	await.From(t, enter, "the loop")
	reports := make(chan Stuck, 1)
	w := &Watchdog{System: system, Log: zerolog.Nop(), Slow: time.Nanosecond, Abandon: -1, OnSlow: func(s Stuck) { reports <- s }}
	w.sweep()
	if r := await.From(t, reports, "the report"); !strings.Contains(r.Stack, "kit.spinHere") || r.Message != "kit.request" {
		t.Errorf("report %+v", r)
	}
	end.Store(true)
	close(helper)
}

//go:noinline
func spinHere(end *atomic.Bool) {
	for !end.Load() {
	}
}

func TestWatchdogCountsTheAbandoned(t *testing.T) {
	system, _ := newSystem()
	s := stall{make(chan struct{}), make(chan struct{})}
	tooMany := make(chan int, 4)
	w := &Watchdog{System: system, Log: zerolog.Nop(), Slow: time.Nanosecond, Abandon: time.Nanosecond, MaxAbandoned: 1,
		OnAbandon: func(s Stuck) { Observe(system).Abandon(s.PID.Id) }, OnTooMany: func(n int) { tooMany <- n }}
	for n := range 2 {
		pid := system.Root.Spawn(Func(func(c actor.Context) {
			if s, ok := c.Message().(stall); ok {
				stallHere(s)
			}
		}))
		system.Root.Send(pid, s)
		await.From(t, s.enter, "the stall")
		w.sweep() // abandons it
		w.sweep() // counts it
		if len(tooMany) != n {
			t.Errorf("told %d times with %d abandoned", len(tooMany), n+1)
		}
	}
	w.sweep()
	if await.From(t, tooMany, "the count") != 2 || len(tooMany) != 0 {
		t.Error("not told once of two")
	}
	close(s.leave)
}

func TestWatchdogKeepsTheLimitOfTheKind(t *testing.T) {
	system, _ := newSystem()
	s := stall{make(chan struct{}), make(chan struct{})}
	pid := system.Root.Spawn(Func(func(c actor.Context) {
		if s, ok := c.Message().(stall); ok {
			stallHere(s)
		}
	}, Slow(time.Hour)))
	system.Root.Send(pid, s)
	await.From(t, s.enter, "the stall")
	w := &Watchdog{System: system, Log: zerolog.Nop(), Slow: time.Nanosecond, OnSlow: func(s Stuck) { t.Errorf("reported %+v", s) }}
	w.sweep()
	close(s.leave)
}

// Without traffic the watchdog sleeps. The first message wakes it, and it stays awake as long as an actor does not come
// back, however quiet the rest is.
func TestWatchdogSleepsWhenNothingHappens(t *testing.T) {
	await.True(t, "quiet", func() bool { return mailbox.Traffic() != nil })
	system, _ := newSystem()
	reports, backs := make(chan Stuck, 1), make(chan Stuck, 1)
	w := &Watchdog{System: system, Log: zerolog.Nop(), Every: 5 * time.Millisecond, Slow: time.Second, Abandon: -1,
		OnSlow: func(s Stuck) { reports <- s }, OnBack: func(s Stuck) { backs <- s }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	pid := system.Root.Spawn(Func(func(c actor.Context) {
		if s, ok := c.Message().(stall); ok {
			stallHere(s)
		}
	}))
	await.True(t, "quiet again", func() bool { return mailbox.Traffic() != nil })
	s := stall{make(chan struct{}), make(chan struct{})}
	system.Root.Send(pid, s)
	await.From(t, s.enter, "the stall")
	if r := await.From(t, reports, "the report"); r.PID.Id != pid.Id {
		t.Errorf("reported %+v", r)
	}
	close(s.leave)
	await.From(t, backs, "the return")
	cancel()
	await.From(t, done, "the end of the watchdog")
}

// With its own limits, not a test's: a stuck actor is named within two seconds, and nothing is done about it yet.
func TestWatchdogNamesAStuckActorWithinTwoSeconds(t *testing.T) {
	system, _ := newSystem()
	reports := make(chan Stuck, 1)
	w := &Watchdog{System: system, Log: zerolog.Nop(), OnSlow: func(s Stuck) { reports <- s },
		OnAbandon: func(s Stuck) { t.Errorf("given up after %v", s.Busy) }}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.Run(ctx)
	pid := system.Root.Spawn(Func(func(c actor.Context) {
		if s, ok := c.Message().(stall); ok {
			stallHere(s)
		}
	}))
	s := stall{make(chan struct{}), make(chan struct{})}
	defer close(s.leave)
	system.Root.Send(pid, s)
	await.From(t, s.enter, "the stall")
	if r := await.From(t, reports, "the report"); r.Busy >= 2*time.Second || r.Message != "kit.stall" || !strings.Contains(r.Stack, "kit.stallHere") {
		t.Errorf("reported %+v", r)
	}
}

// A kind that may work long is not given up before its own limit, and one that may not is before the others.
func TestWatchdogGivesUpByKind(t *testing.T) {
	system, _ := newSystem()
	given := make(chan Stuck, 4)
	w := &Watchdog{System: system, Log: zerolog.Nop(), Slow: time.Nanosecond, Abandon: time.Millisecond, OnAbandon: func(s Stuck) { given <- s }}
	spawn := func(o ...Option) *actor.PID {
		s := stall{make(chan struct{}), make(chan struct{})}
		pid := system.Root.Spawn(Func(func(c actor.Context) {
			if s, ok := c.Message().(stall); ok {
				stallHere(s)
			}
		}, o...))
		system.Root.Send(pid, s)
		await.From(t, s.enter, "the stall")
		t.Cleanup(func() { close(s.leave) })
		return pid
	}
	spawn(Abandon(time.Hour))
	common := spawn()
	time.Sleep(2 * time.Millisecond) // age is what is tested
	w.sweep()
	w.sweep()
	if s := await.From(t, given, "one given up"); s.PID.Id != common.Id || len(given) != 0 {
		t.Errorf("%v was given up, and %d more", s.PID, len(given))
	}
	w.Abandon = time.Hour
	hasty := spawn(Abandon(time.Millisecond))
	time.Sleep(2 * time.Millisecond)
	w.sweep()
	if s := await.From(t, given, "the hasty one given up"); s.PID.Id != hasty.Id {
		t.Errorf("%v was given up", s.PID)
	}
}

// A process that was stopped for a while has not been stuck: everybody has his time again.
func TestWatchdogForgivesAPauseOfTheProcess(t *testing.T) {
	system, _ := newSystem()
	s := stall{make(chan struct{}), make(chan struct{})}
	defer close(s.leave)
	pid := system.Root.Spawn(Func(func(c actor.Context) {
		if s, ok := c.Message().(stall); ok {
			stallHere(s)
		}
	}))
	reports := make(chan Stuck, 1)
	w := &Watchdog{System: system, Log: zerolog.Nop(), Every: time.Millisecond, Slow: 20 * time.Millisecond, Abandon: -1, OnSlow: func(s Stuck) { reports <- s }}
	w.sweep()
	system.Root.Send(pid, s)
	await.From(t, s.enter, "the stall")
	time.Sleep(25 * time.Millisecond)
	w.last = time.Now().Add(-time.Minute) // as if nobody had run
	w.sweep()
	if len(reports) != 0 {
		t.Error("reported for a pause of the process")
	}
	time.Sleep(25 * time.Millisecond)
	w.sweep()
	await.From(t, reports, "the report after its time")
}
