package qemu

import (
	"context"
	"encoding/xml"
	"errors"
	"os"
	"syscall"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/xmltree"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// How block jobs begin.

type blockStart = func(ctx context.Context, mon *qmp.Client, undo *kit.Undo) error

func badArg(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.InvalidArg, format, args...)
}

func (d *domain) blockPull(ctx actor.Context, r *call.Request, a *protocol.DomainBlockPullArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainBlockPullBandwidthBytes, liberr.FromQemu, "qemuDomainBlockPull"); err != nil {
		return err
	}
	return d.pull(ctx, r, a.Path, "", a.Bandwidth, a.Flags&virt.DomainBlockPullBandwidthBytes != 0, false)
}

// blockRebase serves virDomainBlockRebase: a pull down to a base, or by its flags the oldest form of a copy.
func (d *domain) blockRebase(ctx actor.Context, r *call.Request, a *protocol.DomainBlockRebaseArgs) error {
	const all = virt.DomainBlockRebaseShallow | virt.DomainBlockRebaseReuseExt | virt.DomainBlockRebaseCopy | virt.DomainBlockRebaseCopyRaw |
		virt.DomainBlockRebaseRelative | virt.DomainBlockRebaseCopyDev | virt.DomainBlockRebaseBandwidthBytes
	if err := call.CheckFlags(a.Flags, all, liberr.FromQemu, "qemuDomainBlockRebase"); err != nil {
		return err
	}
	base := ""
	if a.Base != nil {
		base = *a.Base
	}
	bytes := a.Flags&virt.DomainBlockRebaseBandwidthBytes != 0
	if a.Flags&virt.DomainBlockRebaseCopy == 0 {
		return d.pull(ctx, r, a.Path, base, a.Bandwidth, bytes, a.Flags&virt.DomainBlockRebaseRelative != 0)
	}
	speed, err := speedBytes(a.Bandwidth, bytes)
	if err != nil {
		return err
	}
	c := copyPlan{path: a.Path, flags: a.Flags & (virt.DomainBlockCopyShallow | virt.DomainBlockCopyReuseExt), speed: speed}
	c.dest.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: base}}
	if a.Flags&virt.DomainBlockRebaseCopyDev != 0 {
		c.dest.Source = &libvirtxml.DomainDiskSource{Block: &libvirtxml.DomainDiskSourceBlock{Dev: base}}
	}
	if a.Flags&virt.DomainBlockRebaseCopyRaw != 0 {
		c.dest.Driver = &libvirtxml.DomainDiskDriver{Type: "raw"}
	}
	return d.copyDisk(ctx, r, c)
}

func (d *domain) pull(ctx actor.Context, r *call.Request, path, base string, bandwidth uint64, bytes, relative bool) error {
	speed, err := speedBytes(bandwidth, bytes)
	if err != nil {
		return err
	}
	return d.startBlockJob(ctx, r, func(d *domain) (*blockJob, blockStart, error) {
		_, disk, err := d.blockDisk(path)
		if err != nil {
			return nil, nil, err
		}
		if err := d.freeDisk(disk); err != nil {
			return nil, nil, err
		}
		layers, target := chain(disk), diskTarget(disk)
		if len(layers) == 0 {
			return nil, nil, badArg("disk '%s' has no source file to be pulled", target)
		}
		job := &blockJob{disk: target, kind: virt.DomainBlockJobTypePull, speed: speed, id: blockJobID(virt.DomainBlockJobTypePull, target, layers[0].index)}
		args := blockJobArgs(job, layers[0].node())
		if relative && base == "" {
			return nil, nil, badArg("flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base")
		}
		if base != "" {
			i, err := findLayer(layers, 1, base, target)
			if err != nil {
				return nil, nil, err
			}
			job.base = layers[i].index
			args["base-node"] = layers[i].node()
			if !relative {
				args["backing-file"] = layers[i].path
			}
		}
		return job, func(ctx context.Context, mon *qmp.Client, _ *kit.Undo) error { return qmp.BlockStream(ctx, mon, args) }, nil
	})
}

