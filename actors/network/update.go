package network

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Commands of virNetworkUpdate.
const (
	updateModify   = virt.NetworkUpdateCommandModify
	updateDelete   = virt.NetworkUpdateCommandDelete
	updateAddLast  = 3 // VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
	updateAddFirst = virt.NetworkUpdateCommandAddFirst
)

// change is one call of virNetworkUpdate.
type change struct {
	command, section uint32
	index            int
	doc              string
}

func (c *change) adds() bool { return c.command == updateAddFirst || c.command == updateAddLast }

func invalid(format string, args ...any) error {
	return liberr.New(from, liberr.OperationInvalid, format, args...)
}

func cannot(format string, args ...any) error {
	return liberr.New(from, liberr.OperationUnsupported, format, args...)
}

// update serves virNetworkUpdate.
func (n *network) update(ctx actor.Context, r *call.Request, a *protocol.NetworkUpdateArgs) error {
	c := &change{a.Command, a.Section, int(a.ParentIndex), a.XML}
	drv := n.drv
	e := edit{flags: a.Flags, change: c.apply}
	restart := c.restarts()
	var old, fresh *process
	e.prepare = func(n *network) {
		old = n.daemon.proc
		if restart {
			n.daemon.stopWatch() // its end is ours
		}
	}
	e.effect = func(jc context.Context, undo *kit.Undo, before, after *definition) (err error) {
		fresh, err = drv.updateLive(jc, before, after, old, restart)
		if err == nil {
			now := old
			if restart {
				now = fresh
			}
			undo.Add("bring the network back", func(jc context.Context) error {
				p, err := drv.updateLive(jc, after, before, now, restart)
				if p != nil && p != now {
					p.close() // it is found by its pid file
				}
				return err
			})
		}
		return err
	}
	e.then = func(n *network, ctx actor.Context) {
		if fresh != nil || old != nil && restart {
			n.daemon.adopt(ctx, fresh)
		}
	}
	e.failed = func(n *network, ctx actor.Context) {
		if restart && n.live != nil {
			n.daemon.adopt(ctx, nil) // whatever runs now is found, or another one is started
			ctx.Send(ctx.Self(), &dnsmasqDue{n.daemon.run})
		}
	}
	n.edit(ctx, r, e)
	return nil
}

// restarts tells whether the section is in dnsmasq's configuration, which it reads at its start only.
func (c *change) restarts() bool {
	switch c.section {
	case virt.NetworkSectionIPDHCPRange, virt.NetworkSectionIPDHCPHost, virt.NetworkSectionDNSTxt, virt.NetworkSectionDNSSrv:
		return true
	}
	return false
}

// updateLive brings a running network from one definition to the next. The result is the dnsmasq that runs then, nil when
// it is the old one.
func (s *shared) updateLive(ctx context.Context, before, after *definition, old *process, restart bool) (fresh *process, err error) {
	if after.ownBridge() {
		if after.otherRules(before) {
			if err := s.firewall.apply(ctx, before, after); err != nil {
				return nil, err
			}
		}
		switch {
		case restart && s.dnsmasqConf(before) == s.dnsmasqConf(after) && old != nil:
			// Only the lists that it reads again at a signal.
			if err := s.refreshDnsmasq(after, old); err != nil {
				return nil, err
			}
			fresh = old
		case restart:
			if old != nil {
				if err := old.kill(ctx); err != nil {
					return nil, err
				}
				old.close()
			}
			if needsDnsmasq(after) {
				if fresh, err = s.startDnsmasq(ctx, after); err != nil {
					return nil, err
				}
			}
		case old != nil:
			if err := s.refreshDnsmasq(after, old); err != nil {
				return nil, err
			}
		}
	}
	_, err = s.hook(ctx, after, hookUpdated, "")
	return fresh, err
}

var sectionNames = map[uint32]string{
	virt.NetworkSectionBridge: "bridge", virt.NetworkSectionDomain: "domain", virt.NetworkSectionIP: "ip",
	virt.NetworkSectionForward: "forward", virt.NetworkSectionForwardPf: "forward pf",
}

