package storage

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// free returns a volume that nobody uses and no other job changes.
func (p *pool) free(name string) (*volume, error) {
	v, err := p.find(name)
	if err != nil {
		return nil, err
	}
	if v.uses > 0 {
		return nil, liberr.New(from, liberr.OperationInvalid, "volume '%s' is still in use.", name)
	}
	return v, nil
}

// change runs a job that changes one volume, and looks at it afterwards, also when the job failed half-way.
func (p *pool) change(ctx actor.Context, r *call.Request, name, what string, run func(jc context.Context, d *def.Pool, v *def.Volume) error) error {
	old, err := p.free(name)
	if err != nil {
		return err
	}
	old.uses++
	b, d, v := p.backend, p.def, old.Volume
	p.begin(ctx, &work{name: what, req: r, change: true, run: func(jc context.Context, _ *kit.Undo) (any, error) {
		if err := run(jc, d, v); err != nil {
			return nil, err
		}
		m := made{}
		var err error
		if m.volume, err = b.Look(jc, d, name); err == nil {
			m.space, err = b.Space(jc, d)
		}
		return m, err
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		p.unuse(name)
		m := out.(made)
		if p.active {
			p.setSpace(m.space)
			p.put(ctx, name, m.volume)
		}
		return nil, nil
	}, failed: func(ctx actor.Context, _ error) {
		p.unuse(name)
		if p.works != nil {
			p.heard = append(p.heard, name)
			p.lookAtHeard(ctx)
		}
	}})
	return nil
}

func (p *pool) deleteVolume(ctx actor.Context, r *call.Request, a *protocol.StorageVolDeleteArgs) error {
	b := p.backend
	return p.change(ctx, r, a.Vol.Name, "delete a volume", func(jc context.Context, d *def.Pool, v *def.Volume) error {
		return b.Remove(jc, d, v, a.Flags)
	})
}

const resizeFlags = virt.StorageVolResizeAllocate | virt.StorageVolResizeDelta | virt.StorageVolResizeShrink

func (p *pool) resizeVolume(ctx actor.Context, r *call.Request, a *protocol.StorageVolResizeArgs) error {
	if err := call.CheckFlags(a.Flags, resizeFlags, from, "storageVolResize"); err != nil {
		return err
	}
	v, err := p.free(a.Vol.Name)
	if err != nil {
		return err
	}
	size, shrink := a.Capacity, a.Flags&virt.StorageVolResizeShrink != 0
	if a.Flags&virt.StorageVolResizeDelta != 0 {
		if shrink {
			size = v.Capacity - min(v.Capacity, a.Capacity)
		} else {
			size = v.Capacity + a.Capacity
		}
	}
	switch {
	case size < v.Allocation && !shrink:
		return liberr.New(from, liberr.InvalidArg, "can't shrink capacity below existing allocation")
	case size < v.Capacity && !shrink:
		return liberr.New(from, liberr.InvalidArg, "Can't shrink capacity below current capacity unless shrink flag explicitly specified")
	case a.Flags&virt.StorageVolResizeAllocate != 0 && size > v.Allocation+p.def.Available:
		return liberr.New(from, liberr.OperationFailed, "Not enough space left in storage pool")
	}
	b := p.backend
	return p.change(ctx, r, a.Vol.Name, "resize a volume", func(jc context.Context, d *def.Pool, v *def.Volume) error {
		return b.Resize(jc, d, v, size, a.Flags)
	})
}

// wipeAlgorithms is how many ways to wipe there are.
const wipeAlgorithms = 10

func (p *pool) wipeVolume(ctx actor.Context, r *call.Request, a *protocol.StorageVolWipeArgs) error {
	return p.wipe(ctx, r, a.Vol.Name, virt.StorageVolWipeAlgZero, a.Flags)
}

func (p *pool) wipeVolumePattern(ctx actor.Context, r *call.Request, a *protocol.StorageVolWipePatternArgs) error {
	return p.wipe(ctx, r, a.Vol.Name, a.Algorithm, a.Flags)
}

func (p *pool) wipe(ctx actor.Context, r *call.Request, name string, algorithm, flags uint32) error {
	if err := checkWipe(algorithm, flags); err != nil {
		return err
	}
	b := p.backend
	return p.change(ctx, r, name, "wipe a volume", func(jc context.Context, d *def.Pool, v *def.Volume) error {
		return b.Wipe(jc, d, v, algorithm)
	})
}

