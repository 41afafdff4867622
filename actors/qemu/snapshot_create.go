package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/agent"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Making snapshots.
//
//	internal, guest off    qemu-img writes a point into each image
//	internal, guest on     the guest stands still while QEMU writes points and memory into the images
//	external               new images on top of the old ones, which are not written any more; with the guest on
//	                       QEMU goes over to all of them at once

const snapshotCreateFlags = virt.DomainSnapshotCreateRedefine | virt.DomainSnapshotCreateCurrent | virt.DomainSnapshotCreateNoMetadata |
	virt.DomainSnapshotCreateHalt | virt.DomainSnapshotCreateDiskOnly | virt.DomainSnapshotCreateReuseExt | virt.DomainSnapshotCreateQuiesce |
	virt.DomainSnapshotCreateAtomic | virt.DomainSnapshotCreateLive | virt.DomainSnapshotCreateValidate

// snapshotPlan is what the snapshotting job works from.
type snapshotPlan struct {
	drv     *shared
	snap    *snapshot
	flags   uint32
	job     *asyncJob
	name    string // of the domain
	running bool   // vCPUs run
	active  bool
	mon     *qmp.Client
	agent   *agent.Client
	timeout int
	pid     int
	dir     string             // of the running guest
	def     *libvirtxml.Domain // as it is now: live or persistent
	xml     string             // for an image of the memory
	cookie  string
	format  imageFormat
	overlay []overlay
}

// overlay is the new image of one disk.
type overlay struct {
	disk  string
	image chainLayer
	below chainLayer
}

func unsupportedSnapshot(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, format, args...)
}

func (d *domain) snapshotCreate(ctx actor.Context, r *call.Request, a *protocol.DomainSnapshotCreateXMLArgs) error {
	if err := call.CheckFlags(a.Flags, snapshotCreateFlags, liberr.FromQemu, "qemuSnapshotCreateXML"); err != nil {
		return err
	}
	snap, current, err := parseSnapshot(a.XMLDesc)
	if err != nil {
		return err
	}
	flags := a.Flags
	if flags&virt.DomainSnapshotCreateRedefine != 0 {
		return d.redefineSnapshot(ctx, r, snap, current || flags&virt.DomainSnapshotCreateCurrent != 0)
	}
	if flags&virt.DomainSnapshotCreateQuiesce != 0 && flags&virt.DomainSnapshotCreateDiskOnly == 0 {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "quiesce requires disk-only snapshot")
	}
	if flags&virt.DomainSnapshotCreateHalt != 0 && d.config == nil {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot halt after transient domain snapshot")
	}
	job := &asyncJob{name: "snapshot", title: "snapshot", operation: virt.DomainJobOperationSnapshot}
	p := &snapshotPlan{drv: d.drv, snap: snap, flags: flags, job: job, name: d.name}
	var run *instance
	d.startAsync(ctx, job, &task{
		kind: jobAsync, req: r,
		begin: func(d *domain, _ actor.Context) error {
			run = d.run
			return d.planSnapshot(p)
		},
		run: func(jc context.Context, undo *kit.Undo) (any, error) { return nil, p.create(jc, undo) },
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			if p.active && (d.run != run || d.live == nil) {
				return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "guest unexpectedly quit")
			}
			d.ontoOverlays(ctx, p)
			if flags&virt.DomainSnapshotCreateNoMetadata == 0 {
				d.keepSnapshot(ctx, snap, true)
			}
			ret := &protocol.DomainSnapshotCreateXMLRet{Snap: d.snapRef(snap.name)}
			if flags&virt.DomainSnapshotCreateHalt != 0 && p.active {
				r.Reply(ret)
				d.end(ctx, nil, true, virt.DomainShutoffFromSnapshot, false)
			}
			return ret, nil
		},
		failed: func(d *domain, _ actor.Context, err error) error {
			if d.run != nil && d.run == run {
				run.paused = virt.DomainPausedUnknown
			}
			return err
		},
	})
	return nil
}

