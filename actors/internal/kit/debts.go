package kit

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/extensions"

	"virtree/wire/liberr"
)

// Debt is an answer that an actor has promised and keeps in its fields or in a job: if the actor never comes back from
// a message, somebody else must give it. All methods may be called from any goroutine; a debt that was settled in
// the meantime is not failed again.
type Debt interface {
	From() liberr.Domain // of the error
	Fail(err error)
}

// debts lists, by actor, what is owed. It is there for the watchdog alone: an actor that ends settles its own.
type debts struct {
	mu   sync.Mutex
	open map[string]map[Debt]struct{}
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

// fail answers all that an actor owes.
func (d *debts) fail(actor string) {
	d.mu.Lock()
	owed := d.open[actor]
	delete(d.open, actor)
	d.mu.Unlock()
	for debt := range owed {
		debt.Fail(overdue(debt))
	}
}
