package kit

import (
	"reflect"
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"

	"virtree/wire/liberr"
)

// Debt is an answer that an actor has promised and keeps in its fields or in a job: if the actor never comes back from
// a message, somebody else must give it. All methods may be called from any goroutine; a debt that was settled in
// the meantime is not failed again.
type Debt interface {
	For() any            // the message that asked
	From() liberr.Domain // of the error
	Fail(err error)
}

// debts lists, by actor, what is owed. It is there for the watchdog alone: an actor that ends settles its own.
type debts struct {
	mu     sync.Mutex
	open   map[string]map[Debt]struct{}
	failed map[string][]any // messages that were answered for, while their actor is being given up
}

var debtsID = extensions.NextExtensionID()

func (*debts) ExtensionID() extensions.ExtensionID { return debtsID }

func debtsOf(system *actor.ActorSystem) *debts {
	d, _ := system.Extensions.Get(debtsID).(*debts)
	return d
}

// Owe enters a debt of the actor with that id.
func Owe(system *actor.ActorSystem, actor string, debt Debt) {
	d := debtsOf(system)
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[actor] == nil {
		d.open[actor] = map[Debt]struct{}{}
	}
	d.open[actor][debt] = struct{}{}
}

// Settle strikes a debt out.
func Settle(system *actor.ActorSystem, actor string, debt Debt) {
	d := debtsOf(system)
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open[actor], debt)
	if len(d.open[actor]) == 0 {
		delete(d.open, actor)
	}
}

// giveUp answers all that an actor owes and calls abandon, which is not to answer the same again.
func (d *debts) giveUp(actor string, abandon func() bool) bool {
	d.mu.Lock()
	owed := d.open[actor]
	delete(d.open, actor)
	for debt := range owed {
		d.failed[actor] = append(d.failed[actor], debt.For())
	}
	d.mu.Unlock()
	for debt := range owed {
		debt.Fail(overdue(debt))
	}
	ok := abandon()
	d.mu.Lock()
	delete(d.failed, actor)
	d.mu.Unlock()
	return ok
}

// answered tells whether giveUp has just answered the message.
func (d *debts) answered(actor string, msg any) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failed[actor]) == 0 || !reflect.TypeOf(msg).Comparable() {
		return false
	}
	return slices.Contains(d.failed[actor], msg)
}