func (d *domain) blockCommit(ctx actor.Context, r *call.Request, a *protocol.DomainBlockCommitArgs) error {
	const shallow, active = virt.DomainBlockCommitShallow, virt.DomainBlockCommitActive
	const all = shallow | active | virt.DomainBlockCommitRelative | virt.DomainBlockCommitBandwidthBytes | virt.DomainBlockCommitDelete
	if err := call.CheckFlags(a.Flags, all, liberr.FromQemu, "qemuDomainBlockCommit"); err != nil {
		return err
	}
	speed, err := speedBytes(a.Bandwidth, a.Flags&virt.DomainBlockCommitBandwidthBytes != 0)
	if err != nil {
		return err
	}
	name := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	base, top, flags, path := name(a.Base), name(a.Top), a.Flags, a.Disk
	return d.startBlockJob(ctx, r, func(d *domain) (*blockJob, blockStart, error) {
		_, disk, err := d.blockDisk(path)
		if err != nil {
			return nil, nil, err
		}
		layers, target := chain(disk), diskTarget(disk)
		if len(layers) == 0 {
			return nil, nil, badArg("disk '%s' has no source file to be committed", target)
		}
		if err := d.freeDisk(disk); err != nil {
			return nil, nil, err
		}
		from, to := 0, 0
		if top != "" && top != layers[0].path {
			if from, err = findLayer(layers, 0, top, target); err != nil {
				return nil, nil, err
			}
		}
		switch {
		case from+1 >= len(layers) && flags&shallow == 0 && base == "":
			return nil, nil, badArg("could not find base image in chain for '%s'", target)
		case from == 0 && flags&active == 0:
			return nil, nil, badArg("commit of '%s' active layer requires active flag", target)
		case from > 0 && flags&active != 0:
			return nil, nil, badArg("active commit requested but '%s' is not active", top)
		case from+1 >= len(layers):
			return nil, nil, badArg("top '%s' in chain for '%s' has no backing file", layers[from].path, target)
		}
		switch {
		case flags&shallow != 0 && base == "":
			to = from + 1
		case base == "":
			to = len(layers) - 1
		default:
			if to, err = findLayer(layers, from+1, base, target); err != nil {
				return nil, nil, err
			}
		}
		if flags&shallow != 0 && to != from+1 {
			return nil, nil, badArg("base '%s' is not immediately below '%s' in chain for '%s'", layers[to].path, layers[from].path, target)
		}
		kind := int32(virt.DomainBlockJobTypeCommit)
		if from == 0 {
			kind = virt.DomainBlockJobTypeActiveCommit
		}
		job := &blockJob{disk: target, kind: kind, speed: speed, flags: flags, base: layers[to].index, top: layers[from].index, id: blockJobID(kind, target, layers[from].index)}
		args := blockJobArgs(job, layers[0].node())
		args["top-node"], args["base-node"] = layers[from].node(), layers[to].node()
		if from > 0 && flags&virt.DomainBlockCommitRelative == 0 {
			args["backing-file"] = layers[to].path
		}
		drv, uuid, into := d.drv, d.uuid, layers[to].source
		return job, func(ctx context.Context, mon *qmp.Client, undo *kit.Undo) error {
			if err := drv.holdImage(ctx, uuid, undo, disk, into); err != nil {
				return err
			}
			return qmp.BlockCommit(ctx, mon, args)
		}, nil
	})
}