// apply changes the definition, which is the caller's own.
func (c *change) apply(d *definition) error {
	var element string
	var do func(*definition, *node) error
	switch c.section {
	case virt.NetworkSectionIPDHCPHost:
		element, do = "host", c.dhcpHost
	case virt.NetworkSectionIPDHCPRange:
		element, do = "range", c.dhcpRange
	case virt.NetworkSectionForwardInterface:
		element, do = "interface", c.forwardInterface
	case virt.NetworkSectionPortgroup:
		element, do = "portgroup", c.portgroup
	case virt.NetworkSectionDNSHost:
		element, do = "host", c.dnsHost
	case virt.NetworkSectionDNSTxt:
		element, do = "txt", c.dnsTXT
	case virt.NetworkSectionDNSSrv:
		element, do = "srv", c.dnsSRV
	default:
		if name := sectionNames[c.section]; name != "" {
			return cannot("can't update '%s' section of network '%s'", name, d.name)
		}
		return cannot("can't update unrecognized section of network")
	}
	n, err := reader("", "network_update_xml").Read(c.doc)
	if err != nil {
		return err
	}
	if n.Local() != element {
		return xmlError("unexpected element <%s>, expecting <%s>, while updating network '%s'", n.Local(), element, d.name)
	}
	return do(d, n)
}

// insert adds an item at the end that the command says.
func insert[T any](c *change, list []T, item T) []T {
	if c.command == updateAddFirst {
		return slices.Insert(list, 0, item)
	}
	return append(list, item)
}

func (c *change) unknown() error {
	return cannot("unrecognized network update command code %d", c.command)
}

// findIP finds the <ip> that a change of DHCP is about: the one at the index or, without one, the first that serves DHCP.
func (c *change) findIP(d *definition) (*ipDef, error) {
	if c.index >= 0 {
		if c.index < len(d.ips) {
			return &d.ips[c.index], nil
		}
		// Compat: libvirt speaks of a host entry for ranges too.
		return nil, invalid("couldn't update dhcp host entry - no <ip> element found at index %d in network '%s'", c.index, d.name)
	}
	for i := range d.ips {
		if d.ips[i].dhcp() {
			return &d.ips[i], nil
		}
	}
	for i := range d.ips {
		if d.ips[i].address.Is4() {
			return &d.ips[i], nil
		}
	}
	if len(d.ips) > 0 {
		return &d.ips[0], nil
	}
	return nil, invalid("couldn't update dhcp host entry - no <ip> element found in network '%s'", d.name)
}

// onlyDHCP refuses to let a second address of the family serve DHCP.
func (c *change) onlyDHCP(d *definition, ip *ipDef) error {
	for i := range d.ips {
		if o := &d.ips[i]; o != ip && o.dhcp() && o.address.BitLen() == ip.address.BitLen() {
			family := "IPv4"
			if ip.address.Is6() {
				family = "IPv6"
			}
			return invalid("dhcp is supported only for a single %s address on each network", family)
		}
	}
	return nil
}

func (c *change) dhcpHost(d *definition, n *node) error {
	ip, err := c.findIP(d)
	if err != nil {
		return err
	}
	h, err := readDHCPHost(d.name, n, ip.address.Is6(), c.command == updateDelete)
	if err != nil {
		return err
	}
	switch {
	case c.command == updateModify:
		i := slices.IndexFunc(ip.hosts, func(o dhcpHost) bool { return sameMAC(h.mac, o.mac) || h.id != "" && h.id == o.id })
		if i < 0 {
			return invalid("couldn't locate an existing dhcp host entry with \"mac='%s'\" \"name='%s'\" \"ip='%s'\" in network '%s'",
				orUnknown(h.mac), orUnknown(h.name), orUnknown(addrText(h.ip)), d.name)
		}
		ip.hosts[i] = h
	case c.adds():
		if err := c.onlyDHCP(d, ip); err != nil {
			return err
		}
		for _, o := range ip.hosts {
			if sameMAC(h.mac, o.mac) || h.name != "" && h.name == o.name || h.ip.IsValid() && h.ip == o.ip || h.id != "" && h.id == o.id {
				if ip.address.Is6() {
					return invalid("there is an existing dhcp host entry in network '%s' that matches \"<host%s/>\"", d.name, h.attrs())
				}
				return invalid("there is an existing dhcp host entry in network '%s' that matches \"<host mac='%s' name='%s' ip='%s'/>\"",
					d.name, orUnknown(h.mac), orUnknown(h.name), orUnknown(addrText(h.ip)))
			}
		}
		ip.hosts = insert(c, ip.hosts, h)
	case c.command == updateDelete:
		i := slices.IndexFunc(ip.hosts, func(o dhcpHost) bool {
			return (h.mac == "" || sameMAC(h.mac, o.mac)) && (h.name == "" || h.name == o.name) &&
				(!h.ip.IsValid() || h.ip == o.ip) && (h.id == "" || h.id == o.id)
		})
		if i < 0 {
			return invalid("couldn't locate a matching dhcp host entry in network '%s'", d.name)
		}
		ip.hosts = slices.Delete(ip.hosts, i, i+1)
	default:
		return c.unknown()
	}
	return nil
}

