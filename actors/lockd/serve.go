package lockd

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Flags of an acquire.
const (
	acquireShared     = 1
	acquireAutoCreate = 2
)

// dispatch is how virtlockd's functions are called, which its messages name.
const dispatch = "virLockSpaceProtocolDispatch"

// client returns the registered connection a call came over; virtlockd checks in this order.
func (d *driver) client(r *call.Request, flags, allowed uint32, fn string) (*connection, error) {
	if err := call.CheckFlags(flags, allowed, from, dispatch+fn); err != nil {
		return nil, err
	}
	c := d.conns[connKey(r.Client())]
	if err := mayAct(c); err != nil {
		return nil, err
	}
	if c == nil {
		return nil, liberr.New(from, liberr.OperationInvalid, "lock owner details have not been registered")
	}
	return c, nil
}

func mayAct(c *connection) error {
	if c != nil && c.restricted {
		return liberr.New(from, liberr.OperationDenied, "lock manager connection has been restricted")
	}
	return nil
}

// register names the owner. Once registered, a connection keeps its owner; a second call changes nothing.
func (d *driver) register(ctx actor.Context, r *call.Request, a *protocol.LockRegisterArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, dispatch+"Register"); err != nil {
		return nil, err
	}
	who := r.Client()
	c := d.conns[connKey(who)]
	if err := mayAct(c); err != nil {
		return nil, err
	}
	if c == nil {
		inTree := r.Caller == nil || r.Caller.PID == 0
		d.conns[connKey(who)] = &connection{owner: a.Owner, holder: inTree || uint32(r.Caller.PID) == a.Owner.Pid}
		ctx.Watch(who)
	}
	return &protocol.Void{}, nil
}

// restrict makes the connection good for nothing but holding what it has.
func (d *driver) restrict(_ actor.Context, r *call.Request, a *protocol.LockRestrictArgs) (*protocol.Void, error) {
	c, err := d.client(r, a.Flags, 0, "Restrict")
	if err != nil {
		return nil, err
	}
	c.restricted = true
	return &protocol.Void{}, nil
}

func (d *driver) newSpace(ctx actor.Context, r *call.Request, a *protocol.LockNewArgs) error {
	if _, err := d.client(r, a.Flags, 0, "New"); err != nil {
		return err
	}
	if a.Path == "" {
		return liberr.New(from, liberr.OperationInvalid, "the default lockspace already exists")
	}
	if _, ok := d.spaces[a.Path]; ok {
		return liberr.New(from, liberr.InternalError, "Lockspace for path %s already exists", a.Path)
	}
	d.addSpace(ctx, r, a.Path)
	return nil
}

// createSpace needs no owner, and a lockspace that is there is as good as a new one.
func (d *driver) createSpace(ctx actor.Context, r *call.Request, a *protocol.LockCreateLockSpaceArgs) error {
	if err := mayAct(d.conns[connKey(r.Client())]); err != nil {
		return err
	}
	if _, ok := d.spaces[a.Path]; ok {
		r.Reply(nil)
		return nil
	}
	d.addSpace(ctx, r, a.Path)
	return nil
}

func (d *driver) addSpace(ctx actor.Context, r *call.Request, path string) {
	d.job(ctx, "lockspace "+path, func() (any, error) { return nil, makeSpace(path) }, func(_ actor.Context, _ any, err error) {
		if err == nil {
			d.spaces[path] = path
		}
		r.Finish(&protocol.Void{}, err)
	})
}

// resource checks that the lockspace is there.
func (d *driver) resource(space, name string) (key, error) {
	if _, ok := d.spaces[space]; !ok {
		return key{}, liberr.New(from, liberr.InternalError, "Lockspace for path %s does not exist", space)
	}
	return key{space, name}, nil
}

func locked(k key) error {
	return liberr.New(space, liberr.ResourceBusy, "Lockspace resource '%s' is locked", k.name)
}

func (d *driver) createResource(ctx actor.Context, r *call.Request, a *protocol.LockCreateResourceArgs) error {
	if _, err := d.client(r, a.Flags, 0, "CreateResource"); err != nil {
		return err
	}
	return d.whileFree(ctx, r, a.Path, a.Name, createFile)
}

