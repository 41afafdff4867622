package network

import (
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// origin is how libvirt names the document of a network in messages about its syntax.
const origin = "(network_definition)"

func xmlError(format string, args ...any) error {
	return liberr.New(from, liberr.XMLError, format, args...)
}

func xmlDetail(format string, args ...any) error {
	return liberr.New(from, liberr.XMLDetail, format, args...)
}

func unsupported(format string, args ...any) error {
	return liberr.New(from, liberr.ConfigUnsupported, format, args...)
}

// The parts that libvirt reads with code of its own for all drivers have errors of no domain.

func plainXML(format string, args ...any) error {
	return liberr.New(liberr.FromNone, liberr.XMLError, format, args...)
}

func plainUnsupported(format string, args ...any) error {
	return liberr.New(liberr.FromNone, liberr.ConfigUnsupported, format, args...)
}

// parse reads a network's document and fills in what does not depend on other networks. The order of its checks is
// libvirt's, because only the first error is told.
func parse(doc string) (*definition, error) {
	root, err := reader("network", origin).Read(doc)
	if err != nil {
		return nil, err
	}
	return parseNetwork(root)
}

func parseNetwork(root *node) (*definition, error) {
	d := &definition{}
	for _, step := range []func(*node) error{
		d.readIdentity, d.readBridge, d.readDNS, d.readPortgroups, d.readAddresses, d.readForward, d.fitMode, d.readOptions,
	} {
		if err := step(root); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *definition) readIdentity(n *node) (err error) {
	d.name = n.Kid("name").Content()
	if d.name == "" {
		return liberr.Plain(from, liberr.NoName)
	}
	if strings.Contains(d.name, "\n") {
		return liberr.New(liberr.FromXML, liberr.XMLDetail, "invalid char in name: \n")
	}
	if u := n.Kid("uuid"); u.Content() != "" {
		id, ok := xmltree.UUID(u.Content())
		if !ok {
			return liberr.New(from, liberr.InternalError, "malformed uuid element")
		}
		d.uuid = id
	} else {
		d.uuid = newUUID()
	}
	d.title, d.description = n.Kid("title").Content(), n.Kid("description").Content()
	if d.metadata = n.Kid("metadata"); d.metadata != nil {
		xmltree.SanitizeMetadata(d.metadata)
	}
	if v, ok := n.Lookup("ipv6"); ok {
		if v != "yes" && v != "no" {
			return xmlError("Invalid ipv6 setting '%s' in network '%s'", v, d.name)
		}
		d.ipv6 = v == "yes"
	}
	if d.trust, err = yesNo(n, "trustGuestRxFilters"); err != nil {
		return err
	}
	if dom := n.Kid("domain"); dom != nil {
		d.domain = dom.Get("name")
		if d.local, err = yesNo(dom, "localOnly"); err != nil {
			return err
		}
	}
	if d.bandwidth, err = readBandwidth(n.Kid("bandwidth"), false); err != nil {
		return err
	}
	if d.vlan, err = readVLAN(n.Kid("vlan")); err != nil {
		return err
	}
	if p := n.Kid("port"); p != nil {
		d.isolated, err = yesNo(p, "isolated")
	}
	return err
}

func (d *definition) readBridge(n *node) error {
	b := n.Kid("bridge")
	d.bridge, d.zone = b.Get("name"), b.Get("zone")
	d.stp = b.Get("stp") != "off"
	if v, ok := b.Lookup("delay"); ok {
		delay, err := parseNumber(v, 63)
		if err != nil {
			return xmlError("Invalid delay value in network '%s'", d.name)
		}
		d.delay = delay
	}
	if v, ok := b.Lookup("macTableManager"); ok {
		if v != "kernel" && v != "libvirt" {
			return xmlError("Invalid macTableManager setting '%s' in network '%s'", v, d.name)
		}
		d.macTable = v
	}
	if v, ok := n.Kid("mtu").Lookup("size"); ok {
		mtu, err := parseNumber(v, 32)
		if err != nil {
			return xmlError("Invalid mtu size '%s' in network '%s'", v, d.name)
		}
		d.mtu = mtu
	}
	if v, ok := n.Kid("mac").Lookup("address"); ok {
		mac, good := xmltree.MAC(v)
		if !good {
			return xmlError("Invalid bridge mac address '%s' in network '%s'", v, d.name)
		}
		if mac[0]&1 != 0 {
			return xmlError("Invalid multicast bridge mac address '%s' in network '%s'", v, d.name)
		}
		d.mac = macString(mac)
	}
	return nil
}

func (d *definition) readDNS(n *node) (err error) {
	x := n.Kid("dns")
	if x == nil {
		return nil
	}
	if d.dns.enable, err = yesNo(x, "enable"); err != nil {
		return err
	}
	if d.dns.plain, err = yesNo(x, "forwardPlainNames"); err != nil {
		return err
	}
	for _, f := range x.All("forwarder") {
		addr, has := f.Lookup("addr")
		domain, named := f.Lookup("domain")
		fw := forwarder{domain: domain}
		if has {
			ok := false
			if fw.addr, ok = parseAddr(addr); !ok {
				return xmlError("Invalid forwarder IP address '%s' in network '%s'", addr, d.name)
			}
		}
		if !has && !named {
			return xmlError("Invalid forwarder element, must contain at least one of addr or domain")
		}
		d.dns.forwarders = append(d.dns.forwarders, fw)
	}
	for _, h := range x.All("host") {
		host, err := readDNSHost(d.name, h, false)
		if err != nil {
			return err
		}
		d.dns.hosts = append(d.dns.hosts, host)
	}
	for _, s := range x.All("srv") {
		v, err := readSRV(d.name, s, false)
		if err != nil {
			return err
		}
		d.dns.srvs = append(d.dns.srvs, v)
	}
	for _, t := range x.All("txt") {
		v, err := readTXT(d.name, t, false)
		if err != nil {
			return err
		}
		d.dns.txts = append(d.dns.txts, v)
	}
	if d.dns.enable == "no" && len(d.dns.forwarders)+len(d.dns.hosts)+len(d.dns.srvs)+len(d.dns.txts) > 0 {
		return xmlError("Extra data in disabled network '%s'", d.name)
	}
	return nil
}

// readDNSHost reads a <host> of <dns>. partial is for the search pattern of an update, which may leave things out.
func readDNSHost(network string, n *node, partial bool) (dnsHost, error) {
	h := dnsHost{}
	ip, ok := n.Lookup("ip")
	if !ok && !partial {
		return h, xmlDetail("Missing IP address in network '%s' DNS HOST record", network)
	}
	if ok {
		if h.ip, ok = parseAddr(ip); !ok {
			return h, xmlDetail("Invalid IP address in network '%s' DNS HOST record", network)
		}
	}
	for _, k := range n.All("hostname") {
		name := k.Content()
		if name == "" {
			return h, xmlDetail("Missing hostname in network '%s' DNS HOST record", network)
		}
		h.names = append(h.names, name)
	}
	if len(h.names) == 0 && !partial {
		return h, xmlDetail("Missing hostname in network '%s' DNS HOST record", network)
	}
	if partial && len(h.names) == 0 && !h.ip.IsValid() {
		return h, xmlDetail("Missing ip and hostname in network '%s' DNS HOST record", network)
	}
	return h, nil
}

func readTXT(network string, n *node, partial bool) (txt, error) {
	name, named := n.Lookup("name")
	t := txt{name: name}
	if !named {
		return t, xmlDetail("missing required name attribute in DNS TXT record of network %s", network)
	}
	if strings.ContainsAny(t.name, " ,") {
		return t, xmlDetail("prohibited character in DNS TXT record name '%s' of network %s", t.name, network)
	}
	v, ok := n.Lookup("value")
	if !ok && !partial {
		return t, xmlDetail("missing required value attribute in DNS TXT record named '%s' of network %s", t.name, network)
	}
	t.value = v
	return t, nil
}

// maxService is what is left of a DNS message for the name of a service.
const maxService = 482

// consistsOf tells whether a text has only letters and digits of ASCII and what else is allowed.
func consistsOf(s, more string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(more, r))
	}) < 0
}

