package storage

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// load finds the pool's state: from the seed the first time, from disk after a restart. An active pool whose storage
// stands is active again, with what is in it.
func (p *pool) load(ctx actor.Context) {
	if p.fresh {
		p.fresh = false // a restarted actor is made anew, without this
		p.stash.Release(ctx)
		return
	}
	s, st, name, b := p.seed, p.store, p.name, p.backend
	if s != nil && s.state == nil {
		p.loaded(ctx, s, nil)
		return
	}
	type found struct {
		seed    *seed
		content *backend.Content
	}
	p.begin(ctx, &work{name: "adopt", limit: refreshIn, run: func(jc context.Context, _ *kit.Undo) (any, error) {
		if s == nil {
			var err error
			if s, err = st.load(name); s == nil {
				return nil, err
			}
		}
		if s.state == nil {
			return found{seed: s}, nil
		}
		f := found{seed: s}
		up, err := b.Active(jc, s.state)
		if err == nil && up {
			_ = b.Tidy(jc, s.state)
			f.content, err = b.Refresh(jc, s.state, nil)
		}
		if err != nil || !up {
			p.log.Warn().Err(err).Msg("an active pool is not there any more")
			return f, st.dropState(name)
		}
		return f, nil
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		f := out.(found)
		p.loaded(ctx, f.seed, f.content)
		return nil, nil
	}, failed: func(ctx actor.Context, err error) {
		if s != nil && !p.gone && p.works != nil {
			p.loaded(ctx, s, nil)
		}
	}})
}

func (p *pool) loaded(ctx actor.Context, s *seed, c *backend.Content) {
	p.persistent, p.autostart = s.config != nil, s.autostart
	switch {
	case c != nil:
		p.def = s.state
		if p.persistent && s.config.Format() != s.state.Format() {
			p.next = s.config
		}
		p.activate(ctx, c)
	case p.persistent:
		p.def = s.config
		ctx.Send(p.parent, &volumesChanged{Pool: p.uuid, All: true}) // of an earlier life of this actor
	default:
		p.forget(ctx)
	}
	if !p.gone {
		p.tell(ctx)
	}
	p.stash.Release(ctx)
}

func (p *pool) define(ctx actor.Context, m *define) {
	fresh := !p.persistent && !p.active
	p.alone(ctx, m.req, func(actor.Context) (*work, error) {
		s := p.store
		return &work{name: "define", limit: briefly, run: func(context.Context, *kit.Undo) (any, error) {
			if err := s.saveConfig(m.def); err != nil {
				return nil, liberr.System(from, err, "cannot create config file '%s'", s.config(m.def.Name))
			}
			return nil, nil
		}, apply: func(ctx actor.Context, _ any) (protocol.Encoder, error) {
			if p.active {
				p.next = m.def
			} else {
				p.def = m.def
			}
			p.persistent = true
			p.tell(ctx)
			p.lifecycle(ctx, virt.StoragePoolEventDefined)
			return &protocol.StoragePoolDefineXMLRet{Pool: p.ref()}, nil
		}, failed: func(ctx actor.Context, _ error) {
			if fresh && !p.active && !p.persistent {
				p.forget(ctx)
			}
		}}, nil
	})
}

func (p *pool) undefine(ctx actor.Context, r *call.Request, _ *protocol.StoragePoolUndefineArgs) error {
	p.alone(ctx, r, func(actor.Context) (*work, error) {
		switch {
		case p.gone:
			return nil, p.isGone()
		case p.active:
			return nil, p.stillActive()
		}
		s, name := p.store, p.name
		return &work{name: "undefine", limit: briefly, run: func(context.Context, *kit.Undo) (any, error) {
			if err := s.drop(name); err != nil {
				return nil, liberr.System(from, err, "cannot remove config for %s", name)
			}
			return nil, nil
		}, apply: func(ctx actor.Context, _ any) (protocol.Encoder, error) {
			p.persistent, p.autostart = false, false
			p.lifecycle(ctx, virt.StoragePoolEventUndefined)
			p.forget(ctx)
			return nil, nil
		}}, nil
	})
	return nil
}

