package mailbox

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"virtree/actors/internal/await"

	"github.com/asynkron/protoactor-go/actor"
)

type work struct{ n int }
type hurry struct{ n int }

func (hurry) Urgent() bool { return true }

// gate holds an actor inside Receive: it says that it is in, and goes on when told.
type gate struct{ in, out chan struct{} }

func newGate() gate { return gate{make(chan struct{}), make(chan struct{})} }

// answers collects what a mailbox refused.
type answers struct {
	mu  sync.Mutex
	all []string
}

func (a *answers) answer(_ *actor.ActorSystem, _, sender *actor.PID, msg any, why Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, fmt.Sprintf("%v %v to %v", msg, why, sender.GetId()))
}

func (a *answers) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.all, "\n")
}

func (a *answers) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all)
}

func TestUrgentGoesFirstAndOrderIsKeptWithinALane(t *testing.T) {
	system := quiet()
	g, seen := newGate(), make(chan string, 16)
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case gate:
			m.in <- struct{}{}
			<-m.out
		case work, hurry, *actor.Touch:
			seen <- fmt.Sprintf("%T%v", m, m)
		}
	}, actor.WithMailbox(Producer(nil))))
	system.Root.Send(pid, g)
	await.From(t, g.in, "the actor to enter")
	from := system.NewLocalPID("asker")
	system.Root.Send(pid, work{1})
	system.Root.RequestWithCustomSender(pid, work{2}, from)
	system.Root.RequestWithCustomSender(pid, hurry{1}, from) // urgency is read inside the envelope
	system.Root.Send(pid, work{3})
	system.Root.Send(pid, hurry{2})
	g.out <- struct{}{}
	var got []string
	for range 5 {
		got = append(got, await.From(t, seen, "messages"))
	}
	want := "mailbox.hurry{1} mailbox.hurry{2} mailbox.work{1} mailbox.work{2} mailbox.work{3}"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("order %s, want %s", s, want)
	}
}

func TestFullLaneAnswersBusyAndTakesUrgentAndPoison(t *testing.T) {
	system, refused := quiet(), &answers{}
	Attach(system)
	g, seen := newGate(), make(chan any, 16)
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case gate:
			m.in <- struct{}{}
			<-m.out
		case work, hurry, *actor.Stopped:
			seen <- m
		}
	}, actor.WithMailbox(Producer(&Options{Limit: 2, Answer: refused.answer}))))
	system.Root.Send(pid, g)
	await.From(t, g.in, "the actor to enter")
	from := system.NewLocalPID("asker")
	for n := range 4 {
		system.Root.RequestWithCustomSender(pid, work{n}, from)
	}
	system.Root.Send(pid, hurry{9})
	system.Root.Poison(pid)
	if want := "{2} busy to asker\n{3} busy to asker"; refused.String() != want {
		t.Errorf("refused %q, want %q", refused, want)
	}
	s := RegistryOf(system).Find(pid.Id).Stats()
	if s.Normal != 3 || s.Urgent != 1 || s.Refused != 2 || s.MaxDepth != 4 || s.Limit != 2 {
		t.Errorf("stats %+v", s)
	}
	g.out <- struct{}{}
	want := []any{hurry{9}, work{0}, work{1}}
	for _, w := range want {
		if got := await.From(t, seen, "messages"); got != w {
			t.Errorf("got %v, want %v", got, w)
		}
	}
	await.From(t, seen, "the poison pill to work")
}