func readSRV(network string, n *node, partial bool) (srv, error) {
	s := srv{service: n.Get("service"), protocol: n.Get("protocol"), domain: n.Get("domain"), target: n.Get("target")}
	_, hasService := n.Lookup("service")
	_, hasProtocol := n.Lookup("protocol")
	switch {
	case !hasService && !partial:
		return s, xmlDetail("missing required service attribute in DNS SRV record of network '%s'", network)
	case len(s.service) > maxService:
		return s, xmlDetail("service attribute '%s' in network '%s' is too long, limit is %d bytes", s.service, network, maxService)
	case !consistsOf(s.service, "_-+/*"):
		return s, xmlDetail("invalid character in service attribute '%s' in DNS SRV record of network '%s'", s.service, network)
	case !hasProtocol && !partial:
		return s, xmlDetail("missing required protocol attribute in DNS SRV record '%s' of network '%s'", s.service, network)
	case !consistsOf(s.protocol, "-+/"):
		return s, xmlDetail("invalid character in protocol attribute '%s' in DNS SRV record of network '%s'", s.protocol, network)
	}
	for _, f := range []struct {
		name       string
		to         *uint64
		min        uint64
		title      string
		withTarget bool
	}{{"port", &s.port, 1, "invalid", true}, {"priority", &s.priority, 0, "Invalid", true}, {"weight", &s.weight, 0, "invalid", true}} {
		text, ok := n.Lookup(f.name)
		if !ok {
			continue
		}
		v, err := parseNumber(text, 32)
		if err != nil || v < f.min || v > 65535 {
			return s, xmlDetail("%s DNS SRV %s attribute for service '%s' in network '%s'", f.title, f.name, s.service, network)
		}
		if s.target == "" && !partial {
			return s, xmlDetail("DNS SRV %s attribute not permitted without target for service '%s' in network '%s'", f.name, s.service, network)
		}
		*f.to = v
	}
	return s, nil
}

