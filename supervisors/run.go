package supervisors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/wire/liberr"
)

// Options of a running tree.
type Options struct {
	Spec Spec
	Log  zerolog.Logger

	// New makes a branch's actor in this process.
	New func(b Branch) (*actor.Props, error)
	// Exec, when set, makes all branches processes instead: it says what to run.
	Exec func(b Branch) Command

	// Props, Observer and Refuse come from the actors' kit, which this package may not know: the mailbox, what it can
	// see, and how a request is answered with an error.
	Props    []actor.PropsOption
	Observer Observer
	Refuse   func(system *actor.ActorSystem, sender *actor.PID, msg any, err *liberr.Error)
}

// Tree is a running tree, in the hands of main.
type Tree struct {
	opts      Options
	system    *actor.ActorSystem
	pid       *actor.PID
	directory sync.Map // branch -> *actor.PID
	ready     chan struct{}
	done      chan struct{}
	stopping  atomic.Bool
	mu        sync.Mutex
	err       error
	ended     bool
}

// RootName is the id of the top of the tree; a branch is RootName/name.
const RootName = "root"

// Start spawns the tree and returns at once; Ready tells when all branches that autostart serve.
func Start(system *actor.ActorSystem, opts Options) (*Tree, error) {
	if err := opts.Spec.Check(); err != nil {
		return nil, &ExitError{ExitConfig, err}
	}
	if opts.New == nil && opts.Exec == nil {
		return nil, &ExitError{ExitInit, errors.New("neither New nor Exec")}
	}
	t := &Tree{opts: opts, system: system, ready: make(chan struct{}), done: make(chan struct{})}
	props := actor.PropsFromProducer(func() actor.Actor { return newRoot(t) },
		append(opts.Props[:len(opts.Props):len(opts.Props)], actor.WithGuardian(&topGuard{t}))...)
	pid, err := system.Root.SpawnNamed(props, RootName)
	if err != nil {
		return nil, &ExitError{ExitInit, err}
	}
	t.pid = pid
	// The framework tells nobody when its top actor ends, so somebody watches it.
	system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			c.Watch(pid)
		case *actor.Terminated:
			if m.Who.Id != pid.Id {
				return
			}
			if t.stopping.Load() {
				t.end(nil)
			} else {
				t.fail(errors.New("the root of the tree stopped"))
			}
			c.Stop(c.Self())
		}
	}))
	return t, nil
}

// topGuard is the supervisor of the root. A root that failed has lost the table of what it supervises, so there is
// nothing to repair: the process ends and the service manager starts a new one, which adopts what runs.
type topGuard struct{ tree *Tree }

func (g *topGuard) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, _ *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	g.tree.fail(asError(reason))
}

// fail ends the tree with an error.
func (t *Tree) fail(err error) { t.end(&ExitError{ExitFailed, err}) }

func (t *Tree) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended, t.err = true, err
	if err != nil {
		t.opts.Log.Error().Err(err).Msg("the tree has failed")
	}
	close(t.done)
}

// Ready is closed when every branch that autostarts serves, or has been given up.
func (t *Tree) Ready() <-chan struct{} { return t.ready }

// Done is closed when the tree has ended; Err says how.
func (t *Tree) Done() <-chan struct{} { return t.done }

// Err is nil after an orderly end. CodeOf makes the exit code of it.
func (t *Tree) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Fail ends the tree from outside, say for a recycle: &ExitError{ExitRecycle, ...}. Nothing is stopped; exit follows.
func (t *Tree) Fail(err error) { t.end(err) }

// PID of the root supervisor.
func (t *Tree) PID() *actor.PID { return t.pid }

// Branch returns where a branch is reached now: its actor, in quarantine its stand-in; nil while it has none. Ask each
// time, a branch that was replaced has another PID. When the branches are processes it is always nil: their actors are in
// other addresses, under the id RootName/name.
func (t *Tree) Branch(name string) *actor.PID {
	pid, _ := t.directory.Load(name)
	p, _ := pid.(*actor.PID)
	return p
}

// Wake starts a branch that does not run: one without Autostart, one that left for want of work, one in quarantine.
func (t *Tree) Wake(name string) { t.system.Root.Send(t.pid, &wake{name}) }

// Reload asks all branches to read their configuration again.
func (t *Tree) Reload() { t.system.Root.Send(t.pid, &Reload{}) }

// Alive asks the root for a sign of life; for the service manager's watchdog.
func (t *Tree) Alive(ctx context.Context) error {
	limit := 5 * time.Second
	if end, ok := ctx.Deadline(); ok {
		limit = max(time.Millisecond, time.Until(end))
	}
	_, err := t.system.Root.RequestFuture(t.pid, &alive{}, limit).Result()
	return err
}

// Shutdown stops the branches in reverse order, then the root. It returns when all is stopped or ctx ends; lost is the
// number of actors and processes that did not stop in time. A tree that failed before has nothing left to stop in order.
func (t *Tree) Shutdown(ctx context.Context) (lost int, err error) {
	t.stopping.Store(true)
	limit := time.Hour
	if end, ok := ctx.Deadline(); ok {
		limit = max(time.Millisecond, time.Until(end))
	}
	f := t.system.Root.RequestFuture(t.pid, &Shutdown{}, limit)
	type answer struct {
		reply any
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		reply, err := f.Result()
		answers <- answer{reply, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-t.done:
		return 0, t.Err()
	case <-ctx.Done():
		return 0, &ExitError{ExitOverdue, ctx.Err()}
	}
	if a.err != nil {
		return 0, &ExitError{ExitOverdue, fmt.Errorf("shutdown: %w", a.err)}
	}
	if d, ok := a.reply.(*ShutdownDone); ok {
		lost = d.Lost
	}
	t.system.Root.Stop(t.pid)
	select {
	case <-t.done:
		return lost, t.Err()
	case <-ctx.Done():
		return lost, &ExitError{ExitOverdue, ctx.Err()}
	}
}