func TestStopAnswersTheRestOfTheQueue(t *testing.T) {
	system, refused := quiet(), &answers{}
	r := Attach(system)
	g := newGate()
	props := actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(gate); ok {
			m.in <- struct{}{}
			<-m.out
		}
	}, actor.WithMailbox(Producer(&Options{Answer: refused.answer})))
	pid, err := system.Root.SpawnNamed(props, "a")
	if err != nil {
		t.Fatal(err)
	}
	process, _ := system.ProcessRegistry.GetLocal("a")
	system.Root.Send(pid, g)
	await.From(t, g.in, "the actor to enter")
	from := system.NewLocalPID("asker")
	system.Root.RequestWithCustomSender(pid, work{1}, from)
	system.Root.RequestWithCustomSender(pid, work{2}, from)
	system.Root.Stop(pid)
	g.out <- struct{}{}
	await.True(t, "the mailbox is gone", func() bool { return r.Len() == 0 })
	await.True(t, "all are answered", func() bool { return refused.len() == 2 })
	if want := "{1} gone to asker\n{2} gone to asker"; refused.String() != want {
		t.Errorf("answered %q, want %q", refused, want)
	}

	// A sender that looked the process up earlier is answered too, and a late watcher is told.
	process.SendUserMessage(pid, &actor.MessageEnvelope{Message: work{3}, Sender: from})
	if !strings.HasSuffix(refused.String(), "{3} gone to asker") {
		t.Errorf("late message: %q", refused)
	}
	told := make(chan *actor.PID, 1)
	watcher := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(*actor.Terminated); ok {
			told <- m.Who
		}
	}))
	process.SendSystemMessage(pid, &actor.Watch{Watcher: watcher})
	if who := await.From(t, told, "Terminated"); who.Id != "a" {
		t.Errorf("told of %v", who.Id)
	}
	process.SendSystemMessage(pid, &actor.Restart{}) // must not bring it back
	if _, ok := system.ProcessRegistry.GetLocal("a"); ok {
		t.Error("a restart brought a stopped actor back")
	}
}

func TestABurstGivesItsMemoryBack(t *testing.T) {
	m := New(nil)
	g := newGate()
	var once sync.Once
	m.RegisterHandlers(invoke(func(any) {
		once.Do(func() { g.in <- struct{}{}; <-g.out })
	}), actor.NewDefaultDispatcher(300))
	m.Start()
	for n := range 100_000 {
		m.PostUserMessage(work{n})
	}
	await.From(t, g.in, "the first message")
	close(g.out)
	await.True(t, "the queue is empty", func() bool { return m.Stats().Processed == 100_000 && m.UserMessageCount() == 0 })
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.requests.one.buf); n > keep {
		t.Errorf("%d entries are kept after the burst", n)
	}
}

type invoke func(any)

func (f invoke) InvokeSystemMessage(m any)  { f(m) }
func (f invoke) InvokeUserMessage(m any)    { f(m) }
func (f invoke) EscalateFailure(_, msg any) {}

func TestNothingRunsBeforeStart(t *testing.T) {
	m := New(&Options{Limit: 1})
	m.PostUserMessage(work{1}) // would panic on the missing dispatcher
	m.PostSystemMessage(&actor.Started{})
	seen := make(chan any, 2)
	m.RegisterHandlers(invoke(func(msg any) { seen <- msg }), actor.NewDefaultDispatcher(300))
	m.PostUserMessage(work{2}) // the limit does not bind before Start: nobody is there to answer
	m.Start()
	if _, ok := await.From(t, seen, "the first message").(*actor.Started); !ok {
		t.Error("Started is not first")
	}
	if got := await.From(t, seen, "work"); got != (work{1}) {
		t.Errorf("got %v", got)
	}
}

func TestPanicReportCarriesStackAndSender(t *testing.T) {
	system := quiet()
	type report struct {
		sender *actor.PID
		msg    any
		stack  string
	}
	reports := make(chan report, 1)
	seen := make(chan int, 4)
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case hurry:
			explode()
		case work:
			seen <- m.n
		}
	}, actor.WithMailbox(Producer(&Options{Crash: func(_ *actor.ActorSystem, _, sender *actor.PID, msg, panicked any) any {
		reports <- report{sender, msg, string(debug.Stack())}
		return panicked
	}}))))
	system.Root.RequestWithCustomSender(pid, hurry{1}, system.NewLocalPID("asker"))
	system.Root.Send(pid, work{7})
	r := await.From(t, reports, "the crash report")
	if r.sender.GetId() != "asker" || r.msg != (hurry{1}) || !strings.Contains(r.stack, "mailbox.explode") {
		t.Errorf("report %+v", r)
	}
	if n := await.From(t, seen, "the next message"); n != 7 {
		t.Errorf("got %d after the restart", n)
	}
}

