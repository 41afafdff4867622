package network

import (
	"errors"
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// Traffic shaping by tc. What the guests receive leaves the host through the bridge, so <inbound> is a hierarchy of HTB
// classes on it: 1:1 is the whole network, 1:2 below it what has no floor, 1:N a port with a floor. What they send comes
// in there: <outbound> is a police action on its ingress. Numbers are libvirt's: kilobytes per second, kibibytes of burst.

const (
	kilo      = 1000
	kibi      = 1024
	rootClass = 1
	restClass = 2
)

func bandwidthError(link string, err error) error {
	if err == nil {
		return nil
	}
	return liberr.New(from, liberr.InternalError, "cannot set bandwidth limits on %s: %s", link, err).WithCause(err)
}

// setBandwidth shapes the traffic of a link; whole tells that ports with a floor may come below it.
func setBandwidth(name string, b *bandwidth, whole bool) error {
	if err := clearBandwidth(name); err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return bandwidthError(name, err)
	}
	index := link.Attrs().Index
	if in := b.in; in != nil && in.average != 0 {
		root := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})
		root.Defcls = rootClass
		if whole {
			root.Defcls = restClass
		}
		if err := netlink.QdiscAdd(root); err != nil {
			return bandwidthError(name, err)
		}
		leaf := uint16(rootClass)
		if err := netlink.ClassReplace(class(index, 0, rootClass, in.average, in.peak, in.burst)); err != nil {
			return bandwidthError(name, err)
		}
		if whole {
			leaf = restClass
			if err := netlink.ClassReplace(class(index, rootClass, restClass, in.average, in.peak, in.burst)); err != nil {
				return bandwidthError(name, err)
			}
		}
		if err := addFair(index, leaf); err != nil {
			return bandwidthError(name, err)
		}
	}
	if out := b.out; out != nil && out.average != 0 {
		if err := police(index, out); err != nil {
			return bandwidthError(name, err)
		}
	}
	return nil
}

// class is one HTB class; parent 0 is the root.
func class(index int, parent, minor uint16, average, peak, burst uint64) *netlink.HtbClass {
	if peak == 0 {
		peak = average
	}
	attrs := netlink.HtbClassAttrs{Rate: average * kilo * 8, Ceil: peak * kilo * 8}
	c := netlink.NewHtbClass(netlink.ClassAttrs{LinkIndex: index, Parent: netlink.MakeHandle(1, parent), Handle: netlink.MakeHandle(1, minor)}, attrs)
	if burst != 0 {
		c.Buffer = netlink.Xmittime(c.Rate, uint32(min(burst*kibi, math.MaxUint32)))
	}
	return c
}

func fair(index int, minor uint16) *netlink.Sfq {
	return &netlink.Sfq{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(minor, 0), Parent: netlink.MakeHandle(1, minor)}, Perturb: 10}
}

// addFair shares a class fairly between its connections. A kernel without SFQ shapes all the same.
func addFair(index int, minor uint16) error {
	err := netlink.QdiscReplace(fair(index, minor))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func police(index int, out *rate) error {
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
	if err := netlink.QdiscAdd(ingress); err != nil {
		return err
	}
	burst := out.burst
	if burst == 0 {
		burst = out.average
	}
	action := netlink.NewPoliceAction()
	action.Rate = uint32(min(out.average*kilo, math.MaxUint32))
	action.Burst = uint32(min(burst*kibi, math.MaxUint32))
	action.Mtu = 64 * kibi
	action.ExceedAction = netlink.TC_POLICE_SHOT
	return netlink.FilterAdd(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.MakeHandle(0xffff, 0), Priority: 1, Protocol: unix.ETH_P_ALL},
		ClassId:     netlink.MakeHandle(0, 1),
		Police:      action,
	})
}

