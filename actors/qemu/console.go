package qemu

import (
	"context"
	"io"
	"net"
	"os"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// consoles holds the character devices that a client has open: one client each, since a second one would
// take half of the output.
type consoles struct {
	open map[string]*console // by the device's path
	last uint64
}

// console is one open device: a goroutine copies between the device and a socket whose other end the
// client's process pumps. Closing the socket ends it, from either side.
type console struct {
	token uint64
	path  string
	ours  *os.File
}

const consoleFlags = virt.DomainConsoleForce | virt.DomainConsoleSafe

// openConsole serves virDomainOpenConsole.
func (d *domain) openConsole(ctx actor.Context, r *call.Request, a *protocol.DomainOpenConsoleArgs) error {
	if err := call.CheckFlags(a.Flags, consoleFlags, liberr.FromQemu, "qemuDomainOpenConsole"); err != nil {
		return err
	}
	if err := d.requireActive(); err != nil {
		return err
	}
	def, err := d.live.Def()
	if err != nil {
		return err
	}
	name := ""
	if a.DevName != nil {
		name = *a.DevName
	}
	src := findConsole(def, name)
	if src == nil {
		if name == "" {
			return liberr.New(liberr.FromQemu, liberr.InternalError, "cannot find default console device")
		}
		return liberr.New(liberr.FromQemu, liberr.InternalError, "cannot find console device '%s'", name)
	}
	return d.openDevice(ctx, r, src, name, "console", a.Flags&virt.DomainConsoleForce != 0, "Active console session exists for this domain")
}

// openChannel serves virDomainOpenChannel.
func (d *domain) openChannel(ctx actor.Context, r *call.Request, a *protocol.DomainOpenChannelArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainChannelForce, liberr.FromQemu, "qemuDomainOpenChannel"); err != nil {
		return err
	}
	if err := d.requireActive(); err != nil {
		return err
	}
	def, err := d.live.Def()
	if err != nil {
		return err
	}
	name := ""
	if a.Name != nil {
		name = *a.Name
	}
	for i := range def.Devices.Channels {
		c := &def.Devices.Channels[i]
		if name == "" || c.Alias != nil && c.Alias.Name == name || c.Target != nil && c.Target.VirtIO != nil && c.Target.VirtIO.Name == name {
			return d.openDevice(ctx, r, c.Source, name, "channel", a.Flags&virt.DomainChannelForce != 0, "Active channel stream exists for this domain")
		}
	}
	return liberr.New(liberr.FromQemu, liberr.InternalError, "cannot find channel %s", name)
}

// findConsole finds the device by alias, or the guest's first console.
func findConsole(def *libvirtxml.Domain, name string) *libvirtxml.DomainChardevSource {
	dev := def.Devices
	if name == "" {
		if len(dev.Consoles) > 0 {
			return dev.Consoles[0].Source
		}
		if len(dev.Serials) > 0 {
			return dev.Serials[0].Source
		}
		return nil
	}
	for i := range dev.Consoles {
		if a := dev.Consoles[i].Alias; a != nil && a.Name == name {
			return dev.Consoles[i].Source
		}
	}
	for i := range dev.Serials {
		if a := dev.Serials[i].Alias; a != nil && a.Name == name {
			return dev.Serials[i].Source
		}
	}
	for i := range dev.Parallels {
		if a := dev.Parallels[i].Alias; a != nil && a.Name == name {
			return dev.Parallels[i].Source
		}
	}
	return nil
}

// openDevice opens a pty or UNIX socket device and answers with a stream to it.
func (d *domain) openDevice(ctx actor.Context, r *call.Request, src *libvirtxml.DomainChardevSource, name, kind string, force bool, busy string) error {
	path, socket := "", false
	switch {
	case src != nil && src.Pty != nil:
		path = src.Pty.Path
	case src != nil && src.UNIX != nil:
		path, socket = src.UNIX.Path, true
	default:
		what := "channel " + name + " is not using a UNIX socket"
		if kind == "console" {
			what = "character device " + name + " is not using a PTY or UNIX socket"
		}
		return liberr.New(liberr.FromQemu, liberr.InternalError, "%s", what)
	}
	if old := d.consoles.open[path]; old != nil {
		if !force {
			return liberr.New(liberr.FromQemu, liberr.OperationFailed, "%s", busy)
		}
		d.closeConsole(old)
	}
	self := ctx.Self()
	root := ctx.ActorSystem().Root
	d.consoles.last++
	token := d.consoles.last
	d.launch(ctx, &task{
		name: holderName(r.Proc), req: r, limit: monitorTimeout,
		run:     func(jc context.Context, _ *kit.Undo) (any, error) { return openPump(jc, path, socket) },
		discard: func(out any) { out.(*pump).close() },
		apply: func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
			p := out.(*pump)
			if !d.active() {
				p.close()
				return nil, liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is not running")
			}
			if d.consoles.open == nil {
				d.consoles.open = map[string]*console{}
			}
			if other := d.consoles.open[path]; other != nil {
				d.closeConsole(other)
			}
			d.consoles.open[path] = &console{token, path, p.ours}
			go func() {
				p.run()
				root.Send(self, &consoleOver{path, token})
			}()
			r.ReplyRaw(&call.Reply{Stream: &call.Stream{FD: p.theirs, In: true, Out: true, Limit: -1}})
			return nil, errStillOpen
		},
	})
	return nil
}

// consoleOver tells that a console's pump has ended.
type consoleOver struct {
	path  string
	token uint64
}

func (d *domain) consoleOver(m *consoleOver) {
	if c := d.consoles.open[m.path]; c != nil && c.token == m.token {
		delete(d.consoles.open, m.path)
	}
}

func (d *domain) closeConsole(c *console) {
	delete(d.consoles.open, c.path)
	_ = c.ours.Close()
}

// closeConsoles ends all of them, as the guest ends.
func (d *domain) closeConsoles() {
	for _, c := range d.consoles.open {
		d.closeConsole(c)
	}
}

// streamEnded needs nothing: a console's end is seen by its pump.
func (d *domain) streamEnded(ctx actor.Context, m *call.StreamEnded) {
	ctx.Respond(&call.StreamResult{Serial: m.Serial})
}

// pump is an opened device and the two ends of the socket pair.
type pump struct {
	device io.ReadWriteCloser
	ours   *os.File
	theirs int
}

func openPump(ctx context.Context, path string, socket bool) (*pump, error) {
	var device io.ReadWriteCloser
	if socket {
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "unix", path)
		if err != nil {
			return nil, liberr.System(liberr.FromStreams, err, "Unable to open console '%s'", path)
		}
		device = c
	} else {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, liberr.System(liberr.FromStreams, err, "Unable to open '%s'", path)
		}
		device = os.NewFile(uintptr(fd), path)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		_ = device.Close()
		return nil, err
	}
	_ = unix.SetNonblock(pair[0], true)
	return &pump{device, os.NewFile(uintptr(pair[0]), "console of "+path), pair[1]}, nil
}

func (p *pump) close() {
	_ = p.device.Close()
	_ = p.ours.Close()
	_ = unix.Close(p.theirs)
}

// run copies both ways until either side ends.
func (p *pump) run() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(p.device, p.ours)
		_ = p.device.Close()
	}()
	_, _ = io.Copy(p.ours, p.device)
	_ = p.ours.Close()
	_ = p.device.Close()
	<-done
}
