package rules

import (
	"encoding/binary"
	"net/netip"
)

// frame is an Ethernet frame. It is not filled up to 60 octets, which the bridge would undo for packets of IP.
func frame(dst, src [6]byte, ether uint16, payload []byte) []byte {
	b := append(append([]byte{}, dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(b, ether), payload...)
}

// tagged is a frame in a VLAN.
func tagged(dst, src [6]byte, vlan, ether uint16, payload []byte) []byte {
	inner := binary.BigEndian.AppendUint16(nil, vlan)
	inner = binary.BigEndian.AppendUint16(inner, ether)
	return frame(dst, src, 0x8100, append(inner, payload...))
}

// arp is a message about IPv4 on Ethernet.
func arp(op uint16, srcMAC [6]byte, src string, dstMAC [6]byte, dst string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, srcMAC[:]...), ip(src)...)
	return append(append(b, dstMAC[:]...), ip(dst)...)
}

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// ip4 is a packet of IPv4; options of the header are not there.
func ip4(src, dst string, proto byte, tos byte, payload []byte) []byte {
	b := []byte{0x45, tos}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
	b = append(b, 0, 1, 0, 0, 64, proto, 0, 0)
	b = append(append(b, ip(src)...), ip(dst)...)
	binary.BigEndian.PutUint16(b[10:], sum(0, b))
	return append(b, payload...)
}

// ip6 is a packet of IPv6.
func ip6(src, dst string, proto byte, class byte, payload []byte) []byte {
	b := []byte{0x60 | class>>4, class << 4, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, proto, 64)
	b = append(append(b, ip(src)...), ip(dst)...)
	return append(b, payload...)
}

// sum is the Internet checksum of b, which starts with what a pseudo header has already summed to.
func sum(start uint32, b []byte) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		start += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		start += uint32(b[len(b)-1]) << 8
	}
	for start>>16 != 0 {
		start = start&0xffff + start>>16
	}
	return ^uint16(start)
}

// pseudo is the sum over the pseudo header.
func pseudo(src, dst string, proto byte, length int) uint32 {
	b := append(ip(src), ip(dst)...)
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = append(b, 0, 0, 0, proto)
	return uint32(^sum(0, b))
}

// above is a packet with a protocol above IP, with good checksums: connection tracking looks at them.
func above(src, dst string, proto byte, tos byte, payload []byte) (ether uint16, packet []byte) {
	at := map[byte]int{1: 2, 6: 16, 17: 6, 58: 2, 136: 6}
	if i, is := at[proto]; is && len(payload) > i+1 {
		payload = append([]byte{}, payload...)
		payload[i], payload[i+1] = 0, 0
		start := uint32(0)
		if proto != 1 {
			start = pseudo(src, dst, proto, len(payload))
		}
		binary.BigEndian.PutUint16(payload[i:], sum(start, payload))
	}
	if netip.MustParseAddr(src).Is4() {
		return 0x0800, ip4(src, dst, proto, tos, payload)
	}
	return 0x86dd, ip6(src, dst, proto, tos, payload)
}

// packet is a frame between guests with a protocol above IP.
func packet(from, to int, src, dst string, proto byte, tos byte, payload []byte) []byte {
	ether, p := above(src, dst, proto, tos, payload)
	return frame(mac(to), mac(from), ether, p)
}

// flags of TCP
const (
	fin = 1
	syn = 2
	rst = 4
	psh = 8
	ack = 16
	urg = 32
)

// tcp is a segment, with options if there are any.
func tcp(src, dst uint16, flags byte, seq, ackn uint32, options ...byte) []byte {
	for len(options)%4 != 0 {
		options = append(options, 1)
	}
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint32(b, seq)
	b = binary.BigEndian.AppendUint32(b, ackn)
	b = append(b, byte(5+len(options)/4)<<4, flags, 0x20, 0, 0, 0, 0, 0)
	return append(b, options...)
}

// udp is a datagram; udplite and sctp begin alike.
func udp(src, dst uint16, payload string) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// icmp is a message of ICMP or ICMPv6 that is an echo or looks like one.
func icmp(kind, code byte, id uint16) []byte {
	b := []byte{kind, code, 0, 0}
	b = binary.BigEndian.AppendUint16(b, id)
	return append(b, 0, 1, 'h', 'i', '!', '!')
}

// stp is a message of spanning tree, with its LLC header; the frame's type is its length.
func stp(kind, flags byte, rootPriority uint16, root [6]byte, cost uint32, senderPriority uint16, sender [6]byte, port, age, maxAge, hello, delay uint16) []byte {
	b := []byte{0x42, 0x42, 3, 0, 0, 0, kind, flags}
	b = append(binary.BigEndian.AppendUint16(b, rootPriority), root[:]...)
	b = binary.BigEndian.AppendUint32(b, cost)
	b = append(binary.BigEndian.AppendUint16(b, senderPriority), sender[:]...)
	for _, n := range []uint16{port, age, maxAge, hello, delay} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}