func checkWipe(algorithm, flags uint32) error {
	if err := call.CheckFlags(flags, 0, from, "storageVolWipePattern"); err != nil {
		return err
	}
	if algorithm >= wipeAlgorithms {
		return liberr.New(from, liberr.InvalidArg, "wiping algorithm %d not supported", int32(algorithm))
	}
	return nil
}

func (p *pool) upload(ctx actor.Context, r *call.Request, a *protocol.StorageVolUploadArgs) error {
	if err := call.CheckFlags(a.Flags, virt.StorageVolUploadSparseStream, from, "storageVolUpload"); err != nil {
		return err
	}
	v, err := p.free(a.Vol.Name)
	if err != nil {
		return err
	}
	v.uses++
	p.token++
	token, name := p.token, a.Vol.Name
	p.sessions[token] = name
	s := call.Stream{In: true, Sparse: a.Flags&virt.StorageVolUploadSparseStream != 0, Ended: ctx.Self().Id, Token: token}
	p.open(ctx, r, v.Volume, s, a.Offset, a.Length, func() { p.endUpload(token) })
	return nil
}

func (p *pool) download(ctx actor.Context, r *call.Request, a *protocol.StorageVolDownloadArgs) error {
	if err := call.CheckFlags(a.Flags, virt.StorageVolDownloadSparseStream, from, "storageVolDownload"); err != nil {
		return err
	}
	v, err := p.find(a.Vol.Name)
	if err != nil {
		return err
	}
	p.open(ctx, r, v.Volume, call.Stream{Out: true, Sparse: a.Flags&virt.StorageVolDownloadSparseStream != 0}, a.Offset, a.Length, func() {})
	return nil
}

// open hands the client a descriptor of the volume's data; its process moves them.
func (p *pool) open(ctx actor.Context, r *call.Request, v *def.Volume, s call.Stream, offset, length uint64, failed func()) {
	s.Limit = -1
	if length > 0 && length < 1<<63 {
		s.Limit = int64(length)
	}
	b, d := p.backend, p.def
	p.begin(ctx, &work{name: "open a volume", req: r, limit: briefly, run: func(jc context.Context, _ *kit.Undo) (any, error) {
		f, err := b.Open(jc, d, v, s.In)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if offset >= 1<<63 {
			err = unix.EINVAL
		} else {
			_, err = f.Seek(int64(offset), 0)
		}
		if err != nil {
			return nil, liberr.System(liberr.FromStreams, err, "Unable to seek %s to %d", v.Path, offset)
		}
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, liberr.System(liberr.FromStreams, err, "Unable to open stream for '%s'", v.Path)
		}
		s := s
		s.FD = fd
		r.ReplyRaw(&call.Reply{Stream: &s}) // which owns the descriptor
		return nil, nil
	}, failed: func(actor.Context, error) { failed() }})
}

func (p *pool) endUpload(token uint64) (name string, ok bool) {
	if name, ok = p.sessions[token]; ok {
		delete(p.sessions, token)
		p.unuse(name)
	}
	return name, ok
}

// streamEnded looks at what was uploaded before the client's finish is answered.
func (p *pool) streamEnded(ctx actor.Context, m *call.StreamEnded) {
	who, serial := ctx.Sender(), m.Serial
	answer := func(ctx actor.Context) {
		if who != nil {
			ctx.Send(who, &call.StreamResult{Serial: serial})
		}
	}
	name, ok := p.endUpload(m.Token)
	if !ok || !p.active {
		answer(ctx)
		return
	}
	b, d, was := p.backend, p.def, p.known(name)
	p.begin(ctx, &work{name: "look at a volume", limit: briefly, run: func(jc context.Context, _ *kit.Undo) (any, error) {
		return b.Look(jc, d, name)
	}, apply: func(ctx actor.Context, out any) (protocol.Encoder, error) {
		p.putIf(ctx, name, was, out.(*def.Volume))
		p.refreshed(ctx) // Compat: libvirt refreshes the pool after an upload
		answer(ctx)
		return nil, nil
	}, failed: func(ctx actor.Context, _ error) { answer(ctx) }})
}