func sameMAC(a, b string) bool {
	x, ok := xmltree.MAC(a)
	y, also := xmltree.MAC(b)
	return ok && also && x == y
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func (c *change) dhcpRange(d *definition, n *node) error {
	ip, err := c.findIP(d)
	if err != nil {
		return err
	}
	r, err := readDHCPRange(d.name, n)
	if err != nil {
		return err
	}
	if c.command == updateModify {
		return cannot("dhcp ranges cannot be modified, only added or deleted")
	}
	if err := checkRange(r.start, r.end, ip.address, ip.bits()); err != nil {
		return err
	}
	i := slices.IndexFunc(ip.ranges, func(o dhcpRange) bool { return o.start == r.start && o.end == r.end })
	switch {
	case c.adds():
		if err := c.onlyDHCP(d, ip); err != nil {
			return err
		}
		if i >= 0 {
			return invalid("there is an existing dhcp range entry in network '%s' that matches \"<range start='%s' end='%s'/>\"", d.name, r.start, r.end)
		}
		ip.ranges = insert(c, ip.ranges, r)
	case c.command == updateDelete:
		if i < 0 {
			return invalid("couldn't locate a matching dhcp range entry in network '%s'", d.name)
		}
		ip.ranges = slices.Delete(ip.ranges, i, i+1)
	default:
		return c.unknown()
	}
	return nil
}

func (c *change) forwardInterface(d *definition, n *node) error {
	if c.command == updateModify {
		return cannot("forward interface entries cannot be modified, only added or deleted")
	}
	dev, ok := n.Lookup("dev")
	if !ok {
		return xmlError("missing dev attribute in <interface> element")
	}
	f := &d.forward
	i := slices.IndexFunc(f.ifaces, func(o forwardIf) bool { return o.dev == dev })
	switch {
	case c.adds():
		if i >= 0 {
			return invalid("there is an existing interface entry in network '%s' that matches \"<interface dev='%s'>\"", d.name, dev)
		}
		f.ifaces = insert(c, f.ifaces, forwardIf{dev: dev})
	case c.command == updateDelete:
		if i < 0 {
			return invalid("couldn't find an interface entry in network '%s' matching <interface dev='%s'>", d.name, dev)
		}
		f.ifaces = slices.Delete(f.ifaces, i, i+1)
	default:
		return c.unknown()
	}
	return nil
}

func (c *change) portgroup(d *definition, n *node) error {
	p, err := readPortgroup(n)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.portgroups, func(o portgroup) bool { return o.name == p.name })
	switch {
	case i < 0 && (c.command == updateModify || c.command == updateDelete):
		return invalid("couldn't find a portgroup entry in network '%s' matching <portgroup name='%s'>", d.name, p.name)
	case i >= 0 && c.adds():
		return invalid("there is an existing portgroup entry in network '%s' that matches \"<portgroup name='%s'>\"", d.name, p.name)
	}
	if p.isDefault && (c.adds() || c.command == updateModify) &&
		slices.ContainsFunc(d.portgroups, func(o portgroup) bool { return o.isDefault && o.name != p.name }) {
		return invalid("a different portgroup entry in network '%s' is already set as the default. Only one default is allowed.", d.name)
	}
	switch {
	case c.command == updateModify:
		d.portgroups[i] = p
	case c.adds():
		d.portgroups = insert(c, d.portgroups, p)
	case c.command == updateDelete:
		d.portgroups = slices.Delete(d.portgroups, i, i+1)
	default:
		return c.unknown()
	}
	return nil
}

