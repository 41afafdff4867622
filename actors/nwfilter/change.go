package nwfilter

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// patience is how long the kernel and the disk may take over a change.
const patience = time.Minute

// change is something that changes filters, bindings or rules. Changes run one after the other.
type change struct {
	name string
	req  *call.Request // who is to be answered; nil for what the driver does by itself
	// decide holds the change against the state; it runs in Receive when the changes before it are done. work is then
	// run in a job and apply in Receive when that went well; either may be nil. What decide or work fails with is the
	// answer, and ret is it when they do not.
	decide func() (plan, error)
}

type plan struct {
	work  func(ctx context.Context) error
	apply func(ctx actor.Context)
	ret   protocol.Encoder
	// failed runs in Receive when work has failed; may be nil.
	failed func(ctx actor.Context, err error)
}

// changes is the queue.
type changes struct {
	running bool
	waiting []*change
}

// begin runs a change when the ones before it are done.
func (d *driver) begin(ctx actor.Context, c *change) {
	d.changes.waiting = append(d.changes.waiting, c)
	d.next(ctx)
}

// next starts changes until one of them needs a job.
func (d *driver) next(ctx actor.Context) {
	for !d.changes.running && len(d.changes.waiting) > 0 {
		c := d.changes.waiting[0]
		d.changes.waiting = d.changes.waiting[1:]
		p, err := c.decide()
		if err != nil || p.work == nil {
			d.finish(ctx, c, p, err)
			continue
		}
		d.changes.running = true
		store := d.store
		job := kit.Job[any]{Name: c.name, Timeout: patience, Run: func(jc context.Context, _ *kit.Undo) (any, error) {
			return nil, store.alone(jc, func() error { return p.work(jc) })
		}}
		d.desk.Do(ctx, job, func(ctx actor.Context, _ any, err error) {
			d.changes.running = false
			d.finish(ctx, c, p, err)
			d.next(ctx)
		})
	}
}

// finish applies a change and answers who asked for it: in this order, so that nobody learns of what is not there yet.
func (d *driver) finish(ctx actor.Context, c *change, p plan, err error) {
	switch {
	case err != nil && p.failed != nil:
		p.failed(ctx, err)
	case err == nil && p.apply != nil:
		p.apply(ctx)
	}
	if c.req != nil {
		if err != nil {
			c.req.Fail(liberr.From(from, err))
			return
		}
		c.req.Finish(p.ret, nil)
	} else if err != nil && p.failed == nil {
		d.env.Log.Error().Err(err).Msg(c.name + " failed")
	}
}
