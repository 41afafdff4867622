package network

import (
	"net/netip"
	"strings"

	"virtree/actors/internal/xmltree"
)

// liveFacts are what a running network's document shows beside its definition: how many ports use what.
type liveFacts struct {
	connections int
	perDevice   map[string]int // by name or PCI address
}

// format writes the document. live is nil for the form without what is known only while it runs.
func (d *definition) format(live *liveFacts) string {
	w := &writer{}
	w.network(d, live)
	return w.String()
}

func (w *writer) network(d *definition, live *liveFacts) {
	head := "<network"
	if d.hasOptions {
		head += opt("xmlns:dnsmasq", dnsmasqSpace)
	}
	if live != nil && live.connections > 0 {
		head += opt("connections", utoa(uint64(live.connections)))
	}
	if d.ipv6 {
		head += opt("ipv6", "yes")
	}
	w.line("%s%s>", head, opt("trustGuestRxFilters", d.trust))
	w.in()
	w.line("<name>%s</name>", xmltree.Escape(d.name))
	w.line("<uuid>%s</uuid>", d.uuid)
	if d.title != "" {
		w.line("<title>%s</title>", xmltree.Escape(d.title))
	}
	if d.description != "" {
		w.line("<description>%s</description>", xmltree.Escape(d.description))
	}
	if d.metadata != nil {
		d.metadata.Print(&w.Builder, w.depth)
	}
	w.forward(&d.forward, live)
	w.bridge(d)
	if d.mtu != 0 {
		w.line("<mtu size='%d'/>", d.mtu)
	}
	if d.mac != "" {
		w.line("<mac address='%s'/>", d.mac)
	}
	if d.domain != "" {
		w.line("<domain name='%s'%s/>", xmltree.Escape(d.domain), opt("localOnly", d.local))
	}
	w.dns(&d.dns)
	w.vlan(d.vlan)
	w.bandwidth(d.bandwidth)
	if d.isolated != "" {
		w.line("<port isolated='%s'/>", d.isolated)
	}
	for i := range d.ips {
		w.ip(&d.ips[i])
	}
	for i := range d.routes {
		r := &d.routes[i]
		attrs := opt("family", r.family) + opt("address", addrText(r.address)) + opt("netmask", addrText(r.netmask))
		if r.hasPfx {
			attrs += opt("prefix", utoa(r.prefix))
		}
		attrs += opt("gateway", addrText(r.gateway))
		if r.hasMetric {
			attrs += opt("metric", utoa(r.metric))
		}
		w.line("<route%s/>", attrs)
	}
	w.vport(d.vport)
	for i := range d.portgroups {
		w.portgroup(&d.portgroups[i])
	}
	if d.hasOptions {
		w.line("<dnsmasq:options>")
		w.in()
		for _, o := range d.options {
			w.line("<dnsmasq:option value='%s'/>", xmltree.Escape(o))
		}
		w.out()
		w.line("</dnsmasq:options>")
	}
	w.out()
	w.line("</network>")
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (w *writer) forward(f *forward, live *liveFacts) {
	if f.mode == modeNone {
		return
	}
	dev := ""
	if f.pf == "" && len(f.ifaces) > 0 {
		dev = f.ifaces[0].dev
	}
	head := "<forward" + opt("dev", dev) + opt("mode", f.mode)
	if f.mode == modeHostdev {
		managed := "no"
		if f.managed {
			managed = "yes"
		}
		head += opt("managed", managed)
	}
	inner := &writer{depth: w.depth + 1}
	if f.driver != "" {
		inner.line("<driver name='%s'/>", f.driver)
	}
	if f.mode == modeNAT {
		inner.nat(f)
	}
	if f.pf != "" {
		inner.line("<pf dev='%s'/>", xmltree.Escape(f.pf))
	}
	if f.pf == "" || live != nil {
		for _, i := range f.ifaces {
			if i.pci != nil {
				inner.line("<address type='pci' domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/>", i.pci.domain, i.pci.bus, i.pci.slot, i.pci.function)
				continue
			}
			used := ""
			if live != nil && live.perDevice[i.dev] > 0 {
				used = opt("connections", utoa(uint64(live.perDevice[i.dev])))
			}
			inner.line("<interface dev='%s'%s/>", xmltree.Escape(i.dev), used)
		}
	}
	if inner.Len() == 0 {
		w.line("%s/>", head)
		return
	}
	w.line("%s>", head)
	w.WriteString(inner.String())
	w.line("</forward>")
}

func (w *writer) nat(f *forward) {
	inner := &writer{depth: w.depth + 1}
	if f.addrs[0].IsValid() {
		inner.line("<address start='%s' end='%s'/>", f.addrs[0], f.addrs[1])
	}
	if f.ports[0] != 0 || f.ports[1] != 0 {
		inner.line("<port start='%d' end='%d'/>", f.ports[0], f.ports[1])
	}
	switch {
	case inner.Len() > 0:
		w.line("<nat%s>", opt("ipv6", f.natIPv6))
		w.WriteString(inner.String())
		w.line("</nat>")
	case f.natIPv6 != "":
		w.line("<nat%s/>", opt("ipv6", f.natIPv6))
	}
}

func (w *writer) bridge(d *definition) {
	if !d.ownBridge() && d.bridge == "" && d.macTable == "" {
		return
	}
	attrs := opt("name", d.bridge) + opt("zone", d.zone)
	if d.ownBridge() {
		stp := "on"
		if !d.stp {
			stp = "off"
		}
		attrs += opt("stp", stp) + opt("delay", utoa(d.delay))
	}
	w.line("<bridge%s%s/>", attrs, opt("macTableManager", d.macTable))
}

func (w *writer) dns(d *dns) {
	attrs := opt("enable", d.enable) + opt("forwardPlainNames", d.plain)
	inner := &writer{depth: w.depth + 1}
	for _, f := range d.forwarders {
		attrs := opt("domain", f.domain) + opt("addr", addrText(f.addr))
		if attrs == "" {
			attrs = " domain=''" // what it had to have to be read
		}
		inner.line("<forwarder%s/>", attrs)
	}
	for _, t := range d.txts {
		inner.line("<txt name='%s' value='%s'/>", xmltree.Escape(t.name), xmltree.Escape(t.value))
	}
	for _, s := range d.srvs {
		inner.line("<srv%s/>", s.attrs())
	}
	for _, h := range d.hosts {
		inner.line("<host ip='%s'>", h.ip)
		inner.in()
		for _, name := range h.names {
			inner.line("<hostname>%s</hostname>", xmltree.Escape(name))
		}
		inner.out()
		inner.line("</host>")
	}
	switch {
	case inner.Len() > 0:
		w.line("<dns%s>", attrs)
		w.WriteString(inner.String())
		w.line("</dns>")
	case attrs != "":
		w.line("<dns%s/>", attrs)
	}
}

func (s *srv) attrs() string {
	a := " service='" + xmltree.Escape(s.service) + "' protocol='" + xmltree.Escape(s.protocol) + "'" + opt("domain", s.domain) + opt("target", s.target)
	for _, f := range []struct {
		name string
		v    uint64
	}{{"port", s.port}, {"priority", s.priority}, {"weight", s.weight}} {
		if f.v != 0 {
			a += opt(f.name, utoa(f.v))
		}
	}
	return a
}

func (w *writer) ip(ip *ipDef) {
	attrs := opt("family", ip.family) + opt("address", addrText(ip.address)) + opt("netmask", addrText(ip.netmask))
	if ip.hasPfx {
		attrs += opt("prefix", utoa(ip.prefix))
	}
	w.line("<ip%s%s>", attrs, opt("localPtr", ip.localPtr))
	w.in()
	if ip.tftp != "" {
		w.line("<tftp root='%s'/>", xmltree.Escape(ip.tftp))
	}
	if ip.dhcp() {
		w.line("<dhcp>")
		w.in()
		for _, r := range ip.ranges {
			w.withLease("<range"+opt("start", r.start.String())+opt("end", r.end.String()), "range", r.lease)
		}
		for _, h := range ip.hosts {
			w.withLease("<host"+h.attrs(), "host", h.lease)
		}
		if ip.bootFile != "" || ip.bootFrom.IsValid() {
			w.line("<bootp file='%s'%s/>", xmltree.Escape(ip.bootFile), opt("server", addrText(ip.bootFrom)))
		}
		w.out()
		w.line("</dhcp>")
	}
	w.out()
	w.line("</ip>")
}

func (h *dhcpHost) attrs() string {
	return opt("mac", h.mac) + opt("id", h.id) + opt("name", h.name) + opt("ip", addrText(h.ip))
}

func (w *writer) withLease(head, name string, l *lease) {
	if l == nil {
		w.line("%s/>", head)
		return
	}
	w.line("%s>", head)
	w.in()
	if l.expiry == 0 {
		w.line("<lease expiry='0'/>")
	} else {
		w.line("<lease expiry='%d' unit='%s'/>", l.expiry, l.unit)
	}
	w.out()
	w.line("</%s>", name)
}

func (w *writer) portgroup(p *portgroup) {
	attrs := opt("name", p.name)
	if p.isDefault {
		attrs += opt("default", "yes")
	}
	w.line("<portgroup%s%s>", attrs, opt("trustGuestRxFilters", p.trust))
	w.in()
	w.vlan(p.vlan)
	w.vport(p.vport)
	w.bandwidth(p.bandwidth)
	w.out()
	w.line("</portgroup>")
}

// header stands above a stored document, so that nobody edits it by hand and loses the change.
func header(edit string) string {
	return "<!--\n" +
		"This file is written by the daemon and read at its start only: a change made here is lost.\n" +
		"Change the network with:\n  virsh " + strings.ReplaceAll(edit, "--", "- -") + "\n" +
		"or through any other client of the API.\n" +
		"-->\n\n"
}
