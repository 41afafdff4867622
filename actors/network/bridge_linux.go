package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// checkRoutes refuses a network that one of the host's routes leads to already.
func checkRoutes(def *definition) error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil // Compat: libvirt starts the network when it cannot see the host's routes
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		if !ok {
			continue
		}
		ones, _ := r.Dst.Mask.Size()
		if ones == 0 {
			continue
		}
		link := strconv.Itoa(r.LinkIndex)
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			link = l.Attrs().Name
		}
		if err := conflict(def, netip.PrefixFrom(addr, ones).Masked(), link); err != nil {
			return err
		}
	}
	return nil
}

// bridgeExists tells whether there is a link of that name.
func bridgeExists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// createBridge makes the bridge with its MAC address, MTU, forward delay, STP and VLAN filtering, but leaves it down.
func createBridge(def *definition) error {
	fail := func(err error, format string, args ...any) error {
		return liberr.System(liberr.FromNone, err, format, args...)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = def.bridge
	if mac, err := net.ParseMAC(def.mac); err == nil {
		attrs.HardwareAddr = mac
	}
	b := &netlink.Bridge{LinkAttrs: attrs}
	err := error(unix.ERANGE)
	if len(def.bridge) < unix.IFNAMSIZ {
		err = netlink.LinkAdd(b)
	}
	if err != nil {
		return fail(err, "error creating bridge interface %s", def.bridge)
	}
	if err = setUpBridge(def, b, fail); err != nil {
		_ = deleteBridge(def.bridge)
	}
	return err
}

func setUpBridge(def *definition, b *netlink.Bridge, fail func(error, string, ...any) error) error {
	if def.mtu != 0 {
		if err := netlink.LinkSetMTU(b, int(def.mtu)); err != nil {
			return fail(err, "Cannot set interface MTU on '%s'", def.bridge)
		}
	}
	if def.macTable == "libvirt" {
		if err := netlink.BridgeSetVlanFiltering(b, true); err != nil {
			return fail(err, "Unable to set bridge %s vlan_filtering", def.bridge)
		}
	}
	// The delay first: the kernel takes less than its minimum only while STP is off.
	err := setBridge(def.bridge, nl.IFLA_BR_FORWARD_DELAY, uint32(def.delay*100))
	if err == nil && def.stp {
		err = setBridge(def.bridge, nl.IFLA_BR_STP_STATE, 1)
	}
	if err != nil {
		return fail(err, "Unable to set bridge %s options", def.bridge)
	}
	return nil
}

// setBridge sets an attribute of a bridge that the netlink package has no field for.
func setBridge(name string, attr int, value uint32) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(link.Attrs().Index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(attr, nl.Uint32Attr(value))
	req.AddData(info)
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// deleteBridge takes the bridge down and removes it; one that is not there is no error.
func deleteBridge(name string) error {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err == nil {
		_ = netlink.LinkSetDown(link)
		err = netlink.LinkDel(link)
	}
	if err != nil {
		return liberr.System(from, err, "Unable to delete bridge %s", name)
	}
	return nil
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return liberr.System(from, err, "Cannot set interface flags on '%s'", name)
	}
	return nil
}

func addAddress(name string, ip *ipDef) error {
	bcast := ""
	link, err := netlink.LinkByName(name)
	if err == nil {
		bits := ip.bits()
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: ip.address.AsSlice(), Mask: net.CIDRMask(bits, ip.address.BitLen())}}
		if ip.address.Is4() && bits < 31 {
			addr.Broadcast = broadcast(netip.PrefixFrom(ip.address, bits).Masked()).AsSlice()
		}
		err = netlink.AddrAdd(link, addr)
		if addr.Broadcast != nil {
			bcast = " bcast " + addr.Broadcast.String()
		}
	}
	if err != nil {
		return liberr.Raw(liberr.FromNone, liberr.SystemError, fmt.Sprintf("Failed to add IP address %s/%d%s to %s", ip.address, ip.bits(), bcast, name)).WithCause(err)
	}
	return nil
}

func addRoute(name string, r *route) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		metric := 1
		if r.hasMetric {
			metric = int(r.metric)
		}
		err = netlink.RouteAdd(&netlink.Route{
			LinkIndex: link.Attrs().Index, Priority: metric, Gw: r.gateway.AsSlice(),
			Dst: &net.IPNet{IP: r.address.AsSlice(), Mask: net.CIDRMask(r.bits(), r.address.BitLen())},
		})
	}
	if err != nil && !errors.Is(err, unix.EEXIST) { // Compat: a route may be given twice
		return liberr.System(from, err, "Failed to add route %s/%d via %s on %s", r.address, r.bits(), r.gateway, name)
	}
	return nil
}

func sysctl(path, value string) error {
	return os.WriteFile("/proc/sys/"+path, []byte(value+"\n"), 0)
}

// prepareIPv6 keeps the host from taking part in IPv6 on a bridge that has no IPv6 address, and from believing the
// guests' router advertisements on any.
func prepareIPv6(def *definition) error {
	six := false
	for i := range def.ips {
		six = six || def.ips[i].address.Is6()
	}
	base := "net/ipv6/conf/" + def.bridge + "/"
	if _, err := os.Stat("/proc/sys/" + base + "disable_ipv6"); errors.Is(err, fs.ErrNotExist) {
		if six {
			return liberr.New(from, liberr.InternalError, "network '%s' has an IPv6 address but IPv6 is not enabled on the host", def.name)
		}
		return nil
	}
	disable := "0"
	if !six && !def.ipv6 {
		disable = "1"
	}
	for _, kv := range [][2]string{{"disable_ipv6", disable}, {"accept_ra", "0"}, {"autoconf", "0"}} {
		if err := sysctl(base+kv[0], kv[1]); err != nil {
			return liberr.System(from, err, "cannot write to /proc/sys/%s%s to change it on bridge '%s'", base, kv[0], def.bridge)
		}
	}
	return nil
}

// enableForwarding makes the host a router, for the families that the network has.
func enableForwarding(def *definition) error {
	four, six := false, false
	for i := range def.ips {
		four, six = four || def.ips[i].address.Is4(), six || def.ips[i].address.Is6()
	}
	if four {
		if err := sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return liberr.System(from, err, "failed to enable IP forwarding")
		}
	}
	if six {
		if err := checkRouterAdvertisements(); err != nil {
			return err
		}
		if err := sysctl("net/ipv6/conf/all/forwarding", "1"); err != nil {
			return liberr.System(from, err, "failed to enable IP forwarding")
		}
	}
	return nil
}

// checkRouterAdvertisements refuses to make the host an IPv6 router when that would cost it routes that it learned: the
// kernel drops them on links whose accept_ra is not 2.
func checkRouterAdvertisements() error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V6)
	if err != nil {
		return nil
	}
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_RA {
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue
		}
		name := link.Attrs().Name
		v, err := os.ReadFile(fmt.Sprintf("/proc/sys/net/ipv6/conf/%s/accept_ra", name))
		if err == nil && string(v) != "2\n" {
			return liberr.New(from, liberr.InternalError, "Check the host setup: interface(s) %s can't accept_ra with forwarding enabled", name)
		}
	}
	return nil
}
