package command

import (
	"fmt"
	"os"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// nicBackend adds what a network device is connected to on the host.
func (b *builder) nicBackend(n *libvirtxml.DomainInterface) error {
	alias := aliasOf(n.Alias)
	host := b.rt.NICs[alias]
	s := n.Source
	if s == nil {
		// A NIC without source is of type user or ethernet.
		s = &libvirtxml.DomainInterfaceSource{}
	}
	var p Props
	switch {
	case s.User != nil:
		p = userNet(n, host)
	case s.Ethernet != nil, s.Bridge != nil, s.Network != nil, s.Direct != nil:
		if len(host.Tap) == 0 {
			return internal("no tap device was opened for interface '%s'", alias)
		}
		p = b.tap(n, host)
	case s.Server != nil:
		p = Props{{"type", "socket"}, {"listen", hostPort(s.Server.Address, s.Server.Port)}}
	case s.Client != nil:
		p = Props{{"type", "socket"}, {"connect", hostPort(s.Client.Address, s.Client.Port)}}
	case s.MCast != nil:
		p = Props{{"type", "socket"}, {"mcast", hostPort(s.MCast.Address, s.MCast.Port)}}
	case s.UDP != nil:
		p = Props{{"type", "socket"}, {"udp", hostPort(s.UDP.Address, s.UDP.Port)}}
		if s.UDP.Local != nil {
			p.Set("localaddr", hostPort(s.UDP.Local.Address, s.UDP.Local.Port))
		}
	case s.VHostUser != nil:
		if err := b.vhostUserNet(n); err != nil {
			return err
		}
		p = Props{{"type", "vhost-user"}, {"chardev", "char" + alias}}
		if q := nicDriver(n).Queues; q > 1 {
			p.Set("queues", q)
		}
	case s.VDPA != nil:
		dev := s.VDPA.Device
		if host.VDPA != nil {
			dev = b.fdSet(host.VDPA, dev)
		}
		p = Props{{"type", "vhost-vdpa"}, {"vhostdev", dev}}
	default:
		return unsupported("network device type of '%s' is not supported by QEMU", alias)
	}
	p.Set("id", "host"+alias)
	b.netdev(p)
	return nil
}

func hostPort(host string, port uint) string { return fmt.Sprintf("%s:%d", host, port) }

// userNet is QEMU's own network stack, or passt; a definition may choose the networks QEMU's serves.
func userNet(n *libvirtxml.DomainInterface, host NIC) Props {
	if n.Backend != nil && n.Backend.Type == "passt" {
		return Props{{"type", "stream"}, {"addr", Props{{"type", "unix"}, {"path", host.Passt}}}, {"server", false}}
	}
	p := Props{{"type", "user"}}
	for _, ip := range n.IP {
		if ip.Family == "ipv6" || strings.Contains(ip.Address, ":") {
			p.Set("ipv6-prefix", ip.Address)
			if ip.Prefix != 0 {
				p.Set("ipv6-prefixlen", ip.Prefix)
			}
			continue
		}
		net := ip.Address
		if ip.Prefix != 0 {
			net = fmt.Sprintf("%s/%d", ip.Address, ip.Prefix)
		}
		p.Set("net", net)
	}
	return p
}

func (b *builder) tap(n *libvirtxml.DomainInterface, host NIC) Props {
	alias := aliasOf(n.Alias)
	p := Props{{"type", "tap"}}
	b.fds(&p, "fd", host.Tap, alias+"-tap")
	if len(host.VHost) > 0 {
		p.Set("vhost", true)
		b.fds(&p, "vhostfd", host.VHost, alias+"-vhost")
	}
	if n.Tune != nil {
		p.Set("sndbuf", n.Tune.SndBuf)
	}
	return p
}

// fds adds one descriptor as name, several as names.
func (b *builder) fds(p *Props, name string, files []*os.File, label string) {
	var ids []string
	for i, f := range files {
		ids = append(ids, b.fd(f, fmt.Sprintf("%s%d", label, i)))
	}
	if len(ids) > 1 {
		name += "s"
	}
	p.Set(name, strings.Join(ids, ":"))
}

// vhostUserNet is the socket to the switch that serves the device.
func (b *builder) vhostUserNet(n *libvirtxml.DomainInterface) error {
	alias := aliasOf(n.Alias)
	c := n.Source.VHostUser.Chardev
	if c == nil || c.UNIX == nil {
		return unsupported("vhost-user type '%s' not supported", "tcp")
	}
	return b.chardev(chardev{id: "char" + alias, alias: alias, source: c, wait: true})
}
