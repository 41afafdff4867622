package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"virtree/actors/iface/def"
)

// Kernel speaks netlink.
type Kernel struct{ Run string } // folder for the process ids of DHCP clients

// Up makes what is missing and sets what is said.
func (k *Kernel) Up(ctx context.Context, i *def.Interface) error {
	var made []string
	err := k.up(ctx, i, &made)
	if err == nil {
		err = k.addresses(ctx, i)
	}
	if err != nil {
		k.stopDHCP(i)
		for n := len(made) - 1; n >= 0; n-- {
			if l, lerr := netlink.LinkByName(made[n]); lerr == nil {
				_ = netlink.LinkDel(l)
			}
		}
	}
	return err
}

// up brings the link and all below it up; made collects the names of new links.
func (k *Kernel) up(ctx context.Context, i *def.Interface, made *[]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	link, err := netlink.LinkByName(i.Name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		if link, err = create(i); err != nil {
			return err
		}
		*made = append(*made, i.Name)
	case err != nil:
		return failed(err, "find", i.Name)
	case i.Type != "ethernet" && link.Type() != i.Type:
		return fmt.Errorf("'%s' exists and is no %s", i.Name, i.Type)
	}
	if i.Bridge != nil {
		if err := setBridge(link, i.Bridge); err != nil {
			return failed(err, "set the options of", i.Name)
		}
	}
	if i.MAC != "" {
		if err := setMAC(link, i.MAC); err != nil {
			return failed(err, "set the address of", i.Name)
		}
	}
	for _, p := range i.Ports() {
		if err := k.up(ctx, p, made); err != nil {
			return err
		}
		if err := enslave(p.Name, link, i.Type == "bond"); err != nil {
			return failed(err, "add to "+i.Name, p.Name)
		}
	}
	if i.MTU != 0 {
		if err := netlink.LinkSetMTU(link, int(i.MTU)); err != nil {
			return failed(err, "set the mtu of", i.Name)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return failed(err, "bring up", i.Name)
	}
	return nil
}

func failed(err error, what, name string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("NETLINK socket operation failed - cannot %s '%s': %w", what, name, err)
}

// create makes the link of a definition; the kernel makes ethernets itself.
func create(i *def.Interface) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = i.Name
	var link netlink.Link
	switch {
	case i.Bridge != nil:
		link = &netlink.Bridge{LinkAttrs: attrs}
	case i.Bond != nil:
		link = newBond(attrs, i.Bond)
	case i.VLAN != nil:
		parent, err := netlink.LinkByName(i.VLAN.Device)
		if err != nil {
			return nil, failed(err, "find", i.VLAN.Device)
		}
		attrs.ParentIndex = parent.Attrs().Index
		tag, _ := strconv.Atoi(i.VLAN.Tag)
		link = &netlink.Vlan{LinkAttrs: attrs, VlanId: tag, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	default:
		return nil, failed(unix.ENODEV, "find", i.Name)
	}
	if err := netlink.LinkAdd(link); err != nil {
		return nil, failed(err, "create", i.Name)
	}
	made, err := netlink.LinkByName(i.Name)
	return made, failed(err, "find", i.Name)
}

func newBond(attrs netlink.LinkAttrs, b *def.Bond) *netlink.Bond {
	bond := netlink.NewLinkBond(attrs)
	if b.Mode != "" {
		bond.Mode = netlink.StringToBondMode(b.Mode)
	}
	if m := b.MII; m != nil {
		bond.Miimon = m.Freq
		if m.UpDelay > 0 {
			bond.UpDelay = m.UpDelay
		}
		if m.DownDelay > 0 {
			bond.DownDelay = m.DownDelay
		}
		switch m.Carrier {
		case "netif":
			bond.UseCarrier = 1
		case "ioctl":
			bond.UseCarrier = 0
		}
	} else if a := b.ARP; a != nil {
		bond.ArpInterval = a.Interval
		bond.ArpIpTargets = []net.IP{net.ParseIP(a.Target)}
		switch a.Validate {
		case "active":
			bond.ArpValidate = netlink.BOND_ARP_VALIDATE_ACTIVE
		case "backup":
			bond.ArpValidate = netlink.BOND_ARP_VALIDATE_BACKUP
		case "all":
			bond.ArpValidate = netlink.BOND_ARP_VALIDATE_ALL
		}
	}
	return bond
}

// enslave makes a link a port; a bond takes only what is down.
func enslave(name string, master netlink.Link, down bool) error {
	l, err := netlink.LinkByName(name)
	if err != nil || l.Attrs().MasterIndex == master.Attrs().Index {
		return err
	}
	if down {
		if err := netlink.LinkSetDown(l); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetMaster(l, master); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// setMAC changes an address that is another one. Most drivers want the link down for that.
func setMAC(l netlink.Link, mac string) error {
	want, err := net.ParseMAC(mac)
	if err != nil || l.Attrs().HardwareAddr.String() == want.String() {
		return err
	}
	if err := netlink.LinkSetDown(l); err != nil {
		return err
	}
	return netlink.LinkSetHardwareAddr(l, want)
}

// addresses gives an interface that is up its addresses and its default routes.
func (k *Kernel) addresses(ctx context.Context, i *def.Interface) error {
	link, err := netlink.LinkByName(i.Name)
	if err != nil {
		return failed(err, "find", i.Name)
	}
	for _, p := range i.Protocols {
		if p.Family == "ipv6" {
			if err := autoconf(i.Name, p.Autoconf); err != nil {
				return failed(err, "configure ipv6 of", i.Name)
			}
		}
		for _, ip := range p.IPs {
			if err := addAddress(link, ip); err != nil {
				return failed(err, "add "+ip.Address+" to", i.Name)
			}
		}
		if p.Gateway != "" {
			r := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(p.Gateway), Dst: anywhere(p.Family)}
			if err := netlink.RouteReplace(r); err != nil {
				return failed(err, "add the route by "+p.Gateway+" to", i.Name)
			}
		}
		if p.DHCP {
			if err := k.startDHCP(ctx, i.Name, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func anywhere(family string) *net.IPNet {
	if family == "ipv6" {
		return &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
}

func addAddress(link netlink.Link, ip def.IP) error {
	a, err := netip.ParseAddr(ip.Address)
	if err != nil {
		return err
	}
	bits := ip.Prefix
	if bits == 0 {
		bits = a.BitLen()
	}
	return netlink.AddrReplace(link, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}})
}

// Down stops what Up started.
func (k *Kernel) Down(_ context.Context, i *def.Interface) error {
	k.stopDHCP(i)
	link, err := netlink.LinkByName(i.Name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	} else if err != nil {
		return failed(err, "find", i.Name)
	}
	if i.Type != "ethernet" {
		if link.Type() != i.Type {
			return fmt.Errorf("'%s' is no %s", i.Name, i.Type)
		}
		for _, p := range i.Ports() {
			if err := k.release(p, link); err != nil {
				return err
			}
		}
		return failed(netlink.LinkDel(link), "delete", i.Name)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return failed(err, "list the addresses of", i.Name)
	}
	for n := range addrs {
		if addrs[n].Scope == unix.RT_SCOPE_LINK { // the kernel's own, which go with the link
			continue
		}
		if err := netlink.AddrDel(link, &addrs[n]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return failed(err, "remove an address of", i.Name)
		}
	}
	return failed(netlink.LinkSetDown(link), "bring down", i.Name)
}

// release takes a port out of its bridge or bond, and down. A port that is not there, or another's by now, is left.
func (k *Kernel) release(p *def.Interface, master netlink.Link) error {
	l, err := netlink.LinkByName(p.Name)
	if err != nil || l.Attrs().MasterIndex != master.Attrs().Index {
		return nil //nolint:nilerr // nothing to release
	}
	if err := netlink.LinkSetNoMaster(l); err != nil {
		return failed(err, "release", p.Name)
	}
	return k.Down(context.Background(), p)
}
