package rules

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

// parse reads filters and fills in priorities as a driver does.
func parse(t testing.TB, docs ...string) map[string]*libvirtxml.NWFilter {
	t.Helper()
	all := map[string]*libvirtxml.NWFilter{}
	for _, doc := range docs {
		f := &libvirtxml.NWFilter{}
		if err := f.Unmarshal(doc); err != nil {
			t.Fatal(err)
		}
		if f.Priority == 0 {
			f.Priority = ChainPriority(f.Chain)
		}
		for _, e := range f.Entries {
			if e.Rule != nil && e.Rule.Priority == 0 {
				e.Rule.Priority = RulePriority
			}
		}
		all[f.Name] = f
	}
	return all
}

// variables of the tests. Guest 0's address is MAC.
func variables() map[string][]string {
	return map[string][]string{"IP": {"10.0.0.1"}, "IP6": {"fe80::2"}, "A": {"1.1.1.1", "2.2.2.2", "1.1.1.1"}, "B": {"80", "90"},
		"C": {"7", "8", "9"}, "M": {"255.255.255.0"}, "IPV6": {"fe80::1"}, "DHCPSERVER": {"10.0.0.2"}, "GATEWAY_MAC": {"52:54:00:00:00:01"}}
}

// program compiles rules for a port, with the variables of the tests.
func program(t testing.TB, port string, rules string) *Program {
	t.Helper()
	p, err := compileRules(t, port, rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func compileRules(t testing.TB, port string, rules string) (*Program, error) {
	all := parse(t, "<filter name='f'>"+rules+"</filter>")
	return Compile(&Binding{Port: port, MAC: "52:54:00:00:00:00", Root: all["f"],
		Filters: func(name string) *libvirtxml.NWFilter { return all[name] },
		Vars:    variables()})
}

// backend is one whose rules go with the test.
func backend(t testing.TB) Backend {
	b := NFTables(Options{Warn: func(m string) { t.Log(m) }})
	t.Cleanup(func() {
		ports, err := b.Ports(context.Background())
		if err == nil {
			err = b.Remove(context.Background(), ports...)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return b
}

// ruleCase is a rule, a frame that it decides, and one like it that it does not.
type ruleCase struct {
	rule      string // a rule that accepts; all else of its kind is dropped
	yes, no   []byte
	otherwise string // what is dropped besides; empty for all frames
}

const (
	dropIP4 = "<rule action='drop' direction='inout' priority='900'><all/></rule>"
	dropIP6 = "<rule action='drop' direction='inout' priority='900'><all-ipv6/></rule>"
)

func TestEveryAttributeWithTraffic(t *testing.T) {
	odd := [6]byte{2, 2, 3, 4, 5, 6}
	broadcast := [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	group := [6]byte{1, 0x80, 0xc2, 0, 0, 0}
	link := func(src [6]byte, ether uint16) []byte { return frame(mac(1), src, ether, []byte("plain")) }
	spanning := func(change func(b []byte)) []byte {
		b := stp(0, 68, 4, [6]byte{6, 5, 4, 3, 2, 1}, 10, 4, [6]byte{6, 5, 4, 3, 9, 9}, 1, 5, 7, 5, 7)
		if change != nil {
			change(b)
		}
		return frame(group, mac(0), uint16(len(b)), b)
	}
	at := func(offset int, n byte) func([]byte) { return func(b []byte) { b[offset] = n } }
	stpCase := func(attributes string, offset int, n byte) ruleCase {
		return ruleCase{rule: "<rule action='accept' direction='out'><stp " + attributes + "/></rule>", yes: spanning(nil), no: spanning(at(offset, n))}
	}
	arpOf := func(change func(b []byte)) []byte {
		b := arp(1, mac(0), "10.0.0.1", mac(1), "10.0.0.2")
		if change != nil {
			change(b)
		}
		return frame(broadcast, mac(0), 0x0806, b)
	}
	arpCase := func(attributes string, offset int, n byte) ruleCase {
		return ruleCase{rule: "<rule action='accept' direction='out'><arp " + attributes + "/></rule>", yes: arpOf(nil), no: arpOf(at(offset, n))}
	}
	datagram := func(src, dst string, sport, dport uint16, class byte) []byte {
		return packet(0, 1, src, dst, 17, class, udp(sport, dport, "data"))
	}
	udp4 := datagram("10.0.0.1", "10.0.0.2", 5, 6, 0)
	udp6 := datagram("fe80::1", "fe80::2", 5, 6, 0)
	ipCase := func(attributes string, yes, no []byte) ruleCase {
		return ruleCase{rule: "<rule action='accept' direction='out'><ip " + attributes + "/></rule>", yes: yes, no: no}
	}
	ip6Case := func(attributes string, yes, no []byte) ruleCase {
		return ruleCase{rule: "<rule action='accept' direction='out'><ipv6 " + attributes + "/></rule>", yes: yes, no: no}
	}
	netCase := func(rule string, yes, no []byte) ruleCase {
		return ruleCase{rule: "<rule action='accept' direction='out'><" + rule + "/></rule>", yes: yes, no: no, otherwise: dropIP4 + dropIP6}
	}
	// untracked is for what connection tracking takes for invalid
	untracked := func(rule string, yes, no []byte) ruleCase {
		c := netCase(rule, yes, no)
		c.rule = strings.Replace(c.rule, "<rule", "<rule statematch='false'", 1)
		return c
	}
	segment := func(src, dst uint16, flags byte, options ...byte) []byte {
		return packet(0, 1, "10.0.0.1", "10.0.0.2", 6, 0, tcp(src, dst, flags, 1, 0, options...))
	}
	proto := func(src string, n byte) []byte {
		dst := "10.0.0.2"
		if src[0] == 'f' {
			dst = "fe80::2"
		}
		return packet(0, 1, src, dst, n, 0, udp(5, 6, "anything at all"))
	}
	message := func(kind, code byte) []byte { return packet(0, 1, "10.0.0.1", "10.0.0.2", 1, 0, icmp(kind, code, 1)) }
	message6 := func(kind, code byte) []byte { return packet(0, 1, "fe80::1", "fe80::2", 58, 0, icmp(kind, code, 1)) }
	_, inVLAN := above("10.0.0.1", "10.0.0.2", 17, 0, udp(5, 6, "x"))

	cases := []ruleCase{
		{rule: "<rule action='accept' direction='out'><mac srcmacaddr='$MAC'/></rule>", yes: link(mac(0), 0x88b5), no: link(odd, 0x88b5)},
		{rule: "<rule action='accept' direction='out'><mac srcmacaddr='2:2:3:9:9:9' srcmacmask='ff:ff:ff:0:0:0'/></rule>", yes: link(odd, 0x88b5), no: link(mac(0), 0x88b5)},
		{rule: "<rule action='accept' direction='out'><mac dstmacaddr='52:54:0:0:0:1'/></rule>", yes: link(mac(0), 0x88b5), no: arpOf(nil)},
		{rule: "<rule action='accept' direction='out'><mac dstmacaddr='ff:0:0:0:0:0' dstmacmask='ff:0:0:0:0:0'/></rule>", yes: arpOf(nil), no: link(mac(0), 0x88b5)},
		{rule: "<rule action='accept' direction='out'><mac protocolid='0x88b6'/></rule>", yes: link(mac(0), 0x88b6), no: link(mac(0), 0x88b5)},
		{rule: "<rule action='accept' direction='out'><mac match='no' protocolid='arp'/></rule>", yes: link(mac(0), 0x88b6), no: arpOf(nil)},

		{rule: "<rule action='accept' direction='out'><vlan vlanid='7'/></rule>", yes: tagged(mac(1), mac(0), 7, 0x0800, inVLAN), no: tagged(mac(1), mac(0), 8, 0x0800, inVLAN)},
		{rule: "<rule action='accept' direction='out'><vlan encap-protocol='ipv4'/></rule>", yes: tagged(mac(1), mac(0), 7, 0x0800, inVLAN), no: tagged(mac(1), mac(0), 7, 0x88b5, []byte("x"))},
		{rule: "<rule action='accept' direction='out'><vlan encap-protocol='2048' srcmacaddr='$MAC'/></rule>", yes: tagged(mac(1), mac(0), 7, 0x0800, inVLAN), no: tagged(mac(1), odd, 7, 0x0800, inVLAN)},

		stpCase("type='0'", 6, 0x80), stpCase("flags='68'", 7, 1), stpCase("root-priority='4'", 9, 5),
		stpCase("root-priority='3' root-priority-hi='5'", 9, 6), stpCase("root-address='6:5:4:3:2:1'", 15, 9),
		stpCase("root-address='6:5:4:3:9:9' root-address-mask='ff:ff:ff:ff:0:0'", 12, 9), stpCase("root-cost='10'", 16, 1),
		stpCase("root-cost='9' root-cost-hi='11'", 19, 12), stpCase("sender-priority='4' sender-priority-hi='5'", 21, 6),
		stpCase("sender-address='6:5:4:3:9:9'", 27, 8), stpCase("sender-address='6:5:4:3:0:0' sender-address-mask='ff:ff:ff:ff:0:0'", 22, 8),
		stpCase("port='1' port-hi='2'", 29, 3), stpCase("age='4' age-hi='5'", 31, 6), stpCase("max-age='7' max-age-hi='9'", 33, 6),
		stpCase("hello-time='5'", 35, 6), stpCase("forward-delay='7' forward-delay-hi='8'", 37, 9),
		{rule: "<rule action='accept' direction='out'><stp match='no' flags='68' root-priority='4'/></rule>", yes: spanning(func(b []byte) { b[7], b[9] = 1, 1 }), no: spanning(at(7, 1))},
		{rule: "<rule action='accept' direction='out'><stp srcmacaddr='$MAC'/></rule>", yes: spanning(nil), no: link(mac(0), 0x88b5)},

		arpCase("hwtype='1'", 1, 6), arpCase("protocoltype='0x800'", 3, 1), arpCase("opcode='Request'", 7, 2), arpCase("opcode='1'", 7, 3),
		arpCase("arpsrcmacaddr='$MAC'", 13, 9), arpCase("arpdstmacaddr='52:54:0:0:0:1'", 23, 9), arpCase("arpsrcipaddr='$IP'", 17, 9),
		arpCase("arpdstipaddr='10.0.0.2'", 27, 9), arpCase("arpsrcipaddr='10.0.0.9' arpsrcipmask='24'", 16, 9),
		arpCase("arpdstipaddr='10.0.0.9' arpdstipmask='255.255.255.0'", 26, 9), arpCase("match='no' opcode='Reply'", 7, 2),
		arpCase("arpsrcipaddr='$IP'", 5, 6), // addresses of another length
		{rule: "<rule action='accept' direction='out'><arp gratuitous='true'/></rule>", yes: arpOf(at(27, 1)), no: arpOf(nil)},
		{rule: "<rule action='accept' direction='out'><arp match='no' gratuitous='true'/></rule>", yes: arpOf(nil), no: arpOf(at(27, 1))},
		{rule: "<rule action='accept' direction='out'><rarp opcode='Request_Reverse'/></rule>",
			yes: frame(broadcast, mac(0), 0x8035, arp(3, mac(0), "0.0.0.0", mac(0), "0.0.0.0")), no: frame(broadcast, mac(0), 0x8035, arp(4, mac(0), "0.0.0.0", mac(0), "0.0.0.0"))},

		ipCase("srcipaddr='$IP'", udp4, datagram("10.0.0.7", "10.0.0.2", 5, 6, 0)), ipCase("dstipaddr='10.0.0.3' dstipmask='29'", udp4, datagram("10.0.0.1", "10.0.0.16", 5, 6, 0)),
		ipCase("srcipaddr='10.0.0.0' srcipmask='255.255.255.0'", udp4, datagram("10.0.1.1", "10.0.0.2", 5, 6, 0)),
		ipCase("protocol='udp'", udp4, segment(5, 6, syn)), ipCase("protocol='17' srcportstart='5'", udp4, datagram("10.0.0.1", "10.0.0.2", 6, 6, 0)),
		ipCase("protocol='udp' dstportstart='6' dstportend='8'", udp4, datagram("10.0.0.1", "10.0.0.2", 5, 9, 0)),
		ipCase("dscp='10'", datagram("10.0.0.1", "10.0.0.2", 5, 6, 10), udp4),
		ipCase("match='no' srcipaddr='10.0.0.7'", udp4, datagram("10.0.0.7", "10.0.0.2", 5, 6, 0)),
		ip6Case("srcipaddr='fe80::1'", udp6, datagram("fe80::3", "fe80::2", 5, 6, 0)), ip6Case("dstipaddr='fe80::' dstipmask='64'", udp6, datagram("fe80::1", "fd00::2", 5, 6, 0)),
		ip6Case("protocol='udp'", udp6, message6(128, 0)), ip6Case("protocol='udp' srcportstart='4' srcportend='5'", udp6, datagram("fe80::1", "fe80::2", 6, 6, 0)),
		ip6Case("protocol='udp' dstportstart='6'", udp6, datagram("fe80::1", "fe80::2", 6, 7, 0)),
		ip6Case("protocol='icmpv6' type='128'", message6(128, 0), message6(129, 0)), ip6Case("protocol='icmpv6' type='128' typeend='130'", message6(130, 0), message6(131, 0)),
		ip6Case("protocol='icmpv6' type='1' code='3'", message6(1, 3), message6(1, 4)), ip6Case("protocol='icmpv6' type='1' code='3' codeend='4'", message6(1, 4), message6(1, 5)),

		netCase("tcp dstportstart='6'", segment(5, 6, syn), segment(5, 7, syn)), netCase("tcp srcportstart='5' srcportend='7'", segment(7, 6, syn), segment(8, 6, syn)),
		netCase("tcp flags='SYN,ACK/SYN'", segment(5, 6, syn), segment(5, 6, syn|ack)), netCase("tcp match='no' flags='SYN/SYN' state='NEW'", segment(5, 6, ack), segment(5, 6, syn)),
		netCase("tcp option='8'", segment(5, 6, syn, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0), segment(5, 6, syn, 2, 4, 5, 0)),
		netCase("udp srcmacaddr='$MAC'", udp4, frame(mac(1), odd, 0x0800, inVLAN)),
		netCase("udp srcipaddr='10.0.0.0' srcipmask='28'", udp4, datagram("10.0.0.17", "10.0.0.2", 5, 6, 0)), netCase("udp dstipaddr='10.0.0.2'", udp4, datagram("10.0.0.1", "10.0.0.3", 5, 6, 0)),
		netCase("udp srcipfrom='10.0.0.0' srcipto='10.0.0.3'", udp4, datagram("10.0.0.4", "10.0.0.2", 5, 6, 0)), netCase("udp dstipfrom='10.0.0.1' dstipto='10.0.0.3'", udp4, datagram("10.0.0.1", "10.0.0.4", 5, 6, 0)),
		netCase("udp dscp='5'", datagram("10.0.0.1", "10.0.0.2", 5, 6, 5<<2), datagram("10.0.0.1", "10.0.0.2", 5, 6, 5)), netCase("udp match='no' dstportstart='7' dstportend='9'", udp4, datagram("10.0.0.1", "10.0.0.2", 5, 8, 0)),
		netCase("udp state='NEW'", udp4, segment(5, 6, syn)), netCase("all", udp4, udp6),
		untracked("sctp dstportstart='6'", proto("10.0.0.1", 132), udp4), netCase("icmp type='8'", message(8, 0), message(3, 0)), untracked("icmp type='3' code='4'", message(3, 4), message(3, 3)),
		netCase("igmp", proto("10.0.0.1", 2), udp4), netCase("esp", proto("10.0.0.1", 50), udp4), netCase("ah", proto("10.0.0.1", 51), udp4), untracked("udplite", proto("10.0.0.1", 136), udp4),
		netCase("tcp-ipv6 dstportstart='6'", packet(0, 1, "fe80::1", "fe80::2", 6, 0, tcp(5, 6, syn, 1, 0)), packet(0, 1, "fe80::1", "fe80::2", 6, 0, tcp(5, 7, syn, 1, 0))),
		netCase("udp-ipv6 srcipaddr='fe80::' srcipmask='64'", udp6, datagram("fd00::1", "fe80::2", 5, 6, 0)), netCase("udp-ipv6 dscp='9'", datagram("fe80::1", "fe80::2", 5, 6, 9<<2), udp6),
		netCase("udp-ipv6 srcipfrom='fe80::1' srcipto='fe80::5'", udp6, datagram("fe80::6", "fe80::2", 5, 6, 0)),
		untracked("sctp-ipv6 srcportstart='5'", proto("fe80::1", 132), udp6), netCase("icmpv6 type='128'", message6(128, 0), message6(129, 0)), netCase("esp-ipv6", proto("fe80::1", 50), udp6),
		untracked("ah-ipv6", packet(0, 1, "fe80::1", "fe80::2", 51, 0, append([]byte{59, 4}, make([]byte, 22)...)), udp6), untracked("udplite-ipv6", proto("fe80::1", 136), udp6), netCase("all-ipv6", udp6, udp4),
	}
	l := newLab(t, 2)
	b := backend(t)
	for _, c := range cases {
		// Once for what the guest sends, once, with the guests changed over, for what it gets.
		for _, direction := range []string{"out", "in"} {
			rule := strings.Replace(c.rule, "direction='out'", "direction='"+direction+"'", 1)
			rest := c.otherwise
			if rest == "" {
				rest = "<rule action='drop' direction='inout' priority='900'/>"
			}
			port := map[string]string{"out": "vnet0", "in": "vnet1"}[direction]
			l.must(b.Remove(t.Context(), "vnet0", "vnet1"))
			l.must(b.Apply(t.Context(), program(t, port, rule+rest)))
			forget(t)
			if !l.passes(0, 1, c.yes) {
				t.Errorf("%s: what it accepts is dropped\n%s", rule, program(t, port, rule+rest))
			}
			forget(t)
			if l.passes(0, 1, c.no) {
				t.Errorf("%s: what it does not accept passes\n%s", rule, program(t, port, rule+rest))
			}
			l.must(b.Apply(t.Context(), program(t, port, "")))
		}
	}
	if ports, err := b.Ports(t.Context()); err != nil || len(ports) != 0 {
		t.Error("programs without rules leave", ports, err)
	}
}

// Rules that differ in one field become a set.
func TestSetsWithTraffic(t *testing.T) {
	l := newLab(t, 2)
	b := backend(t)
	var ports, addresses strings.Builder
	for i := range 600 {
		fmt.Fprintf(&ports, "<rule action='accept' direction='out' statematch='false'><tcp dstportstart='%d' dstportend='%d'/></rule>", 100+i*100, 103+i*100)
		fmt.Fprintf(&addresses, "<rule action='drop' direction='in'><ip srcipaddr='10.2.%d.%d'/></rule>", i/100, i%100*2)
	}
	ports.WriteString("<rule action='accept' direction='out' statematch='false'><tcp dstportstart='65530' dstportend='65535'/></rule>")
	l.must(b.Apply(t.Context(), program(t, "vnet0", ports.String()+addresses.String()+dropIP4)))
	for port, want := range map[uint16]bool{1: false, 99: false, 100: true, 103: true, 104: false, 5000: true, 5004: false, 60003: true, 60004: false, 65529: false,
		65530: true, 65535: true} {
		if l.passes(0, 1, packet(0, 1, "10.0.0.1", "10.0.0.2", 6, 0, tcp(5, port, syn, 1, 0))) != want {
			t.Errorf("port %d passes: %v", port, !want)
		}
	}
	l.must(b.Apply(t.Context(), program(t, "vnet0", addresses.String())))
	for src, want := range map[string]bool{"10.1.255.255": true, "10.2.0.0": false, "10.2.0.1": true, "10.2.0.2": false, "10.2.2.198": false, "10.2.5.198": false, "10.2.6.0": true} {
		if l.passes(1, 0, packet(1, 0, src, "10.0.0.1", 17, 0, udp(5, 6, "data"))) != want {
			t.Errorf("%s passes: %v", src, !want)
		}
	}
}
