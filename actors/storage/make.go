package storage

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (p *pool) createVolume(ctx actor.Context, r *call.Request, a *protocol.StorageVolCreateXMLArgs) error {
	if err := call.CheckFlags(a.Flags, virt.StorageVolCreatePreallocMetadata|virt.StorageVolCreateValidate, from, "storageVolCreateXML"); err != nil {
		return err
	}
	if err := p.requireActive(); err != nil {
		return err
	}
	return p.read(ctx, a.XML, false, a.Flags&virt.StorageVolCreateValidate != 0, func(ctx actor.Context, v *def.Volume) error { return p.createNew(ctx, r, a, v) }, func(_ actor.Context, err error) { r.Fail(err) })
}

// read reads the document of a volume. failed is told what goes wrong after read has returned.
//
// Compat: libvirtd 9.0.0 refuses a valid document that was to be validated, since its parser does not know the flag.
func (p *pool) read(ctx actor.Context, doc string, sizeOptional, validate bool, then func(actor.Context, *def.Volume) error, failed func(actor.Context, error)) error {
	kind, parse := p.def.Kind, def.ParseVolume
	if validate {
		parse = def.ParseValidVolume
	}
	if len(doc) <= small {
		v, err := parse(doc, kind, sizeOptional)
		if err != nil {
			return err
		}
		return then(ctx, v)
	}
	p.begin(ctx, &work{name: "read a document", limit: briefly, run: func(context.Context, *kit.Undo) (any, error) {
		return parse(doc, kind, sizeOptional)
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		err := p.requireActive() // it may have been stopped meanwhile
		if err == nil {
			err = then(ctx, out.(*def.Volume))
		}
		return nil, err
	}, failed: func(ctx actor.Context, err error) { failed(ctx, liberr.From(from, err)) }})
	return nil
}

func (p *pool) createNew(ctx actor.Context, r *call.Request, a *protocol.StorageVolCreateXMLArgs, v *def.Volume) error {
	if p.volumes[v.Name] != nil {
		return liberr.Raw(from, liberr.StorageVolExist, "storage volume '"+v.Name+"' exists already")
	}
	b, d, flags := p.backend, p.def, a.Flags&^virt.StorageVolCreateValidate
	return p.makeVolume(ctx, r, v, func(jc context.Context, undo *kit.Undo) error {
		return b.Create(jc, undo, d, v, flags)
	}, func(v protocol.StorageVol) protocol.Encoder { return &protocol.StorageVolCreateXMLRet{Vol: v} }, nil)
}

// made is a volume that was made, and what that left of the pool.
type made struct {
	volume *def.Volume
	space  backend.Space
}

// makeVolume holds the name while a job makes the volume. over, which may be nil, runs at the end whatever becomes of it.
func (p *pool) makeVolume(ctx actor.Context, r *call.Request, v *def.Volume, create func(context.Context, *kit.Undo) error,
	answer func(protocol.StorageVol) protocol.Encoder, over func(ctx actor.Context)) error {
	b, d, name := p.backend, p.def, v.Name
	if err := b.Place(d, v); err != nil {
		return err
	}
	p.volumes[name] = &volume{making: true}
	p.begin(ctx, &work{name: "make a volume", req: r, change: true, run: func(jc context.Context, undo *kit.Undo) (any, error) {
		if err := create(jc, undo); err != nil {
			return nil, err
		}
		m := made{}
		var err error
		if m.volume, err = b.Look(jc, d, name); err == nil && m.volume == nil {
			err = liberr.New(from, liberr.NoStorageVol, "no storage vol with matching path '%s'", v.Path) // gone again
		}
		m.volume = keyed(m.volume, v)
		if err == nil {
			m.space, err = b.Space(jc, d)
		}
		return m, err
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		m := out.(made)
		p.setSpace(m.space)
		p.put(ctx, name, m.volume)
		if over != nil {
			over(ctx)
		}
		return answer(p.wire(m.volume)), nil
	}, failed: func(ctx actor.Context, _ error) {
		if v := p.volumes[name]; v != nil && v.making {
			delete(p.volumes, name)
			if p.works != nil {
				p.heard = append(p.heard, name) // somebody else's file may have the name
				p.lookAtHeard(ctx)
			}
		}
		if over != nil {
			over(ctx)
		}
	}})
	return nil
}

// lend passes a volume on to the pool that makes another of it.
func (p *pool) lend(ctx actor.Context, m *lend) {
	if p.gone {
		m.req.Fail(missingName(p.name))
		return
	}
	v, err := p.find(m.volume)
	if err != nil {
		m.req.Fail(err)
		return
	}
	v.uses++
	m.borrow.source = v.Volume
	m.borrow.lender = target{p.uuid, ctx.Self()}
	ctx.Send(m.to.pid, m.borrow)
}

// unuse ends a use of a volume.
func (p *pool) unuse(name string) {
	if v := p.volumes[name]; v != nil && v.uses > 0 {
		v.uses--
	}
}

// borrow makes a volume from another, of this pool or of another.
func (p *pool) borrow(ctx actor.Context, m *borrow) {
	over := func(ctx actor.Context) { ctx.Send(m.lender.pid, &returned{m.source.Name}) }
	if err := p.clone(ctx, m, over); err != nil {
		over(ctx)
		m.req.Fail(liberr.From(from, err))
	}
}

const cloneFlags = virt.StorageVolCreatePreallocMetadata | virt.StorageVolCreateReflink | virt.StorageVolCreateValidate

func (p *pool) clone(ctx actor.Context, m *borrow, over func(actor.Context)) error {
	if p.gone {
		return p.isGone()
	}
	if err := p.requireActive(); err != nil {
		return err
	}
	return p.read(ctx, m.args.XML, true, m.args.Flags&virt.StorageVolCreateValidate != 0, func(ctx actor.Context, v *def.Volume) error { return p.cloneNew(ctx, m, v, over) },
		func(ctx actor.Context, err error) {
			over(ctx)
			m.req.Fail(err)
		})
}

func (p *pool) cloneNew(ctx actor.Context, m *borrow, v *def.Volume, over func(actor.Context)) error {
	if p.volumes[v.Name] != nil {
		return liberr.New(from, liberr.InternalError, "storage volume name '%s' already in use.", v.Name)
	}
	source := m.source
	v.Capacity = max(v.Capacity, source.Capacity)
	if !v.AllocationGiven {
		v.Allocation = source.Allocation
	}
	b, d, flags := p.backend, p.def, m.args.Flags&^virt.StorageVolCreateValidate
	if err := b.Place(d, v); errors.Is(err, liberr.NoSupportCode) {
		return liberr.New(from, liberr.NoSupportCode, "storage pool does not support volume creation from an existing volume")
	}
	return p.makeVolume(ctx, m.req, v, func(jc context.Context, undo *kit.Undo) error {
		return b.Clone(jc, undo, d, v, source, flags)
	}, func(v protocol.StorageVol) protocol.Encoder { return &protocol.StorageVolCreateXMLFromRet{Vol: v} }, over)
}