func (d *driver) deleteResource(ctx actor.Context, r *call.Request, a *protocol.LockDeleteResourceArgs) error {
	if _, err := d.client(r, a.Flags, 0, "DeleteResource"); err != nil {
		return err
	}
	return d.whileFree(ctx, r, a.Path, a.Name, deleteFile)
}

// whileFree does something to the file of a resource that nobody holds.
func (d *driver) whileFree(ctx actor.Context, r *call.Request, space, name string, do func(path string) error) error {
	k, err := d.resource(space, name)
	if err != nil {
		return err
	}
	d.inOrder(ctx, k, func(ctx actor.Context) {
		if d.held[k] != nil {
			r.Fail(locked(k))
			d.done(ctx, k)
			return
		}
		d.job(ctx, "file "+k.path(), func() (any, error) { return nil, do(k.path()) }, func(ctx actor.Context, _ any, err error) {
			r.Finish(&protocol.Void{}, err)
			d.done(ctx, k)
		})
	})
	return nil
}

func (d *driver) acquire(ctx actor.Context, r *call.Request, a *protocol.LockAcquireResourceArgs) error {
	c, err := d.client(r, a.Flags, acquireShared|acquireAutoCreate, "AcquireResource")
	if err != nil {
		return err
	}
	k, err := d.resource(a.Path, a.Name)
	if err != nil {
		return err
	}
	shared, auto := a.Flags&acquireShared != 0, a.Flags&acquireAutoCreate != 0
	d.inOrder(ctx, k, func(ctx actor.Context) { d.take(ctx, r, c, k, shared, auto) })
	return nil
}

// take joins a shared lease or takes the file's lock. When the connection has ended meanwhile, the lease is let go again.
func (d *driver) take(ctx actor.Context, r *call.Request, c *connection, k key, shared, auto bool) {
	if l := d.held[k]; l != nil {
		if l.shared && shared {
			l.owners = append(l.owners, c.owner.Pid)
			r.Reply(nil)
		} else {
			r.Fail(locked(k))
		}
		d.done(ctx, k)
		return
	}
	d.job(ctx, "acquire "+k.path(), func() (any, error) { return openLease(k, shared, auto) }, func(ctx actor.Context, v any, err error) {
		if err != nil {
			r.Fail(err)
			d.done(ctx, k)
			return
		}
		l := &lease{fd: v.(int), shared: shared, auto: auto, owners: []uint32{c.owner.Pid}}
		if c.holder && d.conns[connKey(r.Client())] != c {
			d.free(ctx, k, l, nil)
			return
		}
		d.held[k] = l
		r.Reply(nil)
		d.done(ctx, k)
	})
}

func (d *driver) release(ctx actor.Context, r *call.Request, a *protocol.LockReleaseResourceArgs) error {
	c, err := d.client(r, a.Flags, 0, "ReleaseResource")
	if err != nil {
		return err
	}
	k, err := d.resource(a.Path, a.Name)
	if err != nil {
		return err
	}
	d.inOrder(ctx, k, func(ctx actor.Context) { d.drop(ctx, r, c, k) })
	return nil
}

// drop ends one lease of the owner.
func (d *driver) drop(ctx actor.Context, r *call.Request, c *connection, k key) {
	l := d.held[k]
	if l == nil {
		r.Fail(liberr.New(space, liberr.ResourceBusy, "Lockspace resource '%s' is not locked", k.name))
		d.done(ctx, k)
		return
	}
	i := slices.Index(l.owners, c.owner.Pid)
	if i < 0 {
		r.Fail(liberr.New(space, liberr.InternalError, "owner %d does not hold the resource lock", c.owner.Pid))
		d.done(ctx, k)
		return
	}
	if l.owners = slices.Delete(l.owners, i, i+1); len(l.owners) > 0 {
		r.Reply(nil)
		d.done(ctx, k)
		return
	}
	d.free(ctx, k, l, func(err error) { r.Finish(&protocol.Void{}, err) })
}
