package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Looks into a guest: its disks, its memory, its screen.

func (d *domain) blockPeek(ctx actor.Context, r *call.Request, a *protocol.DomainBlockPeekArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainBlockPeek"); err != nil {
		return err
	}
	if a.Size > protocol.RemoteDomainBlockPeekBufferMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "size too large")
	}
	def, err := d.current().Def()
	if err != nil {
		return err
	}
	disk := findDisk(def, a.Path)
	if disk == nil {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "disk '%s' not found in domain", a.Path)
	}
	format := diskFormat(disk)
	if diskEmpty(disk) {
		format = "none"
	}
	if format != "raw" {
		return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "peeking is only supported for disk with 'raw' format not '%s'", format)
	}
	path := localPath(disk.Source)
	if path == "" {
		return liberr.New(liberr.FromStorage, liberr.InternalError, "unsupported storage type for reading of a disk's header")
	}
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, liberr.System(liberr.FromStorage, errors.Unwrap(err), "Failed to open file '%s'", path)
		}
		defer f.Close()
		b := make([]byte, a.Size)
		if _, err := f.ReadAt(b, int64(a.Offset)); err != nil {
			if errors.Is(err, io.EOF) {
				err = unix.EIO
			}
			return nil, liberr.System(liberr.FromQemu, errors.Unwrap(err), "failed to seek or read '%s'", path)
		}
		return &protocol.DomainBlockPeekRet{Buffer: b}, nil
	})
	return nil
}

// scratch makes a file of our own that QEMU may write: it is opened by us, and QEMU gets it by path.
func (s *shared) scratch(pattern string, owner func(path string) error) (*os.File, error) {
	f, err := os.CreateTemp(s.env.Paths.DriverCache("qemu"), pattern)
	if err != nil {
		return nil, liberr.System(liberr.FromQemu, errors.Unwrap(err), "g_mkstemp(\"%s\") failed", filepath.Join(s.env.Paths.DriverCache("qemu"), pattern))
	}
	if owner != nil {
		if err := owner(f.Name()); err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			return nil, err
		}
	}
	return f, nil
}

// giveTo lets the user of a process write a file.
func giveTo(pid int) func(path string) error {
	return func(path string) error {
		var st unix.Stat_t
		if err := unix.Stat("/proc/"+itoa(pid), &st); err != nil {
			return liberr.System(liberr.FromQemu, err, "unable to get uid and gid for PID %d", pid)
		}
		if err := unix.Chown(path, int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, unix.EPERM) {
			return liberr.System(liberr.FromQemu, err, "unable to set user and group to '%d:%d' on '%s'", st.Uid, st.Gid, path)
		}
		return nil
	}
}

func (d *domain) memoryPeek(ctx actor.Context, r *call.Request, a *protocol.DomainMemoryPeekArgs) error {
	if err := call.CheckFlags(a.Flags, virt.MemoryVirtual|virt.MemoryPhysical, liberr.FromQemu, "qemuDomainMemoryPeek"); err != nil {
		return err
	}
	if a.Size > protocol.RemoteDomainMemoryPeekBufferMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "size too large")
	}
	command := ""
	switch a.Flags {
	case virt.MemoryVirtual:
		command = "memsave"
	case virt.MemoryPhysical:
		command = "pmemsave"
	case virt.MemoryVirtual | virt.MemoryPhysical:
		return liberr.Raw(liberr.FromDomain, liberr.InvalidArg, "Flags 'VIR_MEMORY_VIRTUAL' and 'VIR_MEMORY_PHYSICAL' are mutually exclusive")
	default:
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "flags parameter must be VIR_MEMORY_VIRTUAL or VIR_MEMORY_PHYSICAL")
	}
	if err := d.running(); err != nil {
		return err
	}
	drv, give := d.drv, giveTo(d.run.proc.pid)
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		f, err := drv.scratch("qemu.mem.*", give)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		defer os.Remove(f.Name())
		args := map[string]any{"val": a.Offset, "size": a.Size, "filename": f.Name()}
		if err := mon.Execute(jc, command, args, nil); err != nil {
			return nil, err
		}
		b := make([]byte, a.Size)
		if _, err := io.ReadFull(f, b); err != nil {
			return nil, liberr.System(liberr.FromQemu, unix.EIO, "failed to read temporary file created with template %s", f.Name()).WithCause(err)
		}
		return &protocol.DomainMemoryPeekRet{Buffer: b}, nil
	})
}

