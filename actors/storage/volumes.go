package storage

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// find returns a volume of an active pool.
func (p *pool) find(name string) (*volume, error) {
	if err := p.requireActive(); err != nil {
		return nil, err
	}
	if v := p.volumes[name]; v != nil && v.Volume != nil {
		return v, nil
	}
	return nil, liberr.New(from, liberr.NoStorageVol, "no storage vol with matching name '%s'", name)
}

func (p *pool) wire(v *def.Volume) protocol.StorageVol {
	return protocol.StorageVol{Pool: p.name, Name: v.Name, Key: v.Key}
}

func (p *pool) getXML(_ actor.Context, _ *call.Request, a *protocol.StoragePoolGetXMLDescArgs) (*protocol.StoragePoolGetXMLDescRet, error) {
	if err := call.CheckFlags(a.Flags, virt.StorageXMLInactive, from, "storagePoolGetXMLDesc"); err != nil {
		return nil, err
	}
	d := p.def
	if a.Flags&virt.StorageXMLInactive != 0 {
		d = p.stored()
	}
	return &protocol.StoragePoolGetXMLDescRet{XML: d.Format()}, nil
}

func (p *pool) info(actor.Context, *call.Request, *protocol.StoragePoolGetInfoArgs) (*protocol.StoragePoolGetInfoRet, error) {
	r := &protocol.StoragePoolGetInfoRet{State: virt.StoragePoolInactive, Capacity: p.def.Capacity, Allocation: p.def.Allocation, Available: p.def.Available}
	if p.active {
		r.State = virt.StoragePoolRunning
	}
	return r, nil
}

func number(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func (p *pool) isActive(actor.Context, *call.Request, *protocol.StoragePoolIsActiveArgs) (*protocol.StoragePoolIsActiveRet, error) {
	return &protocol.StoragePoolIsActiveRet{Active: number(p.active)}, nil
}

func (p *pool) isPersistent(actor.Context, *call.Request, *protocol.StoragePoolIsPersistentArgs) (*protocol.StoragePoolIsPersistentRet, error) {
	return &protocol.StoragePoolIsPersistentRet{Persistent: number(p.persistent)}, nil
}

func (p *pool) getAutostart(actor.Context, *call.Request, *protocol.StoragePoolGetAutostartArgs) (*protocol.StoragePoolGetAutostartRet, error) {
	return &protocol.StoragePoolGetAutostartRet{Autostart: number(p.autostart)}, nil
}

func (p *pool) numVolumes(actor.Context, *call.Request, *protocol.StoragePoolNumOfVolumesArgs) (*protocol.StoragePoolNumOfVolumesRet, error) {
	if err := p.requireActive(); err != nil {
		return nil, err
	}
	return &protocol.StoragePoolNumOfVolumesRet{Num: int32(len(p.list()))}, nil
}

func (p *pool) listVolumes(_ actor.Context, _ *call.Request, a *protocol.StoragePoolListVolumesArgs) (*protocol.StoragePoolListVolumesRet, error) {
	if err := p.requireActive(); err != nil {
		return nil, err
	}
	ret := &protocol.StoragePoolListVolumesRet{}
	for _, v := range p.list() {
		if len(ret.Names) == int(a.Maxnames) {
			break
		}
		ret.Names = append(ret.Names, v.Name)
	}
	return ret, nil
}

// listAllVolumes keeps its answer until a name comes or goes: of a large pool it is a megabyte.
func (p *pool) listAllVolumes(_ actor.Context, r *call.Request, a *protocol.StoragePoolListAllVolumesArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "storagePoolListAllVolumes"); err != nil {
		return err
	}
	if err := p.requireActive(); err != nil {
		return err
	}
	all := p.list()
	if a.NeedResults == 0 {
		r.Reply(&protocol.StoragePoolListAllVolumesRet{Ret: uint32(len(all))})
		return nil
	}
	if len(all) > protocol.RemoteStorageVolListMax {
		return liberr.New(liberr.FromRPC, liberr.RPC, "Too many volumes '%d' for limit '%d'", len(all), protocol.RemoteStorageVolListMax)
	}
	if p.listed == nil {
		ret := &protocol.StoragePoolListAllVolumesRet{Ret: uint32(len(all)), Vols: make([]protocol.StorageVol, 0, len(all))}
		size := 0
		for _, v := range all {
			ret.Vols = append(ret.Vols, p.wire(v))
			size += len(p.name) + len(v.Name) + len(v.Key) + 24
		}
		p.listed = ret.AppendXDR(make([]byte, 0, size+16))
	}
	r.ReplyRaw(&call.Reply{Ret: p.listed})
	return nil
}

func (p *pool) lookupVolume(_ actor.Context, _ *call.Request, a *protocol.StorageVolLookupByNameArgs) (*protocol.StorageVolLookupByNameRet, error) {
	v, err := p.find(a.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.StorageVolLookupByNameRet{Vol: p.wire(v.Volume)}, nil
}

func (p *pool) volumePath(_ actor.Context, _ *call.Request, a *protocol.StorageVolGetPathArgs) (*protocol.StorageVolGetPathRet, error) {
	v, err := p.find(a.Vol.Name)
	if err != nil {
		return nil, err
	}
	return &protocol.StorageVolGetPathRet{Name: v.Path}, nil
}

// look answers from what a volume is now.
func (p *pool) look(ctx actor.Context, r *call.Request, name string, answer func(v *def.Volume) protocol.Encoder) error {
	old, err := p.find(name)
	if err != nil {
		return err
	}
	b, d, was := p.backend, p.def, old.Volume
	p.begin(ctx, &work{name: "look at a volume", req: r, limit: briefly, looks: true, run: func(jc context.Context, _ *kit.Undo) (any, error) {
		return b.Look(jc, d, name)
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		v := keyed(out.(*def.Volume), was)
		p.putIf(ctx, name, was, v)
		if v == nil {
			return nil, liberr.New(from, liberr.NoStorageVol, "no storage vol with matching path '%s'", was.Path)
		}
		return answer(v), nil
	}})
	return nil
}

func (p *pool) volumeXML(ctx actor.Context, r *call.Request, a *protocol.StorageVolGetXMLDescArgs) error {
	if err := call.CheckFlags(a.Flags, 0, from, "storageVolGetXMLDesc"); err != nil {
		return err
	}
	return p.look(ctx, r, a.Vol.Name, func(v *def.Volume) protocol.Encoder { return &protocol.StorageVolGetXMLDescRet{XML: v.XML()} })
}

func (p *pool) volumeInfo(ctx actor.Context, r *call.Request, a *protocol.StorageVolGetInfoArgs) error {
	return p.look(ctx, r, a.Vol.Name, func(v *def.Volume) protocol.Encoder {
		return &protocol.StorageVolGetInfoRet{Type: v.Type, Capacity: v.Capacity, Allocation: v.Allocation}
	})
}

func (p *pool) volumeInfoFlags(ctx actor.Context, r *call.Request, a *protocol.StorageVolGetInfoFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, virt.StorageVolGetPhysical, from, "storageVolGetInfoFlags"); err != nil {
		return err
	}
	return p.look(ctx, r, a.Vol.Name, func(v *def.Volume) protocol.Encoder {
		ret := &protocol.StorageVolGetInfoFlagsRet{Type: v.Type, Capacity: v.Capacity, Allocation: v.Allocation}
		if a.Flags&virt.StorageVolGetPhysical != 0 {
			ret.Allocation = v.Physical
		}
		return ret
	})
}

// isTimeout tells whether a job was given up, so that nothing is known of what it was to find out.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, liberr.OperationTimeout)
}