// blockCopy serves virDomainBlockCopy.
func (d *domain) blockCopy(ctx actor.Context, r *call.Request, a *protocol.DomainBlockCopyArgs) error {
	const all = virt.DomainBlockCopyShallow | virt.DomainBlockCopyReuseExt | virt.DomainBlockCopyTransientJob | virt.DomainBlockCopySynchronousWrites
	if err := call.CheckFlags(a.Flags, all, liberr.FromQemu, "qemuDomainBlockCopy"); err != nil {
		return err
	}
	err := checkParams(a.Params, paramSpec{virt.DomainBlockCopyBandwidth: virt.TypedParamUllong, virt.DomainBlockCopyGranularity: virt.TypedParamUint, virt.DomainBlockCopyBufSize: virt.TypedParamUllong})
	if err != nil {
		return err
	}
	c := copyPlan{path: a.Path, flags: a.Flags}
	for _, p := range a.Params {
		switch p.Field {
		case virt.DomainBlockCopyBandwidth:
			c.speed = p.Value.Ul
		case virt.DomainBlockCopyGranularity:
			c.granularity = p.Value.UI
		case virt.DomainBlockCopyBufSize:
			c.buffer = p.Value.Ul
		}
	}
	if g := c.granularity; g != 0 && g&(g-1) != 0 {
		return badArg("granularity must be power of 2")
	}
	if _, err := destDocument.Read(a.Destxml); err != nil {
		return err
	}
	if err := xml.Unmarshal([]byte(a.Destxml), &c.dest); err != nil {
		return liberr.New(liberr.FromXML, liberr.XMLError, "%v", err)
	}
	return d.copyDisk(ctx, r, c)
}

var destDocument = xmltree.Reader{Origin: "(disk_definition)", From: liberr.FromDomain, Root: "disk"}

// copyPlan is a copy as the client wants it.
type copyPlan struct {
	path        string
	dest        libvirtxml.DomainDisk
	flags       uint32 // of virDomainBlockCopy
	speed       uint64
	granularity uint32
	buffer      uint64
}

func (d *domain) copyDisk(ctx actor.Context, r *call.Request, c copyPlan) error {
	return d.startBlockJob(ctx, r, func(d *domain) (*blockJob, blockStart, error) {
		_, disk, err := d.blockDisk(c.path)
		if err != nil {
			return nil, nil, err
		}
		if err := d.freeDisk(disk); err != nil {
			return nil, nil, err
		}
		layers, target := chain(disk), diskTarget(disk)
		dest := diskPath(&c.dest)
		reuse, shallow := c.flags&virt.DomainBlockCopyReuseExt != 0, c.flags&virt.DomainBlockCopyShallow != 0
		switch {
		case len(layers) == 0:
			return nil, nil, badArg("disk '%s' has no source file to be copied", target)
		case d.config != nil && c.flags&virt.DomainBlockCopyTransientJob == 0:
			return nil, nil, liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is not transient")
		case !absolute(dest):
			return nil, nil, liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "absolute path must be used as block copy target")
		}
		if len(layers) == 1 {
			shallow = false
		}
		index, err := d.nextNode()
		if err != nil {
			return nil, nil, err
		}
		source := *c.dest.Source
		source.Index = index
		if source.Encryption == nil {
			source.Encryption = c.dest.Encryption
		}
		format := diskFormat(disk)
		if c.dest.Driver != nil && c.dest.Driver.Type != "" {
			format = c.dest.Driver.Type
		}
		job := &blockJob{disk: target, kind: virt.DomainBlockJobTypeCopy, speed: c.speed, mirror: &source, format: format,
			backing: &libvirtxml.DomainDiskBackingStore{}, id: blockJobID(virt.DomainBlockJobTypeCopy, target, layers[0].index)}
		args := blockJobArgs(job, layers[0].node())
		copied := chainLayer{index: index, path: dest, format: format, source: &source}
		if err := copied.checkKey(target); err != nil {
			return nil, nil, err
		}
		args["target"], args["sync"] = copied.node(), "full"
		var under *chainLayer
		if shallow {
			args["sync"] = "top"
			under = &layers[1]
			job.backing = under.asBacking()
		}
		if c.granularity > 0 {
			args["granularity"] = c.granularity
		}
		if c.buffer > 0 {
			args["buf-size"] = c.buffer
		}
		if c.flags&virt.DomainBlockCopySynchronousWrites != 0 {
			args["copy-mode"] = "write-blocking"
		}
		pid, dir, drv, uuid, current := d.run.proc.pid, d.run.dir, d.drv, d.uuid, layers[0]
		return job, func(ctx context.Context, mon *qmp.Client, undo *kit.Undo) error {
			if !reuse {
				if err := drv.makeImage(ctx, mon, undo, "disk "+target, copied, current, under); err != nil {
					return err
				}
			}
			if err := giveToGuest(copied.path, pid, undo); err != nil {
				return err
			}
			if err := drv.holdImage(ctx, uuid, undo, disk, copied.source); err != nil {
				return err
			}
			var backing any
			if under != nil {
				backing = under.node()
			}
			if err := drv.unlock(ctx, mon, undo, dir, copied); err != nil {
				return err
			}
			if err := addImage(ctx, mon, undo, disk, copied, backing); err != nil {
				return err
			}
			return qmp.BlockdevMirror(ctx, mon, args)
		}, nil
	})
}

