package supervisors

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"
)

// Facts is what is published about one actor, for the tree's picture: by its supervisor (state, restarts, last error)
// and by itself (title, a process's pid). Published values do not change; a new one replaces them.
type Facts struct {
	Title     string // for people: a domain's name where the actor's is its UUID
	Kind      string
	State     string
	Life      string // what the object is in, in its own terms: a domain's is "running", "paused", "shut off" ...
	Restarts  int
	LastError string
	Since     time.Time // of the state
	OSPid     int       // of a branch that is a process
	Abandoned int       // predecessors that are stuck and were given up
}

// board holds the published facts of an actor system, so that whoever draws the tree need not ask an actor.
type board struct {
	supervised sync.Map // id -> Facts, by the supervisor
	own        sync.Map // id -> Facts, by the actor itself
	troubles   troubles
}

var boardID = extensions.NextExtensionID()

func (*board) ExtensionID() extensions.ExtensionID { return boardID }

var boardMaking sync.Mutex

func boardOf(system *actor.ActorSystem) *board {
	boardMaking.Lock() // protoactor's table has no lock of its own
	defer boardMaking.Unlock()
	if b, ok := system.Extensions.Get(boardID).(*board); ok {
		return b
	}
	b := &board{}
	system.Extensions.Register(b)
	return b
}

// Describe publishes what an actor says of itself. It stays until the actor's supervisor forgets it, or Forget.
func Describe(ctx actor.Context, f Facts) {
	boardOf(ctx.ActorSystem()).own.Store(ctx.Self().Id, f)
}

// Forget withdraws what an actor without a supervisor of this package said; call it in Stopping.
func Forget(ctx actor.Context) { boardOf(ctx.ActorSystem()).own.Delete(ctx.Self().Id) }

func (b *board) forget(id string) {
	b.supervised.Delete(id)
	b.own.Delete(id)
}

// Activity is the Life of an object that is active or not, in virsh's words.
func Activity(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}
