package qemu

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

const restoreFlags = virt.DomainSaveBypassCache | virt.DomainSaveRunning | virt.DomainSavePaused | virt.DomainSaveResetNVRAM

// saveDriverRoutes: what is about save images and not about a domain.
var saveDriverRoutes = []call.Route[*driver]{
	call.Later(protocol.DomainRestore, (*driver).restore),
	call.Later(protocol.DomainRestoreFlags, (*driver).restoreWithFlags),
	call.Later(protocol.DomainRestoreParams, (*driver).restoreWithParams),
	call.Later(protocol.DomainSaveImageGetXMLDesc, (*driver).saveImageXML),
	call.Later(protocol.DomainSaveImageDefineXML, (*driver).saveImageDefine),
}

func (dr *driver) restore(ctx actor.Context, r *call.Request, a *protocol.DomainRestoreArgs) error {
	return dr.restoreFrom(ctx, r, a.From, "", 0)
}

func (dr *driver) restoreWithFlags(ctx actor.Context, r *call.Request, a *protocol.DomainRestoreFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, restoreFlags, liberr.FromQemu, "qemuDomainRestoreInternal"); err != nil {
		return err
	}
	dxml := ""
	if a.Dxml != nil {
		dxml = *a.Dxml
	}
	return dr.restoreFrom(ctx, r, a.From, dxml, a.Flags)
}

func (dr *driver) restoreWithParams(ctx actor.Context, r *call.Request, a *protocol.DomainRestoreParamsArgs) error {
	if err := call.CheckFlags(a.Flags, restoreFlags, liberr.FromQemu, "qemuDomainRestoreInternal"); err != nil {
		return err
	}
	path, dxml := "", ""
	if err := saveParams(a.Params, &path, &dxml); err != nil {
		return err
	}
	if path == "" {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "missing path to restore from")
	}
	return dr.restoreFrom(ctx, r, path, dxml, a.Flags)
}

// restoreFrom reads what the image is an image of, and lets that domain start from it.
func (dr *driver) restoreFrom(ctx actor.Context, r *call.Request, path, dxml string, flags uint32) error {
	env := dr.shared.xmlEnv
	dr.job(ctx, holderName(r.Proc), parseTimeout, func(context.Context) (any, error) {
		img, f, err := openImage(path, false)
		if err != nil {
			return nil, err
		}
		_ = f.Close()
		return img.definition(dxml, env)
	}, func(ctx actor.Context, out any, err error) {
		if err != nil {
			r.Fail(liberr.From(liberr.FromQemu, err))
			return
		}
		def := out.(*libvirtxml.Domain)
		e, err := dr.target(ctx, def, true)
		if err != nil {
			r.Fail(liberr.From(liberr.FromQemu, err))
			return
		}
		ctx.Send(e.PID, &create{req: r, doc: newDocument(def, &dr.shared.xmlEnv), from: &restoring{path: path, flags: flags}})
	})
	return nil
}

// definition is the domain of an image, or what a client gives instead.
func (img *saveImage) definition(dxml string, env domxml.Env) (*libvirtxml.Domain, error) {
	def, err := domxml.Parse([]byte(img.xml), env, domxml.ParseTrusted)
	if err != nil || dxml == "" {
		return def, err
	}
	given, err := domxml.Parse([]byte(dxml), env, domxml.ParseTrusted)
	if err != nil {
		return nil, err
	}
	return given, sameMachine(given, def)
}

// sameMachine refuses a definition that is not of the machine whose state there is.
func sameMachine(given, def *libvirtxml.Domain) error {
	no := func(format string, args ...any) error {
		return liberr.New(liberr.FromDomain, liberr.ConfigUnsupported, format, args...)
	}
	switch {
	case given.Type != def.Type:
		return no("Target domain virt type %s does not match source %s", given.Type, def.Type)
	case given.UUID != def.UUID:
		return no("Target domain uuid %s does not match source %s", given.UUID, def.UUID)
	case given.Name != def.Name:
		return no("Target domain name '%s' does not match source '%s'", given.Name, def.Name)
	case maxMemory(given) != maxMemory(def):
		return no("Target domain max memory %d does not match source %d", maxMemory(given), maxMemory(def))
	case maxVCPUs(given) != maxVCPUs(def):
		return no("Target domain vCPU max %d does not match source %d", maxVCPUs(given), maxVCPUs(def))
	case given.OS != nil && def.OS != nil && given.OS.Type != nil && def.OS.Type != nil && given.OS.Type.Machine != def.OS.Type.Machine:
		return no("Target domain OS type %s does not match source %s", given.OS.Type.Machine, def.OS.Type.Machine)
	case len(given.Devices.Disks) != len(def.Devices.Disks):
		return no("Target domain disk count %d does not match source %d", len(given.Devices.Disks), len(def.Devices.Disks))
	case len(given.Devices.Interfaces) != len(def.Devices.Interfaces):
		return no("Target domain net card count %d does not match source %d", len(given.Devices.Interfaces), len(def.Devices.Interfaces))
	}
	return nil
}

