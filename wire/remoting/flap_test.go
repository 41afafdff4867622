package remoting

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// asker keeps some requests under way until it has had so many answers, and counts what it gets for each.
type asker struct {
	target   *actor.PID
	want     uint64
	serial   uint64
	pongs    map[uint64]int
	failures map[uint64]int
	answered uint64
	last     *Failure // the last one, to be shown
	done     chan *asker
}

func (a *asker) Receive(c actor.Context) {
	if a.answered == a.want {
		return // the test reads the counts now; what comes is late replies
	}
	switch m := c.Message().(type) {
	case *actor.Started:
		for range 32 {
			a.ask(c)
		}
		return
	case *pong:
		a.pongs[m.Serial]++
		a.answer(c, m.Serial)
	case *Failure:
		a.failures[m.Serial]++
		a.last = m
		a.answer(c, m.Serial)
	}
}

func (a *asker) ask(c actor.Context) {
	a.serial++
	c.Request(a.target, &ping{Serial: a.serial})
}

func (a *asker) answer(c actor.Context, serial uint64) {
	if a.pongs[serial]+a.failures[serial] > 1 {
		return // a reply that came after all
	}
	a.answered++
	if a.answered == a.want {
		a.done <- a
	}
	if a.serial < a.want {
		a.ask(c)
	}
}

// TestEveryRequestIsAnsweredWhileLinksComeAndGo breaks the link again and again, on either side, while actors of
// both sides call each other.
func TestEveryRequestIsAnsweredWhileLinksComeAndGo(t *testing.T) {
	for name, change := range map[string]func(*Options){"goroutines": quick, "dispatcher": func(o *Options) { quick(o); dispatched(o) }} {
		t.Run(name, func(t *testing.T) { testFlapping(t, change) })
	}
}

func testFlapping(t *testing.T, change func(*Options)) {
	leakCheck(t)
	a, b, _ := pair(t, change, func(o *Options) { o.BackoffMin, o.BackoffMax = 100*time.Microsecond, time.Millisecond })
	a.spawn(t, "echo", echo)
	const askers, each = 4, 2000
	done := make(chan *asker, 2*askers)
	for i := range 2 * askers {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		v := &asker{target: actor.NewPID(to.Address(), "echo"), want: each, pongs: map[uint64]int{}, failures: map[uint64]int{}, done: done}
		from.root.Spawn(actor.PropsFromProducer(func() actor.Actor { return v }, from.props()...))
	}
	stop, breaks := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		tick := time.NewTicker(500 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				ep := a.endpoint(b.Address())
				if n%2 == 1 {
					ep = b.endpoint(a.Address())
				}
				if l := ep.currentLink(); l != nil {
					l.fail(failure(Lost, "test"))
					n++
				}
			case <-stop:
				breaks <- n
				return
			}
		}
	}()
	pongs, failures := 0, 0
	for range 2 * askers {
		v := next(t, done)
		for serial := uint64(1); serial <= each; serial++ {
			p, f := v.pongs[serial], v.failures[serial]
			if p > 1 || f > 1 || p+f == 0 {
				t.Errorf("request %d has %d replies and %d failures", serial, p, f)
			}
			pongs += p
			failures += f
		}
	}
	close(stop)
	t.Logf("%d replies, %d failures, %d broken links", pongs, failures, <-breaks)
	eventually(t, "requests are left behind", func() bool {
		for _, p := range append(a.Peers(), b.Peers()...) {
			if p.Requests != 0 || p.Queued != 0 || p.QueuedBytes != 0 {
				return false
			}
		}
		return true
	})
	eventually(t, "the link does not come back", func() bool {
		_, ok := a.ask(t, actor.NewPID(b.Address(), "echo"), &ping{Serial: 1}).(*pong)
		return ok
	})
}