// addImage opens an image in QEMU.
func addImage(ctx context.Context, mon *qmp.Client, undo *kit.Undo, disk *libvirtxml.DomainDisk, l chainLayer, backing any) error {
	storage, format := imageNodes(disk, l, backing)
	for _, node := range []map[string]any{storage, format} {
		if err := qmp.BlockdevAdd(ctx, mon, node); err != nil {
			return err
		}
		name := node["node-name"].(string)
		undo.Add("close "+name, func(ctx context.Context) error { return qmp.BlockdevDel(ctx, mon, name) })
	}
	return nil
}

// makeImage makes a new image as large as another one, on top of under if it is given. what is for messages.
func (s *shared) makeImage(ctx context.Context, mon *qmp.Client, undo *kit.Undo, what string, l, like chainLayer, under *chainLayer) error {
	if l.source.File != nil {
		if _, err := os.Lstat(l.path); err == nil {
			return badArg("external destination file for %s already exists and is not a block device: %s", what, l.path)
		} else if !errors.Is(err, os.ErrNotExist) {
			return liberr.System(liberr.FromQemu, err, "unable to access '%s'", l.path)
		}
	}
	nodes, err := qmp.QueryNamedBlockNodes(ctx, mon)
	if err != nil {
		return err
	}
	size := uint64(0)
	for _, n := range nodes {
		if n.NodeName == like.node() {
			size = n.Image.VirtualSize
		}
	}
	if l.source.File != nil {
		undo.Add("remove "+l.path, func(context.Context) error { return os.Remove(l.path) })
	}
	return s.createImage(ctx, l, size, under)
}

// giveToGuest makes a file the guest's.
func giveToGuest(path string, pid int, undo *kit.Undo) error {
	st, err := os.Stat("/proc/" + itoa(pid))
	if err != nil {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "domain is no longer running")
	}
	sys := st.Sys().(*syscall.Stat_t)
	if err := takeFile(path, guestUser{uid: sys.Uid, gid: sys.Gid}); err != nil {
		return liberr.System(liberr.FromQemu, err, "unable to set user and group on '%s'", path)
	}
	undo.Add("give back "+path, func(context.Context) error { return giveBack(path) })
	return nil
}

// showMirror lets the live definition show the other side of a job.
func (d *domain) showMirror(ctx actor.Context, job *blockJob) {
	def, err := d.live.Clone()
	if err != nil {
		return
	}
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		if diskTarget(disk) != job.disk {
			continue
		}
		m := &libvirtxml.DomainDiskMirror{Job: blockJobNames[job.kind]}
		if job.ready {
			m.Ready = "yes"
		}
		if job.kind == virt.DomainBlockJobTypeActiveCommit {
			for _, l := range chain(disk) {
				if l.index == job.base {
					s := *l.source
					s.Index = l.index
					m.Source, m.Format, m.BackingStore = &s, &libvirtxml.DomainDiskFormat{Type: l.format}, l.below
				}
			}
		} else {
			m.Source, m.Format, m.BackingStore = job.mirror, &libvirtxml.DomainDiskFormat{Type: job.format}, job.backing
		}
		disk.Mirror = m
	}
	d.live = newDocument(def, &d.drv.xmlEnv)
	d.saveStatus(ctx)
}
