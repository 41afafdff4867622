package supervisors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// ChildStuck tells a supervisor that a child has not come back from one message for too long. The watchdog sends it; a
// supervisor abandons the child and starts a successor, or waits when that is not safe.
type ChildStuck struct {
	Child   *actor.PID
	Message string // type of the message in hand
	Busy    time.Duration
	Stack   string
}

// Urgent puts it before requests.
func (*ChildStuck) Urgent() bool { return true }

// ActorInfo is what can be seen of one actor from outside without asking it.
type ActorInfo struct {
	ID        string // "root/qemu/<uuid>"
	Kind      string // as its maker named it; "" = unknown
	Depth     int
	Limit     int
	Oldest    time.Duration
	Busy      time.Duration // 0 = idle
	Current   string        // type of the message in hand
	Processed uint64
	Refused   uint64
	MaxDepth  int
	Suspended bool
	Stopping  bool
	Abandoned bool
}

// JobInfo is one running job.
type JobInfo struct {
	Owner string // id of the actor that waits for it
	Name  string
	Since time.Duration
	Lost  bool // past its deadline and given up; its goroutine is still there
}

// Observer sees into the running system without disturbing it, and can give up on an actor. The tree is given one, since
// mailboxes are not its business.
type Observer interface {
	Actors() []ActorInfo // sorted by ID
	Actor(id string) (ActorInfo, bool)
	Jobs() []JobInfo // sorted by Owner
	// Abandon takes the queue away from an actor that does not come back, answers it, and tells its watchers and its
	// parent that it is gone. False if there is no such actor.
	Abandon(id string) bool
}