// screenshot answers with a stream of the picture that QEMU has made.
func (d *domain) screenshot(ctx actor.Context, r *call.Request, a *protocol.DomainScreenshotArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainScreenshot"); err != nil {
		return err
	}
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	mon, err := d.monitor()
	if err != nil {
		return err
	}
	if len(def.Devices.Videos) == 0 {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "no screens to take screenshot from")
	}
	alias := ""
	screen := a.Screen
	for i := range def.Devices.Videos {
		v := &def.Devices.Videos[i]
		heads := uint32(max(v.Model.Heads, 1))
		if screen < heads {
			if v.Alias != nil {
				alias = v.Alias.Name
			}
			break
		}
		if screen -= heads; i == len(def.Devices.Videos)-1 {
			return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "no such screen ID")
		}
	}
	drv, give := d.drv, giveTo(d.run.proc.pid)
	d.start(ctx, &task{
		kind: jobQuery, req: r, limit: monitorTimeout,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			f, err := drv.scratch("qemu.screendump.*", give)
			if err != nil {
				return nil, err
			}
			defer os.Remove(f.Name())
			mime, format := "image/png", "png"
			if err := qmp.Screendump(jc, mon, alias, int(screen), f.Name(), format); err != nil {
				_ = f.Close()
				return nil, err
			}
			return &picture{f, mime}, nil
		},
		discard: func(out any) { _ = out.(*picture).file.Close() },
		apply: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			p := out.(*picture)
			defer p.file.Close()
			fd, err := unix.FcntlInt(p.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return nil, liberr.System(liberr.FromQemu, err, "cannot open the picture")
			}
			ret := &protocol.DomainScreenshotRet{Mime: &p.mime}
			r.ReplyRaw(&call.Reply{Ret: ret.AppendXDR(nil), Stream: &call.Stream{FD: fd, Out: true, Limit: -1}})
			return nil, errStillOpen
		},
	})
	return nil
}

// picture is a screenshot in a file that has no name any more.
type picture struct {
	file *os.File
	mime string
}

// dirtyModes are QEMU's names of the ways to measure how fast a guest dirties its memory.
var dirtyModes = map[uint32]string{0: "page-sampling", 1: "dirty-bitmap", 2: "dirty-ring"}

func (d *domain) startDirtyRate(ctx actor.Context, r *call.Request, a *protocol.DomainStartDirtyRateCalcArgs) error {
	if err := call.CheckFlags(a.Flags, 3, liberr.FromQemu, "qemuDomainStartDirtyRateCalc"); err != nil {
		return err
	}
	if a.Seconds < 1 || a.Seconds > 60 {
		return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "seconds=%d is invalid, please choose value within [1, 60].", a.Seconds)
	}
	if err := d.running(); err != nil {
		return err
	}
	mode, ok := dirtyModes[a.Flags]
	if !ok {
		return liberr.Raw(liberr.FromDomain, liberr.InvalidArg,
			"Flags 'VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP' and 'VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING' are mutually exclusive")
	}
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error {
		return qmp.CalcDirtyRate(jc, mon, int(a.Seconds), mode)
	}, nil)
}

// queryStats asks QEMU for the figures of its accelerator, which a guest without one does not have.
func queryStats(ctx context.Context, mon *qmp.Client, args, into any) error {
	var raw json.RawMessage
	if err := mon.Execute(ctx, "query-stats", args, &raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}
