package branch_test

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/supervisors"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// shelf is a driver of objects that answer with the number of their life; whatever it is told is done in its Receive.
type shelf struct {
	*branch.Index[*item]
	bus branch.Bus
}

type item struct{ branch.Object }

type do func(ctx actor.Context, s *shelf)

func (s *shelf) Receive(ctx actor.Context) {
	if s.Index.Receive(ctx) || s.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case do:
		m(ctx, s)
	case *call.Call:
		e := s.Find(itemID)
		if e == nil {
			s.Forward(ctx, m, nil, liberr.New(liberr.FromNetwork, liberr.NoNetwork, "no item"))
			return
		}
		s.Forward(ctx, m, e, nil)
	}
}

var itemID = protocol.UUID{7}

func startShelf(t *testing.T) (b *branchtest.Branch, run func(do)) {
	env := branchtest.Env(t)
	b = branchtest.Start(t, func() actor.Actor {
		return &shelf{Index: branch.NewIndex[*item](env, liberr.FromNetwork, "item")}
	})
	return b, func(f do) {
		done := make(chan struct{})
		b.Root().Send(b.PID, do(func(ctx actor.Context, s *shelf) { f(ctx, s); close(done) }))
		<-done
	}
}

// manage enters the one item; stuck ends the wait of a life that was told to stick.
func manage(t *testing.T, stuck <-chan struct{}) do {
	return func(ctx actor.Context, s *shelf) {
		life := 0
		produce := func() actor.Actor {
			life++
			mine := life
			return actor.ReceiveFunc(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case *boom:
					panic("as the test wants")
				case *stick:
					<-stuck
				case *call.Call:
					call.NewRequest(ctx, m).Reply(&protocol.ConnectGetLibVersionRet{LibVer: uint64(mine)})
				}
			})
		}
		if err := s.Manage(ctx, &item{branch.Object{Pending: true}}, "it", itemID, produce); err != nil {
			t.Error(err)
		}
	}
}

type stick struct{}

func show(_ actor.Context, s *shelf) { s.ByUUID[itemID].Pending = false }

func TestAnObjectIsReachedThroughAllItsLives(t *testing.T) {
	b, run := startShelf(t)
	stuck := make(chan struct{})
	defer close(stuck)
	client := b.Client()
	ask := func() (life uint64, err *liberr.Error) {
		t.Helper()
		ret, err := branchtest.Do(client, protocol.ConnectGetLibVersion, &protocol.Void{})
		return ret.LibVer, err
	}
	want := func(life uint64) {
		t.Helper()
		if got, err := ask(); got != life || err != nil {
			t.Fatalf("answered by life %d, %v; want %d", got, err, life)
		}
	}
	none := func() {
		t.Helper()
		if _, err := ask(); err == nil || err.Code != liberr.NoNetwork {
			t.Fatalf("an object that nobody may see answers: %v", err)
		}
	}
	tell := func(m any) { run(func(ctx actor.Context, s *shelf) { ctx.Send(s.ByUUID[itemID].PID, m) }) }

	run(manage(t, stuck))
	none() // its definition is not stored yet
	run(show)
	want(1)
	tell(&boom{})
	want(2)
	tell(&stick{})
	var old *actor.PID
	run(func(ctx actor.Context, s *shelf) {
		old = s.Find(itemID).PID
		ctx.Send(ctx.Self(), &supervisors.ChildStuck{Child: old, Message: "stick"})
	})
	for end := time.Now().Add(patience); ; { // between two lives a call is answered with an error
		life, err := ask()
		if life == 3 {
			break
		}
		if err == nil || time.Now().After(end) {
			t.Fatalf("life %d answers, %v; want the successor of the one that does not come back", life, err)
		}
	}
	run(func(ctx actor.Context, s *shelf) {
		if s.Forget(ctx, itemID) == nil || s.Forget(ctx, itemID) != nil {
			t.Error("forgotten not exactly once")
		}
		if s.FindName("it") != nil {
			t.Error("its name is taken")
		}
	})
	none()
	run(func(ctx actor.Context, s *shelf) {
		manage(t, stuck)(ctx, s) // at once, while the predecessor ends
		show(ctx, s)
	})
	want(1)
}
