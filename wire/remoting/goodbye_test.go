package remoting

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// incarnation is one life of a daemon: a node on path whose echo counts what it serves.
func incarnation(t *testing.T, path string, served *atomic.Int64, change ...func(*Options)) *peer {
	p := start(t, path, append([]func(*Options){func(o *Options) { o.Later = true }}, change...)...)
	p.spawn(t, "echo", func(c actor.Context) {
		if _, ok := c.Message().(*ping); ok {
			served.Add(1)
			echo(c)
		}
	})
	p.Serve()
	return p
}

// leave ends a life as a daemon does that is idle.
func (p *peer) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.Leave(ctx)
	p.Close(ctx)
}

// TestADaemonThatLeavesCostsNobodyAnError: one instance after the other leaves in the midst of requests. Each request is
// served once, by one of them, and none fails.
func TestADaemonThatLeavesCostsNobodyAnError(t *testing.T) {
	for name, change := range map[string]func(*Options){"goroutines": func(*Options) {}, "dispatcher": dispatched} {
		t.Run(name, func(t *testing.T) {
			leakCheck(t)
			path := filepath.Join(t.TempDir(), "d")
			var served atomic.Int64
			daemon := incarnation(t, path, &served, change)
			b := start(t, filepath.Join(t.TempDir(), "b"), change)
			const askers, each, lives = 4, 5000, 8
			done := make(chan *asker, askers)
			for range askers {
				v := &asker{target: actor.NewPID(Address(path), "echo"), want: each, pongs: map[uint64]int{}, failures: map[uint64]int{}, done: done}
				b.root.Spawn(actor.PropsFromProducer(func() actor.Actor { return v }, b.props()...))
			}
			for life := range int64(lives) {
				eventually(t, "the next life serves", func() bool { return served.Load() > life*askers*each/lives })
				daemon.leave()
				daemon = incarnation(t, path, &served, change)
			}
			for range askers {
				v := next(t, done)
				for serial := uint64(1); serial <= each; serial++ {
					if v.pongs[serial] != 1 || v.failures[serial] != 0 {
						t.Fatalf("request %d has %d replies and %d failures: %v, and %d failed", serial, v.pongs[serial], v.failures[serial], v.last, len(v.failures))
					}
				}
			}
			if n := served.Load(); n != askers*each {
				t.Errorf("%d requests were served %d times", askers*each, n)
			}
		})
	}
}

// TestWhatWasAskedBeforeTheGoodbyeIsAnswered, and what is asked after it is not heard any more.
func TestWhatWasAskedBeforeTheGoodbyeIsAnswered(t *testing.T) {
	leakCheck(t)
	path := filepath.Join(t.TempDir(), "d")
	held := make(chan *actor.PID, 4)
	daemon := start(t, path, quick)
	daemon.spawn(t, "slow", func(c actor.Context) {
		if _, ok := c.Message().(*ping); ok {
			held <- c.Sender()
		}
	})
	b := start(t, filepath.Join(t.TempDir(), "b"), quick)
	to := actor.NewPID(Address(path), "slow")
	ends := make(chan actor.TerminatedReason, 4)
	b.spawn(t, "watcher", func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			c.Watch(to)
		case *actor.Terminated:
			ends <- m.Why
		}
	})
	first := b.root.RequestFuture(to, &ping{Serial: 1}, patience)
	asker := next(t, held)
	left := make(chan struct{})
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		daemon.Leave(ctx)
		close(left)
	}()
	eventually(t, "the goodbye arrives", func() bool {
		ep := b.endpoint(to.Address)
		ep.mu.Lock()
		defer ep.mu.Unlock()
		return ep.link != nil && ep.link.leaving
	})
	second := b.root.RequestFuture(to, &ping{Serial: 2}, patience)
	select {
	case <-left:
		t.Fatal("it has left with a request open")
	case <-held:
		t.Fatal("it has heard a request after its goodbye")
	case <-time.After(50 * time.Millisecond):
	}
	daemon.root.Send(asker, &pong{Serial: 1})
	if r, err := first.Result(); err != nil || r.(*pong).Serial != 1 {
		t.Errorf("the first request: %v %v", r, err)
	}
	next(t, left)
	_ = daemon.root.StopFuture(actor.NewPID(daemon.Address(), "slow")).Wait() // as the tree stops before the node is closed
	daemon.stop()
	if why := next(t, ends); why != actor.TerminatedReason_AddressTerminated {
		t.Errorf("a watcher is told %v", why)
	}
	again := start(t, path, quick)
	again.spawn(t, "slow", echo)
	if r, err := second.Result(); err != nil || r.(*pong).Serial != 2 {
		t.Errorf("the second request: %v %v", r, err)
	}
}

// TestAPeerWhoseLinkWasLostIsExpectedBack: a link that had just been made is lost, and the peer needs a while. What is asked
// meanwhile waits, instead of failing because the peer is not to be dialled so soon again.
func TestAPeerWhoseLinkWasLostIsExpectedBack(t *testing.T) {
	leakCheck(t)
	path := filepath.Join(t.TempDir(), "d")
	var served atomic.Int64
	daemon := incarnation(t, path, &served)
	b := start(t, filepath.Join(t.TempDir(), "b"))
	to := actor.NewPID(Address(path), "echo")
	for range 4 { // each time sooner than BackoffMax
		if _, ok := b.ask(t, to, &ping{Serial: 1}).(*pong); !ok {
			t.Fatal("no answer")
		}
		daemon.stop() // without a word
		eventually(t, "the loss is noticed", func() bool { return b.endpoint(to.Address).currentLink() == nil })
		f := b.root.RequestFuture(to, &ping{Serial: 2}, patience)
		back := make(chan *peer, 1)
		time.AfterFunc(100*time.Millisecond, func() { back <- incarnation(t, path, &served) })
		daemon = next(t, back)
		if r, err := f.Result(); err != nil {
			t.Fatal(err)
		} else if _, ok := r.(*pong); !ok {
			t.Fatalf("got %v", r)
		}
	}
}

// TestAPeerThatDoesNotComeBackIsGivenUp when its time is over, and from then on at once.
func TestAPeerThatDoesNotComeBackIsGivenUp(t *testing.T) {
	leakCheck(t)
	path := filepath.Join(t.TempDir(), "d")
	var served atomic.Int64
	daemon := incarnation(t, path, &served)
	b := start(t, filepath.Join(t.TempDir(), "b"), func(o *Options) { o.Patience = 200 * time.Millisecond })
	to := actor.NewPID(Address(path), "echo")
	if _, ok := b.ask(t, to, &ping{Serial: 1}).(*pong); !ok {
		t.Fatal("no answer")
	}
	daemon.leave()
	begin := time.Now()
	mustFail(t, b.ask(t, to, &ping{Serial: 2}), Unreachable)
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("given up after %v", took)
	}
	begin = time.Now()
	mustFail(t, b.ask(t, to, &ping{Serial: 3}), Unreachable)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the next one failed after %v", took)
	}
}
