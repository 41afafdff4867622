package qemu

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// masterKey makes the key with which secrets are handed to QEMU.
func masterKey(dir string) (path string, err error) {
	path = filepath.Join(dir, "master-key.aes")
	var key [32]byte
	_, _ = rand.Read(key[:])
	return path, os.WriteFile(path, key[:], 0o600)
}

// openLog asks the log daemon for the file that QEMU's output goes to. It outlives us: QEMU holds it.
func (p *launchPlan) openLog(ctx context.Context, _ *kit.Undo) error {
	r, err := p.drv.ask(ctx, "logd", protocol.LogOpenLogFile.Procedure, &protocol.LogDomainOpenLogFileArgs{
		Driver: "qemu", Dom: protocol.LogDomain{UUID: p.uuid, Name: p.name}, Path: p.logPath(),
	})
	if err != nil {
		return err
	}
	if len(r.FDs) != 1 {
		return liberr.New(liberr.FromQemu, liberr.InternalError, "the log daemon sent no file")
	}
	p.log = os.NewFile(uintptr(r.FDs[0]), p.logPath())
	p.files = append(p.files, p.log)
	return nil
}

// ports gives every display that asks for one a TCP port nobody uses.
func (p *launchPlan) ports(_ context.Context, undo *kit.Undo) error {
	for i := range p.def.Devices.Graphics {
		g := &p.def.Devices.Graphics[i]
		switch {
		case g.VNC != nil && g.VNC.Socket == "" && hasNetworkListen(g.VNC.Listeners):
			if g.VNC.Port <= 0 {
				n, err := p.reserve(&p.drv.vnc, undo)
				if err != nil {
					return err
				}
				g.VNC.Port = n
			}
			if g.VNC.WebSocket == -1 {
				n, err := p.reserve(&p.drv.vnc, undo)
				if err != nil {
					return err
				}
				g.VNC.WebSocket = n
			}
		case g.Spice != nil && hasNetworkListen(g.Spice.Listeners):
			if g.Spice.Port <= 0 {
				n, err := p.reserve(&p.drv.vnc, undo)
				if err != nil {
					return err
				}
				g.Spice.Port = n
			}
		}
	}
	return nil
}

func hasNetworkListen(ls []libvirtxml.DomainGraphicListener) bool {
	if len(ls) == 0 {
		return true
	}
	for _, l := range ls {
		if l.Address != nil || l.Network != nil {
			return true
		}
	}
	return false
}

// portRange is what a lease of the range is for.
func (p *launchPlan) reserve(r portRange, undo *kit.Undo) (int, error) {
	holder := p.uuid.String()
	n, err := r.Reserve(holder)
	if err != nil {
		return 0, liberr.New(liberr.FromQemu, liberr.InternalError, "Unable to find an unused port in range for display").WithCause(err)
	}
	undo.Add("release port "+itoa(n), func(context.Context) error { r.Release(n, holder); return nil })
	return n, nil
}

type portRange interface {
	Reserve(holder string) (int, error)
	Release(n int, holder string)
}

// portFree tells whether a TCP port can be bound on every address.
func portFree(n int) bool {
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, ":"+itoa(n))
		if err != nil {
			if strings.Contains(err.Error(), "address family not supported") {
				continue
			}
			return false
		}
		_ = l.Close()
	}
	return true
}

// fillPtys writes the terminals that QEMU opened into the definition, by the alias of their device.
func fillPtys(def *libvirtxml.Domain, ptys map[string]string) {
	set := func(src *libvirtxml.DomainChardevSource, alias *libvirtxml.DomainAlias) {
		if src == nil || src.Pty == nil || alias == nil {
			return
		}
		if path := ptys[alias.Name]; path != "" {
			src.Pty.Path = path
		}
	}
	dev := def.Devices
	for i := range dev.Serials {
		set(dev.Serials[i].Source, dev.Serials[i].Alias)
	}
	for i := range dev.Parallels {
		set(dev.Parallels[i].Source, dev.Parallels[i].Alias)
	}
	for i := range dev.Channels {
		set(dev.Channels[i].Source, dev.Channels[i].Alias)
	}
	for i := range dev.Consoles {
		set(dev.Consoles[i].Source, dev.Consoles[i].Alias)
	}
}

// fillStates writes down whether the guest has its virtio channels open, by the alias of the channel.
func fillStates(def *libvirtxml.Domain, open map[string]bool) {
	for i := range def.Devices.Channels {
		c := &def.Devices.Channels[i]
		if c.Target == nil || c.Target.VirtIO == nil || c.Alias == nil {
			continue
		}
		if is, known := open[c.Alias.Name]; known {
			c.Target.VirtIO.State = "disconnected"
			if is {
				c.Target.VirtIO.State = "connected"
			}
		}
	}
}

func hasBalloon(def *libvirtxml.Domain) bool {
	return def.Devices.MemBalloon != nil && def.Devices.MemBalloon.Model != "none"
}

// memoryKiB converts an amount of the definition; domxml has normalized units to KiB, which a missing
// unit means too.
func memoryKiB(v uint, unit string) uint64 {
	switch unit {
	case "b", "bytes":
		return uint64(v) / 1024
	case "M", "MiB":
		return uint64(v) << 10
	case "G", "GiB":
		return uint64(v) << 20
	}
	return uint64(v)
}

// cpuList reads a set such as "0-3,^2,8".
func cpuList(s string) []int {
	in := map[int]bool{}
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		not := strings.HasPrefix(part, "^")
		part = strings.TrimPrefix(part, "^")
		lo, hi, ok := strings.Cut(part, "-")
		a, err := strconv.Atoi(lo)
		if err != nil {
			continue
		}
		b := a
		if ok {
			if b, err = strconv.Atoi(hi); err != nil {
				continue
			}
		}
		for n := a; n <= b && n < 4096; n++ {
			in[n] = !not
		}
	}
	var out []int
	for n := range 4096 {
		if in[n] {
			out = append(out, n)
		}
	}
	return out
}

// agentAtStart tells of the guest agent's channel, which begins disconnected.
func agentState(def *libvirtxml.Domain) (channel bool) {
	for _, c := range def.Devices.Channels {
		if c.Target != nil && c.Target.VirtIO != nil && c.Target.VirtIO.Name == "org.qemu.guest_agent.0" {
			return true
		}
	}
	return false
}

const (
	agentDisconnected = virt.ConnectDomainEventAgentLifecycleStateDisconnected
	agentConnected    = virt.ConnectDomainEventAgentLifecycleStateConnected
)
