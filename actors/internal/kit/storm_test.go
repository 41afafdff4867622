package kit

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/await"
	"virtree/supervisors"
)

// TestStorm: objects panic, stall, are quarantined, released, stopped and started again, while askers ask. Each request
// gets its one answer, the branch never stops answering, and at the end nothing is left over.
func TestStorm(t *testing.T) {
	const objects, askers, each = 20, 4, 500
	s := newStage(t, func(c *supervisors.Config) { c.Thaw = 200 * time.Millisecond })
	s.driver.changes = make(chan supervisors.Change, 100_000)
	before := runtime.NumGoroutine()

	var directory sync.Map // name -> PID, as an index of a driver
	policy := supervisors.Restart{Intensity: 3, Period: time.Second, First: time.Millisecond, Max: 2 * time.Millisecond, Parole: 20 * time.Millisecond}
	child := func(name string) supervisors.Child {
		return supervisors.Child{Name: name, Props: s.props(), Restart: policy, Shutdown: time.Second}
	}
	for n := range objects {
		s.ask(s.branch, startObject{child(fmt.Sprint(n))})
	}
	indexed := make(chan struct{})
	go func() {
		defer close(indexed)
		for c := range s.driver.changes {
			if c.PID != nil {
				directory.Store(c.Name, c.PID)
			}
			if c.State == supervisors.Gone {
				s.system.Root.Send(s.branch, startObject{child(c.Name)})
			}
		}
	}()

	release := make(chan struct{})
	watch := &Watchdog{System: s.system, Log: zerolog.Nop(), Slow: 60 * time.Millisecond, Abandon: 60 * time.Millisecond}
	stopWatch, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-tick.C:
				watch.sweep()
			case <-stopWatch:
				return
			}
		}
	}()

	var answers, errs atomic.Int64
	var wg sync.WaitGroup
	for a := range askers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(a), 7))
			for range each {
				name := fmt.Sprint(rnd.IntN(objects))
				v, ok := directory.Load(name)
				if !ok {
					continue
				}
				pid := v.(*actor.PID)
				var msg any = who{}
				switch dice := rnd.IntN(1000); {
				case dice < 60:
					msg = panicNow{"storm"}
				case dice < 65:
					enter := make(chan struct{}, 1)
					s.system.Root.Send(pid, getStuck{stall{enter, release}})
					continue
				case dice < 75:
					s.system.Root.Send(s.branch, stopObject{name})
					continue
				case dice < 85:
					s.system.Root.Send(s.branch, &supervisors.Release{Name: name})
					continue
				}
				if _, err := s.system.Root.RequestFuture(pid, msg, patience).Result(); err == actor.ErrTimeout {
					t.Errorf("%T to %s was never answered", msg, pid.Id)
				} else if err != nil {
					errs.Add(1) // nobody there: the framework's answer comes before ours
				} else {
					answers.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if v := s.ask(s.branch, count{}); v.(counted).objects == 0 {
		t.Errorf("counted %v", v)
	}
	close(release)
	await.True(t, "the abandoned are gone", func() bool { return s.ask(s.branch, count{}).(counted).abandoned == 0 })
	s.system.Root.Send(s.branch, stopAll{})
	await.From(t, s.driver.done, "the end")
	close(stopWatch)
	<-watched
	s.system.Root.Stop(s.branch)
	await.True(t, "no actor is left", func() bool { return len(Observe(s.system).Actors()) == 0 })
	close(s.driver.changes)
	<-indexed
	await.True(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+2 })
	t.Logf("%d answers, %d to nobody", answers.Load(), errs.Load())
}
