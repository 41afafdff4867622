package rules

import (
	"fmt"
	"strings"
)

// scene is what happens between guest 0, who is filtered, and guest 1, who is not: frames in an order, since connection
// tracking remembers. Each scene starts with nothing remembered.
type scene struct {
	name  string
	steps []step
}

type step struct {
	from  int // 0 or 1, to the other one
	frame []byte
}

// corpus is a bit of everything that rules can tell apart.
func corpus() (all []scene) {
	add := func(name string, steps ...step) { all = append(all, scene{name, steps}) }
	broadcast := [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	odd := [6]byte{1, 2, 3, 4, 5, 6}
	near := [6]byte{2, 2, 3, 9, 9, 9}
	for from := range 2 {
		to := 1 - from
		one := func(name string, f []byte) { add(fmt.Sprintf("%d %s", from, name), step{from, f}) }
		other := [6]byte{0x52, 0x54, 0, 0, 0, 9} // nobody's address, which the bridge floods

		// link layer
		for _, src := range [][6]byte{mac(from), near, other} {
			one(fmt.Sprintf("ether %x", src), frame(mac(to), src, 0x88b5, []byte("plain frame")))
			one(fmt.Sprintf("ether bcast %x", src), frame(broadcast, src, 0x88b5, []byte("plain frame")))
		}
		one("ether to odd", frame([6]byte{2, 2, 3, 4, 5, 6}, mac(from), 0x88b6, []byte("plain frame")))
		one("ether multicast", frame(odd, mac(from), 0x88b5, []byte("plain frame")))
		for _, id := range []uint16{5, 6} {
			one(fmt.Sprint("vlan ", id), tagged(mac(to), mac(from), id, 0x0806, arp(1, mac(from), "10.0.0.1", mac(to), "10.0.0.2")))
			_, p := above("10.0.0.1", "10.0.0.2", 17, 0, udp(5, 9, "in a vlan"))
			one(fmt.Sprint("vlan ip ", id), tagged(mac(to), mac(from), id, 0x0800, p))
		}
		group := [6]byte{1, 0x80, 0xc2, 0, 0, 0}
		for i, s := range [][]byte{
			stp(0, 68, 4, [6]byte{6, 5, 4, 3, 2, 1}, 10, 4, [6]byte{6, 5, 4, 3, 9, 9}, 1, 5, 7, 5, 7),
			stp(0, 0, 10, [6]byte{6, 5, 4, 3, 2, 1}, 30, 9, [6]byte{6, 5, 9, 3, 9, 9}, 3, 7, 8, 7, 9),
			stp(0x12, 68, 4, [6]byte{6, 5, 4, 3, 2, 2}, 10, 4, [6]byte{6, 5, 4, 3, 9, 9}, 1, 5, 7, 5, 7),
		} {
			one(fmt.Sprint("stp ", i), frame(group, mac(from), uint16(len(s)), s))
			one(fmt.Sprint("stp near ", i), frame(group, near, uint16(len(s)), s))
		}
		for _, ether := range []uint16{0x0806, 0x8035} {
			for op := uint16(1); op <= 4; op++ {
				one(fmt.Sprintf("arp %x %d", ether, op), frame(broadcast, mac(from), ether, arp(op, mac(from), "10.0.0.1", mac(to), "10.0.0.2")))
			}
			one(fmt.Sprintf("arp %x ips", ether), frame(mac(to), mac(from), ether, arp(1, mac(from), "1.2.3.4", mac(to), "5.6.7.8")))
			one(fmt.Sprintf("arp %x ips back", ether), frame(mac(to), mac(from), ether, arp(1, mac(to), "5.6.7.8", mac(from), "1.2.3.4")))
			one(fmt.Sprintf("arp %x ips near", ether), frame(mac(to), mac(from), ether, arp(1, mac(from), "1.2.9.9", mac(to), "5.6.9.9")))
			one(fmt.Sprintf("arp %x macs", ether), frame(mac(to), near, ether, arp(1, odd, "1.2.3.4", [6]byte{10, 11, 12, 13, 14, 15}, "5.6.7.8")))
			one(fmt.Sprintf("arp %x gratuitous", ether), frame(broadcast, mac(from), ether, arp(1, mac(from), "10.0.0.1", mac(to), "10.0.0.1")))
			strange := arp(1, mac(from), "10.0.0.1", mac(to), "10.0.0.1")
			strange[5] = 6 // addresses of another length
			one(fmt.Sprintf("arp %x strange", ether), frame(broadcast, mac(from), ether, strange))
		}

		// network layer, one packet each
		addresses := [][2]string{{"10.0.0.1", "10.0.0.2"}, {"1.2.3.4", "4.5.6.7"}, {"4.5.6.7", "1.2.3.4"}, {"1.1.1.1", "2.2.2.2"},
			{"1.2.3.9", "1.2.4.9"}, {"1.2.3.10", "1.2.4.10"}, {"2.2.2.2", "10.0.0.1"}, {"0.0.0.0", "255.255.255.255"}, {"10.0.0.2", "10.0.0.1"},
			{"fe80::1", "fe80::2"}, {"fe80::2", "fe80::1"}, {"fe80::9", "fd00::1"}, {"::1", "fe80::a"}, {"fd00::7", "ff02::1"}}
		ports := [][2]uint16{{80, 5}, {5, 9}, {7, 80}, {9, 5}, {90, 3}, {3, 90}, {67, 68}, {68, 67}}
		for i, a := range addresses {
			for j, p := range ports {
				if (i+j)%3 != 0 {
					continue // a third of the combinations is variety enough
				}
				one(fmt.Sprint("tcp syn ", a, p), packet(from, to, a[0], a[1], 6, 0, tcp(p[0], p[1], syn, 1, 0, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0)))
				one(fmt.Sprint("udp ", a, p), packet(from, to, a[0], a[1], 17, 0, udp(p[0], p[1], "payload")))
				one(fmt.Sprint("sctp ", a, p), packet(from, to, a[0], a[1], 132, 0, udp(p[0], p[1], "not a chunk")))
			}
			for _, class := range []byte{10, 12, 16, 20} {
				one(fmt.Sprint("tos ", a, class), packet(from, to, a[0], a[1], 17, class, udp(1000, 1001, "payload")))
			}
			for _, proto := range []byte{2, 50, 51, 136, 47} {
				one(fmt.Sprint("proto ", a, proto), packet(from, to, a[0], a[1], proto, 0, udp(1, 2, "whatever this is")))
			}
			kinds := [][2]byte{{8, 0}, {3, 4}, {3, 3}}
			proto := byte(1)
			if strings.Contains(a[0], ":") {
				kinds, proto = [][2]byte{{128, 0}, {133, 0}, {135, 3}, {135, 6}, {1, 3}, {3, 1}}, 58
			}
			for _, k := range kinds {
				one(fmt.Sprint("icmp ", a, k), packet(from, to, a[0], a[1], proto, 0, icmp(k[0], k[1], 7)))
			}
		}
		for _, flags := range []byte{0, syn | rst, fin | psh | urg, ack, rst, syn | ack} {
			one(fmt.Sprint("tcp flags ", flags), packet(from, to, "10.0.0.1", "10.0.0.2", 6, 0, tcp(80, 4, flags, 1, 1)))
			one(fmt.Sprint("tcp flags back ", flags), packet(from, to, "10.0.0.1", "10.0.0.2", 6, 0, tcp(4, 80, flags, 1, 1, 2, 4, 5, 0)))
		}

		// conversations
		for _, a := range [][2]string{{"10.0.0.1", "10.0.0.2"}, {"1.1.1.1", "10.0.0.9"}, {"fe80::1", "fe80::2"}} {
			for _, p := range ports {
				there := func(proto byte, b []byte) step { return step{from, packet(from, to, a[0], a[1], proto, 0, b)} }
				back := func(proto byte, b []byte) step { return step{to, packet(to, from, a[1], a[0], proto, 0, b)} }
				name := fmt.Sprint(from, " talk ", a, p)
				add(name+" tcp", there(6, tcp(p[0], p[1], syn, 1, 0)), back(6, tcp(p[1], p[0], syn|ack, 1, 2)), there(6, tcp(p[0], p[1], ack, 2, 2)),
					back(6, tcp(p[1], p[0], psh|ack, 2, 2)), there(6, tcp(p[0], p[1], fin|ack, 2, 2)))
				add(name+" udp", there(17, udp(p[0], p[1], "ask")), back(17, udp(p[1], p[0], "answer")), there(17, udp(p[0], p[1], "ask again")))
				add(name+" icmp", there(17, udp(p[0], p[1], "ask")), back(1, append(icmp(3, 3, 0)[:8], ip4first(there(17, udp(p[0], p[1], "ask")))...)))
			}
			kinds, proto := [2]byte{8, 0}, byte(1)
			if strings.Contains(a[0], ":") {
				kinds, proto = [2]byte{128, 129}, 58
			}
			add(fmt.Sprint(from, " ping ", a), step{from, packet(from, to, a[0], a[1], proto, 0, icmp(kinds[0], 0, 9))},
				step{to, packet(to, from, a[1], a[0], proto, 0, icmp(kinds[1], 0, 9))},
				step{from, packet(from, to, a[0], a[1], proto, 0, icmp(kinds[0], 0, 9))})
			add(fmt.Sprint(from, " pong ", a), step{from, packet(from, to, a[0], a[1], proto, 0, icmp(kinds[1], 0, 9))})
		}
	}
	return all
}

// ip4first is what an error quotes of the packet in a frame.
func ip4first(s step) []byte { return s.frame[14:min(len(s.frame), 14+28)] }

// play plays all scenes and tells of every step whether its frame arrived.
func (l *lab) play(scenes []scene) map[string]string {
	result := map[string]string{}
	for _, s := range scenes {
		forget(l.t)
		var passed strings.Builder
		for _, st := range s.steps {
			if l.passes(st.from, 1-st.from, st.frame) {
				passed.WriteByte('+')
			} else {
				passed.WriteByte('-')
			}
		}
		result[s.name] = passed.String()
	}
	return result
}
