package supervisors

import (
	"cmp"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Stop ends one child for good: a supervisor is first asked to stop its own children, and whoever does not stop within
// its limit is abandoned. Changed tells when it is gone. False if there is no such child.
func (c *Children) Stop(ctx actor.Context, name string) bool {
	row, ok := c.table[name]
	if !ok {
		return false
	}
	c.stop(ctx, row)
	return true
}

func (c *Children) stop(ctx actor.Context, row *child) {
	if row.state == Stopping {
		return
	}
	waits := row.state == Waiting
	row.doomed = false
	row.stepTo(Stopping, time.Now())
	c.publish(ctx, row)
	if row.pid == nil {
		c.gone(ctx, row)
		return
	}
	later(ctx.ActorSystem(), ctx.Self(), row.Shutdown, &limitDue{c, row.Name, row.step})
	if row.Supervisor && !row.standin && !waits { // one that failed is suspended and would not hear
		row.asked = true
		ctx.Request(row.pid, &Shutdown{})
		return
	}
	ctx.Stop(row.pid)
}

// askedDone: a supervising child has stopped its own children.
func (c *Children) askedDone(ctx actor.Context, m *ShutdownDone) {
	if ctx.Sender() == nil {
		return
	}
	row, ok := c.byID[ctx.Sender().Id]
	if !ok || !row.asked {
		return
	}
	row.asked = false
	c.late += m.Lost
	ctx.Stop(row.pid)
}

// StopAll stops all children and calls done when the table is empty, with the number of those that had to be abandoned.
// Nothing can be started any more. A second call replaces done.
func (c *Children) StopAll(ctx actor.Context, done func(ctx actor.Context, lost int)) {
	c.ending = func(ctx actor.Context) { done(ctx, c.late) }
	again := c.closed
	c.closed = true
	if again && len(c.table) > 0 {
		return
	}
	c.stopNext(ctx)
}

// stopNext goes on with the shutdown: with the child started last, or with all that are left.
func (c *Children) stopNext(ctx actor.Context) {
	if len(c.table) == 0 {
		if end := c.ending; end != nil {
			c.ending = nil
			end(ctx)
		}
		return
	}
	if c.swept {
		return // all have been told; this was one of them going
	}
	rows := make([]*child, 0, len(c.table))
	for _, row := range c.table {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b *child) int { return cmp.Compare(b.order, a.order) })
	c.swept = !c.cfg.Ordered
	if c.cfg.Ordered {
		rows = rows[:1]
	}
	for _, row := range rows {
		if _, still := c.table[row.Name]; still { // stopping one may end the whole, recursively
			c.stop(ctx, row)
		}
	}
}
