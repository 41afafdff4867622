package qemu

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
)

// interfaces connects the guest's NICs to the host, in their order.
func (p *launchPlan) interfaces(ctx context.Context, undo *kit.Undo) error {
	p.rt.NICs = map[string]command.NIC{}
	for i := range p.def.Devices.Interfaces {
		n := &p.def.Devices.Interfaces[i]
		nic, err := p.connectNIC(ctx, n, undo)
		if err != nil {
			return err
		}
		if n.Alias != nil {
			p.rt.NICs[n.Alias.Name] = nic
		}
	}
	return nil
}

// connectNIC makes what a NIC needs on the host: a tap on a bridge or on nothing, a macvtap on a device, a descriptor. Its
// port is there already. The rate limits and the MTU come last, as in libvirt.
func (p *launchPlan) connectNIC(ctx context.Context, n *libvirtxml.DomainInterface, undo *kit.Undo) (nic command.NIC, err error) {
	kind := actualKind(n)
	switch kind {
	case "network", "bridge":
		nic.Tap, err = p.bridgedTap(ctx, n, undo)
	case "ethernet":
		nic.Tap, err = p.looseTap(ctx, n, undo)
	case "direct":
		nic.Tap, err = p.macvtap(n, undo)
	case "vdpa":
		nic.VDPA, err = p.vdpa(n)
		return nic, err
	case "hostdev":
		return nic, p.takeFunction(ctx, n, undo)
	default:
		return nic, nil // QEMU's own affair
	}
	if err != nil {
		return nic, err
	}
	if nic.VHost, err = p.vhost(n, len(nic.Tap)); err != nil {
		return nic, err
	}
	if n.Bandwidth != nil {
		if err := limitLink(hostLink(n), n.Bandwidth, kind == "direct"); err != nil {
			return nic, err
		}
	}
	if n.MTU != nil && n.MTU.Size > 0 && managed(n) {
		if err := setMTU(hostLink(n), int(n.MTU.Size)); err != nil {
			return nic, err
		}
	}
	return nic, nil
}

// vhost opens the kernel's own data path where there is one; without it QEMU copies itself, unless the definition insists.
func (p *launchPlan) vhost(n *libvirtxml.DomainInterface, queues int) ([]*os.File, error) {
	wanted, required := command.WantsVHost(p.def, n)
	if !wanted {
		if required || p.def.Type == "kvm" && nicDriver(n).Name == "vhost" {
			return nil, unsupportedConfig("vhost-net is only supported for virtio network interfaces")
		}
		return nil, nil
	}
	path := "/dev/vhost-net"
	if n.Backend != nil && n.Backend.VHost != "" {
		path = n.Backend.VHost
	}
	var out []*os.File
	for range queues {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			if required {
				return nil, unsupportedConfig("vhost-net was requested for an interface, but is unavailable").(*liberr.Error).WithCause(err)
			}
			p.drv.env.Log.Debug().Err(err).Str("domain", p.name).Msg("no vhost-net: QEMU moves the packets of a NIC itself")
			break
		}
		out = append(out, f)
		p.files = append(p.files, f)
	}
	return out, nil
}

func (p *launchPlan) vdpa(n *libvirtxml.DomainInterface) (*os.File, error) {
	dev := n.Source.VDPA.Device
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return nil, liberr.System(liberr.FromQemu, err, "Unable to open '%s' for vdpa device", dev)
	}
	p.files = append(p.files, f)
	return f, nil
}

// wakeNICs lets the host's ends of NICs take part in their networks. A macvtap has the guest's own address: it stays down
// while the guest does not run, so that nobody is led astray.
func wakeNICs(nics []libvirtxml.DomainInterface) error {
	for i := range nics {
		if err := wakeNIC(&nics[i]); err != nil {
			return err
		}
	}
	return nil
}

func wakeNIC(n *libvirtxml.DomainInterface) error {
	switch actualKind(n) {
	case "direct":
		if dev, _ := directOf(n); dev != "" {
			if err := setUp(dev, true); err != nil {
				return err
			}
		}
		return setUp(hostLink(n), true)
	case "ethernet":
		return addressHost(n)
	}
	return nil
}

