package mailbox

import (
	"testing"

	"virtree/actors/internal/await"

	"github.com/asynkron/protoactor-go/actor"
)

type boom struct{}

func (boom) Inject() { panic("injected") }

type hang struct{ entered, leave chan struct{} }

func (h *hang) Inject() {
	close(h.entered)
	<-h.leave
}

// The actor's code never sees a fault; its mailbox and its supervisor treat it like a failure of its own.
func TestAFaultHappensInTheActorsPlace(t *testing.T) {
	system := quiet()
	Attach(system)
	started, seen := make(chan struct{}, 4), make(chan any, 4)
	crashed := make(chan any, 1)
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			started <- struct{}{}
		case *ping:
			seen <- m
		case *Injected, boom, *hang:
			t.Errorf("the actor got %T", m)
		}
	}, actor.WithMailbox(Producer(&Options{Crash: func(_ *actor.ActorSystem, _, _ *actor.PID, msg, panicked any) any {
		crashed <- msg
		return panicked
	}}))))
	await.From(t, started, "the start")
	m := RegistryOf(system).Find(pid.Id)

	h := &hang{make(chan struct{}), make(chan struct{})}
	m.PostUserMessage(&Injected{Fault: h})
	await.From(t, h.entered, "the hang")
	system.Root.Send(pid, &ping{})
	if s := m.Stats(); s.Busy == 0 || s.Current != "*mailbox.hang" || s.Depth() != 1 {
		t.Errorf("while it hangs: %+v", s)
	}
	m.PostUserMessage(&Injected{Fault: boom{}, First: true})
	close(h.leave)
	await.From(t, started, "the restart")
	if msg := await.From(t, crashed, "the crash record"); msg != any(boom{}) {
		t.Errorf("the crash record names %T", msg)
	}
	await.From(t, seen, "the message behind the faults")
}
