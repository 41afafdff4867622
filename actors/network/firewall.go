package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/kit"
	"virtree/sockets/config"
	"virtree/wire/protocol"
)

// The firewall of a network is one nftables table for each family it needs, virtree_network_BRIDGE: nothing is shared
// between networks, a change replaces the table in one transaction, and a stop removes it whole. What libvirt does in
// chains of its own that all networks share comes out the same, because a packet must pass the chains of every table.
//
// Compat: libvirt's accept rules for DHCP and DNS on the host's INPUT chain have no counterpart: in nftables an accept
// ends one table only and cannot overrule another one's drop.

// firewall is a backend: what keeps the rules of networks in the kernel. Its methods block.
type firewall interface {
	name() string // as network.conf and status files have it
	// apply brings the rules of one definition, nil for none, to those of another.
	apply(ctx context.Context, before, after *definition) error
	// remove takes the rules of a definition away; what is not there is no error.
	remove(ctx context.Context, def *definition) error
	// intact tells whether nobody else removed any.
	intact(ctx context.Context, def *definition) bool
}

// Names of the backends.
const (
	backendNFTables = "nftables"
	backendIptables = "iptables"
)

// firewallOf is the backend of that name.
func (s *shared) firewallOf(name string) firewall {
	if name == backendIptables {
		return &iptables{lock: s.env.Paths.DriverRun("network")}
	}
	return nftablesBackend{}
}

// configuredFirewall is the backend that network.conf asks for, nftables when it says nothing.
func (s *shared) configuredFirewall() firewall {
	path, backend := s.env.Paths.ConfFile("network"), backendNFTables
	f, err := config.Read(path)
	if err == nil {
		err = f.String("firewall_backend", &backend)
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		s.env.Log.Error().Err(err).Str("file", path).Msg("cannot read the network driver's configuration")
	case backend != backendNFTables && backend != backendIptables:
		s.env.Log.Error().Str("file", path).Str("firewall_backend", backend).Msg("unknown firewall backend; nftables is used")
	}
	return s.firewallOf(backend)
}

const tablePrefix = "virtree_network_"

func tableName(bridge string) string { return tablePrefix + bridge }

// rule is one rule: what a packet must match, and what becomes of it then.
type rule struct {
	chain       string // chainForward or chainNAT
	iif, oif    string
	src, dst    netip.Prefix
	notDst      netip.Prefix
	proto       string // tcp, udp
	established bool   // belongs to a connection that was allowed
	verdict     string // accept, reject, return, masquerade, snat
	addrs       [2]netip.Addr
	ports       [2]uint16
}

const (
	chainForward = "forward"
	chainNAT     = "postrouting"
)

// String is the rule as nft would print it; for tests and logs.
func (r rule) String() string {
	var p []string
	add := func(cond bool, format string, args ...any) {
		if cond {
			p = append(p, fmt.Sprintf(format, args...))
		}
	}
	fam := "ip"
	if r.src.Addr().Is6() || r.dst.Addr().Is6() {
		fam = "ip6"
	}
	add(true, "%s:", r.chain)
	add(r.iif != "", "iifname %s", r.iif)
	add(r.oif != "", "oifname %s", r.oif)
	add(r.src.IsValid(), "%s saddr %s", fam, r.src)
	add(r.dst.IsValid(), "%s daddr %s", fam, r.dst)
	add(r.notDst.IsValid(), "%s daddr != %s", fam, r.notDst)
	add(r.proto != "", "meta l4proto %s", r.proto)
	add(r.established, "ct state established,related")
	add(true, "%s", r.verdict)
	add(r.addrs[0].IsValid(), "to %s-%s", r.addrs[0], r.addrs[1])
	add(r.ports[1] != 0, "to :%d-%d", r.ports[0], r.ports[1])
	return strings.Join(p, " ")
}

