package supervisors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/wire/liberr"
)

// quarantine puts a stand-in where a child was that failed too often: the name goes on answering, with the reason.
func (c *Children) quarantine(ctx actor.Context, row *child) {
	row.doomed = false
	row.stepTo(Quarantined, time.Now())
	props := actor.PropsFromProducer(func() actor.Actor {
		return &standin{c.cfg, liberr.New(c.cfg.Domain, liberr.InternalError, "%s is %v: %v", row.Name, ErrQuarantined, row.lastErr)}
	}, c.cfg.Props...)
	for range 1000 {
		pid, err := ctx.SpawnNamed(props, row.id())
		if err == nil {
			row.pid, row.standin = pid, true
			c.byID[pid.Id] = row
			break
		}
		row.generation++ // an abandoned one holds the name
	}
	c.publish(ctx, row)
	Report(ctx.ActorSystem(), Trouble{Kind: TroubleQuarantine, Actor: ctx.Self().Id + "/" + row.Name, Reason: fmt.Sprintf("failed %d times; at last: %v", row.history.Total(), row.lastErr)})
	c.cfg.Changed(ctx, row.change())
	if row.Restart.Parole > 0 {
		later(ctx.ActorSystem(), ctx.Self(), row.Restart.Parole, &restartDue{c, row.Name, row.step})
	}
}

// release gives a quarantined child another try.
func (c *Children) release(ctx actor.Context, name string) {
	row, ok := c.table[name]
	if !ok || row.state != Quarantined || row.doomed || c.closed {
		return
	}
	c.cfg.Log.Info().Str("child", name).Msg("quarantine ends")
	row.step++ // a pending parole is void
	if row.pid != nil {
		ctx.Stop(row.pid) // revived when the name is free
		return
	}
	c.revive(ctx, row)
}

func (c *Children) revive(ctx actor.Context, row *child) {
	row.history.Release()
	if err := c.spawn(ctx, row); err != nil {
		c.failed(ctx, row, err, nil, true)
	}
}

// standin answers in the name of a quarantined child.
type standin struct {
	cfg Config
	err *liberr.Error
}

func (s *standin) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case actor.AutoReceiveMessage, actor.SystemMessage:
	case *Shutdown:
		ctx.Request(ctx.Sender(), &ShutdownDone{})
	default:
		if s.cfg.Refuse != nil {
			s.cfg.Refuse(ctx.ActorSystem(), ctx.Sender(), m, s.err)
		}
	}
}
