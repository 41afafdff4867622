package nwfilter

import (
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/actors/nwfilter/def"
	"virtree/wire/protocol"
)

// libvirtNames are the filters that libvirt's package installs.
const libvirtNames = "allow-arp allow-dhcp allow-dhcp-server allow-dhcpv6 allow-dhcpv6-server allow-incoming-ipv4 allow-incoming-ipv6 " +
	"allow-ipv4 allow-ipv6 clean-traffic clean-traffic-gateway no-arp-ip-spoofing no-arp-mac-spoofing no-arp-spoofing no-ip-multicast " +
	"no-ip-spoofing no-ipv6-multicast no-ipv6-spoofing no-mac-broadcast no-mac-spoofing no-other-l2-traffic no-other-rarp-traffic " +
	"qemu-announce-self qemu-announce-self-rarp"

func TestStockIsInstalledOnce(t *testing.T) {
	env := branchtest.Env(t)
	names := strings.Join(slices.Sorted(maps.Keys(Stock())), " ")
	if names != libvirtNames {
		t.Errorf("in stock: %s", names)
	}
	own := "<filter name='allow-arp'><uuid>11111111-2222-3333-4444-555555555555</uuid></filter>"
	path, err := fileOf(newStore(env.Paths).filters, "allow-arp")
	must(t, err)
	must(t, os.MkdirAll(newStore(env.Paths).filters, 0o700))
	must(t, os.WriteFile(path, []byte(own), 0o600))
	for i, want := range []int{23, 0} {
		if n, err := InstallStock(env.Paths); n != want || err != nil {
			t.Errorf("time %d: %d written, want %d: %v", i+1, n, want, err)
		}
	}
	if kept, _ := os.ReadFile(path); string(kept) != own {
		t.Error("the administrator's own filter was replaced")
	}
	all, err := newStore(env.Paths).loadFilters()
	if len(all) != 24 || err != nil {
		t.Error(len(all), err)
	}
}

// The stock filters match what libvirt's do, but for one that is plainly meant otherwise there: an ethertype without a
// digit.
func TestStockDoesWhatLibvirtsDoes(t *testing.T) {
	for name, doc := range Stock() {
		theirs, err := os.ReadFile("/usr/share/libvirt/nwfilter/" + name + ".xml")
		if err != nil {
			t.Skip("libvirt's own filters are not installed:", err)
		}
		a, err := def.ParseFilter(doc, true)
		must(t, err)
		b, err := def.ParseFilter(strings.Replace(string(theirs), "0x835", "0x8035", 1), false)
		must(t, err)
		if newFilter(a).sum != newFilter(b).sum {
			t.Errorf("ours:\n%stheirs:\n%s", a.Format(), b.Format())
		}
	}
}