// rules is the network's firewall for IPv4 or IPv6; nothing when the family is not its business.
func (d *definition) rules(six bool) (out []rule) {
	if d.forward.mode == modeOpen || !d.ownBridge() {
		return nil
	}
	var ips []*ipDef
	for i := range d.ips {
		if d.ips[i].address.Is6() == six {
			ips = append(ips, &d.ips[i])
		}
	}
	if six && len(ips) == 0 && !d.ipv6 {
		return nil // the bridge has no IPv6 at all
	}
	br, fwd := d.bridge, ""
	if len(d.forward.ifaces) > 0 {
		fwd = d.forward.ifaces[0].dev
	}
	out = append(out, rule{chain: chainForward, iif: br, oif: br, verdict: "accept"})
	var nat []rule
	for _, ip := range ips {
		masq := d.forward.mode == modeNAT && (!six || d.forward.natIPv6 == "yes")
		switch {
		case masq:
			out = append(out,
				rule{chain: chainForward, iif: fwd, oif: br, dst: ip.net(), established: true, verdict: "accept"},
				rule{chain: chainForward, iif: br, oif: fwd, src: ip.net(), verdict: "accept"})
			nat = append(nat, d.natRules(ip, fwd)...)
		case d.forward.mode == modeRoute, d.forward.mode == modeNAT: // IPv6 without NAT is routed
			out = append(out,
				rule{chain: chainForward, iif: fwd, oif: br, dst: ip.net(), verdict: "accept"},
				rule{chain: chainForward, iif: br, oif: fwd, src: ip.net(), verdict: "accept"})
		}
	}
	out = append(out,
		rule{chain: chainForward, oif: br, verdict: "reject"},
		rule{chain: chainForward, iif: br, verdict: "reject"})
	return append(out, nat...)
}

// otherRules tells whether the firewall of a definition is not that of another one.
func (d *definition) otherRules(o *definition) bool {
	return d.serves(false) != o.serves(false) || !slices.Equal(d.rules(false), o.rules(false)) || !slices.Equal(d.rules(true), o.rules(true))
}

// defaultPorts are what translated traffic comes from: those below 1024 are what servers trust, so a guest's traffic must
// not come from one.
var defaultPorts = [2]uint16{1024, 65535}

// natRules translate what leaves the network, but for multicast and broadcast, which stay on the link.
func (d *definition) natRules(ip *ipDef, fwd string) (out []rule) {
	local := []string{"224.0.0.0/24", "255.255.255.255/32"}
	if ip.address.Is6() {
		local = []string{"ff02::/16"}
	}
	for _, l := range local {
		out = append(out, rule{chain: chainNAT, oif: fwd, src: ip.net(), dst: netip.MustParsePrefix(l), verdict: "return"})
	}
	r := rule{chain: chainNAT, oif: fwd, src: ip.net(), notDst: ip.net(), verdict: "masquerade"}
	if d.forward.addrs[0].IsValid() && ip.address.Is4() {
		r.verdict, r.addrs = "snat", d.forward.addrs
	}
	for _, proto := range []string{"tcp", "udp"} {
		p := r
		p.proto, p.ports = proto, defaultPorts
		if d.forward.ports[1] != 0 {
			p.ports = d.forward.ports
		}
		out = append(out, p)
	}
	return append(out, r)
}

// repairRules puts the firewall of an active network back when somebody removed it.
func (n *network) repairRules(ctx actor.Context, zones bool) {
	if n.looking && !zones {
		return
	}
	n.looking = true
	drv := n.drv
	n.begin(ctx, &task{
		name: "look after the firewall",
		decide: func(n *network) (work, error) {
			n.looking = false
			if n.live == nil || !n.live.def.ownBridge() {
				return nil, nil
			}
			def := n.live.def
			return func(jc context.Context, _ *kit.Undo) (any, error) {
				if zones {
					if err := setZone(jc, def); err != nil {
						return nil, err
					}
				}
				if drv.firewall.intact(jc, def) {
					return false, nil
				}
				return true, drv.firewall.apply(jc, def, def)
			}, nil
		},
		apply: func(n *network, _ actor.Context, out any) (protocol.Encoder, error) {
			if out == true {
				drv.env.Log.Warn().Str("network", n.name).Str("bridge", n.live.def.bridge).
					Msg("somebody removed the firewall rules of a network; they were put back")
			}
			return nil, nil
		},
	})
}