func (p *pool) stillActive() error {
	return liberr.New(from, liberr.OperationInvalid, "storage pool '%s' is still active", p.name)
}

func (p *pool) alreadyActive() error {
	return liberr.New(from, liberr.OperationInvalid, "storage pool '%s' is already active", p.name)
}

const createFlags = virt.StoragePoolCreateWithBuild | virt.StoragePoolCreateWithBuildOverwrite | virt.StoragePoolCreateWithBuildNoOverwrite

// create starts the pool with a definition that is not stored.
func (p *pool) create(ctx actor.Context, m *create) {
	p.alone(ctx, m.req, func(actor.Context) (*work, error) {
		if p.active {
			return nil, liberr.New(from, liberr.OperationInvalid, "pool is already active as '%s'", p.name)
		}
		return p.startWork(m.def, m.flags, func(ctx actor.Context) protocol.Encoder {
			if p.persistent {
				p.next = p.def
			}
			p.def = m.def
			return &protocol.StoragePoolCreateXMLRet{Pool: p.ref()}
		}), nil
	})
}

func (p *pool) start(ctx actor.Context, r *call.Request, a *protocol.StoragePoolCreateArgs) error {
	if err := call.CheckFlags(a.Flags, createFlags, from, "storagePoolCreate"); err != nil {
		return err
	}
	p.alone(ctx, r, func(actor.Context) (*work, error) {
		if p.active {
			return nil, p.alreadyActive()
		}
		return p.startWork(p.def, a.Flags, func(actor.Context) protocol.Encoder { return nil }), nil
	})
	return nil
}

func (p *pool) autostartNow(ctx actor.Context) {
	p.alone(ctx, nil, func(actor.Context) (*work, error) {
		if p.active || p.gone || !p.autostart {
			return nil, nil
		}
		return p.startWork(p.def, 0, func(actor.Context) protocol.Encoder { return nil }), nil
	})
}

// startWork brings storage up and looks at all of it. settled puts the definition in place.
func (p *pool) startWork(d *def.Pool, flags uint32, settled func(ctx actor.Context) protocol.Encoder) *work {
	s, b := p.store, p.backend
	return &work{name: "start", limit: refreshIn, run: func(jc context.Context, undo *kit.Undo) (any, error) {
		if flags != 0 {
			build := uint32(0)
			if flags&virt.StoragePoolCreateWithBuildOverwrite != 0 {
				build |= virt.StoragePoolBuildOverwrite
			}
			if flags&virt.StoragePoolCreateWithBuildNoOverwrite != 0 {
				build |= virt.StoragePoolBuildNoOverwrite
			}
			if err := b.Build(jc, d, build); err != nil {
				return nil, err
			}
		}
		// The state comes first: what is brought up must be found again whatever happens to us.
		if err := s.saveState(d); err != nil {
			return nil, liberr.System(from, err, "cannot create config file '%s'", s.state(d.Name))
		}
		undo.Add("drop the state", func(context.Context) error { return s.dropState(d.Name) })
		if err := b.Start(jc, d); err != nil {
			return nil, err
		}
		undo.Add("stop the storage", func(c context.Context) error { return b.Stop(c, d) })
		_ = b.Tidy(jc, d) // what is in the way of that shows in the refresh
		return b.Refresh(jc, d, nil)
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		ret := settled(ctx)
		p.activate(ctx, out.(*backend.Content))
		p.tell(ctx)
		p.lifecycle(ctx, virt.StoragePoolEventStarted)
		return ret, nil
	}, failed: func(ctx actor.Context, _ error) {
		if !p.persistent && !p.active && !p.gone {
			p.forget(ctx)
		}
	}}
}

// activate makes the pool one that is up, with that content. It does not keep the process from its idle exit: nothing of a
// pool needs a process, and the next one finds it active.
func (p *pool) activate(ctx actor.Context, c *backend.Content) {
	p.active = true
	p.take(ctx, compare(c, nil), nil)
	p.watch(ctx)
}

