package network

import (
	"net/netip"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// readAddresses reads the <ip> and <route> elements.
func (d *definition) readAddresses(n *node) error {
	for _, k := range n.All("ip") {
		ip, err := readIP(d.name, k)
		if err != nil {
			return err
		}
		d.ips = append(d.ips, ip)
	}
	for _, k := range n.All("route") {
		r, err := readRoute(d.name, k)
		if err != nil {
			return err
		}
		d.routes = append(d.routes, r)
	}
	for _, r := range d.routes {
		reachable := false
		for i := range d.ips {
			ip := &d.ips[i]
			reachable = reachable || ip.address.BitLen() == r.gateway.BitLen() && ip.net().Contains(r.gateway)
		}
		if !reachable {
			return unsupported("unreachable static route gateway '%s' specified for network '%s'", r.gateway, d.name)
		}
	}
	return nil
}

func readIP(network string, n *node) (ip ipDef, err error) {
	ip.family = n.Get("family")
	text := n.Get("address")
	if text != "" {
		ok := false
		if ip.address, ok = parseAddr(text); !ok {
			return ip, xmlError("Invalid address '%s' in network '%s'", text, network)
		}
	}
	if _, ok := n.Lookup("netmask"); ok {
		if ip.netmask, ok = parseAddr(n.Get("netmask")); !ok {
			return ip, xmlError("Invalid netmask '%s' in network '%s'", n.Get("netmask"), network)
		}
	}
	if ip.prefix, _, err = numberOf(n, "prefix", 32); err != nil {
		return ip, err
	}
	ip.hasPfx = ip.prefix != 0 // Compat: 0 is none
	if ip.localPtr, err = yesNo(n, "localPtr"); err != nil {
		return ip, err
	}
	if err := ip.checkFamily(network); err != nil {
		return ip, err
	}
	if x := n.Kid("tftp"); x != nil {
		if ip.address.Is6() {
			return ip, unsupported("Unsupported <tftp> element in an IPv6 element in network '%s'", network)
		}
		ip.tftp = x.Get("root")
	}
	if x := n.Kid("dhcp"); x != nil {
		err = ip.readDHCP(network, x)
	}
	return ip, err
}

func (ip *ipDef) checkFamily(network string) error {
	if !ip.address.IsValid() {
		return xmlError("Missing required address attribute in network '%s'", network)
	}
	four := ip.address.Is4()
	switch ip.family {
	case "":
		if !four {
			return unsupported("no family specified for non-IPv4 address '%s' in network '%s'", ip.address, network)
		}
	case "ipv4":
		if !four {
			return unsupported("ipv4 family specified for non-IPv4 address '%s' in network '%s'", ip.address, network)
		}
	case "ipv6":
		if four {
			return unsupported("Family 'ipv6' specified for non-IPv6 address '%s' in network '%s'", ip.address, network)
		}
	default:
		return xmlError("Unrecognized family '%s' in network '%s'", ip.family, network)
	}
	if ip.netmask.IsValid() {
		switch {
		case !four:
			return unsupported("netmask not allowed for IPv6 address '%s' in network '%s'", ip.address, network)
		case ip.hasPfx:
			return unsupported("Network '%s' IP address cannot have both a prefix and a netmask", network)
		case !ip.netmask.Is4():
			return unsupported("Invalid netmask '%s' for address '%s' in network '%s' (both must be IPv4)", ip.netmask, ip.address, network)
		}
	}
	if four && ip.prefix > 32 {
		return unsupported("Invalid IPv4 prefix '%d' in network '%s'", ip.prefix, network)
	}
	if !four && ip.prefix > 128 {
		return unsupported("Invalid IPv6 prefix '%d' in network '%s'", ip.prefix, network)
	}
	return nil
}

func (ip *ipDef) readDHCP(network string, n *node) error {
	for _, k := range n.All("range") {
		r, err := readDHCPRange(network, k)
		if err != nil {
			return err
		}
		if err := checkRange(r.start, r.end, ip.address, ip.bits()); err != nil {
			return err
		}
		ip.ranges = append(ip.ranges, r)
	}
	for _, k := range n.All("host") {
		h, err := readDHCPHost(network, k, ip.address.Is6(), false)
		if err != nil {
			return err
		}
		ip.hosts = append(ip.hosts, h)
	}
	if b := n.Kid("bootp"); b != nil && ip.address.Is4() {
		file, ok := b.Lookup("file")
		if !ok {
			return nil
		}
		if server, ok := b.Lookup("server"); ok {
			a, err := socketAddr(server)
			if err != nil {
				return err
			}
			ip.bootFrom = a
		}
		ip.bootFile = file
	}
	return nil
}

// socketAddr reads an address, with getaddrinfo's complaint.
func socketAddr(text string) (netip.Addr, error) {
	a, ok := parseAddr(text)
	if !ok {
		return a, liberr.New(liberr.FromNone, liberr.SystemError, "Cannot parse socket address '%s': Name or service not known", text)
	}
	return a, nil
}

func readDHCPRange(network string, n *node) (r dhcpRange, err error) {
	for _, f := range []struct {
		name string
		to   *netip.Addr
	}{{"start", &r.start}, {"end", &r.end}} {
		text, ok := n.Lookup(f.name)
		if !ok {
			return r, xmlError("Missing '%s' attribute in dhcp range for network '%s'", f.name, network)
		}
		if *f.to, err = socketAddr(text); err != nil {
			return r, err
		}
	}
	r.lease, err = readLease(n.Kid("lease"))
	return r, err
}

func readLease(n *node) (*lease, error) {
	if n == nil {
		return nil, nil
	}
	expiry, given, err := numberOf(n, "expiry", 64)
	if err != nil || !given {
		return nil, err
	}
	unit, err := oneOf(n, "unit", "seconds", "minutes", "hours")
	if err != nil {
		return nil, err
	}
	if unit == "" {
		unit = "minutes"
	}
	if expiry != 0 && unit == "seconds" && expiry < 120 || unit == "minutes" && expiry == 1 {
		return nil, unsupported("The minimum lease time should be greater than 2 minutes")
	}
	return &lease{expiry, unit}, nil
}

// readDHCPHost reads a <host> of <dhcp>. partial is for the search pattern of an update.
func readDHCPHost(network string, n *node, six, partial bool) (h dhcpHost, err error) {
	mac, hasMAC := n.Lookup("mac")
	if hasMAC {
		if six {
			return h, xmlError("Invalid to specify MAC address '%s' in network '%s' IPv6 static host definition", mac, network)
		}
		m, ok := xmltree.MAC(mac)
		if !ok {
			return h, xmlError("Cannot parse MAC address '%s' in network '%s'", mac, network)
		}
		if m[0]&1 != 0 {
			return h, xmlError("expected unicast mac address, found multicast '%s' in network '%s'", mac, network)
		}
		h.mac = mac
	}
	if id, ok := n.Lookup("id"); ok {
		if i := strings.IndexFunc(id, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF:", r) }); i >= 0 {
			return h, xmlError("Invalid character '%c' in id '%s' of network '%s'", id[i], id, network)
		}
		h.id = id
	}
	name, hasName := n.Lookup("name")
	if c := firstByte(name); hasName && !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
		return h, xmlError("Cannot use host name '%s' in network '%s'", name, network)
	}
	h.name = name
	if text, ok := n.Lookup("ip"); ok {
		good := false
		if h.ip, good = parseAddr(text); !good {
			return h, xmlError("Invalid IP address in static host definition for network '%s'", network)
		}
	}
	if partial {
		if h.mac == "" && h.name == "" && !h.ip.IsValid() && h.id == "" {
			return h, xmlError("At least one of name, mac, or ip attribute must be specified for static host definition in network '%s' ", network)
		}
	} else {
		if six && h.id == "" && h.name == "" {
			return h, xmlError("Static host definition in IPv6 network '%s' must have id or name attribute", network)
		}
		if !six && h.mac == "" && h.name == "" {
			return h, xmlError("Static host definition in IPv4 network '%s' must have mac or name attribute", network)
		}
		if !h.ip.IsValid() {
			return h, xmlError("Missing IP address in static host definition for network '%s'", network)
		}
	}
	h.lease, err = readLease(n.Kid("lease"))
	return h, err
}

func firstByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[0]
}

func readRoute(network string, n *node) (r route, err error) {
	fail := func(format string, args ...any) (route, error) {
		return r, xmlError("%s: "+format, append([]any{network}, args...)...)
	}
	r.family = n.Get("family")
	address, mask, gateway := n.Get("address"), n.Get("netmask"), n.Get("gateway")
	if address == "" {
		return fail("Missing required address attribute in route definition")
	}
	if gateway == "" {
		return fail("Missing required gateway attribute in route definition")
	}
	if r.prefix, r.hasPfx, err = numberOf(n, "prefix", 32); err != nil {
		return r, err
	}
	if r.metric, r.hasMetric, err = numberOf(n, "metric", 32); err != nil {
		return r, err
	}
	if r.hasMetric && r.metric == 0 {
		return r, liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute 'metric' in element 'route': Zero is not permitted")
	}
	ok := false
	if r.address, ok = parseAddr(address); !ok {
		return fail("Bad network address '%s' in route definition", address)
	}
	if r.gateway, ok = parseAddr(gateway); !ok {
		return fail("Bad gateway address '%s' in route definition", gateway)
	}
	if mask != "" {
		if r.netmask, ok = parseAddr(mask); !ok {
			return fail("Bad netmask address '%s' in route definition", mask)
		}
	}
	switch four, gw4 := r.address.Is4(), r.gateway.Is4(); {
	case r.family == "" && !four:
		return fail("No family specified for non-IPv4 address '%s' in route definition", address)
	case r.family == "" && !gw4:
		// Compat: libvirt names the address here, not the gateway.
		return fail("No family specified for non-IPv4 gateway '%s' in route definition", address)
	case r.family == "ipv4" && !four:
		return fail("IPv4 family specified for non-IPv4 address '%s' in route definition", address)
	case r.family == "ipv4" && !gw4:
		return fail("IPv4 family specified for non-IPv4 gateway '%s' in route definition", address)
	case r.family == "ipv6" && four:
		return fail("ipv6 family specified for non-IPv6 address '%s' in route definition", address)
	case r.family == "ipv6" && gw4:
		return fail("ipv6 specified for non-IPv6 gateway address '%s' in route definition", gateway)
	case r.family != "" && r.family != "ipv4" && r.family != "ipv6":
		return fail("Unrecognized family '%s' in route definition", r.family)
	case four && r.netmask.IsValid() && r.hasPfx:
		return fail("Route definition cannot have both a prefix and a netmask")
	case four && r.netmask.IsValid() && !r.netmask.Is4():
		return fail("Invalid netmask '%s' for address '%s' (both must be IPv4)", mask, address)
	case four && r.prefix > 32:
		return fail("Invalid prefix %d specified in route definition, must be 0 - 32", r.prefix)
	case !four && r.netmask.IsValid():
		return fail("Specifying netmask invalid for IPv6 address '%s' in route definition", address)
	case !four && r.prefix > 128:
		return fail("Invalid prefix %d specified in route definition, must be 0 - 128", r.prefix)
	}
	if !r.isNetwork() {
		return fail("Address '%s' in route definition is not a network address", address)
	}
	return r, nil
}

// isNetwork tells whether no bit of the address is behind its prefix. Compat: without one an IPv4 address gets the
// prefix of its class only where that is not all of libvirt's own default, so only 0.0.0.0 passes; IPv6 likewise.
func (r *route) isNetwork() bool {
	if !r.hasPfx && !r.netmask.IsValid() {
		return r.address.IsUnspecified()
	}
	return netip.PrefixFrom(r.address, r.bits()).Masked().Addr() == r.address
}

func utoa(v uint64) string { return strconv.FormatUint(v, 10) }
