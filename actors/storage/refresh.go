package storage

import (
	"context"
	"errors"
	"slices"
	"sort"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (p *pool) refresh(ctx actor.Context, r *call.Request, a *protocol.StoragePoolRefreshArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "storagePoolRefresh"); err != nil {
		return err
	}
	p.refreshAll(ctx, r)
	return nil
}

// refreshAll looks at everything again. Where that fails the pool is none any more, as in libvirt: its storage is gone.
func (p *pool) refreshAll(ctx actor.Context, r *call.Request) {
	p.queue = append(p.queue, turn{req: r, looks: true, plan: func(actor.Context) (*work, error) {
		if err := p.requireActive(); err != nil {
			return nil, err
		}
		before := slices.Clone(p.list()) // all else of ten thousand volumes is done in the job, beside calls
		b, d, s := p.backend, p.def, p.store
		p.touched = map[string]bool{}
		return &work{name: "refresh", limit: refreshIn, looks: true, run: func(jc context.Context, _ *kit.Undo) (any, error) {
			known := make(map[string]*def.Volume, len(before))
			for _, v := range before {
				known[v.Name] = v
			}
			c, err := b.Refresh(jc, d, known)
			if err != nil {
				return nil, err
			}
			return compare(c, known), nil
		}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
			touched := p.touched
			p.touched = nil
			p.take(ctx, out.(*outcome), touched)
			p.tell(ctx)
			if r != nil {
				p.refreshed(ctx)
			}
			return nil, nil
		}, failed: func(ctx actor.Context, err error) {
			p.touched = nil
			if p.works == nil || p.changes > 0 || isTimeout(err) || errors.Is(err, liberr.OperationAborted) {
				return // its storage may well be there
			}
			p.alone(ctx, nil, func(actor.Context) (*work, error) {
				return &work{name: "drop", limit: briefly, stops: true, run: func(jc context.Context, _ *kit.Undo) (any, error) {
					_ = b.Stop(jc, d)
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
		}}, nil
	}})
	p.nextTurn(ctx)
}

// outcome is what a refresh found, against what was known before it.
type outcome struct {
	*backend.Content
	gone []string
	set  []*def.Volume // new, or not as before
}

func compare(c *backend.Content, known map[string]*def.Volume) *outcome {
	o := &outcome{Content: c}
	for name := range known {
		if c.Volumes[name] == nil {
			o.gone = append(o.gone, name)
		}
	}
	for name, v := range c.Volumes {
		if known[name] != v {
			o.set = append(o.set, v)
		}
	}
	return o
}

// take puts what a refresh found in place of what was known, except for volumes that were touched meanwhile and those
// that are being made.
func (p *pool) take(ctx actor.Context, o *outcome, touched map[string]bool) {
	p.setSpace(o.Space)
	p.def.Permissions = o.Permissions // of the copy that setSpace made
	change := &volumesChanged{Pool: p.uuid, All: p.volumes == nil}
	if p.volumes == nil {
		p.volumes = make(map[string]*volume, len(o.set))
	}
	for _, name := range o.gone {
		if old := p.volumes[name]; old != nil && !touched[name] && !old.making {
			change.Gone = append(change.Gone, old.Volume)
			delete(p.volumes, name)
		}
	}
	replaced := 0
	for _, v := range o.set {
		old := p.volumes[v.Name]
		switch {
		case touched[v.Name] || old != nil && old.making:
		case old == nil:
			p.volumes[v.Name] = &volume{Volume: v}
			change.Set = append(change.Set, v)
		default:
			replaced++
			if v = keyed(v, old.Volume); old.Key != v.Key || old.Path != v.Path {
				change.Gone, change.Set = append(change.Gone, old.Volume), append(change.Set, v)
			}
			old.Volume = v
		}
	}
	names := len(change.Gone) + len(change.Set)
	if change.All || names+replaced > 0 {
		p.sorted = nil
	}
	if change.All || names > 0 {
		ctx.Send(p.parent, change)
	}
}

// put sets what is known of one volume; nil removes it.
func (p *pool) put(ctx actor.Context, name string, v *def.Volume) {
	if !p.active {
		return
	}
	if p.touched != nil {
		p.touched[name] = true
	}
	old := p.volumes[name]
	v = keyed(v, p.known(name))
	change := &volumesChanged{Pool: p.uuid}
	switch {
	case v == nil && old == nil:
		return
	case v == nil:
		delete(p.volumes, name)
		if old.Volume != nil {
			change.Gone = append(change.Gone, old.Volume)
		}
	case old == nil || old.Volume == nil:
		if old == nil {
			old = &volume{}
			p.volumes[name] = old
		}
		old.Volume, old.making = v, false
		change.Set = append(change.Set, v)
	default:
		old.Volume = v
		p.replaced(name, v)
		return
	}
	p.sorted = nil
	ctx.Send(p.parent, change)
}

// known is what is known of a volume; nil where there is none, or none yet.
func (p *pool) known(name string) *def.Volume {
	if v := p.volumes[name]; v != nil {
		return v.Volume
	}
	return nil
}

// putIf is put for what a look found, unless the volume was changed since the look began.
func (p *pool) putIf(ctx actor.Context, name string, was, v *def.Volume) {
	if old := p.volumes[name]; old != nil && old.making || p.known(name) != was {
		return
	}
	p.put(ctx, name, v)
}

// replaced keeps the sorted list when no name has come or gone.
func (p *pool) replaced(name string, v *def.Volume) {
	i := sort.Search(len(p.sorted), func(i int) bool { return p.sorted[i].Name >= name })
	if i < len(p.sorted) && p.sorted[i].Name == name {
		if p.sorted[i].Key != v.Key {
			p.listed = nil
		}
		p.sorted[i] = v
	}
}

// list returns the volumes by name, for reading within this message.
func (p *pool) list() []*def.Volume {
	if p.sorted == nil {
		p.listed = nil
		p.sorted = make([]*def.Volume, 0, len(p.volumes))
		for _, v := range p.volumes {
			if v.Volume != nil {
				p.sorted = append(p.sorted, v.Volume)
			}
		}
		sort.Slice(p.sorted, func(i, j int) bool { return p.sorted[i].Name < p.sorted[j].Name })
	}
	return p.sorted
}

func (p *pool) setSpace(s backend.Space) {
	d := *p.def
	d.Capacity, d.Allocation, d.Available = s.Capacity, s.Allocation, s.Available
	if len(d.Source.Devices) > 0 && (len(s.Free) > 0 || len(d.Source.Devices[0].FreeExtents) > 0) {
		d.Source.Devices = slices.Clone(d.Source.Devices)
		d.Source.Devices[0].FreeExtents = s.Free
	}
	p.def = &d
}

// watch has the folder watched, where the backend can. What changed between the refresh and the watch shows in a look at
// everything that is cheap, since it looks again only at what changed.
func (p *pool) watch(ctx actor.Context) {
	w, ok := p.backend.(backend.Watcher)
	if !ok {
		return
	}
	system, self, d := ctx.ActorSystem(), ctx.Self(), p.def
	p.begin(ctx, &work{name: "watch", limit: briefly, run: func(context.Context, *kit.Undo) (any, error) {
		return w.Watch(d, func(names []string) { system.Root.Send(self, &folderChanged{names}) })
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		stop := out.(func())
		if !p.active || p.watching != nil {
			stop()
			return nil, nil
		}
		p.watching = stop
		p.refreshAll(ctx, nil)
		return nil, nil
	}})
}

func (p *pool) unwatch() {
	if p.watching != nil {
		p.watching()
		p.watching = nil
	}
}

// folderChanged has volumes looked at that somebody changed, one job at a time: what comes meanwhile is looked at
// together in the next.
func (p *pool) folderChanged(ctx actor.Context, m *folderChanged) {
	if !p.active {
		return
	}
	if m.names == nil {
		p.refreshAll(ctx, nil)
		return
	}
	p.heard = append(p.heard, m.names...)
	p.lookAtHeard(ctx)
}

func (p *pool) lookAtHeard(ctx actor.Context) {
	if p.looking || len(p.heard) == 0 || !p.active {
		return
	}
	names := map[string]*def.Volume{}
	was := map[string]*def.Volume{}
	for _, n := range p.heard {
		if v := p.volumes[n]; v == nil || !v.making {
			names[n] = nil
			was[n] = p.known(n)
		}
	}
	p.heard, p.looking = nil, true
	b, d := p.backend, p.def
	p.begin(ctx, &work{name: "look", limit: briefly, looks: true, run: func(jc context.Context, _ *kit.Undo) (any, error) {
		for n := range names {
			v, err := b.Look(jc, d, n)
			if err != nil {
				return nil, err
			}
			names[n] = v
		}
		return b.Space(jc, d)
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		p.looking = false
		if p.active {
			p.setSpace(out.(backend.Space))
			for n, v := range names {
				p.putIf(ctx, n, was[n], v)
			}
		}
		p.lookAtHeard(ctx)
		return nil, nil
	}, failed: func(ctx actor.Context, _ error) { p.looking = false }})
}
