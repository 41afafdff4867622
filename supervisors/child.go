package supervisors

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Child describes an actor to be supervised. Its name is unique among its siblings.
type Child struct {
	Name     string
	Props    *actor.Props
	Restart  Restart       // zero = ObjectRestart
	Shutdown time.Duration // how long it may take to stop; zero = 5 s
	// Permanent children shall live: if one stops unasked, that is a failure like a panic.
	Permanent bool
	// Supervisor children get a Shutdown before they are stopped.
	Supervisor bool
}

const defaultShutdown = 5 * time.Second

// State of a supervised child.
//
//	 Start        panic, forgiven     delay over
//	------> Running ------------> Waiting ------> Running
//	           | \  panic, once too often
//	           |  +------------------> Quarantined ---Release, parole--> Running
//	           |     (its stand-in answers each request with the reason)
//	           | Stop                 gone
//	           +------------> Stopping ------> (forgotten)
//
// A stuck child is abandoned: it leaves the table, and a successor under a new name goes through Waiting to Running.
type State uint8

// The states of a child.
const (
	Running State = iota + 1
	Waiting
	Quarantined
	Stopping
	Gone // only in Changed: it has left the table
)

func (s State) String() string {
	return [...]string{"", "running", "restarting", "quarantined", "stopping", "gone"}[s]
}

// Change is what a supervisor tells its own actor about a child.
type Change struct {
	Name  string
	State State
	PID   *actor.PID // where the child, or its stand-in, is reached; nil while there is neither
	Err   error      // the last failure; nil when there was none
}

// child is a row of the table.
type child struct {
	Child
	pid        *actor.PID // the child, or in quarantine its stand-in; nil between two lives
	state      State
	since      time.Time
	history    *History
	generation int    // of the name: how many were abandoned before this one
	step       uint64 // counts transitions, so that a timer of an earlier one is ignored
	order      uint64 // of starting, for the stop in reverse
	lastErr    error
	asked      bool // Stopping: ShutdownDone is awaited before the stop
	standin    bool // pid is the stand-in
	doomed     bool // given up; quarantine begins when it is gone
}

func (c *child) id() string {
	if c.generation == 0 {
		return c.Name
	}
	return fmt.Sprintf("%s~%d", c.Name, c.generation)
}

// stepTo begins a new state; every timer set before is void.
func (c *child) stepTo(s State, now time.Time) {
	c.state, c.since = s, now
	c.step++
}

// ErrQuarantined is what a name answers whose actor failed too often.
var ErrQuarantined = errors.New("quarantined after repeated failures")

// asError makes an error of what a child panicked with.
func asError(reason any) error {
	switch r := reason.(type) {
	case nil:
		return nil
	case error:
		return r
	}
	return fmt.Errorf("%v", reason)
}
