package remoting

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

type (
	watchIt   struct{ who *actor.PID }
	unwatchIt struct{ who *actor.PID }
)

// observer watches on demand, and tells whose end it was told of.
func (p *peer) observer(t *testing.T, name string) (*actor.PID, chan *actor.Terminated) {
	ch := make(chan *actor.Terminated, 10)
	pid := p.spawn(t, name, func(c actor.Context) {
		switch m := c.Message().(type) {
		case *watchIt:
			c.Watch(m.who)
		case *unwatchIt:
			c.Unwatch(m.who)
		case *actor.Terminated:
			ch <- m
		}
	})
	return pid, ch
}

func watches(p *peer) (watches, watched int) {
	for _, q := range p.Peers() {
		watches += q.Watches
		watched += q.Watched
	}
	return
}

func mustTerminate(t *testing.T, ch chan *actor.Terminated, who *actor.PID, why actor.TerminatedReason) {
	t.Helper()
	if m := next(t, ch); !m.Who.Equal(who) || m.Why != why {
		t.Errorf("got %v, want %v %v", m, who, why)
	}
}

func TestWatchersLearnOfTheEnd(t *testing.T) {
	leakCheck(t)
	a, b, _ := pair(t, quick)
	observer, ends := a.observer(t, "observer")
	b.spawn(t, "target", func(actor.Context) {})
	b.spawn(t, "other", func(actor.Context) {})
	target, other := actor.NewPID(b.Address(), "target"), actor.NewPID(b.Address(), "other")

	a.root.Send(observer, &watchIt{target})
	a.root.Send(observer, &watchIt{other})
	a.root.Send(observer, &unwatchIt{other})
	eventually(t, "no watch", func() bool { _, n := watches(b); return n == 1 })
	a.root.Stop(other) // from afar, and unwatched
	a.root.Stop(target)
	mustTerminate(t, ends, target, actor.TerminatedReason_Stopped)

	a.root.Send(observer, &watchIt{target})
	mustTerminate(t, ends, target, actor.TerminatedReason_NotFound)
	eventually(t, "other did not stop", func() bool { _, alive := b.system.ProcessRegistry.GetLocal("other"); return !alive })

	b.spawn(t, "poisoned", func(actor.Context) {})
	poisoned := actor.NewPID(b.Address(), "poisoned")
	if err := a.root.PoisonFuture(poisoned).Wait(); err != nil {
		t.Error(err)
	}
	eventually(t, "watches are left", func() bool {
		aw, _ := watches(a)
		_, bw := watches(b)
		return aw == 0 && bw == 0
	})
	if len(ends) != 0 {
		t.Errorf("one more: %v", <-ends)
	}
}

func TestWatchEndsWithTheLinkOnBothSides(t *testing.T) {
	leakCheck(t)
	a, b, _ := pair(t, quick)
	observer, ends := a.observer(t, "observer")
	target := actor.NewPID(b.Address(), "echo")
	a.root.Send(observer, &watchIt{target})
	eventually(t, "no watch", func() bool { _, n := watches(b); return n == 1 })

	// Only the link dies. b takes the watch back from its actor...
	a.endpoint(b.Address()).currentLink().fail(failure(Lost, "test"))
	mustTerminate(t, ends, target, actor.TerminatedReason_AddressTerminated)
	eventually(t, "b still has the watch", func() bool { _, n := watches(b); return n == 0 })

	// ...so that a new watch is the only one, and gives one Terminated.
	a.root.Send(observer, &watchIt{target})
	eventually(t, "no new watch", func() bool {
		if len(ends) > 0 { // within the backoff
			<-ends
			a.root.Send(observer, &watchIt{target})
		}
		_, n := watches(b)
		return n == 1
	})
	b.root.Stop(actor.NewPID(b.Address(), "echo"))
	mustTerminate(t, ends, target, actor.TerminatedReason_Stopped)

	nowhere := actor.NewPID(Address(t.TempDir()+"/none"), "x")
	for range 2 { // the failed dial, and the backoff after it
		a.root.Send(observer, &watchIt{nowhere})
		mustTerminate(t, ends, nowhere, actor.TerminatedReason_AddressTerminated)
	}
	if n, _ := watches(a); n != 0 {
		t.Errorf("%d watches left", n)
	}
}

func (ep *endpoint) currentLink() *link {
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return ep.link
}

func TestRestartedPeerReplacesItsOldLink(t *testing.T) {
	leakCheck(t)
	a, b, echoPID := pair(t, quick)
	b.spawn(t, "mute", func(actor.Context) {})
	a.spawn(t, "echo", echo)
	a.mustPong(t, echoPID)
	f := a.root.RequestFuture(actor.NewPID(b.Address(), "mute"), &ping{Serial: 1}, patience)
	old := a.endpoint(b.Address()).currentLink()

	// b loses the link in a way that a does not see: as after a pause, b has given up and dials again.
	ep := b.endpoint(a.Address())
	l := ep.currentLink()
	ep.lost(l, failure(Lost, "test"))
	b.mustPong(t, actor.NewPID(a.Address(), "echo"))

	r, err := f.Result()
	if err != nil {
		t.Fatal(err)
	}
	mustFail(t, r, Lost)
	if now := a.endpoint(b.Address()).currentLink(); now == old || now == nil {
		t.Error("the old link is still there")
	}
	a.mustPong(t, echoPID)
	_ = l.conn.Close()
}
