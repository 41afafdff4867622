package def

import "virtree/actors/internal/xmltree"

// protocol is what a rule can say of one protocol: the attributes in the order in which they are printed, and what
// libvirt does to them once the rule is read.
type protocol struct {
	name  string
	attrs []attribute
	// follows is for match='no': the second attribute is negated exactly if the first one is, whatever the document said;
	// one that is missing is not negated.
	follows [][2]string
	// ipset: see dropIPSet.
	ipset bool
	ports string // what messages call the protocol, when its ports need a protocol that has ports
	index map[string]int
}

type attribute struct {
	name string
	kind kind
}

var (
	u8, u16, u32 = unsigned(8), unsigned(16), unsigned(32)
	mask4        = mask(32, xmltree.IPv4)
	mask6        = mask(128, parseIPv6)
	etherType    = named(etherTypes, 16, 0x600, false)
	encapsulated = named(etherTypes, 16, 0x3c, false)
	opcode       = named(opcodes, 16, 0, true)
	ipProtocol   = named(ipProtocols, 8, 0, false)
	dscp         = below(8, 63)
	vlanID       = below(16, 4095)
)

var commentAttr = attribute{"comment", comment}

func join(lists ...[]attribute) (all []attribute) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return append(all, commentAttr)
}

var srcMACAttrs = []attribute{{"srcmacaddr", mac}, {"srcmacmask", macMask}}

var macAttrs = append(append([]attribute(nil), srcMACAttrs...), []attribute{{"dstmacaddr", mac}, {"dstmacmask", macMask}}...)

var portAttrs = []attribute{{"srcportstart", u16}, {"srcportend", u16}, {"dstportstart", u16}, {"dstportend", u16}}

var stpAttrs = []attribute{
	{"type", u8}, {"flags", u8},
	{"root-priority", u16}, {"root-priority-hi", u16}, {"root-address", mac}, {"root-address-mask", macMask},
	{"root-cost", u32}, {"root-cost-hi", u32},
	{"sender-priority", u16}, {"sender-priority-hi", u16}, {"sender-address", mac}, {"sender-address-mask", macMask},
	{"port", u16}, {"port-hi", u16}, {"age", u16}, {"age-hi", u16}, {"max-age", u16}, {"max-age-hi", u16},
	{"hello-time", u16}, {"hello-time-hi", u16}, {"forward-delay", u16}, {"forward-delay-hi", u16},
}

var arpAttrs = []attribute{
	{"hwtype", u16}, {"protocoltype", u16}, {"opcode", opcode},
	{"arpsrcmacaddr", mac}, {"arpdstmacaddr", mac},
	{"arpsrcipaddr", ipv4}, {"arpsrcipmask", mask4}, {"arpdstipaddr", ipv4}, {"arpdstipmask", mask4},
	{"gratuitous", boolean},
}

// l2IP is what ip and ipv6 have in common.
func l2IP(addr, mask kind) []attribute {
	return append([]attribute{
		{"srcipaddr", addr}, {"srcipmask", mask}, {"dstipaddr", addr}, {"dstipmask", mask}, {"protocol", ipProtocol},
	}, portAttrs...)
}

// l3 is what all protocols above IP have in common. Compat: dstipto is an IPv4 address in rules for IPv6, too.
func l3(addr, mask kind) []attribute {
	return []attribute{
		{"srcmacaddr", mac}, {"srcipaddr", addr}, {"srcipmask", mask}, {"dstipaddr", addr}, {"dstipmask", mask},
		{"srcipfrom", addr}, {"srcipto", addr}, {"dstipfrom", addr}, {"dstipto", ipv4},
		{"dscp", dscp}, {"connlimit-above", decimal16}, {"state", state}, {"ipset", ipset}, {"ipsetflags", ipsetFlags},
	}
}