func (p *pool) destroy(ctx actor.Context, r *call.Request, _ *protocol.StoragePoolDestroyArgs) error {
	if p.requireActive() == nil && p.requireQuiet() == nil {
		p.overtake(liberr.New(from, liberr.OperationAborted, "storage pool '%s' is being stopped", p.name))
	}
	p.alone(ctx, r, func(actor.Context) (*work, error) {
		if err := p.requireActive(); err != nil {
			return nil, err
		}
		if err := p.requireQuiet(); err != nil {
			return nil, err
		}
		s, b, d := p.store, p.backend, p.def
		return &work{name: "destroy", limit: briefly, stops: true, run: func(jc context.Context, _ *kit.Undo) (any, error) {
			if err := b.Stop(jc, d); err != nil {
				return nil, err
			}
			return nil, s.dropState(d.Name)
		}, apply: func(ctx actor.Context, _ any) (protocol.Encoder, error) {
			p.deactivate(ctx)
			p.lifecycle(ctx, virt.StoragePoolEventStopped)
			if !p.persistent {
				p.forget(ctx)
				return nil, nil
			}
			p.def, p.next = p.stored(), nil
			p.tell(ctx)
			return nil, nil
		}}, nil
	})
	return nil
}

func (p *pool) deactivate(ctx actor.Context) {
	p.unwatch()
	p.active = false
	p.volumes, p.sorted = nil, nil
	ctx.Send(p.parent, &volumesChanged{Pool: p.uuid, All: true})
}

func (p *pool) build(ctx actor.Context, r *call.Request, a *protocol.StoragePoolBuildArgs) error {
	p.alone(ctx, r, func(actor.Context) (*work, error) {
		if p.active {
			return nil, p.alreadyActive()
		}
		b, d := p.backend, p.def
		return &work{name: "build", limit: refreshIn, run: func(jc context.Context, _ *kit.Undo) (any, error) {
			return nil, b.Build(jc, d, a.Flags)
		}, apply: func(ctx actor.Context, _ any) (protocol.Encoder, error) {
			p.lifecycle(ctx, virt.StoragePoolEventCreated)
			return nil, nil
		}}, nil
	})
	return nil
}

func (p *pool) delete(ctx actor.Context, r *call.Request, a *protocol.StoragePoolDeleteArgs) error {
	p.alone(ctx, r, func(actor.Context) (*work, error) {
		if p.active {
			return nil, p.stillActive()
		}
		b, d := p.backend, p.def
		return &work{name: "delete", limit: briefly, run: func(jc context.Context, _ *kit.Undo) (any, error) {
			return nil, b.Delete(jc, d, a.Flags)
		}, apply: func(ctx actor.Context, _ any) (protocol.Encoder, error) {
			p.lifecycle(ctx, virt.StoragePoolEventDeleted)
			return nil, nil
		}}, nil
	})
	return nil
}

func (p *pool) setAutostart(ctx actor.Context, r *call.Request, a *protocol.StoragePoolSetAutostartArgs) error {
	p.alone(ctx, r, func(actor.Context) (*work, error) {
		if !p.persistent {
			return nil, liberr.New(from, liberr.InternalError, "pool has no config file")
		}
		s, name, on := p.store, p.name, a.Autostart != 0
		return &work{name: "autostart", limit: briefly, run: func(context.Context, *kit.Undo) (any, error) {
			if on {
				if err := disk.Symlink(s.config(name), s.link(name)); err != nil {
					return nil, liberr.System(from, err, "Failed to create symlink '%s' to '%s'", s.link(name), s.config(name))
				}
				return nil, nil
			}
			if err := disk.Remove(s.link(name)); err != nil {
				return nil, liberr.System(from, err, "Failed to delete symlink '%s'", s.link(name))
			}
			return nil, nil
		}, apply: func(ctx actor.Context, _ any) (protocol.Encoder, error) {
			p.autostart = on
			p.tell(ctx)
			return nil, nil
		}}, nil
	})
	return nil
}
