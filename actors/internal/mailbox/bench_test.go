package mailbox

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/asynkron/protoactor-go/actor"
)

type ping struct{}
type pong struct{}

func (*pong) Urgent() bool { return true }

// The stock mailbox stands beside ours in each benchmark, since only the ratio of one run means something.
func both(b *testing.B, what string, f func(b *testing.B, system *actor.ActorSystem, opts ...actor.PropsOption)) {
	for _, c := range []struct {
		name string
		opts []actor.PropsOption
	}{
		{strings.TrimPrefix(what+"_stock", "_"), nil},
		{strings.TrimPrefix(what+"_ours", "_"), []actor.PropsOption{actor.WithMailbox(Producer(&Options{Limit: 1 << 30}))}},
	} {
		b.Run(c.name, func(b *testing.B) {
			system := quiet()
			Attach(system)
			b.ReportAllocs()
			f(b, system, c.opts...)
		})
	}
}

// BenchmarkTell: one sender, one receiver, no reply.
func BenchmarkTell(b *testing.B) {
	both(b, "", func(b *testing.B, system *actor.ActorSystem, opts ...actor.PropsOption) {
		var done sync.WaitGroup
		done.Add(b.N)
		pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*ping); ok {
				done.Done()
			}
		}, opts...))
		msg := &ping{}
		b.ResetTimer()
		for range b.N {
			system.Root.Send(pid, msg)
		}
		done.Wait()
	})
}

// BenchmarkContended: as many senders as processors on one receiver.
func BenchmarkContended(b *testing.B) {
	both(b, "", func(b *testing.B, system *actor.ActorSystem, opts ...actor.PropsOption) {
		var done sync.WaitGroup
		done.Add(b.N)
		pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*ping); ok {
				done.Done()
			}
		}, opts...))
		msg := &ping{}
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				system.Root.Send(pid, msg)
			}
		})
		done.Wait()
	})
}

type asker struct {
	server   *actor.PID
	left     int
	inFlight int
	done     chan struct{}
}

func (a *asker) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		for range a.inFlight {
			c.Request(a.server, &ping{})
		}
	case *pong:
		if a.left--; a.left == 0 {
			close(a.done)
		} else if a.left >= a.inFlight {
			c.Request(a.server, &ping{})
		}
	}
}

// BenchmarkAsk: 64 requests in flight between two actors.
func BenchmarkAsk(b *testing.B) {
	both(b, "", func(b *testing.B, system *actor.ActorSystem, opts ...actor.PropsOption) {
		reply := &pong{}
		server := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*ping); ok {
				c.Respond(reply)
			}
		}, opts...))
		a := &asker{server: server, left: max(b.N, 64), inFlight: 64, done: make(chan struct{})}
		b.ResetTimer()
		system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return a }, opts...))
		<-a.done
	})
}

// What is promised: a message costs no allocation, and an idle actor little more than the stock one.
func TestCosts(t *testing.T) {
	m := New(&Options{Limit: 1000})
	handled := make(chan struct{}, 1)
	m.RegisterHandlers(invoke(func(any) { handled <- struct{}{} }), actor.NewDefaultDispatcher(300))
	m.Start()
	msg := &ping{}
	if n := testing.AllocsPerRun(1000, func() { m.PostUserMessage(msg); <-handled }); n > 0.1 {
		t.Errorf("%v allocations per message", n)
	}
	if size := unsafe.Sizeof(Mailbox{}); size > 512 {
		t.Errorf("a mailbox has %d bytes", size)
	}
}

// BenchmarkSpawn: one idle actor, and the memory it keeps.
func BenchmarkSpawn(b *testing.B) {
	both(b, "", func(b *testing.B, system *actor.ActorSystem, opts ...actor.PropsOption) {
		props := actor.PropsFromFunc(func(actor.Context) {}, opts...)
		pids := make([]*actor.PID, b.N)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.ResetTimer()
		for i := range b.N {
			pids[i] = system.Root.Spawn(props)
		}
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(b.N), "kept-B/op")
		runtime.KeepAlive(pids)
		runtime.KeepAlive(system)
	})
}
