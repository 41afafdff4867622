package supervisors

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/wire/liberr"
)

// Config of the supervision of one kind of children: what an actor that supervises decides once.
type Config struct {
	Log      zerolog.Logger
	Observer Observer // nil: stuck children are only reported
	// Refuse answers a request with an error; the stand-in of a quarantined child uses it.
	Refuse func(system *actor.ActorSystem, sender *actor.PID, msg any, err *liberr.Error)
	Domain liberr.Domain // of those errors
	// Props for stand-ins: the mailbox of the tree.
	Props []actor.PropsOption
	// Changed is told of each change, in the supervisor's own goroutine. It may be nil.
	Changed func(ctx actor.Context, c Change)
	// GiveUp decides about a child that failed too often: true escalates to the supervisor's own supervisor, false
	// quarantines the child. nil = always quarantine.
	GiveUp func(name string) (escalate bool)
	// Ordered stops children one after the other, last started first; otherwise all at once.
	Ordered bool
	// Thaw is how long a restart may take until the child counts as stuck; zero = 3 s. It is the framework's part
	// (Restarting, stopping the grandchildren, the producer, Started), none of which may block.
	Thaw time.Duration
	// MaxStuck is how many stuck predecessors a child may leave behind, each with a goroutine that nobody can end, until it is
	// quarantined; zero = 3.
	MaxStuck int
}

// Children supervises the children of one actor: the actor embeds or holds it, passes its HandleFailure on and calls
// Handle first in Receive. All of it is touched only there; what others may see is published as Facts.
type Children struct {
	cfg    Config
	table  map[string]*child
	byID   map[string]*child   // pid.Id -> child, stand-ins included
	lost   map[string]*lost    // by id: abandoned actors, until they come back
	orders uint64              // of starting
	closed bool                // Shutdown was asked for: nothing is started any more
	ending func(actor.Context) // called when the table is empty
	swept  bool                // all were told to stop
	late   int                 // children abandoned while ending
}

// lost is an actor that was abandoned. Its mailbox says at once that it is gone, and the framework says so again when it
// really is.
type lost struct {
	name    string
	noticed bool
}

// NewChildren makes an empty table; call it in the producer.
func NewChildren(cfg Config) *Children {
	if cfg.Thaw == 0 {
		cfg.Thaw = 3 * time.Second
	}
	if cfg.MaxStuck == 0 {
		cfg.MaxStuck = 3
	}
	if cfg.Changed == nil {
		cfg.Changed = func(actor.Context, Change) {}
	}
	return &Children{cfg: cfg, table: map[string]*child{}, byID: map[string]*child{}, lost: map[string]*lost{}}
}

// ErrClosed is the answer to a Start during shutdown.
var ErrClosed = errors.New("shutting down")

// Start spawns a child. A panic of its producer is an error.
func (c *Children) Start(ctx actor.Context, spec Child) (*actor.PID, error) {
	if c.closed {
		return nil, ErrClosed
	}
	if _, ok := c.table[spec.Name]; ok {
		return nil, fmt.Errorf("child %q: %w", spec.Name, actor.ErrNameExists)
	}
	if spec.Restart == (Restart{}) {
		spec.Restart = ObjectRestart
	}
	if spec.Shutdown == 0 {
		spec.Shutdown = defaultShutdown
	}
	c.orders++
	row := &child{Child: spec, history: NewHistory(spec.Restart), order: c.orders}
	c.table[spec.Name] = row
	if err := c.spawn(ctx, row); err != nil {
		delete(c.table, spec.Name)
		return nil, err
	}
	return row.pid, nil
}

// spawn gives a row its actor. When the name is still held by a predecessor that has not quite gone, the next one is
// taken: a supervisor never waits. The framework finds that out after it has called the producer, whose first call may
// be given what later ones are not, so names are tried beforehand; nobody else takes them.
func (c *Children) spawn(ctx actor.Context, row *child) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("producer of %q panicked: %v", row.Name, p)
		}
	}()
	for range 1000 {
		if _, held := ctx.ActorSystem().ProcessRegistry.GetLocal(ctx.Self().Id + "/" + row.id()); !held {
			break
		}
		row.generation++
	}
	row.pid, err = ctx.SpawnNamed(row.Props, row.id())
	if err != nil {
		row.pid = nil
		return err
	}
	row.standin = false
	c.byID[row.pid.Id] = row
	row.stepTo(Running, time.Now())
	c.publish(ctx, row)
	c.cfg.Changed(ctx, row.change())
	return nil
}

