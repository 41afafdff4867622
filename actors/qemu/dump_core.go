package qemu

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// A guest's memory, or its whole state, for somebody to look at afterwards. The guest stands still meanwhile, unless it
// is dumped live, and goes on then, unless it is to crash.

const dumpFlags = virt.DumpCrash | virt.DumpLive | virt.DumpBypassCache | virt.DumpReset | virt.DumpMemoryOnly

// dumpFormats are QEMU's names by libvirt's numbers; the first is ELF, which needs no name.
var dumpFormats = []string{"", "kdump-zlib", "kdump-lzo", "kdump-snappy", "win-dmp"}

func (d *domain) coreDump(ctx actor.Context, r *call.Request, a *protocol.DomainCoreDumpArgs) error {
	return d.dumpCore(ctx, r, a.To, virt.DomainCoreDumpFormatRaw, a.Flags)
}

func (d *domain) coreDumpFormat(ctx actor.Context, r *call.Request, a *protocol.DomainCoreDumpWithFormatArgs) error {
	return d.dumpCore(ctx, r, a.To, a.Dumpformat, a.Flags)
}

func (d *domain) dumpCore(ctx actor.Context, r *call.Request, path string, format, flags uint32) error {
	if err := call.CheckFlags(flags, dumpFlags, liberr.FromQemu, "qemuDomainCoreDumpWithFormat"); err != nil {
		return err
	}
	if err := d.running(); err != nil {
		return err
	}
	if int(format) >= len(dumpFormats) {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "unknown dumpformat '%d'", format)
	}
	job := &asyncJob{name: "dump", title: "domain core dump", operation: virt.DomainJobOperationDump, memory: flags&virt.DumpMemoryOnly != 0}
	plan := &dumpPlan{job: job, path: path, format: dumpFormats[format], flags: flags}
	compress, ok := imageFormatOf(d.drv.conf.DumpImageFormat)
	if ok { // Compat: a format that is not known is no error here but none
		plan.compress = compress
	}
	var run *instance
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
			run, plan.mon, plan.wasRunning = d.run, mon, d.life.State == virt.DomainRunning
			if plan.wasRunning {
				run.paused = virt.DomainPausedDump
			}
			return nil
		},
		run: func(jc context.Context, undo *kit.Undo) (any, error) { return nil, plan.dump(jc, undo) },
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			if flags&virt.DumpCrash == 0 || d.run != run || run.ending {
				return nil, nil
			}
			run.quiet = true
			d.life = life{virt.DomainCrashed, virt.DomainCrashedUnknown}
			d.end(ctx, r, true, virt.DomainShutoffCrashed, false)
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

// dumpPlan is what the dumping job works from.
type dumpPlan struct {
	mon        *qmp.Client
	job        *asyncJob
	path       string
	format     string
	compress   imageFormat
	flags      uint32
	wasRunning bool
}

func (p *dumpPlan) dump(ctx context.Context, undo *kit.Undo) error {
	if p.wasRunning {
		undo.Add("let the guest go on", func(ctx context.Context) error { return p.job.goOn(ctx, p.mon) })
		if p.flags&virt.DumpLive == 0 {
			if err := qmp.Stop(ctx, p.mon); err != nil {
				return err
			}
		}
	}
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return liberr.System(liberr.FromQemu, err, "Failed to create file '%s'", p.path)
	}
	defer f.Close()
	undo.Add("remove "+p.path, func(context.Context) error { return os.Remove(p.path) })
	switch {
	case p.job.memory:
		err = p.memory(ctx, f)
	case p.format != "":
		err = liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "kdump-compressed format is only supported with memory-only dump")
	default:
		err = p.job.migrateToFile(ctx, p.mon, f, p.compress)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil || p.flags&virt.DumpCrash != 0 || !p.wasRunning {
		return err
	}
	p.job.tell()
	undo.Keep() // the file is good, whatever the guest does now
	if p.flags&virt.DumpReset != 0 {
		if err := qmp.SystemReset(ctx, p.mon); err != nil {
			return err
		}
	}
	if err := qmp.Cont(ctx, p.mon); err != nil {
		return orOwn(err, liberr.New(liberr.FromQemu, liberr.OperationFailed, "resuming after dump failed"))
	}
	return nil
}

// memory dumps the guest's memory alone. QEMU does it in the background and says when it is through.
func (p *dumpPlan) memory(ctx context.Context, f *os.File) error {
	if p.format != "" {
		can, err := qmp.QueryDumpGuestMemoryCapability(ctx, p.mon)
		if err != nil {
			return err
		}
		if !slices.Contains(can, p.format) {
			return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "unsupported dumpformat '%s' for this QEMU binary", p.format)
		}
	}
	fd, err := rawFD(f)
	if err != nil {
		return err
	}
	if err := qmp.GetFD(ctx, p.mon, "dump", fd); err != nil {
		return err
	}
	if err := qmp.DumpGuestMemory(ctx, p.mon, "fd:dump", p.format, true); err != nil {
		_ = qmp.CloseFD(ctx, p.mon, "dump")
		return err
	}
	return p.job.followDump(ctx, p.mon)
}

// followDump waits for a dump to end. QEMU's event wakes it; the tick is for one that is lost.
func (j *asyncJob) followDump(ctx context.Context, mon *qmp.Client) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		st, err := qmp.QueryDump(ctx, mon)
		if err != nil {
			if errors.Is(err, qmp.ErrClosed) {
				return liberr.New(liberr.FromQemu, liberr.OperationFailed, "domain is not running")
			}
			return err
		}
		j.progress.Store(&jobProgress{dump: &st})
		switch st.Status {
		case "completed":
			return nil
		case "failed":
			if why := j.complaint.Load(); why != nil {
				return liberr.New(liberr.FromQemu, liberr.OperationFailed, "memory-only dump failed: %s", *why)
			}
			return liberr.New(liberr.FromQemu, liberr.OperationFailed, "memory-only dump failed for unknown reason")
		}
		select {
		case <-j.wake:
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