func (c *change) dnsHost(d *definition, n *node) error {
	if c.command == updateModify {
		return cannot("DNS HOST records cannot be modified, only added or deleted")
	}
	h, err := readDNSHost(d.name, n, c.command == updateDelete)
	if err != nil {
		return err
	}
	byIP := func(o dnsHost) bool { return h.ip.IsValid() && o.ip == h.ip }
	if c.adds() {
		if slices.ContainsFunc(d.dns.hosts, byIP) {
			return invalid("there is already at least one DNS HOST record with a matching field in network %s", d.name)
		}
		d.dns.hosts = insert(c, d.dns.hosts, h)
		return nil
	}
	if c.command != updateDelete {
		return c.unknown()
	}
	return remove(&d.dns.hosts, d.name, "DNS HOST records", "DNS HOST record", func(o dnsHost) bool {
		return byIP(o) || slices.ContainsFunc(o.names, func(name string) bool { return slices.Contains(h.names, name) })
	})
}

// remove takes the one item that matches out of a list.
func remove[T any](list *[]T, network, many, one string, match func(T) bool) error {
	found, count := -1, 0
	for i, o := range *list {
		if match(o) {
			found, count = i, count+1
		}
	}
	switch count {
	case 0:
		return invalid("couldn't locate a matching %s in network %s", one, network)
	case 1:
		*list = slices.Delete(*list, found, found+1)
		return nil
	}
	return invalid("multiple matching %s were found in network %s", many, network)
}

func (c *change) dnsTXT(d *definition, n *node) error {
	if c.command == updateModify {
		return cannot("DNS TXT records cannot be modified, only added or deleted")
	}
	t, err := readTXT(d.name, n, c.command == updateDelete)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(d.dns.txts, func(o txt) bool { return o.name == t.name })
	switch {
	case c.adds():
		if i >= 0 {
			return invalid("there is already a DNS TXT record with name '%s' in network %s", t.name, d.name)
		}
		d.dns.txts = insert(c, d.dns.txts, t)
	case c.command == updateDelete:
		if i < 0 {
			return invalid("couldn't locate a matching DNS TXT record in network %s", d.name)
		}
		d.dns.txts = slices.Delete(d.dns.txts, i, i+1)
	default:
		return c.unknown()
	}
	return nil
}

func (c *change) dnsSRV(d *definition, n *node) error {
	if c.command == updateModify {
		return cannot("DNS SRV records cannot be modified, only added or deleted")
	}
	s, err := readSRV(d.name, n, c.command == updateDelete)
	if err != nil {
		return err
	}
	fits := func(o srv) bool {
		return (s.domain == "" || s.domain == o.domain) && (s.service == "" || s.service == o.service) &&
			(s.protocol == "" || s.protocol == o.protocol) && (s.target == "" || s.target == o.target) &&
			(s.port == 0 || s.port == o.port) && (s.priority == 0 || s.priority == o.priority) && (s.weight == 0 || s.weight == o.weight)
	}
	switch {
	case c.adds():
		if slices.ContainsFunc(d.dns.srvs, fits) {
			return invalid("there is already at least one DNS SRV record matching all specified fields in network %s", d.name)
		}
		d.dns.srvs = insert(c, d.dns.srvs, s)
	case c.command == updateDelete:
		if count := len(slices.DeleteFunc(slices.Clone(d.dns.srvs), func(o srv) bool { return !fits(o) })); count > 1 {
			return invalid("multiple DNS SRV records matching all specified fields were found in network %s", d.name)
		}
		return remove(&d.dns.srvs, d.name, "", "DNS SRV record", fits)
	default:
		return c.unknown()
	}
	return nil
}