// restoring is a start from a saved state instead of a cold one.
type restoring struct {
	path         string
	flags        uint32 // DomainSaveRunning, DomainSavePaused override what the image says
	managed      bool   // the domain's own image: its definition counts, and it goes when it has served
	point        string // of a snapshot inside the images, instead of a file
	fromSnapshot bool
	discard      bool // a cold start is wanted all the same: the image goes unused

	img  *saveImage
	file *os.File
	wake chan struct{} // poked when QEMU tells of the migration
}

// openState is a launch's first step when there is a state to start from.
func (p *launchPlan) openState(_ context.Context, undo *kit.Undo) error {
	from := p.from
	if from == nil || from.fromSnapshot {
		return nil
	}
	if from.discard {
		p.from, p.discarded = nil, true
		return disk.Remove(from.path)
	}
	img, f, err := openImage(from.path, false)
	if err != nil && from.managed && errors.Is(err, errImageCorrupt) {
		// Compat: a managed image that was never finished is thrown away, and the guest boots.
		p.drv.env.Log.Warn().Err(err).Str("path", from.path).Msg("ignoring an incomplete managed save image")
		p.from, p.discarded = nil, true
		return disk.Remove(from.path)
	}
	if err != nil {
		return err
	}
	from.img, from.file = img, f
	p.files = append(p.files, f)
	from.wake = make(chan struct{}, 1)
	running := img.header.Running != 0
	switch {
	case from.flags&virt.DomainSaveRunning != 0:
		running = true
	case from.flags&virt.DomainSavePaused != 0:
		running = false
	}
	p.paused = p.paused || !running
	if !from.managed {
		return nil
	}
	def, err := img.definition("", p.drv.xmlEnv)
	if err != nil {
		return err
	}
	if def.Name != p.name || parseUUID(def.UUID) != p.uuid {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed,
			"cannot restore domain '%s' uuid %s from a file which belongs to domain '%s' uuid %s", p.name, p.uuid, def.Name, def.UUID)
	}
	p.def = def
	return nil
}

// receive lets QEMU take the state in.
func (p *launchPlan) receive(ctx context.Context, mon *qmp.Client) error {
	from := p.from
	if from == nil || from.fromSnapshot {
		return nil
	}
	err := from.receive(ctx, mon)
	if errors.Is(err, qmp.ErrClosed) {
		return liberr.New(liberr.FromQemu, liberr.InternalError, "qemu unexpectedly closed the monitor: %s", p.lastWords()).WithCause(err)
	}
	if err == nil && from.managed {
		err = disk.Remove(from.path)
	}
	return err
}

func (from *restoring) receive(ctx context.Context, mon *qmp.Client) error {
	in := from.file
	argv, err := imageFormat(from.img.header.Format).program(true)
	if err != nil {
		return err
	}
	if argv != nil {
		reader, writer, err := os.Pipe()
		if err != nil {
			return err
		}
		defer reader.Close()
		filter := exec.CommandContext(ctx, argv[0], argv[1:]...)
		filter.Stdin, filter.Stdout = from.file, writer
		err = filter.Start()
		_ = writer.Close()
		if err != nil {
			return liberr.New(liberr.FromQemu, liberr.OperationFailed, "Failed to start decompression binary %s", argv[0]).WithCause(err)
		}
		defer func() {
			_ = reader.Close()
			_ = filter.Wait()
		}()
		in = reader
	}
	_ = qmp.MigrateSetCapabilities(ctx, mon, map[string]bool{"events": true})
	fd, err := rawFD(in)
	if err != nil {
		return err
	}
	if err := qmp.GetFD(ctx, mon, "incoming", fd); err != nil {
		return err
	}
	if err := qmp.MigrateIncoming(ctx, mon, "fd:incoming"); err != nil {
		return err
	}
	return from.follow(ctx, mon)
}