// planSnapshot completes what the client left open, and refuses what cannot be.
func (d *domain) planSnapshot(p *snapshotPlan) error {
	s := p.snap
	if s.name == "" {
		s.name = strconv.FormatInt(time.Now().Unix(), 10)
	}
	if strings.Contains(s.name, "/") || strings.HasPrefix(s.name, ".") {
		return liberr.New(liberr.FromDomainSnapshot, liberr.XMLDetail, "invalid snapshot name '%s': name can't contain '/' or start with '.'", s.name)
	}
	if d.snaps.find(s.name) != nil {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "domain moment %s already exists", s.name)
	}
	s.created, s.parent = time.Now().Unix(), d.snaps.current
	p.active, p.running = d.active(), d.life.State == virt.DomainRunning
	if p.flags&virt.DomainSnapshotCreateNoMetadata != 0 {
		s.parent = ""
	}
	doc := d.current()
	def, err := doc.Clone()
	if err != nil {
		return err
	}
	p.def = def
	diskOnly := p.flags&virt.DomainSnapshotCreateDiskOnly != 0
	if s.memory == "" {
		s.memory = "internal"
		if diskOnly || !p.active {
			s.memory = "no"
		}
	}
	switch {
	case diskOnly && s.memory != "no":
		return liberr.New(liberr.FromDomainSnapshot, liberr.XMLError, "cannot request disk-only snapshot of a domain with memory")
	case s.memory == "external" && s.memoryFile == "":
		return liberr.New(liberr.FromDomainSnapshot, liberr.XMLError, "external memory snapshots require a filename")
	case !p.active && s.memory != "no":
		return unsupportedSnapshot("memory state cannot be saved with offline or disk-only snapshot")
	}
	if err := d.alignDisks(p, diskOnly || s.memory == "external"); err != nil {
		return err
	}
	s.state = d.life.stateWord()
	if diskOnly && p.active {
		s.state = "disk-snapshot"
	} else if !p.active {
		s.state = "shutoff"
		if diskOnly {
			s.state = "disk-snapshot"
		}
	}
	if p.active && !diskOnly && s.memory == "no" {
		return unsupportedSnapshot("internal and disk-only snapshots of a running domain cannot be made without its memory")
	}
	if d.origin != nil && p.active {
		if origin, err := d.origin.Def(); err == nil && origin.CPU != nil {
			cpu := *origin.CPU
			def.CPU = &cpu
		}
	} else if d.config != nil && p.active {
		if config, err := d.config.Def(); err == nil && config.CPU != nil {
			cpu := *config.CPU
			def.CPU = &cpu
		}
	}
	if s.domain, err = domxml.Format(def, domxml.Inactive|domxml.Secure); err != nil {
		return err
	}
	if p.active && d.config != nil {
		if s.inactive, err = d.config.Stored(); err != nil {
			return err
		}
	}
	if !p.active {
		return nil
	}
	if p.mon, err = d.monitor(); err != nil {
		return err
	}
	p.pid, p.dir = d.run.proc.pid, d.run.dir
	if p.flags&virt.DomainSnapshotCreateQuiesce != 0 {
		if p.agent, err = d.agentClient(); err != nil {
			return err
		}
		p.timeout = d.agentTimeout()
	}
	if s.memory == "external" {
		format, ok := imageFormatOf(d.drv.conf.SnapshotImageFormat)
		if !ok {
			return liberr.New(liberr.FromQemu, liberr.OperationFailed, "Invalid %s image format specified in configuration file", "snapshot")
		}
		p.format = format
		if p.xml, p.cookie, err = d.imageXML(""); err != nil {
			return err
		}
	}
	if p.running && s.memory != "no" {
		d.run.paused = virt.DomainPausedSnapshot
	}
	return nil
}

// alignDisks gives every disk of the domain its place in the snapshot.
func (d *domain) alignDisks(p *snapshotPlan, external bool) error {
	s := p.snap
	for _, one := range s.disks {
		if findDisk(p.def, one.name) == nil {
			return unsupportedSnapshot("no disk named '%s'", one.name)
		}
	}
	given := s.disks
	s.disks = nil
	for i := range p.def.Devices.Disks {
		disk := &p.def.Devices.Disks[i]
		one := snapshotDisk{name: diskTarget(disk)}
		for _, g := range given {
			if findDisk(p.def, g.name) == disk {
				one.mode, one.format, one.source = g.mode, g.format, g.source
				if one.mode == "" && one.source != nil {
					one.mode = "external"
				}
			}
		}
		if one.mode == "" {
			switch {
			case disk.Snapshot != "":
				one.mode = disk.Snapshot
			case diskEmpty(disk) || disk.ReadOnly != nil:
				one.mode = "no"
			case external:
				one.mode = "external"
			default:
				one.mode = "internal"
			}
		}
		if err := p.alignDisk(d, disk, &one, external); err != nil {
			return err
		}
		s.disks = append(s.disks, one)
	}
	return nil
}