//go:noinline
func explode() { panic("boom") }

func TestStopEndsWhenItsHandlersPanicOrExit(t *testing.T) {
	for name, trouble := range map[string]func(c actor.Context){
		"panic in Stopping": func(c actor.Context) {
			if _, ok := c.Message().(*actor.Stopping); ok {
				panic("in Stopping")
			}
		},
		"panic in Stopped": func(c actor.Context) {
			if _, ok := c.Message().(*actor.Stopped); ok {
				panic("in Stopped")
			}
		},
		"panic in both": func(c actor.Context) {
			switch c.Message().(type) {
			case *actor.Stopping, *actor.Stopped:
				panic("in both")
			}
		},
		"panic in a child's Terminated while stopping": func(c actor.Context) {
			if m, ok := c.Message().(*actor.Terminated); ok && m.Who.Id != c.Self().Id {
				panic("in Terminated")
			}
		},
		"panic in every Terminated": func(c actor.Context) {
			if _, ok := c.Message().(*actor.Terminated); ok {
				panic("in Terminated")
			}
		},
		"Goexit in Stopping": func(c actor.Context) {
			if _, ok := c.Message().(*actor.Stopping); ok {
				runtime.Goexit()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			system := quiet()
			r := Attach(system)
			opts := actor.WithMailbox(Producer(nil))
			ended := make(chan struct{}, 4)
			ready := make(chan *actor.PID, 1)
			system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
				switch m := c.Message().(type) {
				case *actor.Started:
					ready <- c.Spawn(actor.PropsFromFunc(func(c actor.Context) {
						if _, ok := c.Message().(*actor.Started); ok {
							c.Spawn(actor.PropsFromFunc(func(actor.Context) {}, opts))
						}
						trouble(c)
					}, opts))
				case *actor.Terminated:
					_ = m
					ended <- struct{}{}
				}
			}, opts))
			pid := await.From(t, ready, "the child")
			system.Root.Stop(pid)
			await.From(t, ended, "Terminated of the child")
			await.True(t, "only the parent is left", func() bool { return r.Len() == 1 })
		})
	}
}

func TestARestartThatCrossesAStopDoesNotUndoIt(t *testing.T) {
	system := quiet()
	r := Attach(system)
	opts := actor.WithMailbox(Producer(nil))
	g := newGate()
	var births atomic.Int32
	child := make(chan *actor.PID, 1)
	pid, err := system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor {
		births.Add(1)
		return actor.ReceiveFunc(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Started); ok {
				child <- c.Spawn(actor.PropsFromFunc(func(c actor.Context) {
					if m, ok := c.Message().(gate); ok {
						m.in <- struct{}{}
						<-m.out
					}
				}, opts))
			}
		})
	}, opts), "a")
	if err != nil {
		t.Fatal(err)
	}
	system.Root.Send(await.From(t, child, "the child"), g)
	await.From(t, g.in, "the child to hold up the stop")
	process, _ := system.ProcessRegistry.GetLocal("a")
	process.SendSystemMessage(pid, &actor.Stop{})
	process.SendSystemMessage(pid, &actor.Restart{}) // a backoff's timer that fires late
	box := r.Find("a")
	await.True(t, "both are seen", func() bool { s := box.Stats(); return s.System == 0 && s.Current == "" })
	close(g.out)
	await.True(t, "both are gone", func() bool { return r.Len() == 0 })
	if n := births.Load(); n != 1 {
		t.Errorf("born %d times", n)
	}
}

