package supervisors

import (
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Trouble is the record of one thing that went wrong with an actor or a branch's process.
type Trouble struct {
	Serial  uint64    `json:"serial"` // within its process, from 1
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`              // one of the kinds below
	Actor   string    `json:"actor"`             // its id
	Title   string    `json:"title,omitempty"`   // for people, where the id ends in a UUID
	Message string    `json:"message,omitempty"` // type of the message in hand
	Reason  string    `json:"reason"`
	Stack   string    `json:"stack,omitempty"`
	Over    time.Time `json:"over,omitzero"` // when a stuck actor came back; zero: it has not
}

// Kinds of trouble.
const (
	TroubleCrash      = "crash"      // a panic
	TroubleStuck      = "stuck"      // a Receive that does not return
	TroubleAbandoned  = "abandoned"  // given up and replaced
	TroubleQuarantine = "quarantine" // failed too often
	TroubleExit       = "exit"       // a branch's process ended
)

// What is remembered: enough to see what happened lately, little enough for a process that fails all day.
const (
	troublesKept = 64
	reasonKept   = 1 << 10
	stackKept    = 12 << 10
)

// troubles are the last records of an actor system. Any goroutine may add to them, hence the lock.
type troubles struct {
	mu       sync.Mutex
	serial   uint64
	revision uint64 // changes with every change, so that who looks often need not read all
	last     []Trouble
}

// Report records trouble with an actor. The time, serial and title are filled in.
func Report(system *actor.ActorSystem, t Trouble) {
	b := boardOf(system)
	if own, ok := b.own.Load(t.Actor); ok && own.(Facts).Kind != "process" { // a process's title is its status line
		t.Title = own.(Facts).Title
	}
	t.Reason, t.Stack = clip(t.Reason, reasonKept), clip(t.Stack, stackKept)
	t.At = time.Now()
	l := &b.troubles
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	l.revision++
	t.Serial = l.serial
	if len(l.last) == troublesKept {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, t)
}

// Recovered notes that an actor which was reported stuck has come back.
func Recovered(system *actor.ActorSystem, id string) {
	l := &boardOf(system).troubles
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.last) - 1; i >= 0; i-- {
		if t := &l.last[i]; t.Actor == id && t.Kind == TroubleStuck && t.Over.IsZero() {
			t.Over = time.Now()
			l.revision++
		}
	}
}

// Troubles are the last records, oldest first, and a number that changes when they do.
func Troubles(system *actor.ActorSystem) ([]Trouble, uint64) {
	l := &boardOf(system).troubles
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.last), l.revision
}

// TroubleRevision is that number alone.
func TroubleRevision(system *actor.ActorSystem) uint64 {
	l := &boardOf(system).troubles
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revision
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 { // not in the middle of a character
		n--
	}
	return s[:n] + "…"
}
