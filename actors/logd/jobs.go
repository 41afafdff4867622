package logd

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/protocol"

	"golang.org/x/sys/unix"
)

// patience is how long a job may take: a log folder on a dead server must not collect them for ever.
const patience = time.Minute

// job runs do beside the actor, which applies what it returns; failed is called instead when there is nothing to apply.
func (d *driver) job(ctx actor.Context, name string, do func() any, failed func(error)) {
	job := kit.Job[any]{
		Name:    "logd " + name,
		Timeout: patience,
		Run:     func(context.Context, *kit.Undo) (any, error) { return do(), nil },
		Discard: discard,
	}
	d.desk.Do(ctx, job, func(ctx actor.Context, out any, err error) {
		if err != nil {
			failed(err)
			return
		}
		d.done(ctx, out)
	})
}

// answer runs do and answers the call with what it returns.
func (d *driver) answer(ctx actor.Context, r *call.Request, do func() (protocol.Encoder, error)) {
	d.desk.Answer(ctx, r, patience, func(context.Context) (protocol.Encoder, error) { return do() })
}

// discard frees what nobody will take.
func discard(result any) {
	if o, ok := result.(*opened); ok && o.err == nil {
		_ = unix.Close(o.fd)
	}
}

// done applies the result of a job.
func (d *driver) done(ctx actor.Context, result any) {
	switch v := result.(type) {
	case *opened:
		d.opened(ctx, v)
	case *restored:
		for _, path := range v.paths {
			d.track(ctx, path)
			d.inspect(ctx, path) // it may be long closed
		}
	case *inspected:
		d.inspected(ctx, v)
	case *rotated:
		d.rotated(ctx, v)
	case *saved:
		d.saved(ctx, v)
	}
}
