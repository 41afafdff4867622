package nwfilter

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branchtest"
	"virtree/wire/protocol"
)

// sends tells whether the guest can send an IPv4 packet from an address.
func (l *lab) sends(src string) bool {
	l.t.Helper()
	return l.reaches("a", "b", l.frame("a", "b", 0x800, ipv4Packet(src, "10.0.0.2", udp(4000, 4001, []byte("data")))))
}

// offer is a DHCP server's answer of that kind to the guest; seconds is the length of the lease.
func (l *lab) answer(kind byte, address string, seconds uint32) []byte {
	lease := binary.BigEndian.AppendUint32([]byte{51, 4}, seconds)
	server := append([]byte{54, 4}, ip("10.0.0.2")...)
	return l.frame("b", "a", 0x800, ipv4Packet("10.0.0.2", address, udp(67, 68, dhcp(2, kind, "0.0.0.0", address, lease, server))))
}

func learningLab(t *testing.T) *lab {
	l := newLab(t)
	_, err := InstallStock(l.env.Paths)
	must(t, err)
	l.start()
	return l
}

// Until its address is seen the guest may send ARP and IPv4, but not as somebody else and nothing else; then it is held to
// the address.
func TestAddressIsLearnedFromTraffic(t *testing.T) {
	for name, first := range map[string]func(l *lab) []byte{
		"arp": func(l *lab) []byte {
			return l.frame("a", "ff:ff:ff:ff:ff:ff", 0x806, arp(1, l.mac("a"), "10.0.0.1", make([]byte, 6), "10.0.0.2"))
		},
		"ip": func(l *lab) []byte {
			return l.frame("a", "b", 0x800, ipv4Packet("10.0.0.1", "10.0.0.2", udp(1, 2, nil)))
		},
		"dhcp": nil,
	} {
		t.Run(name, func(t *testing.T) {
			l := learningLab(t)
			l.bind("clean-traffic", "")
			if xml := l.bindingXML(); !strings.Contains(xml, "name='MAC'") {
				t.Error(xml)
			}
			spoofed := frame(l.mac("52:54:00:00:00:99"), l.mac("b"), 0x800, ipv4Packet("10.0.0.9", "10.0.0.2", udp(1, 2, nil)))
			probe := l.frame("a", "ff:ff:ff:ff:ff:ff", 0x806, arp(1, l.mac("a"), "0.0.0.0", make([]byte, 6), "10.0.0.1"))
			if l.passes(0x88b5) || l.reaches("a", "b", spoofed) || !l.reaches("a", "b", probe) {
				t.Error("what passes while nothing is learned is wrong")
			}
			await.Within(t, "the guest is held to its address", 20*time.Second, func() bool {
				if first == nil {
					l.reaches("b", "a", l.answer(2, "10.0.0.8", 100)) // an offer is no lease
					l.reaches("b", "a", l.answer(5, "10.0.0.1", 100))
				} else {
					l.send("a", first(l))
				}
				return strings.Contains(nft(t, "list", "ruleset"), "10.0.0.1")
			})
			if !l.sends("10.0.0.1") || l.sends("10.0.0.9") {
				t.Error("the guest is not held to its address")
			}
			l.unbind()
			l.nothingLeft()
		})
	}
}

