package call

import (
	"errors"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

type stuckServer struct {
	kept         []*Request
	stash        kit.Stash
	enter, leave chan struct{}
}

var stuckRoutes = NewTable(
	Later(protocol.DomainSuspend, func(s *stuckServer, _ actor.Context, r *Request, _ *protocol.DomainSuspendArgs) error {
		s.kept = append(s.kept, r)
		s.enter <- struct{}{}
		return nil
	}),
	Later(protocol.DomainResume, func(s *stuckServer, _ actor.Context, r *Request, _ *protocol.DomainResumeArgs) error {
		s.enter <- struct{}{}
		<-s.leave
		r.Reply(nil) // it comes back, and answers as if nothing had been
		return nil
	}),
)

func (s *stuckServer) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *Call:
		if m.Proc == protocol.DomainDestroy.Procedure {
			s.stash.Hold(ctx)
			s.enter <- struct{}{}
			return
		}
		stuckRoutes.Serve(s, ctx, m, liberr.FromQemu)
	case *actor.Stopping:
		for _, r := range s.kept {
			r.Fail(liberr.New(liberr.FromQemu, liberr.OperationFailed, "it came back"))
		}
	}
}

// TestWhatAStuckServerHoldsIsAnswered: the call in its hands, the one that it had promised to answer later, the one that it
// keeps until it is ready, and those behind: each caller hears once that he waited in vain.
func TestWhatAStuckServerHoldsIsAnswered(t *testing.T) {
	system := kit.NewSystem("", zerolog.Nop())
	s := &stuckServer{enter: make(chan struct{}), leave: make(chan struct{})}
	server, err := system.Root.SpawnNamed(kit.Props(func() actor.Actor { return s }), "server")
	if err != nil {
		t.Fatal(err)
	}
	replies := make(chan *Reply, 16)
	asker := system.Root.Spawn(kit.Func(func(ctx actor.Context) {
		if r, ok := ctx.Message().(*Reply); ok {
			replies <- r
		}
	}))
	args := (&protocol.DomainSuspendArgs{Dom: protocol.Domain{Name: "web"}}).AppendXDR(nil)
	send := func(serial uint64, p *protocol.Procedure) {
		system.Root.RequestWithCustomSender(server, &Call{Proc: p, Serial: serial, Args: args}, asker)
	}
	next := func() *Reply {
		t.Helper()
		select {
		case r := <-replies:
			return r
		case <-time.After(20 * time.Second):
			t.Fatal("no answer")
			return nil
		}
	}
	send(1, protocol.DomainSuspend.Procedure) // answered later
	<-s.enter
	send(2, protocol.DomainDestroy.Procedure) // kept until it is ready
	<-s.enter
	send(3, protocol.DomainResume.Procedure) // in hand
	<-s.enter
	send(4, protocol.DomainSuspend.Procedure) // behind it
	if !kit.Observe(system).Abandon("server") {
		t.Fatal("not abandoned")
	}
	send(5, protocol.DomainSuspend.Procedure) // to the old name
	seen := map[uint64]bool{}
	for range 5 {
		r := next()
		if !errors.Is(r.Err, liberr.OperationTimeout) || r.Err.Domain != liberr.FromQemu ||
			r.Err.Message != "Timed out during operation: cannot acquire state change lock" {
			t.Errorf("call %d: %+v", r.Serial, r.Err)
		}
		if seen[r.Serial] {
			t.Errorf("call %d was answered twice", r.Serial)
		}
		seen[r.Serial] = true
	}
	close(s.leave) // it comes back: its own answers are too late
	ended := make(chan struct{})
	system.Root.Spawn(kit.Func(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			ctx.Watch(server)
		case *actor.Terminated:
			close(ended)
		}
	}))
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not stop")
	}
	if len(replies) != 0 {
		t.Errorf("%d more answers: %+v", len(replies), (<-replies).Err)
	}
}
