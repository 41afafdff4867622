package kit

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Asks is the table of requests that an actor has sent and that are not answered yet. It belongs to the actor and is
// touched only in its Receive: Add when sending, Take when a reply comes, Sweep at each tick, Fail at a Terminated.
// Whatever leaves the table leaves it exactly once, so a reply that comes after the deadline finds nothing.
// The zero value is ready.
type Asks[T any] struct {
	last     uint64
	open     map[uint64]ask[T]
	targets  map[target]int
	earliest time.Time // no open deadline is before it; zero = none known
}

type ask[T any] struct {
	value    T
	deadline time.Time
	to       target
}

type target struct{ address, id string }

func targetOf(pid *actor.PID) target { return target{pid.GetAddress(), pid.GetId()} }

// Add enters a request and returns its serial, never 0. A zero deadline is none. first reports that nothing else waits
// for this target: the moment to Watch it.
func (a *Asks[T]) Add(to *actor.PID, deadline time.Time, value T) (serial uint64, first bool) {
	if a.open == nil {
		a.open, a.targets = make(map[uint64]ask[T]), make(map[target]int)
	}
	a.last++
	t := targetOf(to)
	a.open[a.last] = ask[T]{value, deadline, t}
	a.targets[t]++
	if !deadline.IsZero() && (a.earliest.IsZero() || deadline.Before(a.earliest)) {
		a.earliest = deadline
	}
	return a.last, a.targets[t] == 1
}

// Take removes and returns the request; false when it is not open any more.
func (a *Asks[T]) Take(serial uint64) (value T, ok bool) {
	e, ok := a.open[serial]
	if ok {
		a.remove(serial, e)
	}
	return e.value, ok
}

// Peek returns an open request without removing it.
func (a *Asks[T]) Peek(serial uint64) (value T, ok bool) {
	e, ok := a.open[serial]
	return e.value, ok
}

// Sweep removes and returns the requests whose deadline is not after now. It costs nothing before the first deadline.
func (a *Asks[T]) Sweep(now time.Time) (expired []T) {
	if a.earliest.IsZero() || now.Before(a.earliest) {
		return nil
	}
	a.earliest = time.Time{}
	for serial, e := range a.open {
		switch {
		case e.deadline.IsZero():
		case !e.deadline.After(now):
			a.remove(serial, e)
			expired = append(expired, e.value)
		case a.earliest.IsZero() || e.deadline.Before(a.earliest):
			a.earliest = e.deadline
		}
	}
	return expired
}

// Fail removes and returns the requests that wait for a target, which has died.
func (a *Asks[T]) Fail(to *actor.PID) (failed []T) {
	t := targetOf(to)
	if a.targets[t] == 0 {
		return nil
	}
	for serial, e := range a.open {
		if e.to == t {
			a.remove(serial, e)
			failed = append(failed, e.value)
		}
	}
	return failed
}

// Drain removes and returns all, for an actor that stops.
func (a *Asks[T]) Drain() (rest []T) {
	for serial, e := range a.open {
		a.remove(serial, e)
		rest = append(rest, e.value)
	}
	return rest
}

// Len is the number of open requests.
func (a *Asks[T]) Len() int { return len(a.open) }

// Waiting is the number of open requests to one target; 0 after Take means: Unwatch it if watching costs anything.
func (a *Asks[T]) Waiting(to *actor.PID) int { return a.targets[targetOf(to)] }

func (a *Asks[T]) remove(serial uint64, e ask[T]) {
	delete(a.open, serial)
	if a.targets[e.to]--; a.targets[e.to] == 0 {
		delete(a.targets, e.to)
	}
}
