package mailbox

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"virtree/actors/internal/await"

	"github.com/asynkron/protoactor-go/actor"
)

// TestRespawnStorm: a well-known name dies and comes back thousands of times under the fire of four senders. Each
// message must be handled or answered, and the name must work at the end.
func TestRespawnStorm(t *testing.T) {
	respawns := 3000
	if testing.Short() {
		respawns = 300
	}
	system := quiet()
	r := Attach(system)
	var sent, handled, answered atomic.Int64
	system.EventStream.Subscribe(func(e any) { // between two lives the name is nobody's
		if d, ok := e.(*actor.DeadLetterEvent); ok {
			if _, ok := d.Message.(work); ok {
				answered.Add(1)
			}
		}
	})
	died := make(chan struct{}, 1)
	props := actor.PropsFromFunc(func(c actor.Context) {
		switch c.Message().(type) {
		case work:
			handled.Add(1)
		case *actor.Stopped:
			died <- struct{}{}
		}
	}, actor.WithMailbox(Producer(&Options{Limit: 256, Answer: func(*actor.ActorSystem, *actor.PID, *actor.PID, any, Reason) {
		answered.Add(1)
	}})))
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			pid := system.NewLocalPID("well-known")
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(1)
				system.Root.Send(pid, work{n})
			}
		})
	}
	for range respawns {
		pid, err := system.Root.SpawnNamed(props, "well-known")
		if err != nil {
			t.Fatal(err)
		}
		system.Root.Stop(pid)
		await.From(t, died, "the actor to stop")
	}
	if _, err := system.Root.SpawnNamed(props, "well-known"); err != nil {
		t.Fatal(err)
	}
	before := handled.Load()
	await.True(t, "the last one works", func() bool { return handled.Load() > before })
	close(stop)
	senders.Wait()
	await.True(t, "each message is handled or answered", func() bool { return handled.Load()+answered.Load() == sent.Load() })
	await.True(t, "one mailbox is left", func() bool { return r.Len() == 1 })
}

// TestFlood: many senders at full speed against a small limit. No sender blocks, none is left without an answer, the
// queue never passes its limit.
func TestFlood(t *testing.T) {
	const senders, each, limit = 8, 20_000, 64
	system := quiet()
	r := Attach(system)
	var handled, busy atomic.Int64
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(work); ok {
			handled.Add(1)
		}
	}, actor.WithMailbox(Producer(&Options{Limit: limit, Answer: func(_ *actor.ActorSystem, _, _ *actor.PID, _ any, why Reason) {
		if why == Busy {
			busy.Add(1)
		}
	}}))))
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for n := range each {
				system.Root.Send(pid, work{n})
			}
		})
	}
	wg.Wait()
	await.True(t, "all are accounted for", func() bool { return handled.Load()+busy.Load() == senders*each })
	s := r.Find(pid.Id).Stats()
	if s.MaxDepth > limit || s.Refused != uint64(busy.Load()) {
		t.Errorf("stats %+v, busy %d", s, busy.Load())
	}
}

// TestPanicStorm: a third of the messages panic. Every message is seen exactly once, in the order of its sender.
func TestPanicStorm(t *testing.T) {
	const senders, each = 4, 500
	type numbered struct {
		sender, n int
		bad       bool
	}
	system := quiet()
	var crashes atomic.Int64
	var mu sync.Mutex
	last := map[int]int{}
	seen := 0
	parentOpts := []actor.PropsOption{
		actor.WithMailbox(Producer(nil)),
		actor.WithSupervisor(actor.NewOneForOneStrategy(1<<30, 0, actor.DefaultDecider)),
	}
	ready := make(chan *actor.PID, 1)
	system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*actor.Started); !ok {
			return
		}
		ready <- c.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			m, ok := c.Message().(numbered)
			if !ok {
				return
			}
			mu.Lock()
			seen++
			if m.n != last[m.sender]+1 {
				t.Errorf("sender %d: %d after %d", m.sender, m.n, last[m.sender])
			}
			last[m.sender] = m.n
			mu.Unlock()
			if m.bad {
				panic(m.n)
			}
		}, actor.WithMailbox(Producer(&Options{Crash: func(_ *actor.ActorSystem, _, _ *actor.PID, _, p any) any {
			crashes.Add(1)
			return p
		}}))))
	}, parentOpts...))
	pid := await.From(t, ready, "the child")
	var wg sync.WaitGroup
	var bad atomic.Int64
	for s := range senders {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(s), 1))
			for n := 1; n <= each; n++ {
				m := numbered{s, n, rnd.IntN(3) == 0}
				if m.bad {
					bad.Add(1)
				}
				system.Root.Send(pid, m)
			}
		})
	}
	wg.Wait()
	await.True(t, "every message is seen", func() bool { mu.Lock(); defer mu.Unlock(); return seen == senders*each })
	await.True(t, "every panic is reported", func() bool { return crashes.Load() == bad.Load() })
}
