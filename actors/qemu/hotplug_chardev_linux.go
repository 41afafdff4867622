package qemu

import (
	"context"
	"errors"
	"net"
	"os"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// line gives the host's end of a character device.
func (one *piece) line() (*libvirtxml.DomainChardevSource, *libvirtxml.DomainChardevLog) {
	switch d := one.device.(type) {
	case *libvirtxml.DomainSerial:
		return d.Source, d.Log
	case *libvirtxml.DomainParallel:
		return d.Source, d.Log
	case *libvirtxml.DomainConsole:
		return d.Source, d.Log
	case *libvirtxml.DomainChannel:
		return d.Source, d.Log
	case *libvirtxml.DomainRedirDev:
		return d.Source, nil
	}
	return nil, nil
}

// openLine opens for QEMU what it has no right to open by itself: sockets that it listens on, and files that the log
// daemon writes for it.
func (p *plugging) openLine(ctx context.Context, undo *kit.Undo, one *piece) error {
	src, log := one.line()
	p.host.drv.settleLine(src)
	if src != nil && src.TCP != nil && src.TCP.TLS == "yes" {
		if err := p.host.secrets(ctx, command.TLSSecretsOfLine(one.name(), &p.host.rt)); err != nil {
			return err
		}
	}
	if src != nil && src.UNIX != nil && mode(src.UNIX.Mode) == "bind" && src.UNIX.Path != "" {
		f, err := p.listen(undo, src.UNIX.Path)
		if err != nil {
			return err
		}
		p.host.rt.Listeners = with(p.host.rt.Listeners, one.name(), f)
	}
	if src != nil && src.File != nil && src.File.Path != "" {
		f, err := p.logFile(ctx, src.File.Path, src.File.Append != "on")
		if err != nil {
			return err
		}
		p.host.rt.Outputs = with(p.host.rt.Outputs, one.name(), f)
	}
	if log != nil && log.File != "" {
		f, err := p.logFile(ctx, log.File, log.Append != "on")
		if err != nil {
			return err
		}
		p.host.rt.Logs = with(p.host.rt.Logs, one.name(), f)
	}
	return nil
}

func with(m map[string]*os.File, name string, f *os.File) map[string]*os.File {
	if m == nil {
		m = map[string]*os.File{}
	}
	m[name] = f
	return m
}

// listen makes a socket that the guest's user owns.
func (p *plugging) listen(undo *kit.Undo, path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, liberr.System(liberr.FromQemu, err, "Unable to unlink %s", path)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, liberr.System(liberr.FromQemu, err, "Unable to bind to UNIX socket path '%s'", path)
	}
	l.SetUnlinkOnClose(false)
	undo.Add("remove "+path, func(context.Context) error { return os.Remove(path) })
	f, err := l.File()
	_ = l.Close()
	if err != nil {
		return nil, err
	}
	p.host.files = append(p.host.files, f)
	if u := p.host.user; !u.self() {
		if err := os.Chown(path, int(u.uid), int(u.gid)); err != nil {
			return nil, liberr.System(liberr.FromSecurity, err, "unable to set user and group to '%d:%d' on '%s'", u.uid, u.gid, path)
		}
	}
	return f, nil
}

// logFile asks the log daemon for a file that QEMU writes to.
func (p *plugging) logFile(ctx context.Context, path string, truncate bool) (*os.File, error) {
	flags := uint32(0)
	if truncate {
		flags = uint32(protocol.LogManagerProtocolDomainOpenLogFileTruncate)
	}
	r, err := p.drv.ask(ctx, "logd", protocol.LogOpenLogFile.Procedure, &protocol.LogDomainOpenLogFileArgs{
		Driver: "qemu", Dom: protocol.LogDomain{UUID: p.uuid, Name: p.name}, Path: path, Flags: flags,
	})
	if err != nil {
		return nil, err
	}
	if len(r.FDs) != 1 {
		return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "the log daemon sent no file")
	}
	f := os.NewFile(uintptr(r.FDs[0]), path)
	p.host.files = append(p.host.files, f)
	return f, nil
}