var (
	icmpAttrs    = []attribute{{"type", u8}, {"code", u8}}
	rangeAttrs   = []attribute{{"type", u8}, {"typeend", u8}, {"code", u8}, {"codeend", u8}}
	macFollows   = [][2]string{{"srcmacaddr", "srcmacmask"}, {"dstmacaddr", "dstmacmask"}}
	addrFollows  = [][2]string{{"srcipaddr", "srcipmask"}, {"dstipaddr", "dstipmask"}}
	rangeFollows = append([][2]string{{"srcipfrom", "srcipto"}, {"dstipfrom", "dstipto"}}, addrFollows...)
	portFollows  = append([][2]string{{"srcportstart", "srcportend"}, {"srcportstart", "dstportstart"}, {"srcportstart", "dstportend"}}, rangeFollows...)
	stpFollows   = [][2]string{
		{"srcmacaddr", "srcmacmask"}, {"root-priority", "root-priority-hi"}, {"root-address", "root-address-mask"},
		{"root-cost", "root-cost-hi"}, {"sender-priority", "sender-priority-hi"}, {"sender-address", "sender-address-mask"},
		{"port", "port-hi"}, {"age", "age-hi"}, {"max-age", "max-age-hi"}, {"hello-time", "hello-time-hi"}, {"forward-delay", "forward-delay-hi"},
	}
	typeFollows = append([][2]string{{"type", "typeend"}, {"type", "code"}, {"type", "codeend"}}, addrFollows...)
	icmpFollows = append([][2]string{{"type", "code"}}, rangeFollows...)
)

// protocols has all that a rule can be of. A rule is of the first one in it whose element it has.
var protocols = table(
	protocol{name: "arp", attrs: join(macAttrs, arpAttrs)},
	protocol{name: "rarp", attrs: join(macAttrs, arpAttrs)},
	protocol{name: "mac", attrs: join(macAttrs, []attribute{{"protocolid", etherType}}), follows: macFollows},
	protocol{name: "vlan", attrs: join(macAttrs, []attribute{{"vlanid", vlanID}, {"encap-protocol", encapsulated}}), follows: macFollows},
	protocol{name: "stp", attrs: join(srcMACAttrs, stpAttrs), follows: stpFollows},
	protocol{name: "ip", attrs: join(macAttrs, l2IP(ipv4, mask4), []attribute{{"dscp", dscp}}), follows: addrFollows, ports: "IP"},
	protocol{name: "ipv6", attrs: join(macAttrs, l2IP(ipv6, mask6), rangeAttrs), follows: typeFollows, ports: "IPv6"},
	protocol{name: "tcp", attrs: join(l3(ipv4, mask4), portAttrs, []attribute{{"option", u8}, {"flags", tcpFlags}}), follows: portFollows, ipset: true},
	protocol{name: "udp", attrs: join(l3(ipv4, mask4), portAttrs), follows: portFollows, ipset: true},
	protocol{name: "udplite", attrs: join(l3(ipv4, mask4)), follows: rangeFollows, ipset: true},
	protocol{name: "esp", attrs: join(l3(ipv4, mask4)), follows: rangeFollows, ipset: true},
	protocol{name: "ah", attrs: join(l3(ipv4, mask4)), follows: rangeFollows, ipset: true},
	protocol{name: "sctp", attrs: join(l3(ipv4, mask4), portAttrs), follows: portFollows, ipset: true},
	protocol{name: "icmp", attrs: join(l3(ipv4, mask4), icmpAttrs), follows: icmpFollows, ipset: true},
	protocol{name: "all", attrs: join(l3(ipv4, mask4)), follows: rangeFollows},
	protocol{name: "igmp", attrs: join(l3(ipv4, mask4)), follows: rangeFollows, ipset: true},
	protocol{name: "tcp-ipv6", attrs: join(l3(ipv6, mask6), portAttrs, []attribute{{"option", u8}}), follows: portFollows, ipset: true},
	protocol{name: "udp-ipv6", attrs: join(l3(ipv6, mask6), portAttrs), follows: portFollows, ipset: true},
	protocol{name: "udplite-ipv6", attrs: join(l3(ipv6, mask6)), follows: rangeFollows, ipset: true},
	protocol{name: "esp-ipv6", attrs: join(l3(ipv6, mask6)), follows: rangeFollows, ipset: true},
	protocol{name: "ah-ipv6", attrs: join(l3(ipv6, mask6)), follows: rangeFollows, ipset: true},
	protocol{name: "sctp-ipv6", attrs: join(l3(ipv6, mask6), portAttrs), follows: portFollows, ipset: true},
	protocol{name: "icmpv6", attrs: join(l3(ipv6, mask6), icmpAttrs), follows: icmpFollows, ipset: true},
	protocol{name: "all-ipv6", attrs: join(l3(ipv6, mask6)), follows: rangeFollows},
)

func table(all ...protocol) map[string]*protocol {
	m := make(map[string]*protocol, len(all))
	for i := range all {
		p := &all[i]
		p.index = make(map[string]int, len(p.attrs))
		for j, a := range p.attrs {
			p.index[a.name] = j
		}
		m[p.name] = p
	}
	return m
}
