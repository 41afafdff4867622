package kit

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/wire/liberr"
)

// Job is blocking work of an actor: plain sequential code in a goroutine of its own.
//
//	Start --> running --returns, panics--> (undo if it failed) --> Done
//	             \--deadline + Grace--> Done{Err: timed out}; lost --returns at last--> undo
//
// The actor gets exactly one *Done[T], whatever happens.
type Job[T any] struct {
	Name    string
	Timeout time.Duration // the context's deadline; 0 = none
	Grace   time.Duration // how long it may take to notice its deadline, undo included; 0 = DefaultGrace
	Run     func(ctx context.Context, undo *Undo) (T, error)
	Discard func(T) // frees a result that nobody will take; may be nil
}

// DefaultGrace is the time after its deadline in which a job may clean up before it is given up.
const DefaultGrace = 10 * time.Second

// Done is the result of a job: Value is meaningful when Err is nil.
type Done[T any] struct {
	Serial uint64 // Running.Serial
	Name   string
	Value  T
	Err    error
	Took   time.Duration

	discard func(T)
}

// Urgent puts results before requests, and lets none be refused.
func (*Done[T]) Urgent() bool { return true }

// Discard frees the value of a result that could not be delivered.
func (d *Done[T]) Discard() {
	if d.Err == nil && d.discard != nil {
		d.discard(d.Value)
	}
}

// Running is a started job, in the hands of its actor.
type Running struct {
	Serial uint64 // unique in the process
	Name   string
	Since  time.Time

	owner  string
	cancel context.CancelCauseFunc
	lost   atomic.Bool
}

// Cancel asks the job to end; its Done still comes. The cause is what context.Cause gives the job.
func (r *Running) Cancel(cause error) { r.cancel(cause) }

// ErrActorGone is the cause of a cancel by CancelJobs.
var ErrActorGone = errors.New("the actor that waits for the job is gone")

// CancelJobs cancels all jobs of an actor; for its Stopping and Restarting.
func CancelJobs(ctx actor.Context) {
	for _, r := range jobsOf(ctx.ActorSystem()).of(ctx.Self().Id) {
		r.Cancel(ErrActorGone)
	}
}

// Start runs the job for the actor of ctx.
func (j Job[T]) Start(ctx actor.Context) *Running {
	r := &runner[T]{Job: j, system: ctx.ActorSystem(), self: ctx.Self(), jobs: jobsOf(ctx.ActorSystem())}
	background := context.Background()
	run := &Running{Serial: serials.Add(1), Name: j.Name, Since: time.Now(), owner: r.self.Id}
	var stop context.CancelFunc = func() {}
	c, cancel := context.WithCancelCause(background)
	if j.Timeout > 0 {
		c, stop = context.WithTimeout(c, j.Timeout)
		if j.Grace == 0 {
			r.Grace = DefaultGrace
		}
		r.overdue = time.AfterFunc(j.Timeout+r.Grace, func() { r.giveUp(run) })
	}
	run.cancel = cancel
	r.jobs.add(run)
	go pprof.Do(c, pprof.Labels("actor", run.owner, "job", j.Name), func(c context.Context) {
		defer cancel(nil)
		defer stop()
		r.run(c, run)
	})
	return run
}

var serials atomic.Uint64

type runner[T any] struct {
	Job[T]
	system  *actor.ActorSystem
	self    *actor.PID
	jobs    *jobRegistry
	overdue *time.Timer
	sent    atomic.Bool
}

func (r *runner[T]) run(ctx context.Context, run *Running) {
	undo := &Undo{}
	var value T
	var err error
	clean := false
	defer func() { // also on Goexit, which recover does not see
		if !clean {
			err = r.crash(recover())
		}
		r.finish(ctx, run, undo, value, err)
	}()
	value, err = r.Run(ctx, undo)
	clean = true
}

// crash turns a panic into an error, on the panicking stack.
func (r *runner[T]) crash(panicked any) error {
	if panicked == nil {
		panicked = "runtime.Goexit"
	}
	c := &Crash{Actor: r.self.Id, Message: "job " + r.Name, Panic: panicked, Stack: string(debug.Stack())}
	r.system.Logger().Error("job crashed", slog.String("actor", c.Actor), slog.String("job", r.Name),
		slog.Any("panic", panicked), slog.String("stack", c.Stack))
	return liberr.New(liberr.FromNone, liberr.InternalError, "%s: %v", r.Name, panicked).WithCause(c)
}

func (r *runner[T]) finish(ctx context.Context, run *Running, undo *Undo, value T, err error) {
	defer r.jobs.remove(run)
	if err == nil && r.overdue != nil && !r.overdue.Stop() {
		// It came back too late: the actor is told (perhaps just now) that the job failed, so it must have failed.
		r.giveUp(run)
		err = context.DeadlineExceeded
		if r.Discard != nil {
			r.Discard(value)
		}
	}
	if err == nil {
		r.send(run, value, nil)
		return
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultGrace)
	defer cancel()
	undo.rollback(clean, func(step string, err error) {
		r.system.Logger().Error("undo failed", slog.String("actor", r.self.Id), slog.String("job", r.Name),
			slog.String("step", step), slog.Any("error", err))
	})
	var none T
	r.send(run, none, err) // the actor may then rely on the world being clean
	if r.overdue != nil {
		r.overdue.Stop()
	}
}

// giveUp answers for a job that did not come back in time. Its goroutine stays, and is listed as lost.
func (r *runner[T]) giveUp(run *Running) {
	run.lost.Store(true)
	var none T
	if r.send(run, none, liberr.New(liberr.FromNone, liberr.OperationTimeout, "%s did not end within %v", r.Name, r.Timeout)) {
		r.system.Logger().Error("job given up", slog.String("actor", r.self.Id), slog.String("job", r.Name),
			slog.Duration("after", time.Since(run.Since)), slog.String("stack", Stack(r.self.Id, r.Name)))
	}
}

func (r *runner[T]) send(run *Running, value T, err error) bool {
	if !r.sent.CompareAndSwap(false, true) {
		return false
	}
	done := &Done[T]{Serial: run.Serial, Name: r.Name, Value: value, Err: err, Took: time.Since(run.Since), discard: r.Discard}
	r.system.Root.Send(r.self, done) // discarded by the mailbox or as a dead letter if nobody takes it
	return true
}
