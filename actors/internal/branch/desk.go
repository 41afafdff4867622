package branch

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Desk is where a branch's actor has what it cannot finish at once: the calls that came before it was ready, those
// that it has not answered yet, and its jobs. It is touched only inside the actor's Receive. When the actor ends or
// is restarted after a panic its calls get an error, for the next instance knows nothing of them.
type Desk struct {
	kit.Stash // calls before the branch is ready; for branches that have something to load
	from      liberr.Domain
	name      string
	open      call.Open
	jobs      map[uint64]func(actor.Context, any, error)
}

// NewDesk makes the desk of a driver ("network driver"), whose errors are of the domain from.
func NewDesk(from liberr.Domain, name string) Desk {
	return Desk{from: from, name: name, jobs: map[uint64]func(actor.Context, any, error){}}
}

// Receive applies the results of jobs, and clears the desk at the end of the actor; it reports whether the message was
// for it alone: the end of the actor concerns others too.
func (d *Desk) Receive(ctx actor.Context) bool {
	switch m := ctx.Message().(type) {
	case *kit.Done[any]:
		then := d.jobs[m.Serial]
		if then == nil { // of an earlier life of this actor
			m.Discard()
			return true
		}
		delete(d.jobs, m.Serial)
		then(ctx, m.Value, m.Err)
		return true
	case *actor.Stopping, *actor.Restarting:
		gone := liberr.New(d.from, liberr.InternalError, "the %s is gone", d.name).WithCause(kit.ErrActorGone)
		d.Refuse(ctx, gone)
		d.open.Fail(gone)
		clear(d.jobs)
		kit.CancelJobs(ctx)
	}
	return false
}

// Serve hands a call to its route.
func Serve[T any](d *Desk, routes *call.Table[T], a T, ctx actor.Context, c *call.Call) {
	routes.ServeOpen(&d.open, a, ctx, c, d.from)
}

// Do runs a job; then continues in the actor's Receive with its result, unless the actor ends first.
func (d *Desk) Do(ctx actor.Context, job kit.Job[any], then func(ctx actor.Context, out any, err error)) *kit.Running {
	run := job.Start(ctx)
	d.jobs[run.Serial] = then
	return run
}

// Answer runs a job that makes the answer to a call.
func (d *Desk) Answer(ctx actor.Context, r *call.Request, limit time.Duration, run func(context.Context) (protocol.Encoder, error)) {
	job := kit.Job[any]{Name: r.Proc.Name, Timeout: limit, Run: func(jc context.Context, _ *kit.Undo) (any, error) { return run(jc) }}
	d.Do(ctx, job, func(_ actor.Context, out any, err error) {
		ret, ok := out.(protocol.Encoder)
		switch {
		case err != nil:
			r.Fail(liberr.From(d.from, err))
		case !ok:
			r.Fail(liberr.New(d.from, liberr.InternalError, "%s", fmt.Sprintf("%s has no result", r.Proc.Name)))
		default:
			r.Reply(ret)
		}
	})
}

// Job routes a procedure to a handler that runs in a job. It may block; of the actor it sees the subject, which at
// takes out of it beforehand.
func Job[T, S, A, R any, PA call.Decodable[A], PR call.Encodable[R]](
	p protocol.Proc[A, R], limit time.Duration, at func(T) (*Desk, S), h func(context.Context, S, PA) (PR, error),
) call.Route[T] {
	return call.Later(p, func(t T, ctx actor.Context, r *call.Request, a PA) error {
		desk, subject := at(t)
		desk.Answer(ctx, r, limit, func(jc context.Context) (protocol.Encoder, error) {
			ret, err := h(jc, subject, a)
			if err != nil {
				return nil, err
			}
			return ret, nil
		})
		return nil
	})
}

// OncePerBoot calls start the first time that the driver ("qemu") runs since the host was booted: to start what is
// marked for it.
func (d *Desk) OncePerBoot(ctx actor.Context, env *Env, driver string, start func(actor.Context)) {
	marker := env.Paths.Autostarted(driver)
	job := kit.Job[any]{Name: "autostart", Timeout: time.Minute, Run: func(context.Context, *kit.Undo) (any, error) {
		if disk.Exists(marker) {
			return false, nil
		}
		return true, disk.WriteVolatile(marker, nil, 0o600)
	}}
	d.Do(ctx, job, func(ctx actor.Context, first any, err error) {
		switch {
		case err != nil:
			env.Log.Error().Err(err).Msg("cannot mark that the host's autostart is over, so nothing is started")
		case first == true:
			start(ctx)
		}
	})
}
