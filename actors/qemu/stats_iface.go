package qemu

import (
	"context"
	"fmt"
	"iter"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/vishvananda/netlink"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func sameMAC(a, b string) bool {
	x, err := net.ParseMAC(a)
	if err != nil {
		return false
	}
	y, err := net.ParseMAC(b)
	return err == nil && x.String() == y.String()
}

// hostLink is the interface's name on the host; "" for one that has none.
func hostLink(n *libvirtxml.DomainInterface) string {
	if n.Target == nil {
		return ""
	}
	return n.Target.Dev
}

// sharesHostView tells interfaces whose host end counts in the guest's directions: macvtaps. A tap's host
// end receives what the guest sends.
func sharesHostView(n *libvirtxml.DomainInterface) bool {
	return n.Source != nil && n.Source.Direct != nil
}

// linkFigures are the counters of a link of the host, in its own directions.
type linkFigures struct{ bytes, packets, errs, drop [2]int64 } // received, sent

// swap gives a link's counters in the directions of the other end.
func (s *linkFigures) swap() {
	for _, p := range []*[2]int64{&s.bytes, &s.packets, &s.errs, &s.drop} {
		p[0], p[1] = p[1], p[0]
	}
}

// linkLines goes through the lines of /proc/net/dev: the name of a link, and its counters as text.
func linkLines(text string) iter.Seq2[string, string] {
	return func(yield func(name, counters string) bool) {
		for line := range strings.SplitSeq(text, "\n") {
			if dev, rest, ok := strings.Cut(line, ":"); ok && !yield(strings.TrimSpace(dev), rest) {
				return
			}
		}
	}
}

// parseLink reads the counters of one line.
func parseLink(counters string) (s linkFigures, ok bool) {
	f := strings.Fields(counters)
	if len(f) < 12 {
		return s, false
	}
	for way := range 2 {
		for i, to := range []*int64{&s.bytes[way], &s.packets[way], &s.errs[way], &s.drop[way]} {
			*to, _ = strconv.ParseInt(f[way*8+i], 10, 64)
		}
	}
	return s, true
}

// linkStats reads a link's counters from the text of /proc/net/dev.
func linkStats(text, name string) (linkFigures, error) {
	for dev, counters := range linkLines(text) {
		if dev != name {
			continue
		}
		if s, ok := parseLink(counters); ok {
			return s, nil
		}
		break
	}
	return linkFigures{}, liberr.New(liberr.FromNone, liberr.InternalError, "/proc/net/dev: Interface not found")
}

// allLinkStats reads the counters of all links at once.
func allLinkStats() map[string]linkFigures {
	b, err := os.ReadFile(linkFile)
	if err != nil {
		return nil
	}
	all := map[string]linkFigures{}
	for dev, counters := range linkLines(string(b)) {
		if s, ok := parseLink(counters); ok {
			all[dev] = s
		}
	}
	return all
}

const linkFile = "/proc/net/dev"

// readLinkStats reads a link's counters in the guest's directions.
func readLinkStats(name string, swap bool) (linkFigures, error) {
	b, err := os.ReadFile(linkFile)
	if err != nil {
		return linkFigures{}, liberr.System(liberr.FromNone, err, "Could not open "+linkFile)
	}
	s, err := linkStats(string(b), name)
	if swap {
		s.swap()
	}
	return s, err
}

func (d *domain) interfaceStats(ctx actor.Context, r *call.Request, a *protocol.DomainInterfaceStatsArgs) error {
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	n, err := findInterface(def, a.Device)
	if err != nil {
		return err
	}
	name := hostLink(n)
	if name == "" {
		return liberr.New(liberr.FromNone, liberr.InternalError, "Interface name not provided")
	}
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		s, err := readLinkStats(name, !sharesHostView(n))
		return &protocol.DomainInterfaceStatsRet{
			RxBytes: s.bytes[0], RxPackets: s.packets[0], RxErrs: s.errs[0], RxDrop: s.drop[0],
			TxBytes: s.bytes[1], TxPackets: s.packets[1], TxErrs: s.errs[1], TxDrop: s.drop[1],
		}, err
	})
	return nil
}

