package storage

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/apart"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

const from = liberr.FromStorage

// driver is the branch actor: the index of all pools and of their volumes, one actor below it for each pool.
type driver struct {
	env      *branch.Env
	host     *backend.Host
	backends func(*def.Pool) (backend.Backend, error)
	*branch.Index[*entry]
	bus         branch.Bus
	paths, keys map[string]place // keys has those that are not their volume's path
	desk        branch.Desk
}

// entry is one pool as the index knows it.
type entry struct {
	branch.Object
	summary
}

// target is a pool's actor.
type target struct {
	uuid protocol.UUID
	pid  *actor.PID
}

// place is where a volume is.
type place struct {
	pool *entry
	name string
	key  string
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer {
	host := hostOf(env)
	return newWith(env, func(p *def.Pool) (backend.Backend, error) { return apart.Of(host, p) })
}

// hostOf is the host that the branch runs on.
func hostOf(env *branch.Env) *backend.Host {
	return &backend.Host{Run: env.Paths.DriverRun("storage")}
}

func newWith(env *branch.Env, backends func(*def.Pool) (backend.Backend, error)) actor.Producer {
	return func() actor.Actor {
		return &driver{
			env: env, host: hostOf(env), backends: backends, Index: branch.NewIndex[*entry](env, from, "pool"),
			paths: map[string]place{}, keys: map[string]place{}, desk: branch.NewDesk(from, "storage driver"), bus: branch.Bus{Hold: env.Hold},
		}
	}
}

// Receive is the branch's table of contents.
func (d *driver) Receive(ctx actor.Context) {
	if d.Index.Receive(ctx) || d.desk.Receive(ctx) || d.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *call.Call:
		d.call(ctx, m)
	case *summaryChanged:
		d.update(m.summary)
	case *volumesChanged:
		d.volumesChanged(m)
	case *published:
		d.bus.Publish(ctx, m.Event)
	case *forgotten:
		d.forget(ctx, m.UUID)
	case *actor.Started:
		d.load(ctx)
	default:
		kit.Unhandled(ctx, m)
	}
}

// call serves what the branch answers itself and forwards what is one pool's.
func (d *driver) call(ctx actor.Context, c *call.Call) {
	switch {
	case d.desk.Hold(ctx):
	case poolRoutes.Has(c.Proc):
		d.forward(ctx, c)
	default:
		branch.Serve(&d.desk, driverRoutes, d, ctx, c)
	}
}

// forward passes a call to its pool, which calls on pools name by UUID, calls on volumes by name.
func (d *driver) forward(ctx actor.Context, c *call.Call) {
	name, ok := c.Proc.PeekName(c.Args)
	var e *entry
	var err error
	if uuid, isPool := c.Proc.PeekUUID(c.Args); isPool {
		e, err = d.find(protocol.StoragePool{Name: name, UUID: uuid})
	} else {
		e, err = d.findName(name)
	}
	if !ok {
		err = liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload")
	} else if err != nil {
		if first := earlyCheck(c); first != nil {
			err = first
		}
	}
	d.Forward(ctx, c, e, err)
}

func (d *driver) find(p protocol.StoragePool) (*entry, error) {
	if e := d.Find(p.UUID); e != nil {
		return e, nil
	}
	return nil, liberr.New(from, liberr.NoStoragePool, "no storage pool with matching uuid '%s' (%s)", p.UUID, p.Name)
}

func (d *driver) findName(name string) (*entry, error) {
	if e := d.FindName(name); e != nil {
		return e, nil
	}
	return nil, missingName(name)
}

func missingName(name string) *liberr.Error {
	return liberr.New(from, liberr.NoStoragePool, "no storage pool with matching name '%s'", name)
}

// spawn makes a pool's actor.
func (d *driver) spawn(ctx actor.Context, p *def.Pool, s *seed) (*entry, error) {
	b, err := d.backends(p)
	if err != nil {
		return nil, err
	}
	env, parent := d.env, ctx.Self()
	fresh := s == nil
	produce := func() actor.Actor {
		given, isFresh := s, fresh
		s, fresh = nil, false // a restarted pool reads its state from disk
		return newPool(env, parent, p, b, given, isFresh)
	}
	e := &entry{Object: branch.Object{Pending: fresh}, summary: summary{UUID: p.UUID, Def: p}}
	return e, d.Manage(ctx, e, p.Name, p.UUID, produce)
}

func (d *driver) update(s summary) {
	if e := d.ByUUID[s.UUID]; e != nil {
		e.summary, e.Pending = s, false
	}
}

func (d *driver) volumesChanged(m *volumesChanged) {
	e := d.ByUUID[m.Pool]
	if e == nil {
		return
	}
	if m.All {
		d.dropVolumes(e)
	}
	for _, v := range m.Gone {
		if d.paths[v.Path].pool == e {
			delete(d.paths, v.Path)
		}
		if d.keys[v.Key].pool == e {
			delete(d.keys, v.Key)
		}
	}
	for _, v := range m.Set {
		at := place{e, v.Name, v.Key}
		d.paths[v.Path] = at
		if v.Key != v.Path {
			d.keys[v.Key] = at
		}
	}
}

func (d *driver) dropVolumes(e *entry) {
	for _, index := range []map[string]place{d.paths, d.keys} {
		for k, at := range index {
			if at.pool == e {
				delete(index, k)
			}
		}
	}
}

// forget takes a pool out of the index and ends its actor.
func (d *driver) forget(ctx actor.Context, uuid protocol.UUID) {
	if e := d.Forget(ctx, uuid); e != nil {
		d.dropVolumes(e)
	}
}

// job runs blocking work of the branch itself.
func (d *driver) job(ctx actor.Context, name string, run func() (any, error), then func(ctx actor.Context, out any, err error)) {
	d.desk.Do(ctx, kit.Job[any]{Name: name, Run: func(context.Context, *kit.Undo) (any, error) { return run() }}, then)
}

// load finds all pools on disk and starts their actors.
func (d *driver) load(ctx actor.Context) {
	s := store{d.env.Paths}
	type found struct {
		seeds  []*seed
		broken error
	}
	d.job(ctx, "load", func() (any, error) {
		all, broken := s.scan()
		return found{all, broken}, nil
	}, func(ctx actor.Context, out any, err error) {
		if err != nil {
			panic(err)
		}
		f := out.(found)
		if f.broken != nil {
			d.env.Log.Error().Err(f.broken).Msg("storage pools were left out")
		}
		for _, s := range f.seeds {
			e, err := d.spawn(ctx, s.def(), s)
			if err != nil {
				d.env.Log.Error().Err(err).Str("pool", s.def().Name).Msg("cannot load a storage pool")
				continue
			}
			e.Active, e.Persistent, e.Autostart = s.state != nil, s.config != nil, s.autostart // until its actor knows better
		}
		d.desk.Release(ctx)
		d.autostart(ctx)
	})
}

// autostart starts the pools that are marked for it, once per boot of the host.
func (d *driver) autostart(ctx actor.Context) {
	d.desk.OncePerBoot(ctx, d.env, "storage", func(ctx actor.Context) {
		for _, e := range d.ByUUID {
			if e.Autostart {
				ctx.Send(e.PID, &autostart{})
			}
		}
	})
}
