package qemu

import (
	"context"
	"runtime"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// adoptions gives running guests their turn to be adopted. All at once would have each of a hundred wait for all others'
// work; in turns the first is there after its own. It holds a token for each adoption under way.
type adoptions chan struct{}

// adoptionsPerCPU is more than one because an adoption waits for QEMU's answers.
const adoptionsPerCPU = 4

// adoptionTurn is the longest turn. Whoever takes longer waits for a QEMU that does not answer, and no other guest must
// wait for that.
const adoptionTurn = 50 * time.Millisecond

func newAdoptions() adoptions { return make(adoptions, adoptionsPerCPU*runtime.GOMAXPROCS(0)) }

// take waits for a turn, and not for one when somebody waits for the guest: then hurry is closed. done ends the turn.
func (a adoptions) take(ctx context.Context, hurry <-chan struct{}) (done func()) {
	select {
	case <-hurry:
		return func() {}
	default:
	}
	select {
	case a <- struct{}{}:
	case <-hurry:
		return func() {}
	case <-ctx.Done():
		return func() {}
	}
	over := time.AfterFunc(adoptionTurn, func() { <-a })
	return func() {
		if over.Stop() {
			<-a
		}
	}
}

// hold keeps a message until the domain is loaded, which somebody now waits for.
func (d *domain) hold(ctx actor.Context) bool {
	if !d.stash.Hold(ctx) {
		return false
	}
	if d.hurry != nil {
		close(d.hurry)
		d.hurry = nil
	}
	return true
}