func TestGoexitDoesNotWedge(t *testing.T) {
	system := quiet()
	seen := make(chan int, 1)
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case hurry:
			runtime.Goexit()
		case work:
			seen <- m.n
		}
	}, actor.WithMailbox(Producer(nil))))
	system.Root.Send(pid, hurry{})
	system.Root.Send(pid, work{3})
	if n := await.From(t, seen, "the message after"); n != 3 {
		t.Errorf("got %d", n)
	}
}

func TestAnAbandonedActorFreesItsParent(t *testing.T) {
	system, refused := quiet(), &answers{}
	r := Attach(system)
	opts := actor.WithMailbox(Producer(&Options{Answer: refused.answer}))
	g, stopping := newGate(), make(chan struct{}, 1)
	parentGone, told := make(chan struct{}), make(chan string, 4)
	ready := make(chan *actor.PID, 1)
	parent := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			pid, err := c.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
				switch m := c.Message().(type) {
				case *actor.Started:
					c.Spawn(actor.PropsFromFunc(func(actor.Context) {}, opts))
				case gate:
					m.in <- struct{}{}
					<-m.out
				case *actor.Stopping:
					stopping <- struct{}{}
				}
			}, opts), "stuck")
			if err != nil {
				t.Error(err)
			}
			ready <- pid
		case *actor.Terminated:
			told <- m.Who.Id
		case *actor.Stopped:
			close(parentGone)
		}
	}, opts))
	pid := await.From(t, ready, "the child")
	system.Root.Send(pid, g)
	await.From(t, g.in, "the child to get stuck")
	system.Root.RequestWithCustomSender(pid, work{1}, system.NewLocalPID("asker"))

	box := r.Find(pid.Id)
	await.True(t, "it is seen as busy", func() bool {
		s := box.Stats()
		return s.Busy > 0 && s.Current == "mailbox.gate" && s.Oldest > 0
	})
	if !box.Abandon() || box.Abandon() {
		t.Error("abandoned not exactly once")
	}
	if got := refused.String(); !strings.Contains(got, "} in hand to ") || !strings.HasSuffix(got, "\n{1} stuck to asker") {
		t.Errorf("answered %q", got)
	}
	if id := await.From(t, told, "Terminated"); id != pid.Id {
		t.Errorf("parent told of %s", id)
	}
	system.Root.Stop(parent)
	await.From(t, parentGone, "the parent to stop in spite of its stuck child")
	await.True(t, "its own child is stopped", func() bool { return r.Len() == 1 })
	if s := box.Stats(); !s.Abandoned || s.Busy == 0 {
		t.Errorf("stats %+v", s)
	}

	close(g.out)
	await.From(t, stopping, "Stopping after it came back")
	await.True(t, "nothing is left", func() bool { return r.Len() == 0 })
}

func TestStuckActorIsFoundByItsLabel(t *testing.T) {
	system := quiet()
	g := newGate()
	pid, err := system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(gate); ok {
			m.in <- struct{}{}
			<-m.out
		}
	}, actor.WithMailbox(Producer(nil))), "domain-7")
	if err != nil {
		t.Fatal(err)
	}
	system.Root.Send(pid, g)
	await.From(t, g.in, "the actor to enter")
	if dump := profile(t); !strings.Contains(dump, `"actor":"domain-7"`) {
		t.Errorf("no label in %s", dump)
	}
	close(g.out)
}

func TestTheClockEndsWhenNothingHappens(t *testing.T) {
	m := New(nil)
	m.RegisterHandlers(invoke(func(any) {}), actor.NewDefaultDispatcher(300))
	m.Start()
	m.PostUserMessage(work{})
	if !clock.awake.Load() {
		t.Error("the clock does not run under traffic")
	}
	await.True(t, "the clock ends", func() bool { return !clock.awake.Load() })
	time.Sleep(2 * tick) // the stamp must be fresh although the clock stood still
	before := exact()
	if at := stamp(); at < before {
		t.Errorf("first stamp after the pause is %v old", time.Duration(before-at))
	}
}