func (d *definition) readPortgroups(n *node) (err error) {
	if d.vport, err = readVPort(n.Kid("virtualport"), true); err != nil {
		return err
	}
	for _, k := range n.All("portgroup") {
		p, err := readPortgroup(k)
		if err != nil {
			return err
		}
		d.portgroups = append(d.portgroups, p)
	}
	return nil
}

func readPortgroup(n *node) (p portgroup, err error) {
	if p.name = n.Get("name"); p.name == "" {
		return p, xmlError("Missing required name attribute in portgroup")
	}
	p.isDefault = n.Get("default") == "yes"
	if p.trust, err = yesNo(n, "trustGuestRxFilters"); err != nil {
		return p, err
	}
	if p.vport, err = readVPort(n.Kid("virtualport"), false); err != nil {
		return p, err
	}
	if p.bandwidth, err = readBandwidth(n.Kid("bandwidth"), false); err != nil {
		return p, err
	}
	p.vlan, err = readVLAN(n.Kid("vlan"))
	return p, err
}

func (d *definition) readOptions(n *node) error {
	for _, k := range n.Kids {
		if !k.Is(dnsmasqSpace, "options") {
			continue
		}
		for _, o := range k.Kids {
			if !o.Is(dnsmasqSpace, "option") {
				continue
			}
			v, ok := o.Lookup("value")
			if !ok {
				return liberr.New(from, liberr.InternalError, "No dnsmasq options value specified")
			}
			d.options = append(d.options, v)
		}
	}
	d.hasOptions = len(d.options) > 0
	return nil
}

const dnsmasqSpace = "http://libvirt.org/schemas/network/dnsmasq/1.0"