func (p *snapshotPlan) alignDisk(d *domain, disk *libvirtxml.DomainDisk, one *snapshotDisk, external bool) error {
	switch one.mode {
	case "no":
		return nil
	case "internal":
		if external {
			return unsupportedSnapshot("active qemu domains require external disk snapshots; disk %s requested internal", one.name)
		}
		if f := diskFormat(disk); f != "qcow2" {
			return unsupportedSnapshot("internal snapshot for disk %s unsupported for storage type %s", one.name, f)
		}
		return nil
	case "external":
	default:
		return liberr.New(liberr.FromDomainSnapshot, liberr.XMLError, "unknown disk snapshot setting '%s'", one.mode)
	}
	if diskEmpty(disk) {
		return unsupportedSnapshot("unable to generate external snapshot name for disk '%s' without source", one.name)
	}
	if p.active && !external && p.snap.memory == "internal" {
		return unsupportedSnapshot("mixing internal and external targets for a snapshot is not yet supported")
	}
	if d.blockJobs[one.name] != nil {
		return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "disk '%s' already in active block job", one.name)
	}
	if one.source == nil {
		path := diskPath(disk)
		if disk.Source.File == nil || disk.Source.Volume != nil {
			return unsupportedSnapshot("cannot generate external snapshot name for disk '%s' without source", one.name)
		}
		base := strings.TrimSuffix(path, filepath.Ext(path))
		one.source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: base + "." + p.snap.name}}
	}
	if one.format == "" {
		one.format = "qcow2"
	}
	if one.format != "qcow2" && one.format != "qed" {
		return unsupportedSnapshot("external snapshot format for disk %s is unsupported: %s", one.name, one.format)
	}
	layers := chain(disk)
	o := overlay{disk: one.name, below: layers[0], image: chainLayer{path: one.path(), format: one.format, source: one.source}}
	if err := o.image.checkKey(one.name); err != nil {
		return err
	}
	if st, err := os.Stat(one.path()); err == nil && p.flags&virt.DomainSnapshotCreateReuseExt == 0 && (st.Mode().IsDir() || st.Mode().IsRegular() && st.Size() > 0) {
		return unsupportedSnapshot("external snapshot file for disk %s already exists and is not a block device: %s", one.name, one.path())
	}
	if p.active {
		index, err := d.nextNode()
		if err != nil {
			return err
		}
		o.image.index = index
	}
	p.overlay = append(p.overlay, o)
	return nil
}

func (p *snapshotPlan) create(ctx context.Context, undo *kit.Undo) error {
	if !p.active {
		return p.offline(ctx, undo)
	}
	if p.snap.memory == "internal" {
		return p.internal(ctx, undo)
	}
	return p.externalLive(ctx, undo)
}

// offline makes points in images, or images on top, while nobody uses them.
func (p *snapshotPlan) offline(ctx context.Context, undo *kit.Undo) error {
	for _, one := range p.snap.disks {
		if one.mode != "internal" {
			continue
		}
		path := diskPath(findDisk(p.def, one.name))
		if err := imageSnapshot(ctx, "-c", p.snap.name, path); err != nil {
			return err
		}
		undo.Add("delete the point in "+path, func(ctx context.Context) error { return imageSnapshot(ctx, "-d", p.snap.name, path) })
	}
	for _, o := range p.overlay {
		if p.flags&virt.DomainSnapshotCreateReuseExt != 0 {
			continue
		}
		undo.Add("remove "+o.image.path, func(context.Context) error { return os.Remove(o.image.path) })
		if err := p.drv.createImage(ctx, o.image, sizeBelow, &o.below); err != nil {
			return err
		}
	}
	return nil
}

// imageSnapshot lets qemu-img make (-c), apply (-a) or delete (-d) a point in an image.
func imageSnapshot(ctx context.Context, what, name, path string) error {
	out, err := exec.CommandContext(ctx, "qemu-img", "snapshot", what, name, "--", path).CombinedOutput()
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return liberr.New(liberr.FromQemu, liberr.InternalError, "unable to find kvm-img or qemu-img").WithCause(err)
	}
	return liberr.New(liberr.FromQemu, liberr.InternalError, "Child process (qemu-img snapshot %s %s %s) unexpected exit status %d: %s", what, name, path, exit.ExitCode(), out)
}

