package kit

import (
	"bytes"
	"sync"

	"virtree/actors/internal/await"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
)

const patience = await.Patience

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