func (c *child) change() Change {
	return Change{Name: c.Name, State: c.state, PID: c.pid, Err: c.lastErr}
}

// Lookup returns where a child is reached. While quarantined that is its stand-in, and err says why.
func (c *Children) Lookup(name string) (pid *actor.PID, state State, err error) {
	row, ok := c.table[name]
	if !ok {
		return nil, 0, nil
	}
	if row.state == Quarantined {
		err = fmt.Errorf("%s: %w: %w", name, ErrQuarantined, row.lastErr)
	}
	return row.pid, row.state, err
}

// Len is the number of children, in whatever state.
func (c *Children) Len() int { return len(c.table) }

// Abandoned is the number of actors that were given up and have not come back.
func (c *Children) Abandoned() int { return len(c.lost) }

// Handle takes the messages that concern supervision; true means that the actor need not look at it.
func (c *Children) Handle(ctx actor.Context) bool {
	switch m := ctx.Message().(type) {
	case *actor.Terminated:
		return c.terminated(ctx, m.Who)
	case *ChildStuck:
		c.stuck(ctx, m)
	case *restartDue:
		if m.of == c {
			c.restartNow(ctx, m)
		}
	case *limitDue:
		if m.of == c {
			c.overdue(ctx, m)
		}
	case *Release:
		c.release(ctx, m.Name)
	case *Shutdown:
		asker := ctx.Sender()
		c.StopAll(ctx, func(ctx actor.Context, lost int) {
			if asker != nil {
				ctx.Request(asker, &ShutdownDone{Lost: lost}) // with ourselves as sender: it names who is done
			}
		})
	case *ShutdownDone:
		c.askedDone(ctx, m)
	default:
		return false
	}
	return true
}

// HandleFailure implements actor.SupervisorStrategy for the actor that owns the table.
func (c *Children) HandleFailure(system *actor.ActorSystem, s actor.Supervisor, pid *actor.PID, rs *actor.RestartStatistics, reason, message any) {
	row, ok := c.byID[pid.Id]
	ctx, isContext := s.(actor.Context)
	if !ok || !isContext {
		// Not ours: a helper actor that the owner spawned itself, or one that was abandoned and panicked on its return.
		if _, abandoned := c.lost[pid.Id]; abandoned {
			s.StopChildren(pid)
			return
		}
		actor.DefaultSupervisorStrategy().HandleFailure(system, s, pid, rs, reason, message)
		return
	}
	if row.state == Stopping || row.doomed {
		s.StopChildren(pid)
		return
	}
	c.failed(ctx, row, reason, message, false)
}

// leftBehind is how many abandoned actors of a child have not come back.
func (c *Children) leftBehind(name string) (n int) {
	for _, l := range c.lost {
		if l.name == name {
			n++
		}
	}
	return n
}

// failed records a failure and does what the verdict says. dead: there is no actor to restart, only to start anew.
func (c *Children) failed(ctx actor.Context, row *child, reason, message any, dead bool) {
	row.lastErr = asError(reason)
	if row.standin { // a stand-in has nothing that could fail; if it does, without it
		return
	}
	v := row.history.Fail(time.Now())
	if n := c.leftBehind(row.Name); n >= c.cfg.MaxStuck && !v.GiveUp {
		v = row.history.GiveUp()
	}
	line := c.cfg.Log.Error().Str("child", row.Name).Err(row.lastErr).Int("failures", row.history.Total())
	if !v.GiveUp {
		line.Dur("delay", v.Delay).Msg("child failed, restarting")
		row.stepTo(Waiting, time.Now())
		c.publish(ctx, row)
		c.cfg.Changed(ctx, row.change())
		later(ctx.ActorSystem(), ctx.Self(), v.Delay, &restartDue{c, row.Name, row.step})
		return
	}
	if c.cfg.GiveUp != nil && c.cfg.GiveUp(row.Name) {
		line.Msg("child failed too often, escalating")
		if s, ok := ctx.(actor.Supervisor); ok {
			s.EscalateFailure(fmt.Errorf("%s failed too often: %w", row.Name, row.lastErr), message)
		}
		return
	}
	line.Dur("parole", v.Delay).Msg("child failed too often, quarantined")
	row.doomed = true
	row.stepTo(Quarantined, time.Now())
	c.publish(ctx, row)
	if dead {
		c.quarantine(ctx, row)
		return
	}
	ctx.Stop(row.pid) // its queue is answered by its mailbox; the stand-in follows when it is gone
	later(ctx.ActorSystem(), ctx.Self(), row.Shutdown, &limitDue{c, row.Name, row.step})
}

