package kit

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Undo is the rollback list of a job: each step that changed the world adds what takes the change back. It runs in
// reverse order when the job fails, panics or comes back after it was given up.
type Undo struct{ steps []undoStep }

type undoStep struct {
	name string
	run  func(context.Context) error
}

// Add puts a step on the list. name is for the log ("close tap vnet3").
func (u *Undo) Add(name string, run func(ctx context.Context) error) {
	u.steps = append(u.steps, undoStep{name, run})
}

// Keep empties the list: what was done so far shall stay even if the rest fails.
func (u *Undo) Keep() { u.steps = nil }

// Rollback undoes what was done, for work that is not a job's: a job's list is rolled back by the job.
func (u *Undo) Rollback(ctx context.Context, failed func(step string, err error)) {
	u.rollback(ctx, failed)
}

// rollback runs all steps, whatever becomes of each, and reports those that failed.
func (u *Undo) rollback(ctx context.Context, failed func(step string, err error)) {
	for i := len(u.steps) - 1; i >= 0; i-- {
		s := u.steps[i]
		if err := s.guarded(ctx); err != nil {
			failed(s.name, err)
		}
	}
	u.steps = nil
}

func (s undoStep) guarded(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return s.run(ctx)
}
