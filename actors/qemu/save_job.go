package qemu

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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

// Saving a guest: its vCPUs stop, QEMU writes its state into a file, its process ends.
//
//	running --stop--> paused (save) --migrate to file--> shut off (saved)
//	                        \--failed, aborted--> running (save canceled)
//
// A daemon that dies meanwhile finds the guest paused, with the job in its status file: it cancels what QEMU still
// writes and lets the guest go on. The file is marked incomplete until the last byte.

const saveFlags = virt.DomainSaveBypassCache | virt.DomainSaveRunning | virt.DomainSavePaused

// saveRequest is one save, whichever call asked for it.
type saveRequest struct {
	path    string
	dxml    string // definition to put into the image instead of the guest's
	flags   uint32
	managed bool
}

func (d *domain) save(ctx actor.Context, r *call.Request, a *protocol.DomainSaveArgs) error {
	return d.saveTo(ctx, r, saveRequest{path: a.To})
}

func (d *domain) saveWithFlags(ctx actor.Context, r *call.Request, a *protocol.DomainSaveFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, saveFlags, liberr.FromQemu, "qemuDomainSaveFlags"); err != nil {
		return err
	}
	s := saveRequest{path: a.To, flags: a.Flags}
	if a.Dxml != nil {
		s.dxml = *a.Dxml
	}
	return d.saveTo(ctx, r, s)
}

func (d *domain) saveWithParams(ctx actor.Context, r *call.Request, a *protocol.DomainSaveParamsArgs) error {
	if err := call.CheckFlags(a.Flags, saveFlags, liberr.FromQemu, "qemuDomainSaveParams"); err != nil {
		return err
	}
	s := saveRequest{flags: a.Flags}
	if err := saveParams(a.Params, &s.path, &s.dxml); err != nil {
		return err
	}
	if s.path == "" {
		return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "'%s' parameter is not supported", "file")
	}
	return d.saveTo(ctx, r, s)
}

func saveParams(params []protocol.TypedParam, file, dxml *string) error {
	if err := checkParams(params, paramSpec{virt.DomainSaveParamFile: virt.TypedParamString, virt.DomainSaveParamDxml: virt.TypedParamString}); err != nil {
		return err
	}
	for _, p := range params {
		switch p.Field {
		case virt.DomainSaveParamFile:
			*file = p.Value.S
		case virt.DomainSaveParamDxml:
			*dxml = p.Value.S
		}
	}
	return nil
}

// managedSave serves virDomainManagedSave: a save in a place of our own, from which the next start restores.
func (d *domain) managedSave(ctx actor.Context, r *call.Request, a *protocol.DomainManagedSaveArgs) error {
	if err := call.CheckFlags(a.Flags, saveFlags, liberr.FromQemu, "qemuDomainManagedSave"); err != nil {
		return err
	}
	if err := d.running(); err != nil {
		return err
	}
	if d.config == nil {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot do managed save for transient domain")
	}
	return d.saveTo(ctx, r, saveRequest{path: d.drv.savePath(d.name), flags: a.Flags, managed: true})
}

func (d *domain) saveTo(ctx actor.Context, r *call.Request, s saveRequest) error {
	if err := d.running(); err != nil {
		return err
	}
	format, ok := imageFormatOf(d.drv.conf.SaveImageFormat)
	if !ok {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "Invalid %s image format specified in configuration file", "save")
	}
	job := &asyncJob{name: "save", title: "domain save", operation: virt.DomainJobOperationSave}
	var run *instance
	var plan savePlan
	d.startAsync(ctx, job, &task{
		kind: jobAsync, req: r,
		begin: func(d *domain, _ actor.Context) error {
			if err := d.running(); err != nil {
				return err
			}
			mon, err := d.monitor()
			if err != nil {
				return err
			}
			run = d.run
			plan = savePlan{drv: d.drv, mon: mon, job: job, request: s, format: format, live: d.live, wasRunning: d.life.State == virt.DomainRunning}
			if plan.xml, plan.cookie, err = d.imageXML(s.dxml); err != nil {
				return err
			}
			if plan.wasRunning {
				run.paused = virt.DomainPausedSave
			}
			return nil
		},
		run: func(jc context.Context, undo *kit.Undo) (any, error) { return nil, plan.save(jc, undo) },
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			if d.run != run || run.ending {
				return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "guest unexpectedly quit")
			}
			if s.managed {
				d.saved = true
			}
			run.quiet = true
			d.end(ctx, r, true, virt.DomainShutoffSaved, false)
			return nil, errStillOpen
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			if d.run != nil && d.run == run {
				run.paused = virt.DomainPausedUnknown
			}
			return err
		},
	})
	return nil
}

// imageXML prints the definition that goes into an image: the guest's own, or what a client gives instead, which must
// describe the same machine.
func (d *domain) imageXML(dxml string) (xml, cookie string, err error) {
	def, err := d.live.Def()
	if err != nil {
		return "", "", err
	}
	full, err := domxml.Format(def, domxml.Secure)
	if err != nil {
		return "", "", err
	}
	cookie = cookieXML(cpuElement(full))
	if dxml != "" {
		given, err := domxml.Parse([]byte(dxml), d.drv.xmlEnv, domxml.ParseTrusted)
		if err != nil {
			return "", "", err
		}
		if err := sameMachine(given, def); err != nil {
			return "", "", err
		}
		def = given
	}
	xml, err = d.migratableXML(def)
	return xml, cookie, err
}