// restartNow ends the delay after a failure, or parole.
func (c *Children) restartNow(ctx actor.Context, m *restartDue) {
	row, ok := c.table[m.name]
	if !ok || row.step != m.step || c.closed {
		return
	}
	switch {
	case row.state == Quarantined:
		c.release(ctx, row.Name)
	case row.pid == nil: // its actor is gone
		if err := c.spawn(ctx, row); err != nil {
			c.failed(ctx, row, err, nil, true)
		}
	default:
		s, ok := ctx.(actor.Supervisor)
		if !ok {
			return
		}
		s.RestartChildren(row.pid)
		row.stepTo(Running, time.Now())
		c.publish(ctx, row)
		c.cfg.Changed(ctx, row.change())
		// A restart waits for the child's own children. One that is stuck would keep this child suspended for ever.
		later(ctx.ActorSystem(), ctx.Self(), c.cfg.Thaw, &limitDue{c, row.Name, row.step})
	}
}

// terminated: true if pid was ours.
func (c *Children) terminated(ctx actor.Context, pid *actor.PID) bool {
	if l, ok := c.lost[pid.Id]; ok {
		if !l.noticed {
			l.noticed = true
			return true
		}
		delete(c.lost, pid.Id)
		boardOf(ctx.ActorSystem()).forget(pid.Id)
		c.cfg.Log.Warn().Str("child", l.name).Str("actor", pid.Id).Msg("abandoned actor came back and stopped")
		return true
	}
	row, ok := c.byID[pid.Id]
	if !ok {
		return false
	}
	delete(c.byID, pid.Id)
	if row.doomed {
		boardOf(ctx.ActorSystem()).supervised.Delete(pid.Id) // its own words stay: people know it by its title
	} else {
		boardOf(ctx.ActorSystem()).forget(pid.Id)
	}
	row.pid = nil
	switch {
	case row.state == Stopping:
		c.gone(ctx, row)
	case row.doomed:
		c.quarantine(ctx, row)
	case row.state == Quarantined: // its stand-in went: Release makes room for the child
		c.revive(ctx, row)
	case row.Permanent && !c.closed:
		c.failed(ctx, row, errors.New("stopped unasked"), nil, true)
	default:
		c.gone(ctx, row)
	}
	return true
}

// gone takes a row out of the table.
func (c *Children) gone(ctx actor.Context, row *child) {
	delete(c.table, row.Name)
	boardOf(ctx.ActorSystem()).forget(ctx.Self().Id + "/" + row.id())
	row.stepTo(Gone, time.Now())
	c.cfg.Changed(ctx, row.change())
	if c.closed {
		c.stopNext(ctx)
	}
}

// publish puts a row on the board.
func (c *Children) publish(ctx actor.Context, row *child) {
	if row.pid == nil {
		// Between two lives the name has no actor. The picture shows it all the same.
		c.store(ctx, ctx.Self().Id+"/"+row.id(), row)
		return
	}
	c.store(ctx, row.pid.Id, row)
}

func (c *Children) store(ctx actor.Context, id string, row *child) {
	f := Facts{State: row.state.String(), Restarts: row.history.Total(), Since: row.since, Abandoned: c.leftBehind(row.Name)}
	if row.lastErr != nil {
		f.LastError = row.lastErr.Error()
	}
	boardOf(ctx.ActorSystem()).supervised.Store(id, f)
}