// restNICs is wakeNICs undone, for a guest that stands still. A device that is passed through has its macvtap's address
// and goes down with it.
func restNICs(nics []libvirtxml.DomainInterface) error {
	var all []error
	for i := range nics {
		all = append(all, restNIC(&nics[i]))
	}
	return errors.Join(all...)
}

func restNIC(n *libvirtxml.DomainInterface) error {
	dev, mode := directOf(n)
	if actualKind(n) != "direct" || hostLink(n) == "" {
		return nil
	}
	err := setUp(hostLink(n), false)
	if mode == "passthrough" && dev != "" {
		err = errors.Join(err, setUp(dev, false))
	}
	return err
}

// addressHost gives the host's end of a NIC the addresses and routes that the definition has for it.
func addressHost(n *libvirtxml.DomainInterface) error {
	e := n.Source.Ethernet
	if e == nil || len(e.IP) == 0 && len(e.Route) == 0 {
		return nil
	}
	link, err := findLink(hostLink(n))
	if err != nil {
		return err
	}
	for _, ip := range e.IP {
		addr, err := netip.ParseAddr(ip.Address)
		if err != nil {
			return err
		}
		prefix := int(ip.Prefix)
		if prefix == 0 {
			prefix = classOf(addr)
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(prefix, addr.BitLen())}}
		if ip.Peer != "" {
			peer, err := netip.ParseAddr(ip.Peer)
			if err != nil {
				return err
			}
			a.Peer = &net.IPNet{IP: peer.AsSlice(), Mask: net.CIDRMask(prefix, addr.BitLen())}
		}
		if err := netlink.AddrAdd(link, a); err != nil && !errors.Is(err, unix.EEXIST) {
			return liberr.System(liberr.FromNone, err, "Failed to add %s IP address %s/%d to %s", family(addr), ip.Address, prefix, hostLink(n))
		}
	}
	for _, r := range e.Route {
		if err := addHostRoute(link, r); err != nil {
			return err
		}
	}
	return nil
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// classOf is the length of a prefix that nobody gave.
func classOf(a netip.Addr) int {
	if !a.Is4() {
		return 64
	}
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	}
	return 24
}

func addHostRoute(link netlink.Link, r libvirtxml.DomainInterfaceRoute) error {
	gateway, err := netip.ParseAddr(r.Gateway)
	if err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice(), Priority: int(r.Metric)}
	if to, err := netip.ParseAddr(r.Address); err == nil {
		prefix := int(r.Prefix)
		if prefix == 0 {
			prefix = to.BitLen()
		}
		route.Dst = &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(prefix, to.BitLen())}
	}
	if err := netlink.RouteAdd(route); err != nil && !errors.Is(err, unix.EEXIST) {
		return liberr.System(liberr.FromNone, err, "Failed to add route %s/%d via %s to %s", r.Address, r.Prefix, r.Gateway, link.Attrs().Name)
	}
	return nil
}

// runScript lets a script of the administrator's do with a tap what is to be done with it.
func runScript(ctx context.Context, script, link string) error {
	var words bytes.Buffer
	cmd := exec.CommandContext(ctx, script, link)
	cmd.Stderr = &words
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.Exited():
		return liberr.New(liberr.FromNone, liberr.InternalError, "Child process (%s %s) unexpected exit status %d: %s", script, link, exit.ExitCode(), words.String())
	case errors.As(err, &exit):
		return liberr.New(liberr.FromNone, liberr.InternalError, "Child process (%s %s) unexpected fatal signal %d: %s", script, link, exit.Sys().(unix.WaitStatus).Signal(), words.String())
	}
	var number unix.Errno
	errors.As(err, &number)
	return liberr.New(liberr.FromNone, liberr.InternalError, "Child process (%s %s) unexpected exit status 127: cannot execute binary %s: %s", script, link, script, liberr.Errno(number))
}