// internal stops the guest and lets QEMU write everything into the images.
func (p *snapshotPlan) internal(ctx context.Context, undo *kit.Undo) error {
	if p.running {
		undo.Add("let the guest go on", func(ctx context.Context) error { return p.job.goOn(ctx, p.mon) })
		if err := qmp.Stop(ctx, p.mon); err != nil {
			return err
		}
	}
	_ = qmp.MigrateSetCapabilities(ctx, p.mon, map[string]bool{"events": true})
	out, err := qmp.HumanMonitorCommand(ctx, p.mon, fmt.Sprintf("savevm \"%s\"", p.snap.name), -1)
	if err != nil {
		return err
	}
	if out = strings.TrimSpace(out); out != "" {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "Failed to take snapshot: %s", out)
	}
	if !p.running || p.flags&virt.DomainSnapshotCreateHalt != 0 {
		return nil
	}
	undo.Keep()
	if err := qmp.Cont(ctx, p.mon); err != nil {
		return orOwn(err, liberr.New(liberr.FromQemu, liberr.OperationFailed, "resuming after snapshot failed"))
	}
	return nil
}

// externalLive puts new images on top while the guest runs; with its memory it stands still for that.
func (p *snapshotPlan) externalLive(ctx context.Context, undo *kit.Undo) error {
	stopped := p.running && p.snap.memory == "external"
	if stopped {
		undo.Add("let the guest go on", func(ctx context.Context) error { return p.job.goOn(ctx, p.mon) })
		if p.flags&virt.DomainSnapshotCreateLive == 0 {
			if err := qmp.Stop(ctx, p.mon); err != nil {
				return err
			}
		}
		if err := p.saveMemory(ctx, undo); err != nil {
			return err
		}
	}
	if p.agent != nil {
		if _, err := freeze(ctx, p.agent, p.timeout, nil); err != nil {
			return err
		}
		defer func() { _, _ = thaw(context.WithoutCancel(ctx), p.agent, agent.Default) }()
	}
	var actions []qmp.TransactionAction
	for _, o := range p.overlay {
		if p.flags&virt.DomainSnapshotCreateReuseExt == 0 {
			if err := p.drv.makeImage(ctx, p.mon, undo, "disk "+o.disk, o.image, o.below, &o.below); err != nil {
				return err
			}
		}
		if err := giveToGuest(o.image.path, p.pid, undo); err != nil {
			return err
		}
		if err := p.drv.holdImage(ctx, parseUUID(p.def.UUID), undo, findDisk(p.def, o.disk), o.image.source); err != nil {
			return err
		}
		if err := p.drv.unlock(ctx, p.mon, undo, p.dir, o.image); err != nil {
			return err
		}
		if err := addImage(ctx, p.mon, undo, findDisk(p.def, o.disk), o.image, nil); err != nil {
			return err
		}
		actions = append(actions, qmp.TransactionAction{Type: "blockdev-snapshot", Data: map[string]any{"node": o.below.node(), "overlay": o.image.node()}})
	}
	if len(actions) > 0 {
		if err := qmp.Transaction(ctx, p.mon, actions...); err != nil {
			return err
		}
	}
	undo.Keep() // the guest writes to the new images from here on
	for _, o := range p.overlay {
		p.drv.releaseImage(ctx, parseUUID(p.def.UUID), findDisk(p.def, o.disk), o.below.source)
	}
	if stopped && p.flags&virt.DomainSnapshotCreateHalt == 0 {
		if err := qmp.Cont(ctx, p.mon); err != nil {
			return orOwn(err, liberr.New(liberr.FromQemu, liberr.OperationFailed, "resuming after snapshot failed"))
		}
	}
	return nil
}

// saveMemory writes the guest's state into a file of its own, a save image.
func (p *snapshotPlan) saveMemory(ctx context.Context, undo *kit.Undo) error {
	path := p.snap.memoryFile
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return liberr.System(liberr.FromQemu, err, "Failed to create file '%s'", path)
	}
	defer f.Close()
	undo.Add("remove "+path, func(context.Context) error { return os.Remove(path) })
	img := newImage(p.xml, p.cookie, true, p.format)
	if err := img.write(f, imagePartial); err != nil {
		return liberr.System(liberr.FromQemu, err, "failed to write header data to '%s'", path)
	}
	if err := p.job.migrateToFile(ctx, p.mon, f, p.format); err != nil {
		return err
	}
	return img.finish(f)
}

