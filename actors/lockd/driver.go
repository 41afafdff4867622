package lockd

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// virtlockd's own errors come from its RPC layer, those about files and leases from the lockspaces.
const (
	from  = liberr.FromRPC
	space = liberr.FromLockspace
)

// patience is how long a file system may take over a lease.
const patience = 2 * time.Minute

// driver is the branch actor.
type driver struct {
	env *branch.Env
	*leases

	bus    branch.Bus // the program has no events; who subscribes hears nothing
	desk   branch.Desk
	queues map[key][]func(actor.Context) // resources in the hands of a job, and what waits for it
}

// leases are what must not be lost when the actor crashes: they are handed from each of its lives to the next, which
// alone touches them.
type leases struct {
	spaces map[string]string // lockspace -> folder; the default one is always there
	held   map[key]*lease
	conns  map[string]*connection // by the PID of the client's actor
	guests map[uint32]*guest      // by their process; those that drivers of the tree hold leases for
}

// key names a resource: its lockspace and its name there.
type key struct{ space, name string }

// path is the file that stands for the resource.
func (k key) path() string {
	if k.space == "" {
		return k.name
	}
	return filepath.Join(k.space, k.name)
}

// lease is a resource that is held.
type lease struct {
	fd     int
	shared bool
	auto   bool     // the file was made for the lease and goes with it
	owners []uint32 // process ids, one for each acquire
}

// connection is one client that has registered an owner.
type connection struct {
	owner      protocol.LockOwner
	holder     bool // the leases of the owner end with this connection
	restricted bool
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer {
	l := &leases{spaces: map[string]string{"": ""}, held: map[key]*lease{}, conns: map[string]*connection{}, guests: map[uint32]*guest{}}
	return func() actor.Actor {
		return &driver{env: env, leases: l, queues: map[key][]func(actor.Context){}, desk: branch.NewDesk(from, "lock driver")}
	}
}

// Receive serves calls and applies what jobs return.
func (d *driver) Receive(ctx actor.Context) {
	if t, ok := ctx.Message().(*actor.Terminated); ok {
		d.ended(ctx, t.Who)
	}
	if d.bus.Receive(ctx) || d.desk.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Stopping:
		for k, l := range d.held {
			_ = unix.Close(l.fd)
			delete(d.held, k)
		}
		for pid, g := range d.guests {
			g.current = false
			g.end()
			delete(d.guests, pid)
		}
	case *call.Call:
		branch.Serve(&d.desk, routes, d, ctx, m)
	case *Ask:
		d.ask(ctx, m)
	case *guestGone:
		d.forgetGuest(ctx, m.guest, nil)
	case *actor.Terminated: // a client that had not subscribed
	default:
		kit.Unhandled(ctx, m)
	}
}

// routes is the driver's table of contents.
var routes = call.NewTable(
	call.Answer(protocol.LockRegister, (*driver).register),
	call.Answer(protocol.LockRestrict, (*driver).restrict),
	call.Later(protocol.LockNew, (*driver).newSpace),
	call.Later(protocol.LockCreateLockspace, (*driver).createSpace),
	call.Later(protocol.LockCreateResource, (*driver).createResource),
	call.Later(protocol.LockDeleteResource, (*driver).deleteResource),
	call.Later(protocol.LockAcquireResource, (*driver).acquire),
	call.Later(protocol.LockReleaseResource, (*driver).release),
)

// job runs do beside the actor; apply gets what it returned.
func (d *driver) job(ctx actor.Context, name string, do func() (any, error), apply func(actor.Context, any, error)) {
	job := kit.Job[any]{
		Name:    "lockd " + name,
		Timeout: patience,
		Run:     func(context.Context, *kit.Undo) (any, error) { return do() },
		Discard: func(v any) {
			if fd, ok := v.(int); ok {
				_ = unix.Close(fd)
			}
		},
	}
	d.desk.Do(ctx, job, apply)
}

// inOrder runs f when the resource is in no job's hands. f calls done when it has nothing more to do.
func (d *driver) inOrder(ctx actor.Context, k key, f func(actor.Context)) {
	waiting, busy := d.queues[k]
	if busy {
		d.queues[k] = append(waiting, f)
		return
	}
	d.queues[k] = nil
	f(ctx)
}

func (d *driver) done(ctx actor.Context, k key) {
	waiting := d.queues[k]
	if len(waiting) == 0 {
		delete(d.queues, k)
		return
	}
	d.queues[k] = waiting[1:]
	waiting[0](ctx)
}

// ended releases what a connection held that is over.
func (d *driver) ended(ctx actor.Context, who *actor.PID) {
	c := d.conns[connKey(who)]
	if c == nil {
		return
	}
	delete(d.conns, connKey(who))
	if c.holder {
		for k := range d.held {
			d.inOrder(ctx, k, func(ctx actor.Context) { d.dropAll(ctx, k, c.owner.Pid) })
		}
	}
}

func connKey(p *actor.PID) string { return p.Address + "/" + p.Id }

// dropAll ends every lease of the owner on the resource.
func (d *driver) dropAll(ctx actor.Context, k key, owner uint32) {
	if l := d.held[k]; l != nil {
		l.owners = slices.DeleteFunc(l.owners, func(o uint32) bool { return o == owner })
		if len(l.owners) == 0 {
			d.free(ctx, k, l, nil)
			return
		}
	}
	d.done(ctx, k)
}

// free lets the resource go in a job: a close may wait for a file system. then, if not nil, is told how it went.
func (d *driver) free(ctx actor.Context, k key, l *lease, then func(error)) {
	delete(d.held, k)
	path, fd, auto := k.path(), l.fd, l.auto
	d.job(ctx, "release "+path, func() (any, error) { return nil, closeLease(path, fd, auto) }, func(ctx actor.Context, _ any, err error) {
		if err != nil {
			d.env.Log.Warn().Err(err).Str("resource", path).Msg("lease was not let go cleanly")
		}
		if then != nil {
			then(nil) // the lease is gone in any case
		}
		d.done(ctx, k)
	})
}
