package learn

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Seen is what a packet says of the guest's address.
type Seen struct {
	Address netip.Addr
	DHCP    bool          // a server assigned it, or the guest gave it back
	Server  netip.Addr    // of DHCP; may be invalid
	Lasts   time.Duration // of DHCP; Forever when it has no end
	Ended   bool          // the guest gave the address back
}

// Forever is the length of a lease without an end.
const Forever = time.Duration(1<<63 - 1)

// MAC is a guest's hardware address.
type MAC [6]byte

var broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

const (
	etherHeader = 14
	etherIPv4   = 0x800
	etherARP    = 0x806
	ipHeader    = 20
	protoUDP    = 17
	udpHeader   = 8
	portServer  = 67
	portClient  = 68
)

// Parse looks at a frame that the guest sent, or that is on its way to it. onlyDHCP passes over all but DHCP.
func Parse(frame []byte, toGuest bool, guest MAC, onlyDHCP bool) (Seen, bool) {
	if len(frame) < etherHeader {
		return Seen{}, false
	}
	dst, src, body := MAC(frame[:6]), MAC(frame[6:12]), frame[etherHeader:]
	if toGuest && dst != guest && dst != broadcast || !toGuest && src != guest {
		return Seen{}, false
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		if toGuest || onlyDHCP {
			return Seen{}, false
		}
		return parseARP(body, guest)
	case etherIPv4:
		return parseIPv4(body, toGuest, guest, onlyDHCP)
	}
	return Seen{}, false
}

// parseARP takes the sender's address, which is zero while the guest only asks whether somebody has it.
func parseARP(b []byte, guest MAC) (Seen, bool) {
	const size, hardware, protocol = 28, 1, etherIPv4
	if len(b) < size || binary.BigEndian.Uint16(b) != hardware || binary.BigEndian.Uint16(b[2:]) != protocol || b[4] != 6 || b[5] != 4 || MAC(b[8:14]) != guest {
		return Seen{}, false
	}
	return unicast(netip.AddrFrom4([4]byte(b[14:18])))
}

// unicast passes over addresses that no guest has.
func unicast(a netip.Addr) (Seen, bool) {
	if a.IsUnspecified() || a.As4()[0] >= 224 || a.IsLoopback() {
		return Seen{}, false
	}
	return Seen{Address: a}, true
}

func parseIPv4(b []byte, toGuest bool, guest MAC, onlyDHCP bool) (Seen, bool) {
	if len(b) < ipHeader || b[0]>>4 != 4 {
		return Seen{}, false
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < ipHeader || total < head || total > len(b) {
		return Seen{}, false
	}
	fragment := binary.BigEndian.Uint16(b[6:])&0x3fff != 0
	if l4 := b[head:total]; b[9] == protoUDP && !fragment && len(l4) >= udpHeader {
		ports := [2]uint16{binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])}
		switch {
		case toGuest && ports == [2]uint16{portServer, portClient}:
			return parseAnswer(l4[udpHeader:], guest)
		case !toGuest && ports == [2]uint16{portClient, portServer}:
			return parseRelease(l4[udpHeader:], guest)
		}
	}
	if toGuest || onlyDHCP {
		return Seen{}, false
	}
	return unicast(netip.AddrFrom4([4]byte(b[12:16])))
}

// Of DHCP.
const (
	dhcpFixed    = 240 // up to the options
	dhcpMagic    = 0x63825363
	optPad       = 0
	optEnd       = 255
	optLease     = 51
	optType      = 53
	optServer    = 54
	optRequested = 50
	typeDecline  = 4
	typeAck      = 5
	typeRelease  = 7
	noEnd        = 1<<32 - 1
)

// message is a DHCP message about the guest.
type message struct {
	kind    byte
	options map[byte][]byte
}

func parseMessage(b []byte, op byte, guest MAC) (m message, ok bool) {
	if len(b) < dhcpFixed || b[0] != op || b[1] != 1 || b[2] != 6 || MAC(b[28:34]) != guest || binary.BigEndian.Uint32(b[236:]) != dhcpMagic {
		return m, false
	}
	m.options = map[byte][]byte{}
	for o := b[dhcpFixed:]; len(o) > 0 && o[0] != optEnd; {
		if o[0] == optPad {
			o = o[1:]
			continue
		}
		if len(o) < 2 || len(o) < 2+int(o[1]) {
			return m, false
		}
		m.options[o[0]] = o[2 : 2+int(o[1])]
		o = o[2+int(o[1]):]
	}
	if t := m.options[optType]; len(t) == 1 {
		m.kind = t[0]
	}
	return m, m.kind != 0
}

func (m message) addr(option byte) netip.Addr {
	if v := m.options[option]; len(v) == 4 {
		return netip.AddrFrom4([4]byte(v))
	}
	return netip.Addr{}
}

// parseAnswer takes the address that a server has assigned.
func parseAnswer(b []byte, guest MAC) (Seen, bool) {
	m, ok := parseMessage(b, 2, guest)
	if !ok || m.kind != typeAck {
		return Seen{}, false
	}
	s, ok := unicast(netip.AddrFrom4([4]byte(b[16:20])))
	lease := m.options[optLease]
	if !ok || len(lease) != 4 { // one without is an answer to a question about something else
		return Seen{}, false
	}
	s.DHCP, s.Server, s.Lasts = true, m.addr(optServer), Forever
	if n := binary.BigEndian.Uint32(lease); n != noEnd {
		s.Lasts = time.Duration(n) * time.Second
	}
	return s, true
}

// parseRelease takes the address that the guest gives back, or does not take.
func parseRelease(b []byte, guest MAC) (Seen, bool) {
	m, ok := parseMessage(b, 1, guest)
	if !ok {
		return Seen{}, false
	}
	var a netip.Addr
	switch m.kind {
	case typeRelease:
		a = netip.AddrFrom4([4]byte(b[12:16]))
	case typeDecline:
		a = m.addr(optRequested)
	}
	if !a.IsValid() || a.IsUnspecified() {
		return Seen{}, false
	}
	return Seen{Address: a, DHCP: true, Server: m.addr(optServer), Ended: true}, true
}
