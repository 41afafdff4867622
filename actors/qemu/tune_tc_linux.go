package qemu

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// limitLink sets the limits of an interface on its host end, in libvirt's way: what the host sends is
// shaped by a token bucket tree (root 1:, class 1:1, leaf 2:), what it receives is policed at ffff:. The guest's
// inbound is what the host sends, but for macvtaps, whose host end counts as the guest does.
func limitLink(name string, b *libvirtxml.DomainInterfaceBandwidth, same bool) error {
	if name == "" {
		return liberr.New(liberr.FromNone, liberr.InternalError, "Interface name not provided")
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return liberr.System(liberr.FromNone, unix.ENODEV, "Unable to get index for interface %s", name).WithCause(err)
	}
	if err := clearLimits(link); err != nil {
		return err
	}
	if b == nil {
		return nil
	}
	send, receive := b.Inbound, b.Outbound
	if same {
		send, receive = receive, send
	}
	if send != nil && send.Average != nil {
		if err := shape(link, send); err != nil {
			return liberr.New(liberr.FromNone, liberr.InternalError, "cannot limit what %s sends: %v", name, err)
		}
	}
	if receive != nil && receive.Average != nil {
		if err := police(link, receive); err != nil {
			_ = clearLimits(link) // all or nothing
			return liberr.New(liberr.FromNone, liberr.InternalError, "cannot limit what %s receives: %v", name, err)
		}
	}
	return nil
}

// clearLimits takes away what an earlier call has set.
func clearLimits(link netlink.Link) error {
	list, err := netlink.QdiscList(link)
	if err != nil {
		return liberr.New(liberr.FromNone, liberr.InternalError, "cannot list the queues of %s: %v", link.Attrs().Name, err)
	}
	for _, q := range list {
		switch q.Type() {
		case "htb", "ingress":
			if err := netlink.QdiscDel(q); err != nil && !errors.Is(err, unix.ENOENT) {
				return liberr.New(liberr.FromNone, liberr.InternalError, "cannot remove a queue of %s: %v", link.Attrs().Name, err)
			}
		}
	}
	return nil
}

// The definition counts rates in kilobytes of 1000 bytes by the second, as tc does, and bursts in KiB.

func rateOf(n *int, def uint64) uint64 {
	if n == nil || *n == 0 {
		return def
	}
	return uint64(*n) * 1000
}

func burstOf(n *int, def uint64) uint64 {
	if n == nil || *n == 0 {
		return def
	}
	return uint64(*n) << 10
}

func shape(link netlink.Link, p *libvirtxml.DomainInterfaceBandwidthParams) error {
	index := link.Attrs().Index
	root := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})
	root.Defcls = 1
	if err := netlink.QdiscAdd(root); err != nil {
		return err
	}
	rate := rateOf(p.Average, 0)
	class := netlink.HtbClassAttrs{Rate: rate * 8, Ceil: rateOf(p.Peak, rate) * 8, Buffer: uint32(burstOf(p.Burst, 0))}
	if err := netlink.ClassAdd(netlink.NewHtbClass(netlink.ClassAttrs{
		LinkIndex: index, Parent: netlink.MakeHandle(1, 0), Handle: netlink.MakeHandle(1, 1),
	}, class)); err != nil {
		return err
	}
	// Fairness among the guest's connections, for kernels that have it.
	fair := &netlink.Sfq{Perturb: 10, QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(2, 0), Parent: netlink.MakeHandle(1, 1)}}
	if err := netlink.QdiscAdd(fair); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func police(link netlink.Link, p *libvirtxml.DomainInterfaceBandwidthParams) error {
	index := link.Attrs().Index
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
	if err := netlink.QdiscAdd(ingress); err != nil {
		return err
	}
	action := netlink.NewPoliceAction()
	rate := rateOf(p.Average, 0)
	action.Rate = uint32(min(rate, 1<<32-1))
	action.Burst = uint32(min(burstOf(p.Burst, rate), 1<<32-1))
	action.Mtu = 64 << 10
	action.ExceedAction = netlink.TC_POLICE_SHOT
	return netlink.FilterAdd(&netlink.MatchAll{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.MakeHandle(0xffff, 0), Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions:     []netlink.Action{action},
	})
}
