package kit

import (
	"slices"
	"time"
)

// Queue decides which job of an object runs now and which one waits. It is pure policy: no actor, clock or goroutine.
// A job that Submit or Done lets go is running until Done is called for it.
//
// The order is first come, first served among those that may run: a job that its neighbours do not forbid overtakes one
// that they do, as a query overtakes a modification while a migration runs.
type Queue[J any] struct {
	admit   func(running []J, job J) bool
	limit   int // of waiting; 0 = none
	running []J
	waiting []waiting[J]
}

type waiting[J any] struct {
	job      J
	deadline time.Time // zero = waits for ever
}

// Verdict is what became of a submitted job.
type Verdict uint8

const (
	Run  Verdict = iota // start it now
	Wait                // it will come out of Done or Sweep
	Full                // refused: too many wait
)

// NewQueue makes a queue with its rule: may job run beside those that run?
func NewQueue[J any](limit int, admit func(running []J, job J) bool) *Queue[J] {
	return &Queue[J]{admit: admit, limit: limit}
}

// Submit brings a new job.
func (q *Queue[J]) Submit(job J, deadline time.Time) Verdict {
	if q.admit(q.running, job) {
		q.running = append(q.running, job)
		return Run
	}
	if q.limit > 0 && len(q.waiting) >= q.limit {
		return Full
	}
	q.waiting = append(q.waiting, waiting[J]{job, deadline})
	return Wait
}

// Done takes the running jobs that match out and returns those that start now.
func (q *Queue[J]) Done(match func(J) bool) (start []J) {
	q.running = slices.DeleteFunc(q.running, match)
	rest := q.waiting[:0]
	for _, w := range q.waiting {
		if q.admit(q.running, w.job) {
			q.running = append(q.running, w.job)
			start = append(start, w.job)
		} else {
			rest = append(rest, w)
		}
	}
	clear(q.waiting[len(rest):])
	q.waiting = rest
	return start
}

// Sweep takes out and returns the waiting jobs whose deadline is not after now.
func (q *Queue[J]) Sweep(now time.Time) (expired []J) {
	q.waiting = slices.DeleteFunc(q.waiting, func(w waiting[J]) bool {
		late := !w.deadline.IsZero() && !w.deadline.After(now)
		if late {
			expired = append(expired, w.job)
		}
		return late
	})
	return expired
}

// Drain takes out and returns all waiting jobs; those that run go on.
func (q *Queue[J]) Drain() (rest []J) {
	for _, w := range q.waiting {
		rest = append(rest, w.job)
	}
	q.waiting = nil
	return rest
}

// Running returns the jobs that run. The slice is the queue's own.
func (q *Queue[J]) Running() []J { return q.running }

// Waiting is the number of jobs that wait.
func (q *Queue[J]) Waiting() int { return len(q.waiting) }
