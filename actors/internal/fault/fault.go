package fault

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/mailbox"
)

// Panic is a bug that Go notices: the actor is restarted.
type Panic struct{}

// Inject implements mailbox.Fault.
func (*Panic) Inject() { panic("injected fault") }

// Stall is a wait in Receive, as for a disk that hangs: the goroutine sleeps. Zero is for ever.
type Stall struct{ For time.Duration }

// Inject implements mailbox.Fault.
func (s *Stall) Inject() {
	if s.For <= 0 {
		select {}
	}
	time.Sleep(s.For)
}

// Spin is an endless loop: the goroutine burns a processor. Zero is for ever.
type Spin struct{ For time.Duration }

// Inject implements mailbox.Fault.
func (s *Spin) Inject() {
	for began := time.Now(); s.For <= 0 || time.Since(began) < s.For; {
	}
}

// Work is one message of a flood: it costs so much of the actor's time.
type Work struct{ For time.Duration }

// Inject implements mailbox.Fault.
func (w *Work) Inject() {
	if w.For > 0 {
		(&Spin{w.For}).Inject()
	}
}

// Exit ends the whole process as a wrong call of os.Exit would: nothing is stopped, nothing is saved.
type Exit struct{}

// exitCode is none of those that have a meaning for a service manager.
const exitCode = 99

// Inject implements mailbox.Fault.
func (*Exit) Inject() { os.Exit(exitCode) }

// Fatal is an error that Go's runtime does not let anybody recover from, as concurrent writes to a map.
type Fatal struct{}

// Inject implements mailbox.Fault.
func (*Fatal) Inject() {
	var m sync.Mutex
	m.Unlock() //nolint:staticcheck // the error is the purpose
}

// Kinds lists what can be asked for.
var Kinds = []string{"panic", "stall", "spin", "flood", "exit", "fatal"}

// Order is one wish for trouble. For is how long a stall or a spin lasts, 0 for ever, and how much time each message of
// a flood costs the actor. Times is how many panics in a row, or messages in a flood; 0 = 1.
type Order struct {
	Kind  string
	For   time.Duration
	Times int
}

// MaxTimes bounds an order: a flood is sent in one go.
const MaxTimes = 1_000_000

// make makes the fault of an order. A flood queues up with the requests, everything else goes before them.
func (o Order) make() (f mailbox.Fault, first bool, err error) {
	switch o.Kind {
	case "panic":
		return &Panic{}, true, nil
	case "stall":
		return &Stall{o.For}, true, nil
	case "spin":
		return &Spin{o.For}, true, nil
	case "flood":
		return &Work{o.For}, false, nil
	case "exit":
		return &Exit{}, true, nil
	case "fatal":
		return &Fatal{}, true, nil
	}
	return nil, false, fmt.Errorf("there is no fault %q, but %s", o.Kind, strings.Join(Kinds, ", "))
}

// Check finds out whether an order can be carried out at all.
func (o Order) Check() error {
	if !slices.Contains(Kinds, o.Kind) {
		_, _, err := o.make()
		return err
	}
	if o.For < 0 || o.Times < 0 || o.Times > MaxTimes {
		return fmt.Errorf("a fault lasts from 0 on and happens at most %d times", MaxTimes)
	}
	return nil
}

// Inject gives the fault to the actor of that id. It returns when it is queued, not when it has happened.
func Inject(system *actor.ActorSystem, id string, o Order) error {
	if err := o.Check(); err != nil {
		return err
	}
	f, first, err := o.make()
	if err != nil {
		return err
	}
	box := mailbox.RegistryOf(system).Find(id)
	if box == nil {
		return fmt.Errorf("there is no actor %q", id)
	}
	for range max(1, o.Times) {
		box.PostUserMessage(&mailbox.Injected{Fault: f, First: first})
	}
	return nil
}
