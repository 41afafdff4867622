package fault

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/mailbox"
)

// Panic is a bug that Go notices: the actor is restarted.
type Panic struct{}

// Inject implements mailbox.Fault.
func (*Panic) Inject() { panic("injected fault") }

// NilMap is the bug that Go programs have most: a map that nobody made is written to.
type NilMap struct{}

// Inject implements mailbox.Fault.
func (*NilMap) Inject() {
	var m map[string]int
	//lint:ignore SA5000 the error is the purpose
	m["nobody made this map"]++
}

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

// Kinds lists what can be asked for.
var Kinds = []string{"panic", "nilmap", "stall", "spin", "flood", "alloc", "goroutines", "descriptors", "closefd", "stealfd",
	"exit", "fatal", "overflow", "mapwrite"}

// fatal are the kinds that end the process, whatever anybody does about it.
var fatal = []string{"exit", "fatal", "overflow", "mapwrite"}

// Ends says whether a fault of that kind ends the process it happens in.
func Ends(kind string) bool { return slices.Contains(fatal, kind) }

// Order is one wish for trouble. For is how long a stall or a spin lasts or a leak is held, 0 for ever, and how much time
// each message of a flood costs the actor. Times is how many panics in a row, messages in a flood, leaked goroutines or
// descriptors, MiB of memory, or the process id of the client whose connections are closed; 0 = 1.
type Order struct {
	Kind  string
	For   time.Duration
	Times int
}

// MaxTimes bounds an order, since a flood is sent in one go; process ids are below it.
const MaxTimes = 4 << 20

// make makes the fault of an order, and says how often it is to be sent. A flood queues up with the requests, everything
// else goes before them.
func (o Order) make() (f mailbox.Fault, first bool, sent int, err error) {
	times := max(1, o.Times)
	switch o.Kind {
	case "panic":
		return &Panic{}, true, times, nil
	case "nilmap":
		return &NilMap{}, true, times, nil
	case "stall":
		return &Stall{o.For}, true, times, nil
	case "spin":
		return &Spin{o.For}, true, times, nil
	case "flood":
		return &Work{o.For}, false, times, nil
	case "alloc":
		return &Alloc{MiB: times, For: o.For}, true, 1, nil
	case "goroutines":
		return &Goroutines{Count: times, For: o.For}, true, 1, nil
	case "descriptors":
		return &Descriptors{Count: times, For: o.For}, true, 1, nil
	case "closefd":
		return &CloseTwice{}, true, times, nil
	case "stealfd":
		return &Steal{Client: times}, true, 1, nil
	case "exit":
		return &Exit{}, true, 1, nil
	case "fatal":
		return &Fatal{}, true, 1, nil
	case "overflow":
		return &Overflow{}, true, 1, nil
	case "mapwrite":
		return &MapWrite{}, true, 1, nil
	}
	return nil, false, 0, fmt.Errorf("there is no fault %q, but %s", o.Kind, strings.Join(Kinds, ", "))
}

// Check finds out whether an order can be carried out at all.
func (o Order) Check() error {
	if !slices.Contains(Kinds, o.Kind) {
		_, _, _, err := o.make()
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
	f, first, sent, err := o.make()
	if err != nil {
		return err
	}
	box := mailbox.RegistryOf(system).Find(id)
	if box == nil {
		return fmt.Errorf("there is no actor %q", id)
	}
	for range sent {
		box.PostUserMessage(&mailbox.Injected{Fault: f, First: first})
	}
	return nil
}
