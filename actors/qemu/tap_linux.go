package qemu

import (
	"context"
	"net"
	"os"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
)

// interfaces connects the guest's NICs to the host: taps on bridges, macvtaps on devices, taps that a
// script or the administrator takes care of.
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

func (p *launchPlan) connectNIC(ctx context.Context, n *libvirtxml.DomainInterface, undo *kit.Undo) (command.NIC, error) {
	if n.Source == nil {
		return command.NIC{}, nil
	}
	switch {
	case n.Source.Bridge != nil:
		return p.tap(n, n.Source.Bridge.Bridge, undo)
	case n.Source.Ethernet != nil:
		return p.tap(n, "", undo)
	case n.Source.Direct != nil:
		return p.macvtap(n, n.Source.Direct, undo)
	case n.Source.Network != nil:
		return p.networkNIC(ctx, n, undo)
	}
	return command.NIC{}, nil
}

// tap makes a tap device with a queue for each of the NIC's, and puts it on the bridge.
func (p *launchPlan) tap(n *libvirtxml.DomainInterface, bridge string, undo *kit.Undo) (command.NIC, error) {
	name, managed := "", true
	if n.Target != nil {
		name = n.Target.Dev
		managed = n.Target.Managed != "no"
	}
	if name == "" || strings.HasPrefix(name, "vnet") && bridge != "" && name == "vnet%d" {
		name = p.freeName("vnet")
	}
	queues := command.Queues(n)
	var nic command.NIC
	for range max(queues, 1) {
		f, err := openTap(name, queues > 1)
		if err != nil {
			return nic, liberr.System(liberr.FromQemu, err, "Unable to create tap device %s", name)
		}
		nic.Tap = append(nic.Tap, f)
		p.files = append(p.files, f)
	}
	if managed {
		p.vnets = append(p.vnets, name)
		undo.Add("remove "+name, func(context.Context) error { removeTap(name); return nil })
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nic, liberr.System(liberr.FromNone, err, "Unable to find tap device %s", name)
	}
	if managed {
		if err := setTapMAC(link, n.MAC, bridge != ""); err != nil {
			return nic, liberr.System(liberr.FromNone, err, "Cannot set interface MAC on '%s'", name)
		}
		if n.MTU != nil && n.MTU.Size > 0 {
			if err := netlink.LinkSetMTU(link, int(n.MTU.Size)); err != nil {
				return nic, liberr.System(liberr.FromNone, err, "Cannot set interface MTU on '%s'", name)
			}
		}
	}
	if bridge != "" {
		master, err := netlink.LinkByName(bridge)
		if err != nil {
			return nic, liberr.System(liberr.FromNone, unix.ENODEV, "Cannot get interface MTU on '%s'", bridge)
		}
		if err := netlink.LinkSetMaster(link, master); err != nil {
			return nic, liberr.System(liberr.FromNone, err, "Unable to add bridge %s port %s", bridge, name)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nic, liberr.System(liberr.FromNone, err, "Cannot set interface flags on '%s'", name)
	}
	if n.Target == nil {
		n.Target = &libvirtxml.DomainInterfaceTarget{}
	}
	n.Target.Dev = name
	nic.VHost = p.vhost(n, len(nic.Tap))
	return nic, nil
}

// vhost opens the kernel's own data path where there is one; without it QEMU copies itself.
func (p *launchPlan) vhost(n *libvirtxml.DomainInterface, queues int) []*os.File {
	if wanted, _ := command.WantsVHost(p.def, n); !wanted {
		return nil
	}
	var out []*os.File
	for range queues {
		f, err := os.OpenFile("/dev/vhost-net", os.O_RDWR, 0)
		if err != nil {
			for _, o := range out {
				_ = o.Close()
			}
			return nil
		}
		out = append(out, f)
		p.files = append(p.files, f)
	}
	return out
}

// setTapMAC gives the host's end an address of its own: the guest's with a first byte of fe, so that a
// bridge never takes it for the lowest and its own.
func setTapMAC(link netlink.Link, mac *libvirtxml.DomainInterfaceMAC, bridged bool) error {
	if mac == nil {
		return nil
	}
	hw, err := net.ParseMAC(mac.Address)
	if err != nil || len(hw) != 6 {
		return err
	}
	if bridged {
		hw[0] = 0xfe
	}
	return netlink.LinkSetHardwareAddr(link, hw)
}

// freeName finds a device name that is not used, counting on so that a name is not used again at once.
func (p *launchPlan) freeName(prefix string) string {
	for {
		name := prefix + itoa(int(p.drv.vnets.Next())-1)
		if _, err := netlink.LinkByName(name); err != nil {
			return name
		}
	}
}

// openTap makes one queue of a tap device.
func openTap(name string, multi bool) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if multi {
		flags |= unix.IFF_MULTI_QUEUE
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// removeTap takes a device away; one that went with its last descriptor is gone already.
func removeTap(name string) {
	if link, err := netlink.LinkByName(name); err == nil {
		_ = netlink.LinkDel(link)
	}
}

// macvtap makes a device on top of a host's, and opens the character device that leads to it.
func (p *launchPlan) macvtap(n *libvirtxml.DomainInterface, src *libvirtxml.DomainInterfaceSourceDirect, undo *kit.Undo) (command.NIC, error) {
	var nic command.NIC
	parent, err := netlink.LinkByName(src.Dev)
	if err != nil {
		return nic, liberr.System(liberr.FromNone, unix.ENODEV, "Unable to get index for interface %s", src.Dev)
	}
	name := p.freeName("macvtap")
	if n.Target != nil && n.Target.Dev != "" && !strings.HasPrefix(n.Target.Dev, "macvtap") {
		name = n.Target.Dev
	}
	modes := map[string]netlink.MacvlanMode{"": netlink.MACVLAN_MODE_VEPA, "vepa": netlink.MACVLAN_MODE_VEPA,
		"bridge": netlink.MACVLAN_MODE_BRIDGE, "private": netlink.MACVLAN_MODE_PRIVATE, "passthrough": netlink.MACVLAN_MODE_PASSTHRU}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = name, parent.Attrs().Index
	if n.MAC != nil {
		if attrs.HardwareAddr, err = net.ParseMAC(n.MAC.Address); err != nil {
			return nic, err
		}
	}
	link := &netlink.Macvtap{Macvlan: netlink.Macvlan{LinkAttrs: attrs, Mode: modes[src.Mode]}}
	if err := netlink.LinkAdd(link); err != nil {
		return nic, liberr.System(liberr.FromNone, err, "error creating macvtap interface %s@%s (%s)", name, src.Dev, attrs.HardwareAddr)
	}
	p.vnets = append(p.vnets, name)
	undo.Add("remove "+name, func(context.Context) error { removeTap(name); return nil })
	made, err := netlink.LinkByName(name)
	if err != nil {
		return nic, err
	}
	if err := netlink.LinkSetUp(made); err != nil {
		return nic, liberr.System(liberr.FromNone, err, "Cannot set interface flags on '%s'", name)
	}
	for range max(command.Queues(n), 1) {
		f, err := os.OpenFile("/dev/tap"+itoa(made.Attrs().Index), os.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			return nic, liberr.System(liberr.FromNone, err, "cannot open macvtap tap device /dev/tap%d", made.Attrs().Index)
		}
		p.files = append(p.files, f)
		if err := setVnetHeader(f); err != nil {
			return nic, liberr.System(liberr.FromNone, err, "cannot set vnet header on %s", name)
		}
		nic.Tap = append(nic.Tap, f)
	}
	if n.Target == nil {
		n.Target = &libvirtxml.DomainInterfaceTarget{}
	}
	n.Target.Dev = name
	nic.VHost = p.vhost(n, len(nic.Tap))
	return nic, nil
}

// setVnetHeader lets a macvtap carry checksum and segmentation hints, as QEMU expects of a tap.
func setVnetHeader(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var req struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	req.flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, unix.TUNSETIFF, uintptr(unsafe.Pointer(&req)))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

// tapNames lists the host devices that a running definition has and that go with it.
func tapNames(def *libvirtxml.Domain) []string {
	var out []string
	for _, n := range def.Devices.Interfaces {
		if n.Target == nil || n.Target.Dev == "" || n.Target.Managed == "no" || n.Source == nil {
			continue
		}
		if n.Source.Bridge != nil || n.Source.Ethernet != nil || n.Source.Direct != nil || n.Source.Network != nil {
			out = append(out, n.Target.Dev)
		}
	}
	return out
}
