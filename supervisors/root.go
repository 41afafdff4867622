package supervisors

import (
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// root supervises the branches: starts each when what it needs is ready, and stops them in reverse.
//
//	need missing --> starting --Ready, or spawned--> ready
//	                     \--Startup over--> late (those that need it go on without)
type root struct {
	*Children
	tree    *Tree
	order   []string          // the spec's, by need
	started map[string]uint64 // branch -> Startup timer's number
	settled map[string]bool   // ready, or not waited for any more
	timers  uint64
	told    bool // the tree knows that all are settled
}

type (
	startupDue struct {
		name  string
		timer uint64
	}
	wake  struct{ name string }
	alive struct{}
)

func (*startupDue) Urgent() bool { return true }
func (*wake) Urgent() bool       { return true }
func (*alive) Urgent() bool      { return true }

func newRoot(t *Tree) *root {
	r := &root{tree: t, started: map[string]uint64{}, settled: map[string]bool{}}
	r.order, _ = t.opts.Spec.Order()
	r.Children = NewChildren(Config{
		Log: t.opts.Log, Observer: t.opts.Observer, Refuse: t.opts.Refuse, Props: t.opts.Props, Ordered: true,
		Changed: r.changed,
		GiveUp:  func(name string) bool { b, _ := t.opts.Spec.Find(name); return b.Vital },
	})
	return r
}

func (r *root) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*ChildStuck); ok && r.recycle(m) {
		return
	}
	if r.Handle(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.launch(ctx)
	case *Ready:
		r.ready(ctx)
	case *startupDue:
		if r.started[m.name] == m.timer && !r.settled[m.name] {
			r.tree.opts.Log.Error().Str("branch", m.name).Msg("branch is not ready in time, others go on without it")
			r.settle(ctx, m.name)
		}
	case *wake:
		r.wake(ctx, m.name)
	case *Reload:
		for _, row := range r.table {
			if row.pid != nil && row.state == Running {
				ctx.Send(row.pid, m)
			}
		}
	case *alive:
		ctx.Respond(&alive{})
	}
}

// recycle: a vital branch that is stuck has a goroutine in it that nobody can end. Where the branch is all the process is
// for (split mode), a new process is the cleaner successor. Reports whether that was done.
func (r *root) recycle(m *ChildStuck) bool {
	row, ok := r.byID[m.Child.Id]
	if !ok {
		return false
	}
	b, _ := r.tree.opts.Spec.Find(row.Name)
	if !b.Vital {
		return false
	}
	r.tree.end(&ExitError{ExitRecycle, fmt.Errorf("branch %s is stuck in %s for %v", b.Name, m.Message, m.Busy)})
	return true
}

// launch starts what is wanted and has all it needs.
func (r *root) launch(ctx actor.Context) {
	for _, name := range r.order {
		b, _ := r.tree.opts.Spec.Find(name)
		if _, begun := r.started[name]; begun || !b.Autostart {
			continue
		}
		if slices.ContainsFunc(b.Needs, func(n string) bool { return r.wanted(n) && !r.settled[n] }) {
			continue
		}
		r.start(ctx, b)
	}
	if !r.told && !slices.ContainsFunc(r.order, func(n string) bool { return r.wanted(n) && !r.settled[n] }) {
		r.told = true
		close(r.tree.ready)
	}
}

// wanted: it will be settled some day, so it can be waited for.
func (r *root) wanted(name string) bool {
	b, _ := r.tree.opts.Spec.Find(name)
	_, begun := r.started[name]
	return b.Autostart || begun
}

func (r *root) start(ctx actor.Context, b Branch) {
	b = b.withDefaults()
	r.timers++
	r.started[b.Name] = r.timers
	child := Child{Name: b.Name, Restart: b.Restart, Shutdown: b.Shutdown, Permanent: true, Supervisor: true}
	announces := b.Announces
	var err error
	if make := r.tree.opts.Exec; make != nil {
		child.Props, announces = processProps(r.tree, b, make(b)), true
		child.Shutdown += killLimit + time.Second // the process's own limit must fit in
	} else {
		child.Props, err = r.tree.opts.New(b)
	}
	if err == nil {
		_, err = r.Start(ctx, child)
	}
	if err != nil {
		r.tree.opts.Log.Error().Str("branch", b.Name).Err(err).Msg("branch cannot be started")
		if b.Vital {
			r.tree.fail(fmt.Errorf("branch %s: %w", b.Name, err))
		}
		r.settled[b.Name] = true
		return
	}
	if !announces {
		r.settled[b.Name] = true
		return
	}
	later(ctx.ActorSystem(), ctx.Self(), b.Startup, &startupDue{b.Name, r.started[b.Name]})
}

func (r *root) ready(ctx actor.Context) {
	if ctx.Sender() == nil {
		return
	}
	if row, ok := r.byID[ctx.Sender().Id]; ok {
		r.settle(ctx, row.Name)
	}
}

func (r *root) settle(ctx actor.Context, name string) {
	if !r.settled[name] {
		r.settled[name] = true
		r.launch(ctx)
	}
}

func (r *root) wake(ctx actor.Context, name string) {
	b, ok := r.tree.opts.Spec.Find(name)
	if !ok {
		return
	}
	if row, ok := r.table[b.Name]; ok {
		if row.state == Quarantined {
			r.release(ctx, b.Name)
		} else if row.pid != nil && r.tree.opts.Exec != nil {
			ctx.Send(row.pid, &wake{b.Name}) // it may have left for want of work
		}
		return
	}
	delete(r.settled, b.Name)
	r.start(ctx, b)
}

// changed keeps the directory of branches, and lets those that wait for a lost branch go on.
func (r *root) changed(ctx actor.Context, c Change) {
	if c.PID == nil || c.State == Gone || r.tree.opts.Exec != nil { // a branch in a process has no actor here
		r.tree.directory.Delete(c.Name)
	} else {
		r.tree.directory.Store(c.Name, c.PID)
	}
	if c.State == Quarantined || c.State == Gone {
		r.settle(ctx, c.Name)
	}
}