// ontoOverlays lets the definitions follow the disks onto their new images.
func (d *domain) ontoOverlays(ctx actor.Context, p *snapshotPlan) {
	if len(p.overlay) == 0 {
		return
	}
	if p.active {
		if def, err := d.live.Clone(); err == nil {
			for _, o := range p.overlay {
				if disk := findDisk(def, o.disk); disk != nil {
					onto(disk, o.image.source, o.image.index, o.image.format, o.below.asBacking())
				}
			}
			d.live = newDocument(def, &d.drv.xmlEnv)
			d.saveStatus(ctx)
		}
	}
	if d.config == nil {
		return
	}
	def, err := d.config.Clone()
	if err != nil {
		return
	}
	changed := false
	for _, o := range p.overlay {
		disk := findDisk(def, o.disk)
		if disk == nil || diskPath(disk) != o.below.path && !sameVolume(disk.Source, o.below.source) {
			continue
		}
		below := &libvirtxml.DomainDiskBackingStore{Format: &libvirtxml.DomainDiskFormat{Type: o.below.format}, Source: configSource(o.below.source)}
		if domxml.Resolved(below.Source) { // volumes are looked up for the top of a chain only
			below.Source.Volume = nil
		}
		onto(disk, o.image.source, 0, o.image.format, below)
		changed = true
	}
	if changed {
		d.replaceConfig(ctx, def)
	}
}

// keepSnapshot puts a snapshot into the list and on disk; as the current one if it is that.
func (d *domain) keepSnapshot(ctx actor.Context, snap *snapshot, current bool) {
	d.snaps.all = append(d.snaps.all, snap)
	if current {
		d.snaps.current = snap.name
	}
	d.storeSnapshots(ctx)
	d.tell(ctx)
}

// storeSnapshots writes all metadata: who is current stands in each file.
func (d *domain) storeSnapshots(ctx actor.Context) {
	drv, name, list := d.drv, d.name, snapshotList{append([]*snapshot(nil), d.snaps.all...), d.snaps.current}
	d.aside(ctx, &task{name: "store snapshots",
		run: func(context.Context, *kit.Undo) (any, error) {
			for _, s := range list.all {
				if err := drv.storeSnapshot(name, s, s.name == list.current); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
		failed: func(d *domain, _ actor.Context, err error) error {
			d.log.Error().Err(err).Msg("cannot store the snapshots")
			return err
		}})
}

// redefineSnapshot takes a snapshot's metadata from a client, who has kept them.
func (d *domain) redefineSnapshot(ctx actor.Context, r *call.Request, snap *snapshot, current bool) error {
	switch {
	case snap.name == "":
		return liberr.New(liberr.FromDomainSnapshot, liberr.XMLError, "a redefined snapshot must have a name")
	case snap.state == "" || snap.created == 0:
		return liberr.New(liberr.FromDomainSnapshot, liberr.XMLError, "missing creationTime from existing snapshot")
	case snap.parent == snap.name:
		return liberr.New(liberr.FromDomain, liberr.InvalidArg, "cannot set moment %s as its own parent", snap.name)
	case snap.parent != "" && d.snaps.find(snap.parent) == nil:
		return liberr.New(liberr.FromDomain, liberr.InvalidArg, "parent %s for moment %s not found", snap.parent, snap.name)
	}
	if old := d.snaps.find(snap.name); old != nil {
		if snap.domain == "" {
			snap.domain, snap.inactive = old.domain, old.inactive
		}
		for i, s := range d.snaps.all {
			if s == old {
				d.snaps.all = append(append([]*snapshot(nil), d.snaps.all[:i]...), d.snaps.all[i+1:]...)
				break
			}
		}
	}
	if snap.domain == "" {
		doc, err := d.current().XML(domxml.Inactive | domxml.Secure)
		if err != nil {
			return err
		}
		snap.domain = doc
	}
	d.keepSnapshot(ctx, snap, current)
	r.Reply(&protocol.DomainSnapshotCreateXMLRet{Snap: d.snapRef(snap.name)})
	return nil
}