// migratableXML prints a definition as other daemons take it: with the CPU that was asked for, not the one that QEMU
// made of it.
func (d *domain) migratableXML(def *libvirtxml.Domain) (string, error) {
	if d.config != nil {
		config, err := d.config.Def()
		if err != nil {
			return "", err
		}
		if config.CPU != nil && def.CPU != nil && config.CPU.Mode == def.CPU.Mode {
			def, err = domxml.Clone(def)
			if err != nil {
				return "", err
			}
			cpu := *config.CPU
			def.CPU = &cpu
		}
	}
	return domxml.Format(def, domxml.Migratable)
}

// savePlan is what the saving job works from.
type savePlan struct {
	drv         *shared
	mon         *qmp.Client
	job         *asyncJob
	request     saveRequest
	format      imageFormat
	live        *document
	xml, cookie string
	wasRunning  bool
}

func (p *savePlan) save(ctx context.Context, undo *kit.Undo) error {
	if p.wasRunning {
		if err := qmp.Stop(ctx, p.mon); err != nil {
			return err
		}
		undo.Add("let the guest go on", func(ctx context.Context) error { return p.job.goOn(ctx, p.mon) })
	}
	running := p.wasRunning
	switch {
	case p.request.flags&virt.DomainSaveRunning != 0:
		running = true
	case p.request.flags&virt.DomainSavePaused != 0:
		running = false
	}
	img := newImage(p.xml, p.cookie, running, p.format)
	path := p.request.path
	if p.request.managed {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return liberr.System(liberr.FromQemu, err, "Failed to create file '%s'", path)
	}
	defer f.Close()
	undo.Add("remove "+path, func(context.Context) error { return os.Remove(path) })
	if err := img.write(f, imagePartial); err != nil {
		return liberr.System(liberr.FromQemu, err, "failed to write header data to '%s'", path)
	}
	if err := p.job.migrateToFile(ctx, p.mon, f, p.format); err != nil {
		return err
	}
	if err := img.finish(f); err != nil {
		return liberr.System(liberr.FromQemu, err, "unable to seek %s", path)
	}
	if p.request.managed {
		return disk.SyncDir(filepath.Dir(path))
	}
	return nil
}

// migrateToFile lets QEMU write its state behind what is in the file, through a compressing program if the format has
// one, and waits for the end.
func (j *asyncJob) migrateToFile(ctx context.Context, mon *qmp.Client, f *os.File, format imageFormat) error {
	argv, err := format.program(false)
	if err != nil {
		return err
	}
	out := f
	var filter *exec.Cmd
	if argv != nil {
		reader, writer, err := os.Pipe()
		if err != nil {
			return err
		}
		defer writer.Close()
		filter = exec.Command(argv[0], argv[1:]...)
		filter.Stdin, filter.Stdout = reader, f
		err = filter.Start()
		_ = reader.Close()
		if err != nil {
			return liberr.New(liberr.FromQemu, liberr.OperationFailed, "Compression program for %s image format in configuration file isn't available", "save").WithCause(err)
		}
		defer func() {
			if filter.ProcessState == nil { // QEMU has let go of its end by now, or is gone
				_ = writer.Close()
				_ = filter.Process.Kill()
				_ = filter.Wait()
			}
		}()
		out = writer
	}
	if err := j.migrate(ctx, mon, out); err != nil {
		return err
	}
	if filter == nil {
		return nil
	}
	_ = out.Close()
	if err := filter.Wait(); err != nil {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "%s failed", imageFormats[format]).WithCause(err)
	}
	return nil
}

// migrate sends QEMU's state to an open file and waits until it is there.
func (j *asyncJob) migrate(ctx context.Context, mon *qmp.Client, out *os.File) error {
	_ = qmp.MigrateSetCapabilities(ctx, mon, map[string]bool{"events": true})
	// As fast as the disk takes it: the default limit is for networks. A QEMU without the parameter has no limit to lift.
	_ = qmp.MigrateSetParameters(ctx, mon, map[string]any{"max-bandwidth": uint64(maxBandwidth) << 20})
	fd, err := rawFD(out)
	if err != nil {
		return err
	}
	if err := qmp.GetFD(ctx, mon, "migrate", fd); err != nil {
		return err
	}
	if err := j.checkAborted(); err != nil {
		_ = qmp.CloseFD(ctx, mon, "migrate")
		return err
	}
	if err := qmp.Migrate(ctx, mon, "fd:migrate"); err != nil {
		_ = qmp.CloseFD(ctx, mon, "migrate")
		return err
	}
	return j.follow(ctx, mon)
}

// follow waits for a migration to end. QEMU's events wake it; the tick is for one that is lost.
func (j *asyncJob) follow(ctx context.Context, mon *qmp.Client) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		info, err := qmp.QueryMigrate(ctx, mon)
		if err != nil {
			if errors.Is(err, qmp.ErrClosed) {
				return liberr.New(liberr.FromQemu, liberr.OperationFailed, "job '%s' failed: %s", j.title, "domain is not running")
			}
			return err
		}
		j.note(info)
		switch info.Status {
		case "completed":
			return nil
		case "failed":
			if info.ErrorDesc != "" {
				return liberr.New(liberr.FromQemu, liberr.OperationFailed, "job '%s' failed: %s", j.title, info.ErrorDesc)
			}
			return liberr.New(liberr.FromQemu, liberr.OperationFailed, "job '%s' unexpectedly failed", j.title)
		case "cancelled":
			return j.canceled()
		}
		select {
		case <-j.wake:
		case <-tick.C:
		case <-ctx.Done():
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), monitorTimeout)
			_ = qmp.MigrateCancel(short, mon)
			cancel()
			return context.Cause(ctx)
		}
	}
}

func rawFD(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	err = raw.Control(func(fd uintptr) { n = int(fd) })
	return n, err
}
