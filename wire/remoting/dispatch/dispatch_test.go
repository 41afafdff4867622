package dispatch

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

func newSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}))
}

const patience = 10 * time.Second

func await(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal(what)
	}
}

func TestHostRunsTheFirstAndStartsTheOthers(t *testing.T) {
	d := New()
	h := d.NewHost(func() { t.Error("takeover") })
	defer h.Close()
	release := make(chan struct{})
	var wg sync.WaitGroup
	h.Open()
	ran := false
	d.Schedule(func() { ran = true })
	for range 3 {
		wg.Add(1)
		d.Schedule(func() { <-release; wg.Done() })
	}
	if ran {
		t.Error("work ran before Run")
	}
	if !h.Run() || !ran {
		t.Error("Run did not run")
	}
	close(release)
	wg.Wait()

	// Closed window: a goroutine.
	done := make(chan struct{})
	d.Schedule(func() { close(done) })
	await(t, "work is lost", done)
	if !h.Run() {
		t.Error("empty Run")
	}
	h.Open()
	done = make(chan struct{})
	d.Schedule(func() { close(done) })
	h.Close()
	await(t, "work is lost by Close", done)
}

func TestStuckHostIsRelieved(t *testing.T) {
	d := New()
	taken := make(chan struct{})
	h := d.NewHost(func() { close(taken) })
	for range 3 { // the clock has to start, stop and start again
		h.Open()
		d.Schedule(func() {})
		if !h.Run() {
			t.Fatal("relieved without need")
		}
		idle := make(chan struct{})
		go func() {
			for d.ticks.Load() {
				time.Sleep(period)
			}
			close(idle)
		}()
		await(t, "the clock does not stop", idle)
	}
	left := make(chan bool)
	go func() {
		h.Open()
		d.Schedule(func() { <-taken })
		left <- h.Run()
	}()
	await(t, "nobody took over", taken)
	if <-left {
		t.Error("two readers")
	}
	// The host is the new reader's now.
	h.Open()
	ran := false
	d.Schedule(func() { ran = true })
	if !h.Run() || !ran {
		t.Error("the new reader cannot run")
	}
	h.Close()
	if len(d.hosts) != 0 {
		t.Error("host is left")
	}
}

// TestNothingIsLost has actors send to each other while hosts come and go, one of them stuck now and then.
func TestNothingIsLost(t *testing.T) {
	d := New()
	system := newSystem()
	const actors, readers, each = 20, 4, 3000
	var got atomic.Int64
	done := make(chan struct{})
	pids := make([]*actor.PID, actors)
	for i := range pids {
		pids[i] = system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			n, ok := c.Message().(int)
			if !ok {
				return
			}
			if n > 0 {
				c.Send(pids[(i+n)%actors], -n)
			}
			if n == 1 && i == 0 {
				time.Sleep(3 * period)
			}
			if got.Add(1) == 2*readers*each {
				close(done)
			}
		}, actor.WithDispatcher(d)))
	}
	for r := range readers {
		var h *Host
		var next int
		var read func() // declared first: the host calls it by this name
		read = func() {
			for next < each {
				h.Open()
				for range 1 + next%3 {
					if next < each {
						system.Root.Send(pids[(next*7+r)%actors], 1+next%50)
						next++
					}
				}
				if !h.Run() {
					return
				}
			}
			h.Close()
		}
		h = d.NewHost(func() { read() })
		go read()
	}
	select {
	case <-done:
	case <-time.After(3 * patience):
		t.Fatalf("%d of %d messages", got.Load(), 2*readers*each)
	}
}
