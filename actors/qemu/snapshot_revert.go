package qemu

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Going back to snapshots, and deleting them.

// snapshotRevert serves virDomainRevertToSnapshot. A guest that runs is taken down first: what it was is lost, which is
// what was asked for.
func (d *domain) snapshotRevert(ctx actor.Context, r *call.Request, a *protocol.DomainRevertToSnapshotArgs) error {
	const running, paused = virt.DomainSnapshotRevertRunning, virt.DomainSnapshotRevertPaused
	if err := call.CheckFlags(a.Flags, running|paused|virt.DomainSnapshotRevertForce|virt.DomainSnapshotRevertResetNVRAM, liberr.FromQemu, "qemuSnapshotRevert"); err != nil {
		return err
	}
	snap, err := d.snap(a.Snap.Name)
	if err != nil {
		return err
	}
	on := snap.state == "running" || snap.state == "paused"
	switch {
	case d.config == nil && !on && a.Flags&(running|paused) == 0:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "transient domain needs to request run or pause to revert to inactive snapshot")
	case snap.external():
		return unsupportedSnapshot("revert to external snapshot not supported yet")
	case snap.domain == "" && a.Flags&virt.DomainSnapshotRevertForce == 0:
		return liberr.New(liberr.FromQemu, liberr.SnapshotRevertRisky, "snapshot '%s' lacks domain '%s' rollback info", snap.name, d.name)
	}
	stand := snap.state == "paused"
	switch {
	case a.Flags&running != 0:
		stand = false
	case a.Flags&paused != 0:
		stand = true
	}
	back := &reverting{drv: d.drv, snap: snap, on: on, start: on || a.Flags&(running|paused) != 0, paused: stand}
	var run *instance
	d.start(ctx, &task{
		kind: jobModify, req: r,
		begin: func(d *domain, _ actor.Context) error {
			if d.live == nil {
				return nil
			}
			run, back.proc, back.leftovers = d.run, d.run.proc, d.leftovers()
			run.ending, run.quiet = true, true
			return nil
		},
		run: func(jc context.Context, _ *kit.Undo) (any, error) { return nil, back.prepare(jc) },
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			return d.reverted(ctx, r, run, back)
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			if run != nil && d.run == run && !run.proc.Alive() {
				d.ended(ctx, run, virt.DomainShutoffFromSnapshot)
			} else if run != nil && d.run == run {
				run.ending, run.quiet = false, false
			}
			return err
		},
	})
	return nil
}

// reverting is what a way back is made of.
type reverting struct {
	drv       *shared
	snap      *snapshot
	on        bool // the guest ran then
	start     bool // it shall run now
	paused    bool // but stand still
	proc      *process
	leftovers *leftovers
	live      *libvirtxml.Domain
	config    *libvirtxml.Domain
}

// prepare takes the guest down and, for one that was off, its images back.
func (b *reverting) prepare(ctx context.Context) (err error) {
	if b.live, err = b.snap.definitionOf(b.drv.xmlEnv, false); err != nil {
		return err
	}
	if b.config, err = b.snap.definitionOf(b.drv.xmlEnv, true); err != nil {
		return err
	}
	if b.proc != nil {
		if err := b.proc.End(ctx, gracePeriod, true); err != nil {
			return err
		}
		b.leftovers.clean(false)
	}
	if b.on {
		return nil // QEMU goes back itself when it starts
	}
	for _, path := range b.snap.images(b.config) {
		if err := imageSnapshot(ctx, "-a", b.snap.name, path); err != nil {
			return err
		}
	}
	return nil
}

// images are the files that have a point of this snapshot in them.
func (s *snapshot) images(def *libvirtxml.Domain) []string {
	var out []string
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		at := slices.IndexFunc(s.disks, func(o snapshotDisk) bool { return o.name == diskTarget(disk) })
		if at >= 0 && s.disks[at].mode == "internal" && !diskEmpty(disk) {
			out = append(out, diskPath(disk))
		}
	}
	return out
}

