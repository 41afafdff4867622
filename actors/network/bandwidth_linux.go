package network

import (
	"errors"
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// trafficControl is the kernel's side of tc; a test has another one for the schedulers and actions that its kernel lacks.
type trafficControl interface {
	QdiscAdd(netlink.Qdisc) error
	QdiscDel(netlink.Qdisc) error
	ClassAdd(netlink.Class) error
	ClassChange(netlink.Class) error
	ClassDel(netlink.Class) error
	FilterAdd(netlink.Filter) error
	FilterDel(netlink.Filter) error
}

// shape takes the steps on a link of the host.
func shape(link string, steps []tcStep) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return liberr.New(from, liberr.InternalError, "cannot set bandwidth limits on %s: %s", link, err).WithCause(err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return liberr.New(from, liberr.InternalError, "cannot set bandwidth limits on %s: %s", link, err).WithCause(err)
	}
	defer h.Close()
	return shapeWith(h, link, l.Attrs().Index, steps)
}

func shapeWith(tc trafficControl, link string, index int, steps []tcStep) error {
	for _, s := range steps {
		if err := s.take(tc, index); err != nil && !s.mayFail(err) {
			return liberr.New(from, liberr.InternalError, "cannot set bandwidth limits on %s: tc %s: %s", link, fmt.Sprintf(s.String(), link), err).WithCause(err)
		}
	}
	return nil
}

// mayFail tells whether the aim is reached all the same. What is to be deleted may be gone already, which the kernel calls by
// several names. A kernel without SFQ (ENOENT) serves a class in the order of arrival, and one without the classifier by
// marks has the same effect: the class that it leads to is the root of what everything is in.
func (t tcStep) mayFail(err error) bool {
	switch {
	case t.verb == "del":
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL)
	case t.kind == "sfq", t.kind == "fw":
		return errors.Is(err, unix.ENOENT)
	}
	return false
}

const (
	kilo = 1000
	kibi = 1024
)

func (t tcStep) take(tc trafficControl, index int) error {
	switch t.object {
	case "qdisc":
		if t.verb == "del" {
			return tc.QdiscDel(t.qdisc(index))
		}
		return tc.QdiscAdd(t.qdisc(index))
	case "class":
		c := t.class(index)
		switch t.verb {
		case "add":
			return tc.ClassAdd(c)
		case "change":
			return tc.ClassChange(c)
		}
		return tc.ClassDel(c)
	}
	if t.verb == "del" {
		return tc.FilterDel(t.filter(index))
	}
	return tc.FilterAdd(t.filter(index))
}

func (t tcStep) qdisc(index int) netlink.Qdisc {
	a := netlink.QdiscAttrs{LinkIndex: index}
	switch t.kind {
	case "htb":
		a.Handle, a.Parent = netlink.MakeHandle(1, 0), netlink.HANDLE_ROOT
		q := netlink.NewHtb(a)
		q.Defcls = uint32(t.minor)
		return q
	case "ingress":
		a.Handle, a.Parent = netlink.MakeHandle(0xffff, 0), netlink.HANDLE_INGRESS
		return &netlink.Ingress{QdiscAttrs: a}
	}
	a.Handle, a.Parent = netlink.MakeHandle(t.minor, 0), netlink.MakeHandle(1, t.minor)
	return &netlink.Sfq{QdiscAttrs: a, Perturb: 10}
}

func (t tcStep) class(index int) netlink.Class {
	ceil := t.ceil
	if ceil == 0 {
		ceil = t.rate
	}
	attrs := netlink.HtbClassAttrs{Rate: max(t.rate*kilo*8, 8), Ceil: max(ceil*kilo*8, 8), Quantum: uint32(min(t.quantum, math.MaxUint32))}
	if t.burst != 0 {
		attrs.Buffer = uint32(min(t.burst*kibi, math.MaxUint32))
	}
	return netlink.NewHtbClass(netlink.ClassAttrs{LinkIndex: index, Parent: netlink.MakeHandle(1, t.parent), Handle: netlink.MakeHandle(1, t.minor)}, attrs)
}

func (t tcStep) filter(index int) netlink.Filter {
	a := netlink.FilterAttrs{LinkIndex: index, Parent: netlink.MakeHandle(1, 0), Priority: 1, Protocol: unix.ETH_P_ALL}
	switch t.kind {
	case "fw":
		a.Handle = 1
		return &netlink.FwFilter{FilterAttrs: a, ClassId: netlink.MakeHandle(1, wholeClass)}
	case "police":
		action := netlink.NewPoliceAction()
		action.Rate = uint32(min(t.rate*kilo, math.MaxUint32))
		action.Burst = uint32(min(t.burst*kibi, math.MaxUint32))
		action.Mtu = 64 * kibi
		action.ExceedAction = netlink.TC_POLICE_SHOT
		a.Parent = netlink.MakeHandle(0xffff, 0)
		return &netlink.U32{FilterAttrs: a, ClassId: netlink.MakeHandle(0, 1), Police: action}
	}
	a.Priority, a.Protocol, a.Handle = 2, unix.ETH_P_IP, tcHandle(t.minor)
	word := func(b ...byte) uint32 { return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]) }
	m := t.mac
	return &netlink.U32{
		FilterAttrs: a, ClassId: netlink.MakeHandle(1, t.minor),
		// The kernel compares words from the network header on; the frame's destination ends 8 bytes before it.
		Sel: &netlink.TcU32Sel{Flags: netlink.TC_U32_TERMINAL, Nkeys: 3, Keys: []netlink.TcU32Key{
			{Mask: 0x0000ffff, Val: word(0, 0, 8, 0), Off: -4},
			{Mask: 0xffffffff, Val: word(m[2], m[3], m[4], m[5]), Off: -12},
			{Mask: 0x0000ffff, Val: word(0, 0, m[0], m[1]), Off: -16},
		}},
	}
}