// clearBandwidth removes all shaping from a link.
func clearBandwidth(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return bandwidthError(name, err)
	}
	all, err := netlink.QdiscList(link)
	if err != nil {
		return bandwidthError(name, err)
	}
	for _, q := range all {
		a := q.Attrs()
		if a.Parent == netlink.HANDLE_ROOT && q.Type() == "htb" || q.Type() == "ingress" {
			if err := netlink.QdiscDel(q); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
				return bandwidthError(name, err)
			}
		}
	}
	return nil
}

// plugBandwidth guarantees a port its floor: a class of its own, into which the bridge sorts by the guest's address. sum
// is that of all floors, this one included; the rest shares what is left.
func plugBandwidth(def *definition, p *port, sum uint64) error {
	link, err := netlink.LinkByName(def.bridge)
	if err != nil {
		return bandwidthError(def.bridge, err)
	}
	index, in, minor := link.Attrs().Index, def.bandwidth.in, uint16(p.class)
	peak := in.peak
	if peak == 0 {
		peak = in.average
	}
	if err := netlink.ClassReplace(class(index, rootClass, minor, p.bandwidth.in.floor, peak, 0)); err != nil {
		return bandwidthError(def.bridge, err)
	}
	if err := addFair(index, minor); err != nil {
		return bandwidthError(def.bridge, err)
	}
	if err := netlink.FilterReplace(macFilter(index, p)); err != nil {
		return bandwidthError(def.bridge, err)
	}
	return shareRest(index, def, sum)
}

// macFilter matches the destination address of a frame: the bytes before the network header.
func macFilter(index int, p *port) *netlink.U32 {
	m, _ := parseMAC(p.mac)
	word := func(b ...byte) uint32 { return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]) }
	return &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.MakeHandle(1, 0), Priority: uint16(p.class), Protocol: unix.ETH_P_ALL},
		ClassId:     netlink.MakeHandle(1, uint16(p.class)),
		Sel: &netlink.TcU32Sel{Flags: netlink.TC_U32_TERMINAL, Nkeys: 2, Keys: []netlink.TcU32Key{
			{Mask: 0x0000ffff, Val: word(0, 0, m[0], m[1]), Off: -16},
			{Mask: 0xffffffff, Val: word(m[2], m[3], m[4], m[5]), Off: -12},
		}},
	}
}

func shareRest(index int, def *definition, sum uint64) error {
	in := def.bandwidth.in
	rest := uint64(1)
	if in.average > sum {
		rest = in.average - sum
	}
	peak := in.peak
	if peak == 0 {
		peak = in.average
	}
	return bandwidthError(def.bridge, netlink.ClassReplace(class(index, rootClass, restClass, rest, peak, in.burst)))
}

// unplugBandwidth takes a port's class away. sum is that of the floors that stay.
func unplugBandwidth(def *definition, p *port, sum uint64) error {
	link, err := netlink.LinkByName(def.bridge)
	if err != nil {
		return bandwidthError(def.bridge, err)
	}
	index, minor := link.Attrs().Index, uint16(p.class)
	filters, err := netlink.FilterList(link, netlink.MakeHandle(1, 0))
	if err != nil {
		return bandwidthError(def.bridge, err)
	}
	for _, f := range filters {
		if f.Attrs().Priority == minor {
			if err := netlink.FilterDel(f); err != nil && !errors.Is(err, unix.ENOENT) {
				return bandwidthError(def.bridge, fmt.Errorf("delete filter: %w", err))
			}
			break // one deletion takes all of a priority
		}
	}
	if err := netlink.QdiscDel(fair(index, minor)); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return bandwidthError(def.bridge, fmt.Errorf("delete qdisc: %w", err)) // EINVAL: there is none, see addFair
	}
	c := class(index, rootClass, minor, 1, 1, 0)
	if err := netlink.ClassDel(c); err != nil && !errors.Is(err, unix.ENOENT) {
		return bandwidthError(def.bridge, err)
	}
	return shareRest(index, def, sum)
}