// follow waits until the state is in. QEMU's events wake it; the tick is for one that is lost.
func (from *restoring) follow(ctx context.Context, mon *qmp.Client) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		info, err := qmp.QueryMigrate(ctx, mon)
		if err != nil {
			return err
		}
		switch info.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return liberr.New(liberr.FromQemu, liberr.OperationFailed, "job '%s' failed: %s", "migration in job", info.ErrorDesc)
		}
		select {
		case <-from.wake:
		case <-tick.C:
		case <-mon.Done():
			return mon.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// heard wakes the launch that waits for a migration.
func (from *restoring) heard(ev qmp.Event) {
	if ev.Name != "MIGRATION" || from.wake == nil {
		return
	}
	select {
	case from.wake <- struct{}{}:
	default:
	}
}

// restored is the part of a start that differs for a guest which goes on where it stood.
func (d *domain) restored(ctx actor.Context, p *launchPlan, early []qmp.Event) {
	started, suspended, running := int32(virt.DomainEventStartedRestored), int32(virt.DomainEventSuspendedRestored), int32(virt.DomainRunningRestored)
	if p.from.fromSnapshot {
		started, suspended, running = virt.DomainEventStartedFromSnapshot, virt.DomainEventSuspendedFromSnapshot, virt.DomainRunningFromSnapshot
	}
	d.lifecycle(ctx, virt.DomainEventStarted, started)
	d.life = life{virt.DomainPaused, virt.DomainPausedMigration} // Compat: libvirt never corrects this reason
	if p.from.fromSnapshot {
		d.life.Reason = virt.DomainPausedFromSnapshot
	}
	d.run.resume = running
	for _, ev := range early {
		d.qemuEvent(ctx, ev)
	}
	if p.paused {
		d.lifecycle(ctx, virt.DomainEventSuspended, suspended)
	} else if d.life.State == virt.DomainPaused {
		d.turn(ctx, triggerResumed, running, virt.DomainEventResumedFromSnapshot)
	}
	if p.from.managed {
		d.saved = false
	}
}

// saveImageXML serves virDomainSaveImageGetXMLDesc.
func (dr *driver) saveImageXML(ctx actor.Context, r *call.Request, a *protocol.DomainSaveImageGetXMLDescArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainSaveImageXMLSecure, liberr.FromQemu, "qemuDomainSaveImageGetXMLDesc"); err != nil {
		return err
	}
	env, path, flags := dr.shared.xmlEnv, a.File, a.Flags
	dr.job(ctx, holderName(r.Proc), parseTimeout, func(context.Context) (any, error) { return imageText(path, flags, env) },
		func(_ actor.Context, out any, err error) {
			if err != nil {
				r.Fail(liberr.From(liberr.FromQemu, err))
				return
			}
			r.Reply(&protocol.DomainSaveImageGetXMLDescRet{XML: out.(string)})
		})
	return nil
}

// imageText prints the definition in an image.
func imageText(path string, flags uint32, env domxml.Env) (string, error) {
	img, f, err := openImage(path, false)
	if err != nil {
		return "", err
	}
	defer f.Close()
	def, err := img.definition("", env)
	if err != nil {
		return "", err
	}
	return domxml.Format(def, domxml.Inactive|domxml.FormatFlags(flags)&domxml.Secure)
}

// saveImageDefine serves virDomainSaveImageDefineXML.
func (dr *driver) saveImageDefine(ctx actor.Context, r *call.Request, a *protocol.DomainSaveImageDefineXMLArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainSaveRunning|virt.DomainSavePaused, liberr.FromQemu, "qemuDomainSaveImageDefineXML"); err != nil {
		return err
	}
	env, path, dxml, flags := dr.shared.xmlEnv, a.File, a.Dxml, a.Flags
	dr.job(ctx, holderName(r.Proc), parseTimeout, func(context.Context) (any, error) { return nil, redefineImage(path, dxml, flags, env) },
		func(_ actor.Context, _ any, err error) {
			if err != nil {
				err = liberr.From(liberr.FromQemu, err)
			}
			r.Finish(nil, err)
		})
	return nil
}

// redefineImage puts another definition into an image, in place.
func redefineImage(path, dxml string, flags uint32, env domxml.Env) error {
	img, f, err := openImage(path, true)
	if err != nil {
		return err
	}
	defer f.Close()
	state := img.header.Running
	switch {
	case flags&virt.DomainSaveRunning != 0:
		state = 1
	case flags&virt.DomainSavePaused != 0:
		state = 0
	}
	def, err := img.definition(dxml, env)
	if err != nil {
		return err
	}
	xml, err := domxml.Format(def, domxml.Migratable)
	if err != nil {
		return err
	}
	if xml == img.xml && state == img.header.Running {
		return nil
	}
	img.header.Running = state
	if err := img.setXML(xml); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return liberr.System(liberr.FromQemu, err, "cannot seek in '%s'", path)
	}
	if err := img.write(f, imageMagic); err != nil {
		return liberr.System(liberr.FromQemu, err, "failed to write header data to '%s'", path)
	}
	return f.Sync()
}
