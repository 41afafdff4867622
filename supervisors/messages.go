package supervisors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Ready tells a supervisor that the sender serves from now on. Only children whose spec says so are waited for.
type Ready struct{}

// Urgent puts it before requests.
func (*Ready) Urgent() bool { return true }

// Shutdown asks a supervisor to stop its children in order. It answers ShutdownDone when they are gone, and is then
// stopped by whoever asked. A message and not the framework's stop, because that one has no order, no limits, and waits
// for ever for a child that is stuck.
type Shutdown struct{}

// Urgent puts it before requests.
func (*Shutdown) Urgent() bool { return true }

// ShutdownDone answers Shutdown.
type ShutdownDone struct {
	Lost int // children that did not stop in time and were abandoned
}

// Urgent puts it before requests.
func (*ShutdownDone) Urgent() bool { return true }

// Release asks a supervisor to try a child again that it gave up. Name is the child's.
type Release struct{ Name string }

// Urgent puts it before requests.
func (*Release) Urgent() bool { return true }

// The supervisor's timers send these to it. of tells them from those of an instance before a restart.
type (
	restartDue struct {
		of   *Children
		name string
		step uint64
	}
	limitDue struct {
		of   *Children
		name string
		step uint64
	}
)

func (*restartDue) Urgent() bool { return true }
func (*limitDue) Urgent() bool   { return true }

// later sends a message to pid after d. The timer is not stopped: steps tell a message that has become pointless.
func later(system *actor.ActorSystem, pid *actor.PID, d time.Duration, msg any) {
	if d <= 0 {
		system.Root.Send(pid, msg)
		return
	}
	time.AfterFunc(d, func() { system.Root.Send(pid, msg) })
}

// Reload asks a branch to read its configuration again; in split mode its process gets a SIGHUP.
type Reload struct{}

// Urgent puts it before requests.
func (*Reload) Urgent() bool { return true }
