package branch_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// A subscriber hears each event once, hears of a panic of the branch, and nothing after it has left.
func TestSubscribersHearOfTheRestartOfTheirBranch(t *testing.T) {
	sys := kit.NewSystem("", zerolog.Nop())
	type boom struct{}
	type publish struct{ ev *call.Event }
	var holds atomic.Int32
	hold := func(string) func() {
		holds.Add(1)
		return func() { holds.Add(-1) }
	}
	driver := sys.Root.Spawn(kit.Props(func() actor.Actor {
		bus := &branch.Bus{Hold: hold}
		return actor.ReceiveFunc(func(ctx actor.Context) {
			if bus.Receive(ctx) {
				return
			}
			switch m := ctx.Message().(type) {
			case *publish:
				bus.Publish(ctx, m.ev)
			case *boom:
				panic("as the test wants")
			}
		})
	}))
	heard := make(chan any, 16)
	from := make(chan *actor.PID, 16)
	who := sys.Root.Spawn(kit.Func(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *call.SubscriptionLost:
			from <- ctx.Sender()
			heard <- m
		case *call.SubscribeResult, *call.Event:
			heard <- m
		}
	}))
	t.Cleanup(func() {
		_ = sys.Root.StopFuture(who).Wait()
		_ = sys.Root.StopFuture(driver).Wait()
	})
	next := func() any {
		t.Helper()
		select {
		case m := <-heard:
			return m
		case <-time.After(patience):
			t.Fatal("nothing is heard")
			return nil
		}
	}
	subscribe := func(serial uint64) {
		t.Helper()
		sys.Root.RequestWithCustomSender(driver, &call.Subscribe{Serial: serial}, who)
		if r, ok := next().(*call.SubscribeResult); !ok || r.Serial != serial || r.Err != nil {
			t.Fatalf("%+v", r)
		}
	}
	subscribe(1)
	subscribe(2) // again is not twice
	if n := holds.Load(); n != 1 {
		t.Errorf("held %d times for one subscriber", n)
	}
	sys.Root.Send(driver, &publish{&call.Event{ID: 1}})
	if e, ok := next().(*call.Event); !ok || e.ID != 1 {
		t.Fatalf("%+v", e)
	}
	sys.Root.Send(driver, &boom{})
	if _, ok := next().(*call.SubscriptionLost); !ok {
		t.Fatal("the loss is not told")
	}
	if pid := <-from; !pid.Equal(driver) {
		t.Errorf("told by %v", pid)
	}
	subscribe(3)
	sys.Root.Send(driver, &publish{&call.Event{ID: 2}})
	if e, ok := next().(*call.Event); !ok || e.ID != 2 {
		t.Fatalf("%+v", e)
	}
	sys.Root.RequestWithCustomSender(driver, &call.Unsubscribe{}, who)
	sys.Root.Send(driver, &publish{&call.Event{ID: 3}})
	sys.Root.Send(driver, &boom{})
	_ = sys.Root.PoisonFuture(driver).Wait()
	if n := holds.Load(); n != 0 {
		t.Errorf("still held %d times", n)
	}
	if len(heard) != 0 {
		t.Errorf("heard after it left: %+v", <-heard)
	}
}