// probes are frames by name: what the guest sends ("out") and what is sent to it ("in").
func (l *lab) probes() map[string][]byte {
	a, b, c := l.stations["a"].mac, l.stations["b"].mac, l.stations["c"].mac
	all := net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	spoof := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99}
	zero := make(net.HardwareAddr, 6)
	data := udp(4000, 4001, []byte("data"))
	const (
		fARP, fIP, f6, fRARP, fOther = 0x806, 0x800, 0x86dd, 0x8035, 0x88b5
		mine, theirs                 = "10.0.0.1", "10.0.0.2"
		mine6, theirs6               = "fd00::1", "fd00::2"
	)
	return map[string][]byte{
		"out arp":             frame(a, all, fARP, arp(1, a, mine, zero, theirs)),
		"out arp other mac":   frame(a, all, fARP, arp(1, spoof, mine, zero, theirs)),
		"out arp other ip":    frame(a, all, fARP, arp(1, a, "10.0.0.9", zero, theirs)),
		"out arp spoofed":     frame(spoof, all, fARP, arp(1, a, mine, zero, theirs)),
		"out ip":              frame(a, b, fIP, ipv4Packet(mine, theirs, data)),
		"out ip other":        frame(a, b, fIP, ipv4Packet("10.0.0.9", theirs, data)),
		"out ip spoofed":      frame(spoof, b, fIP, ipv4Packet(mine, theirs, data)),
		"out ip broadcast":    frame(a, all, fIP, ipv4Packet(mine, "255.255.255.255", data)),
		"out ip multicast":    frame(a, net.HardwareAddr{1, 0, 0x5e, 0, 0, 5}, fIP, ipv4Packet(mine, "224.0.0.5", data)),
		"out dhcp":            frame(a, all, fIP, ipv4Packet("0.0.0.0", "255.255.255.255", udp(68, 67, dhcp(1, 1, "0.0.0.0", "0.0.0.0")))),
		"out ip6":             frame(a, b, f6, ipv6Packet(mine6, theirs6, data)),
		"out ip6 other":       frame(a, b, f6, ipv6Packet("fd00::9", theirs6, data)),
		"out ip6 multicast":   frame(a, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 0xfb}, f6, ipv6Packet(mine6, "ff02::fb", data)),
		"out dhcp6":           frame(a, net.HardwareAddr{0x33, 0x33, 0, 1, 0, 2}, f6, ipv6Packet("fe80::1", "ff02::1:2", udp(546, 547, nil))),
		"out rarp":            frame(a, all, fRARP, arp(3, a, "0.0.0.0", a, "0.0.0.0")),
		"out rarp other":      frame(a, all, fRARP, arp(3, a, mine, a, "0.0.0.0")),
		"out else":            frame(a, b, fOther, []byte("else")),
		"in arp":              frame(b, a, fARP, arp(2, b, theirs, a, mine)),
		"in ip":               frame(b, a, fIP, ipv4Packet(theirs, mine, data)),
		"in ip from c":        frame(c, a, fIP, ipv4Packet("10.0.0.3", mine, data)),
		"in dhcp":             frame(b, a, fIP, ipv4Packet(theirs, mine, udp(67, 68, nil))),
		"in dhcp from c":      frame(c, a, fIP, ipv4Packet("10.0.0.3", mine, udp(67, 68, nil))),
		"in ip6":              frame(b, a, f6, ipv6Packet(theirs6, mine6, data)),
		"in dhcp6":            frame(b, a, f6, ipv6Packet(theirs6, mine6, udp(547, 546, nil))),
		"in dhcp6 from c":     frame(c, a, f6, ipv6Packet("fd00::3", mine6, udp(547, 546, nil))),
		"in rarp of guest":    frame(b, all, fRARP, arp(3, a, "0.0.0.0", a, "0.0.0.0")),
		"in rarp of somebody": frame(b, all, fRARP, arp(3, b, "0.0.0.0", b, "0.0.0.0")),
		"in else":             frame(b, a, fOther, []byte("else")),
	}
}

// matching are the names of probes that begin with one of these words, without those in except.
func matching(probes map[string][]byte, prefixes ...string) map[string]bool {
	out := map[string]bool{}
	for name := range probes {
		for _, p := range prefixes {
			if name == p || strings.HasPrefix(name, strings.TrimSuffix(p, "*")) && strings.HasSuffix(p, "*") {
				out[name] = true
			}
		}
	}
	return out
}