// With DHCP alone the guest may do nothing but ask, until a server has answered; it keeps its address over a restart, and
// loses it with the lease or when it gives it back.
func TestAddressIsLearnedByDHCP(t *testing.T) {
	l := learningLab(t)
	l.bind("clean-traffic", param("CTRL_IP_LEARNING", "dhcp")+param("DHCPSERVER", "10.0.0.2"))
	ask := l.frame("a", "ff:ff:ff:ff:ff:ff", 0x800, ipv4Packet("0.0.0.0", "255.255.255.255", udp(68, 67, dhcp(1, 1, "0.0.0.0", "0.0.0.0"))))
	rogue := l.frame("c", "a", 0x800, ipv4Packet("10.0.0.3", "10.0.0.9", udp(67, 68, dhcp(2, 5, "0.0.0.0", "10.0.0.9", []byte{51, 4, 0, 0, 1, 0}))))
	if l.sends("10.0.0.1") || !l.reaches("a", "b", ask) || l.reaches("b", "a", l.frame("b", "a", 0x88b5, nil)) || l.reaches("c", "a", rogue) {
		t.Error("what passes without a lease is wrong")
	}
	assign := func(address string, seconds uint32) {
		t.Helper()
		await.Within(t, "the lease of "+address+" is in force", 20*time.Second, func() bool {
			if !l.reaches("b", "a", l.answer(5, address, seconds)) {
				t.Error("the guest does not hear its server")
			}
			return l.sends(address)
		})
	}
	assign("10.0.0.1", 1000)
	if l.sends("10.0.0.9") {
		t.Error("the guest sends from another address")
	}
	text, err := os.ReadFile(newStore(l.env.Paths).leases)
	if err != nil || !strings.Contains(string(text), " 5c6d49af-b071-6127-b4ec-6f8ed4b55335-52:54:00:00:00:01 10.0.0.1 10.0.0.2") {
		t.Errorf("%s %v", text, err)
	}
	l.restart()
	if !l.sends("10.0.0.1") || l.sends("10.0.0.9") {
		t.Error("the lease did not survive a restart")
	}
	assign("10.0.0.5", 1) // a second address, for a second
	if !l.sends("10.0.0.1") {
		t.Error("the first address is lost")
	}
	await.Within(t, "the second lease is over", 20*time.Second, func() bool { return !l.sends("10.0.0.5") })
	if !l.sends("10.0.0.1") {
		t.Error("the first address is lost with the second")
	}
	release := l.frame("a", "b", 0x800, ipv4Packet("10.0.0.1", "10.0.0.2", udp(68, 67, dhcp(1, 7, "10.0.0.1", "0.0.0.0"))))
	l.reaches("a", "b", release)
	await.Within(t, "the address is given back", 20*time.Second, func() bool { return !l.sends("10.0.0.1") })
	if !l.reaches("a", "b", ask) {
		t.Error("the guest cannot ask again")
	}
	l.unbind()
	l.nothingLeft()
}

// A guest that is started again before its lease is over has its address at once.
func TestLeaseOutlivesItsBinding(t *testing.T) {
	l := learningLab(t)
	s := newStore(l.env.Paths)
	now := time.Now()
	b := "5c6d49af-b071-6127-b4ec-6f8ed4b55335-52:54:00:00:00:01"
	must(t, s.saveLeases("other", []lease{{address: netip.MustParseAddr("10.0.0.3"), end: now.Add(-time.Second)}}))
	must(t, s.saveLeases(b, []lease{{address: netip.MustParseAddr("10.0.0.1"), end: now.Add(time.Hour)}, {address: netip.MustParseAddr("10.0.0.2"), end: now.Add(-time.Hour)}}))
	l.bind("clean-traffic", param("CTRL_IP_LEARNING", "dhcp"))
	if !l.sends("10.0.0.1") || l.sends("10.0.0.2") {
		t.Error("the lease is not in force")
	}
	kept, err := s.loadLeases()
	if err != nil || len(kept[b]) != 1 || len(kept["other"]) != 0 {
		t.Error(kept, err)
	}
}

// A learner ends with its binding, and with its link.
func TestLearnersEnd(t *testing.T) {
	l := learningLab(t)
	l.bind("clean-traffic", "")
	l.unbind()
	if !l.sends("10.0.0.1") {
		t.Error("rules are left")
	}
	l.bind("clean-traffic", "")
	link, err := netlink.LinkByName("pa")
	must(t, err)
	must(t, netlink.LinkDel(link))
	if _, err := branchtest.Do(l.c, protocol.ConnectNumOfNwfilters, &protocol.Void{}); err != nil {
		t.Error(err)
	}
	l.unbind()
	l.nothingLeft()
}
