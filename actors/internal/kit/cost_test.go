package kit

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/supervisors"
)

// costAsk and costReply are a request and its answer as the drivers have them.
type (
	costAsk   struct{ serial uint64 }
	costReply struct{ serial uint64 }
)

func (a *costAsk) RequestSerial() uint64 { return a.serial }
func (*costReply) Urgent() bool          { return true }

func answerCost(c actor.Context) {
	if m, ok := c.Message().(*costAsk); ok {
		c.Respond(&costReply{m.serial})
	}
}

// asker keeps one request in flight, in a table of asks as clients have one.
type asker struct {
	asks Asks[int]
	to   *actor.PID
	left int // 0: it asks only when told to
	done chan struct{}
}

// costGo has an asker ask once more.
type costGo struct{}

func (a *asker) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *costGo:
		serial, _ := a.asks.Add(a.to, time.Time{}, 0)
		c.Request(a.to, &costAsk{serial})
	case *costReply:
		a.asks.Take(m.serial)
		switch a.left--; {
		case a.left > 0:
			c.Send(c.Self(), &costGo{})
		case a.left == 0:
			close(a.done)
		}
	}
}

// converse measures requests of one actor to another, each on goroutines of their own, or all on the host that a reader of
// a connection is.
func converse(b *testing.B, system *actor.ActorSystem, to *actor.PID) {
	b.Run("on_goroutines", func(b *testing.B) {
		a := &asker{to: to, left: b.N, done: make(chan struct{})}
		pid := system.Root.Spawn(Props(func() actor.Actor { return a }))
		b.ReportAllocs()
		b.ResetTimer()
		system.Root.Send(pid, &costGo{})
		<-a.done
	})
	b.Run("on_a_reader", func(b *testing.B) {
		pid := system.Root.Spawn(Props(func() actor.Actor { return &asker{to: to} }))
		host := Dispatcher.NewHost(func() {})
		defer func() { host.Close() }()
		b.ReportAllocs()
		for b.Loop() {
			host.Open()
			system.Root.Send(pid, &costGo{})
			if !host.Run() {
				host = Dispatcher.NewHost(func() {}) // the machine was busy: relieved
			}
		}
	})
}

// branchOf is an actor that supervises children and passes requests on to one of them, as a driver does.
type branchOf struct {
	*supervisors.Children
	child   *actor.PID
	started chan *actor.PID
	spec    supervisors.Child
}

func (d *branchOf) Receive(c actor.Context) {
	if d.Handle(c) {
		return
	}
	switch c.Message().(type) {
	case *actor.Started:
		d.child, _ = d.Start(c, d.spec)
		d.started <- c.Self()
	case *costAsk:
		c.Forward(d.child)
	}
}

func supervise(system *actor.ActorSystem, spec supervisors.Child) (branch, child *actor.PID) {
	d := &branchOf{spec: spec, started: make(chan *actor.PID, 1)}
	d.Children = supervisors.NewChildren(supervisors.Config{Log: zerolog.Nop(), Props: PropsOptions(), Observer: Observe(system)})
	system.Root.Spawn(Props(func() actor.Actor { return d }))
	branch = <-d.started
	return branch, d.child
}

func BenchmarkCostRequest(b *testing.B) {
	b.Run("between_two_actors", func(b *testing.B) {
		system, _ := newSystem()
		converse(b, system, system.Root.Spawn(Func(answerCost)))
	})
	b.Run("through_a_supervisor", func(b *testing.B) {
		system, _ := newSystem()
		branch, _ := supervise(system, supervisors.Child{Name: "object", Props: Func(answerCost)})
		converse(b, system, branch)
	})
}

// BenchmarkCostWatchdog is one look at all actors, which comes once a second while there is traffic.
func BenchmarkCostWatchdog(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("sweep_of_%d_actors", n), func(b *testing.B) {
			system, _ := newSystem()
			props := Func(func(actor.Context) {})
			for range n {
				system.Root.Spawn(props)
			}
			w := &Watchdog{System: system, Log: zerolog.Nop()}
			b.ReportAllocs()
			for b.Loop() {
				w.sweep()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/actor")
		})
	}
}

func BenchmarkCostObject(b *testing.B) {
	b.Run("spawned_and_stopped", func(b *testing.B) {
		system, _ := newSystem()
		gone := make(chan struct{})
		props := Func(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Stopped); ok {
				gone <- struct{}{}
			}
		})
		b.ReportAllocs()
		for b.Loop() {
			system.Root.Stop(system.Root.Spawn(props))
			<-gone
		}
	})
	b.Run("crashed_and_restarted", func(b *testing.B) {
		system := NewSystem("", zerolog.Nop())
		up := make(chan struct{}, 1)
		_, child := supervise(system, supervisors.Child{
			Name:    "object",
			Restart: supervisors.Restart{Intensity: 1, Period: 1}, // each crash is the first, and there is no delay
			Props: Func(func(c actor.Context) {
				switch c.Message().(type) {
				case *actor.Started:
					up <- struct{}{}
				case *costAsk:
					panic("as the benchmark wants")
				}
			}),
		})
		<-up
		b.ReportAllocs()
		for b.Loop() {
			system.Root.Send(child, &costAsk{})
			<-up
		}
	})
}

func BenchmarkCostJob(b *testing.B) {
	run := func(b *testing.B, timeout time.Duration) {
		system, _ := newSystem()
		left, done := b.N, make(chan struct{})
		job := Job[int]{Name: "nothing", Timeout: timeout, Run: func(context.Context, *Undo) (int, error) { return 1, nil }}
		b.ReportAllocs()
		b.ResetTimer()
		system.Root.Spawn(Func(func(c actor.Context) {
			switch c.Message().(type) {
			case *actor.Started:
				job.Start(c)
			case *Done[int]:
				if left--; left > 0 {
					job.Start(c)
				} else {
					close(done)
				}
			}
		}))
		<-done
	}
	b.Run("and_its_result", func(b *testing.B) { run(b, 0) })
	b.Run("and_its_result,_with_a_deadline", func(b *testing.B) { run(b, time.Minute) })
}