func (d *domain) reverted(ctx actor.Context, r *call.Request, run *instance, b *reverting) (protocol.Encoder, error) {
	persistent := d.config != nil
	if run != nil {
		if !persistent { // it must not be forgotten between its end and its new start
			d.config = newDocument(b.config, &d.drv.xmlEnv)
		}
		d.ended(ctx, run, virt.DomainShutoffFromSnapshot)
	} else {
		d.life = life{virt.DomainShutoff, virt.DomainShutoffFromSnapshot}
	}
	d.snaps.current = b.snap.name
	d.storeSnapshots(ctx)
	settle := func() protocol.Encoder {
		if !persistent {
			d.config = nil
			d.tell(ctx)
			return nil
		}
		d.replaceConfig(ctx, b.config)
		d.tell(ctx)
		d.lifecycle(ctx, virt.DomainEventDefined, virt.DomainEventDefinedFromSnapshot)
		return nil
	}
	if !b.start {
		settle()
		return nil, nil
	}
	from := &restoring{point: b.snap.name, fromSnapshot: true}
	if !b.on {
		from.point = ""
	}
	flags := uint32(0)
	if b.paused {
		flags = virt.DomainStartPaused
	}
	d.bootFrom(ctx, r, newDocument(b.live, &d.drv.xmlEnv), from, flags, settle)
	return nil, errStillOpen
}

// snapshotDelete serves virDomainSnapshotDelete.
func (d *domain) snapshotDelete(ctx actor.Context, r *call.Request, a *protocol.DomainSnapshotDeleteArgs) error {
	const children, only, metadata = virt.DomainSnapshotDeleteChildren, virt.DomainSnapshotDeleteChildrenOnly, virt.DomainSnapshotDeleteMetadataOnly
	if err := call.CheckFlags(a.Flags, children|only|metadata, liberr.FromQemu, "qemuSnapshotDelete"); err != nil {
		return err
	}
	snap, err := d.snap(a.Snap.Name)
	if err != nil {
		return err
	}
	flags := a.Flags
	var gone []*snapshot
	var mon *qmp.Client
	var def *libvirtxml.Domain
	drv, name := d.drv, d.name
	d.start(ctx, &task{
		kind: jobModify, req: r,
		begin: func(d *domain, _ actor.Context) (err error) {
			if gone = nil; flags&(children|only) != 0 {
				gone = d.snaps.descendants(snap.name)
			}
			if flags&only == 0 {
				gone = append(gone, snap)
			}
			if flags&metadata != 0 {
				return nil
			}
			for _, s := range gone {
				if s.external() {
					return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "deletion of external disk snapshots not supported")
				}
			}
			if def, err = d.current().Def(); err != nil || !d.active() {
				return err
			}
			mon, err = d.monitor()
			return err
		},
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			for _, s := range gone {
				if flags&metadata == 0 {
					if err := s.erase(jc, mon, def); err != nil {
						return nil, err
					}
				}
				if err := disk.Remove(drv.snapshotPath(name, s.name)); err != nil {
					return nil, liberr.System(liberr.FromQemu, err, "failed to remove the file of snapshot '%s'", s.name)
				}
			}
			return nil, nil
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			d.dropSnapshots(ctx, gone)
			return nil, nil
		},
	})
	return nil
}

// erase deletes the points of a snapshot: QEMU's work while the guest runs.
func (s *snapshot) erase(ctx context.Context, mon *qmp.Client, def *libvirtxml.Domain) error {
	if mon != nil {
		out, err := qmp.HumanMonitorCommand(ctx, mon, fmt.Sprintf("delvm \"%s\"", s.name), -1)
		if err != nil {
			return err
		}
		if out = strings.TrimSpace(out); out != "" {
			return liberr.New(liberr.FromQemu, liberr.OperationFailed, "Failed to delete snapshot: %s", out)
		}
		return nil
	}
	for _, path := range s.images(def) {
		if err := imageSnapshot(ctx, "-d", s.name, path); err != nil {
			return err
		}
	}
	return nil
}

// dropSnapshots takes snapshots out of the list; their children hang on the next one up.
func (d *domain) dropSnapshots(ctx actor.Context, gone []*snapshot) {
	for _, g := range gone {
		for i, s := range d.snaps.all {
			if s.parent == g.name && s != g {
				moved := *s
				moved.parent = g.parent
				d.snaps.all[i] = &moved
			}
		}
		d.snaps.all = slices.DeleteFunc(d.snaps.all, func(s *snapshot) bool { return s.name == g.name })
		if d.snaps.current == g.name {
			d.snaps.current = g.parent
		}
	}
	d.storeSnapshots(ctx)
	d.tell(ctx)
}

// snapshotsOnUndefine refuses to undefine a domain that has snapshots, unless their metadata may go too. It returns the
// folder to remove.
func (d *domain) snapshotsOnUndefine(flags uint32) (dir string, err error) {
	if d.active() || len(d.snaps.all) == 0 {
		return "", nil
	}
	if flags&virt.DomainUndefineSnapshotsMetadata == 0 {
		return "", liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot delete inactive domain with %d snapshots", len(d.snaps.all))
	}
	return d.drv.snapshotDir(d.name), nil
}

// removeSnapshotDir forgets all snapshots of a domain; their data stay in the images.
func removeSnapshotDir(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}