// interfaceAddresses serves virDomainInterfaceAddresses: the leases of our own networks, or what the host
// has heard on its links.
func (d *domain) interfaceAddresses(ctx actor.Context, r *call.Request, a *protocol.DomainInterfaceAddressesArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainInterfaceAddresses"); err != nil {
		return err
	}
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	switch a.Source {
	case virt.DomainInterfaceAddressesSrcLease:
		drv := d.drv
		d.look(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
			found, err := drv.leases(jc, def)
			if err != nil {
				return nil, err
			}
			ret := &protocol.DomainInterfaceAddressesRet{}
			for _, l := range found {
				ret.Ifaces = append(ret.Ifaces, l.iface)
			}
			return ret, nil
		})
		return nil
	case virt.DomainInterfaceAddressesSrcAgent:
		return d.agentAddresses(ctx, r)
	case virt.DomainInterfaceAddressesSrcArp:
		d.look(ctx, r, func(context.Context) (protocol.Encoder, error) { return neighbours(def) })
		return nil
	}
	return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "Unknown IP address data source %d", a.Source)
}

// neighbours lists the addresses under which the host knows the guest's MAC addresses.
//
// Compat: libvirt 9.0.0 fails here on newer kernels, whose messages carry attributes that it does not
// know.
func neighbours(def *libvirtxml.Domain) (protocol.Encoder, error) {
	list, err := netlink.NeighList(0, netlink.FAMILY_V4)
	if err != nil {
		return nil, liberr.System(liberr.FromQemu, err, "cannot list the host's neighbours")
	}
	ret := &protocol.DomainInterfaceAddressesRet{}
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		if n.MAC == nil {
			continue
		}
		for _, e := range list {
			if e.State&(netlink.NUD_NOARP|netlink.NUD_FAILED|netlink.NUD_INCOMPLETE) != 0 || !sameMAC(e.HardwareAddr.String(), n.MAC.Address) {
				continue
			}
			mac := n.MAC.Address
			ret.Ifaces = append(ret.Ifaces, protocol.DomainInterface{
				Name: hostLink(n), Hwaddr: &mac, Addrs: []protocol.DomainIPAddr{{Type: virt.IPAddrTypeIPv4, Addr: e.IP.String()}},
			})
		}
	}
	return ret, nil
}

// leased is an interface with the addresses that our networks' DHCP servers have given it, and the names
// that the guest went by.
type leased struct {
	iface     protocol.DomainInterface
	hostnames []string
}

// leases asks the network driver for the addresses of a guest.
func (s *shared) leases(ctx context.Context, def *libvirtxml.Domain) ([]leased, error) {
	var out []leased
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		if n.Source == nil || n.Source.Network == nil || n.MAC == nil {
			continue
		}
		reply, err := s.ask(ctx, "network", protocol.NetworkLookupByName.Procedure, &protocol.NetworkLookupByNameArgs{Name: n.Source.Network.Network})
		if err != nil {
			return nil, err
		}
		var found protocol.NetworkLookupByNameRet
		if err := protocol.Unmarshal(reply.Ret, &found); err != nil {
			return nil, fmt.Errorf("answer of the network driver: %w", err)
		}
		mac := n.MAC.Address
		reply, err = s.ask(ctx, "network", protocol.NetworkGetDHCPLeases.Procedure, &protocol.NetworkGetDHCPLeasesArgs{Net: found.Net, MAC: &mac, NeedResults: 1})
		if err != nil {
			return nil, err
		}
		var leases protocol.NetworkGetDHCPLeasesRet
		if err := protocol.Unmarshal(reply.Ret, &leases); err != nil {
			return nil, fmt.Errorf("answer of the network driver: %w", err)
		}
		if len(leases.Leases) == 0 {
			continue
		}
		l := leased{iface: protocol.DomainInterface{Name: hostLink(n), Hwaddr: &mac}}
		for _, e := range leases.Leases {
			l.iface.Addrs = append(l.iface.Addrs, protocol.DomainIPAddr{Type: e.Type, Addr: e.Ipaddr, Prefix: e.Prefix})
			if e.Hostname != nil && *e.Hostname != "" {
				l.hostnames = append(l.hostnames, *e.Hostname)
			}
		}
		out = append(out, l)
	}
	return out, nil
}
