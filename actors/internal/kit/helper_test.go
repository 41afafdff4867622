package kit

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
)

const patience = 20 * time.Second

func within[T any](t *testing.T, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
	}
	return v
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// log is a place for log lines that several goroutines write to.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func system0() zerolog.Logger { return zerolog.Nop() }

func newSystem() (*actor.ActorSystem, *log) {
	l := &log{}
	return NewSystem("", zerolog.New(l).Level(zerolog.DebugLevel)), l
}

// inbox is an actor that hands what it gets to a channel.
func inbox(system *actor.ActorSystem) (*actor.PID, chan any) {
	ch := make(chan any, 64)
	return system.Root.Spawn(Func(func(c actor.Context) {
		if !lifecycle(c.Message()) {
			ch <- c.Message()
		} else if f, ok := c.Message().(*Failed); ok {
			ch <- f
		}
	})), ch
}
