package kit

import (
	"errors"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/await"
	"virtree/actors/internal/mailbox"
	"virtree/wire/liberr"
)

type request struct{ serial uint64 }

func (r request) RequestSerial() uint64 { return r.serial }

type reply struct {
	serial uint64
	err    *liberr.Error
}

func (r reply) ReplySerial() uint64 { return r.serial }

// closing is a request that owns something and knows its own reply.
type closing struct {
	serial uint64
	closed chan uint64
}

func (c closing) Refuse(err *liberr.Error) any {
	c.closed <- c.serial
	return reply{c.serial, err}
}

func TestUnhandledRequestsAreAnswered(t *testing.T) {
	system, log := newSystem()
	me, in := inbox(system)
	pid := system.Root.Spawn(Func(func(c actor.Context) { Unhandled(c, c.Message()) }))
	system.Root.RequestWithCustomSender(pid, request{7}, me)
	f, ok := await.From(t, in, "an answer").(*Failed)
	if !ok || f.Serial != 7 || !errors.Is(f.Err, liberr.InternalError) {
		t.Errorf("got %+v", f)
	}
	closed := make(chan uint64, 1)
	system.Root.RequestWithCustomSender(pid, closing{8, closed}, me)
	if r, ok := await.From(t, in, "its own reply").(reply); !ok || r.serial != 8 || r.err == nil {
		t.Errorf("got %+v", r)
	}
	if await.From(t, closed, "the request to give back") != 8 {
		t.Error("wrong request closed")
	}
	// A reply that nobody expects is logged and not answered: two actors would answer each other for ever.
	system.Root.RequestWithCustomSender(pid, reply{serial: 9}, me)
	system.Root.RequestWithCustomSender(pid, request{10}, me)
	if f, ok := await.From(t, in, "an answer").(*Failed); !ok || f.Serial != 10 {
		t.Errorf("got %+v", f)
	}
	if s := log.String(); strings.Count(s, `"unhandled message"`) != 4 || !strings.Contains(s, `"type":"kit.request"`) {
		t.Errorf("log %s", s)
	}
}

func TestAPanicAnswersItsAskerAndKeepsTheRest(t *testing.T) {
	system, _ := newSystem()
	me, in := inbox(system)
	reasons := make(chan any, 1)
	ready := make(chan *actor.PID, 1)
	system.Root.Spawn(Func(func(c actor.Context) {
		if _, ok := c.Message().(*actor.Started); ok {
			ready <- c.Spawn(Func(func(c actor.Context) {
				if r, ok := c.Message().(request); ok {
					if r.serial == 1 {
						panic("boom")
					}
					c.Respond(reply{serial: r.serial})
				}
			}))
		}
	}, With(actor.WithSupervisor(strategy(func(s actor.Supervisor, child *actor.PID, reason any) {
		reasons <- reason
		s.RestartChildren(child)
	})))))
	pid := await.From(t, ready, "the child")
	system.Root.RequestWithCustomSender(pid, request{1}, me)
	system.Root.RequestWithCustomSender(pid, request{2}, me)
	if f, ok := await.From(t, in, "the lost request's answer").(*Failed); !ok || f.Serial != 1 || !strings.Contains(f.Err.Message, "boom") {
		t.Errorf("got %+v", f)
	}
	if r, ok := await.From(t, in, "the next answer").(reply); !ok || r.serial != 2 {
		t.Errorf("got %+v", r)
	}
	crash, ok := await.From(t, reasons, "the reason").(*Crash)
	if !ok || crash.Panic != "boom" || crash.Message != "kit.request" || !strings.Contains(crash.Stack, "kit_test.go") {
		t.Errorf("reason %+v", crash)
	}
}

type strategy func(s actor.Supervisor, child *actor.PID, reason any)

func (f strategy) HandleFailure(_ *actor.ActorSystem, s actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	f(s, child, reason)
}

func TestBusyAndGoneAreAnswered(t *testing.T) {
	system, _ := newSystem()
	me, in := inbox(system)
	enter, leave := make(chan struct{}), make(chan struct{})
	pid := system.Root.Spawn(Func(func(c actor.Context) {
		if r, ok := c.Message().(request); ok && r.serial == 0 {
			enter <- struct{}{}
			<-leave
		}
	}, Limit(1), Kind("test")))
	system.Root.Send(pid, request{0})
	await.From(t, enter, "the actor")
	for serial := uint64(1); serial <= 2; serial++ {
		system.Root.RequestWithCustomSender(pid, request{serial}, me)
	}
	if f := await.From(t, in, "busy").(*Failed); f.Serial != 2 || !errors.Is(f.Err, liberr.ResourceBusy) {
		t.Errorf("got %+v", f)
	}
	if s := Observe(system).Actors(); len(s) != 2 || s[1].Kind+s[0].Kind != "test" {
		t.Errorf("seen %+v", s)
	}
	system.Root.Stop(pid)
	close(leave)
	if f := await.From(t, in, "gone").(*Failed); f.Serial != 1 || !errors.Is(f.Err, liberr.InternalError) {
		t.Errorf("got %+v", f)
	}
}

func TestRequestsToNobodyAreAnswered(t *testing.T) {
	system, _ := newSystem()
	me, in := inbox(system)
	nobody := system.NewLocalPID("nobody")
	closed := make(chan uint64, 1)
	system.Root.RequestWithCustomSender(nobody, request{3}, me)
	system.Root.RequestWithCustomSender(nobody, closing{4, closed}, me)
	system.Root.RequestWithCustomSender(nobody, reply{serial: 5}, me) // not a request: no answer
	system.Root.RequestWithCustomSender(nobody, request{6}, nobody)   // an asker who is gone too: no loop
	if f, ok := await.From(t, in, "an answer").(*Failed); !ok || f.Serial != 3 || !strings.Contains(f.Err.Message, "nobody is gone") {
		t.Errorf("got %+v", f)
	}
	if r, ok := await.From(t, in, "its own reply").(reply); !ok || r.serial != 4 || r.err == nil {
		t.Errorf("got %+v", r)
	}
	if len(in) != 0 {
		t.Errorf("more: %v", <-in)
	}
}

func TestFrameworkLogsAreReadable(t *testing.T) {
	system, log := newSystem()
	system.Root.Send(system.NewLocalPID("nobody"), request{3})
	await.True(t, "the dead letter is logged", func() bool { return strings.Contains(log.String(), "DeadLetter") })
	s := log.String()
	if strings.Count(s, `"message":"[DeadLetter]"`) != 1 || !strings.Contains(s, `"type":"kit.request"`) || !strings.Contains(s, `"pid":"nobody"`) {
		t.Errorf("log %s", s)
	}
	if strings.Contains(s, `"level":"info"`) {
		t.Errorf("noise at info: %s", s)
	}
}

func TestAddressIsSetBeforeTheFirstSpawn(t *testing.T) {
	system, _ := newSystem()
	if pid, _ := inbox(system); pid.Address != "nonhost" {
		t.Errorf("address %q", pid.Address)
	}
	named := NewSystem("unix:/x", system0())
	pid := named.Root.Spawn(Func(func(actor.Context) {}))
	if pid.Address != "unix:/x" || mailbox.RegistryOf(named).Find(pid.Id) == nil {
		t.Errorf("pid %v", pid)
	}
}
