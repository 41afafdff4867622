package supervisors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// stuck handles the watchdog's report: the child is abandoned and counts as failed, so a successor (or in the end a
// stand-in) takes its place under a new name. Whoever waits for the old one is answered by its mailbox.
func (c *Children) stuck(ctx actor.Context, m *ChildStuck) {
	row, ok := c.byID[m.Child.Id]
	if !ok || row.standin {
		return
	}
	reason := fmt.Errorf("stuck in %s for %v", m.Message, m.Busy.Round(time.Millisecond))
	stopping := row.state == Stopping
	if !c.abandon(ctx, row) {
		c.cfg.Log.Error().Str("child", row.Name).Err(reason).Msg("stuck child cannot be abandoned")
		return
	}
	if stopping {
		c.late++
		c.gone(ctx, row)
		return
	}
	if row.doomed {
		c.quarantine(ctx, row)
		return
	}
	c.failed(ctx, row, reason, nil, true)
}

// abandon cuts a row loose from its actor. The table forgets the actor before the mailbox tells of its end, which the
// framework's own list of children needs to hear and we do not.
func (c *Children) abandon(ctx actor.Context, row *child) bool {
	if c.cfg.Observer == nil || row.pid == nil {
		return false
	}
	id := row.pid.Id
	delete(c.byID, id)
	c.lost[id] = &lost{name: row.Name}
	if !c.cfg.Observer.Abandon(id) {
		// Dead by now: its Terminated is on the way.
		delete(c.lost, id)
		c.byID[id] = row
		return false
	}
	Report(ctx.ActorSystem(), Trouble{Kind: TroubleAbandoned, Actor: id, Reason: "does not come back; a successor takes its place"})
	boardOf(ctx.ActorSystem()).supervised.Store(id, Facts{State: "abandoned", Since: time.Now()})
	row.pid = nil
	row.generation++
	return true
}

// overdue: a limit has passed: of a stop, of the end of a doomed child, or of a restart.
func (c *Children) overdue(ctx actor.Context, m *limitDue) {
	row, ok := c.table[m.name]
	if !ok || row.step != m.step || row.pid == nil {
		return
	}
	switch {
	case row.state == Stopping:
		c.cfg.Log.Error().Str("child", row.Name).Dur("limit", row.Shutdown).Msg("child does not stop, abandoned")
		if c.abandon(ctx, row) || c.cfg.Observer == nil {
			row.pid = nil
			c.late++
			c.gone(ctx, row)
		}
	case row.doomed:
		if c.abandon(ctx, row) {
			c.quarantine(ctx, row)
		}
	case row.state == Running && c.cfg.Observer != nil:
		if a, alive := c.cfg.Observer.Actor(row.pid.Id); alive && a.Suspended && c.abandon(ctx, row) {
			c.failed(ctx, row, fmt.Errorf("restart of %s waits for a stuck child of its own", row.Name), nil, true)
		}
	}
}