// Each stock filter on a real port, with real frames: what it is to let pass passes, and nothing else. Filters that only
// allow are accompanied by such that drop the rest, also in their own chains: what comes to the end of a chain passes, in
// libvirt, too.
func TestTrafficOfStockFilters(t *testing.T) {
	l := newLab(t)
	_, err := InstallStock(l.env.Paths)
	must(t, err)
	l.start()
	for _, chain := range []string{"ipv4", "ipv6"} {
		l.define("<filter name='drop-" + chain + "' chain='" + chain + "'><rule action='drop' direction='inout' priority='1000'/></filter>")
	}
	probes := l.probes()
	params := param("IP", "10.0.0.1") + param("IPV6", "fd00::1") + param("GATEWAY_MAC", "52:54:00:00:00:02")
	ip4 := []string{"out ip", "out ip other", "out ip spoofed", "out ip broadcast", "out ip multicast", "out dhcp", "in ip", "in ip from c", "in dhcp", "in dhcp from c"}
	ip6 := []string{"out ip6*", "out dhcp6", "in ip6", "in dhcp6", "in dhcp6 from c"}
	for _, c := range []struct {
		filter string
		rest   bool     // with filters that drop what is left
		pass   []string // what passes; nil: all but drop
		drop   []string
		server string
	}{
		{filter: "allow-arp", rest: true, pass: []string{"out arp*", "in arp"}},
		{filter: "allow-ipv4", rest: true, pass: ip4},
		{filter: "allow-ipv6", rest: true, pass: ip6},
		{filter: "allow-incoming-ipv4", rest: true, pass: []string{"in ip", "in ip from c", "in dhcp", "in dhcp from c"}},
		{filter: "allow-incoming-ipv6", rest: true, pass: []string{"in ip6", "in dhcp6", "in dhcp6 from c"}},
		{filter: "allow-dhcp", rest: true, pass: []string{"out dhcp", "in dhcp", "in dhcp from c"}},
		{filter: "allow-dhcp-server", rest: true, server: "10.0.0.2", pass: []string{"out dhcp", "in dhcp"}},
		{filter: "allow-dhcpv6", rest: true, pass: []string{"out dhcp6", "in dhcp6", "in dhcp6 from c"}},
		{filter: "allow-dhcpv6-server", rest: true, server: "fd00::2", pass: []string{"out dhcp6", "in dhcp6"}},
		{filter: "no-mac-spoofing", drop: []string{"out arp spoofed", "out ip spoofed"}},
		{filter: "no-mac-broadcast", drop: []string{"out ip broadcast", "out dhcp"}},
		{filter: "no-ip-spoofing", drop: []string{"out ip other"}},
		{filter: "no-ipv6-spoofing", drop: []string{"out ip6 other"}},
		{filter: "no-ip-multicast", drop: []string{"out ip multicast"}},
		{filter: "no-ipv6-multicast", drop: []string{"out ip6 multicast", "out dhcp6"}},
		{filter: "no-arp-mac-spoofing", drop: []string{"out arp other mac"}},
		{filter: "no-arp-ip-spoofing", drop: []string{"out arp other ip"}},
		{filter: "no-arp-spoofing", drop: []string{"out arp other mac", "out arp other ip"}},
		{filter: "no-other-l2-traffic", drop: []string{"out*", "in*"}},
		{filter: "no-other-rarp-traffic", drop: []string{"out rarp*", "in rarp*"}},
		{filter: "qemu-announce-self-rarp", rest: true, pass: []string{"out rarp", "in rarp of guest"}},
		{filter: "qemu-announce-self", rest: true, pass: []string{"out rarp", "in rarp of guest"}},
		{filter: "clean-traffic", pass: []string{
			"out arp", "out ip", "out ip broadcast", "out ip multicast", "out dhcp", "out rarp",
			"in arp", "in ip", "in ip from c", "in dhcp", "in dhcp from c", "in rarp of guest",
		}},
		{filter: "clean-traffic-gateway", pass: []string{
			"out arp", "out ip", "out ip6", "out ip6 other", "out rarp", "out else",
			"in arp", "in ip", "in dhcp", "in ip6", "in dhcp6", "in rarp of guest", "in else",
		}},
	} {
		t.Run(c.filter, func(t *testing.T) {
			l.t = t
			name, more := c.filter, params
			if c.server != "" {
				more += param("DHCPSERVER", c.server)
			}
			if c.rest {
				name = "test-" + c.filter
				l.define("<filter name='" + name + "'><filterref filter='" + c.filter + "'/><filterref filter='drop-ipv4'/><filterref filter='drop-ipv6'/>" +
					"<filterref filter='no-other-rarp-traffic'/><filterref filter='no-other-l2-traffic'/></filter>")
			}
			want := matching(probes, c.pass...)
			if c.pass == nil {
				want = matching(probes, "out*", "in*")
				for name := range matching(probes, c.drop...) {
					delete(want, name)
				}
			}
			l.bind(name, more)
			defer l.unbind()
			for _, name := range slices.Sorted(maps.Keys(probes)) {
				from, at := "a", "b"
				if strings.HasPrefix(name, "in ") {
					from, at = "b", "a"
				}
				if strings.HasSuffix(name, "from c") {
					from = "c"
				}
				if got := l.reaches(from, at, probes[name]); got != want[name] {
					t.Errorf("%s: passes %v, want %v", name, got, want[name])
				}
			}
			if t.Failed() {
				f, _ := branchtest.Do(l.c, protocol.NwfilterLookupByName, &protocol.NwfilterLookupByNameArgs{Name: name})
				t.Logf("%s\n%s", f.Nwfilter.Name, nft(t, "list", "ruleset"))
			}
		})
	}
	l.t = t
}
