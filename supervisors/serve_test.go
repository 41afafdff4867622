package supervisors

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
)

// deaf ignores Shutdown, so that its branch takes its whole limit; it has the stock mailbox.
type deaf struct{}

func (deaf) Receive(actor.Context) {}

type polite struct{ reloads *atomic.Int32 }

func (p polite) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *Shutdown:
		c.Request(c.Sender(), &ShutdownDone{})
	case *Reload:
		p.reloads.Add(1)
	}
}

type served struct {
	*Tree
	signals chan os.Signal
	code    chan ExitCode
	serving chan struct{}
	reloads atomic.Int32
	left    atomic.Int32
	exit    chan int
}

func serve(t *testing.T, b Branch, a func(*served) actor.Actor, o ServeOptions) *served {
	t.Helper()
	s := &served{signals: make(chan os.Signal, 4), code: make(chan ExitCode, 1), serving: make(chan struct{}), exit: make(chan int, 1)}
	b.Autostart = true
	tree, err := Start(testSystem(), Options{Spec: Spec{b}, Log: zerolog.Nop(), New: func(Branch) (*actor.Props, error) {
		return actor.PropsFromProducer(func() actor.Actor { return a(s) }), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Tree = tree
	o.signals, o.exit = s.signals, func(code int) { s.exit <- code }
	o.Serving = func() { close(s.serving) }
	o.Leaving = func() { s.left.Add(1) }
	go func() { s.code <- Serve(tree, o) }()
	select {
	case <-s.serving:
	case <-time.After(patience):
		t.Fatal("does not serve")
	}
	return s
}

func (s *served) ends(t *testing.T, want ExitCode) {
	t.Helper()
	select {
	case code := <-s.code:
		if code != want {
			t.Errorf("exit code %d, want %d", code, want)
		}
	case <-time.After(patience):
		t.Fatal("does not end")
	}
}

func good(s *served) actor.Actor { return polite{&s.reloads} }

func TestServe(t *testing.T) {
	t.Run("TERM stops in order", func(t *testing.T) {
		s := serve(t, Branch{Name: "a"}, good, ServeOptions{})
		s.signals <- syscall.SIGTERM
		s.ends(t, ExitOK)
		if s.left.Load() != 1 {
			t.Error("Leaving was not called")
		}
	})
	t.Run("HUP reloads and goes on", func(t *testing.T) {
		var mine atomic.Int32
		s := serve(t, Branch{Name: "a"}, good, ServeOptions{Reload: func() { mine.Add(1) }})
		s.signals <- syscall.SIGHUP
		for end := time.Now().Add(patience); s.reloads.Load() != 1; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the branch was not told")
			}
		}
		if mine.Load() != 1 {
			t.Error("Reload was not called")
		}
		s.signals <- syscall.SIGTERM
		s.ends(t, ExitOK)
	})
	t.Run("idle leaves with 0", func(t *testing.T) {
		s := serve(t, Branch{Name: "a"}, good, ServeOptions{Idle: NewIdle(10 * time.Millisecond)})
		s.ends(t, ExitOK)
	})
	t.Run("a failed tree has its code", func(t *testing.T) {
		s := serve(t, Branch{Name: "a"}, good, ServeOptions{})
		s.Fail(&ExitError{ExitRecycle, errors.New("three actors never came back")})
		s.ends(t, ExitRecycle)
	})
	t.Run("a shutdown that hangs ends at its limit", func(t *testing.T) {
		s := serve(t, Branch{Name: "a"}, func(*served) actor.Actor { return deaf{} }, ServeOptions{Limit: 30 * time.Millisecond})
		s.signals <- syscall.SIGTERM
		s.ends(t, ExitOverdue)
	})
	t.Run("a second INT is impatience", func(t *testing.T) {
		s := serve(t, Branch{Name: "a"}, func(*served) actor.Actor { return deaf{} }, ServeOptions{})
		s.signals <- syscall.SIGINT
		s.signals <- syscall.SIGINT
		s.ends(t, ExitOverdue)
	})
}
