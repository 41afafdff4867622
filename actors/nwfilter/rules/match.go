package rules

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// field is a part of a packet, or of what the kernel knows of it, that a rule compares.
type field uint8

const (
	etherDst field = iota
	etherSrc
	etherType
	vlanID
	vlanEncap

	arpHardware
	arpProtocol
	arpHardwareLen
	arpProtocolLen
	arpOpcode
	arpSrcMAC
	arpSrcIP
	arpDstMAC
	arpDstIP

	stpHeader
	stpType
	stpFlags
	stpRootPriority
	stpRootAddress
	stpRootCost
	stpSenderPriority
	stpSenderAddress
	stpPort
	stpAge
	stpMaxAge
	stpHelloTime
	stpForwardDelay

	ip4Src
	ip4Dst
	ip4Protocol
	ip4TOS
	ip6Src
	ip6Dst
	ip6Class // version and traffic class
	l4Protocol

	srcPort
	dstPort
	tcpFlags
	icmpType
	icmpCode
	icmpTypeCode

	ctState
	ctDirection
	tcpOption // present or not; the match's number names it

	// What is no comparison of bytes.
	ip6Authentication
	arpGratuitous
	connLimit
	ipSet
)

// base is where a field's offset counts from.
type base uint8

const (
	baseLink base = iota
	baseNetwork
	baseTransport
	baseNone // the kernel has it elsewhere
)

// format is how a field's value is printed.
type format uint8

const (
	asNumber format = iota
	asHex
	asMAC
	asIP
	asBytes
)

type fieldInfo struct {
	name   string
	base   base
	offset uint8
	length uint8
	format format
}

// fields are the layouts: IEEE 802.3, 802.1Q, 802.1D; RFC 826, 791, 8200, 9293, 792.
var fields = [...]fieldInfo{
	etherDst:  {"ether daddr", baseLink, 0, 6, asMAC},
	etherSrc:  {"ether saddr", baseLink, 6, 6, asMAC},
	etherType: {"ether type", baseLink, 12, 2, asHex},
	vlanID:    {"vlan id", baseLink, 14, 2, asNumber},
	vlanEncap: {"vlan type", baseLink, 16, 2, asHex},

	arpHardware:    {"arp htype", baseNetwork, 0, 2, asNumber},
	arpProtocol:    {"arp ptype", baseNetwork, 2, 2, asHex},
	arpHardwareLen: {"arp hlen", baseNetwork, 4, 1, asNumber},
	arpProtocolLen: {"arp plen", baseNetwork, 5, 1, asNumber},
	arpOpcode:      {"arp operation", baseNetwork, 6, 2, asNumber},
	arpSrcMAC:      {"arp saddr ether", baseNetwork, 8, 6, asMAC},
	arpSrcIP:       {"arp saddr ip", baseNetwork, 14, 4, asIP},
	arpDstMAC:      {"arp daddr ether", baseNetwork, 18, 6, asMAC},
	arpDstIP:       {"arp daddr ip", baseNetwork, 24, 4, asIP},

	stpHeader:         {"stp header", baseNetwork, 0, 5, asBytes},
	stpType:           {"stp type", baseNetwork, 6, 1, asNumber},
	stpFlags:          {"stp flags", baseNetwork, 7, 1, asNumber},
	stpRootPriority:   {"stp root priority", baseNetwork, 8, 2, asNumber},
	stpRootAddress:    {"stp root address", baseNetwork, 10, 6, asMAC},
	stpRootCost:       {"stp root cost", baseNetwork, 16, 4, asNumber},
	stpSenderPriority: {"stp sender priority", baseNetwork, 20, 2, asNumber},
	stpSenderAddress:  {"stp sender address", baseNetwork, 22, 6, asMAC},
	stpPort:           {"stp port", baseNetwork, 28, 2, asNumber},
	stpAge:            {"stp age", baseNetwork, 30, 2, asNumber},
	stpMaxAge:         {"stp max-age", baseNetwork, 32, 2, asNumber},
	stpHelloTime:      {"stp hello-time", baseNetwork, 34, 2, asNumber},
	stpForwardDelay:   {"stp forward-delay", baseNetwork, 36, 2, asNumber},

	ip4Src:      {"ip saddr", baseNetwork, 12, 4, asIP},
	ip4Dst:      {"ip daddr", baseNetwork, 16, 4, asIP},
	ip4Protocol: {"ip protocol", baseNetwork, 9, 1, asNumber},
	ip4TOS:      {"ip tos", baseNetwork, 1, 1, asHex},
	ip6Src:      {"ip6 saddr", baseNetwork, 8, 16, asIP},
	ip6Dst:      {"ip6 daddr", baseNetwork, 24, 16, asIP},
	ip6Class:    {"ip6 class", baseNetwork, 0, 2, asHex},
	l4Protocol:  {"l4proto", baseNone, 0, 1, asNumber},

	srcPort:      {"th sport", baseTransport, 0, 2, asNumber},
	dstPort:      {"th dport", baseTransport, 2, 2, asNumber},
	tcpFlags:     {"tcp flags", baseTransport, 13, 1, asHex},
	icmpType:     {"icmp type", baseTransport, 0, 1, asNumber},
	icmpCode:     {"icmp code", baseTransport, 1, 1, asNumber},
	icmpTypeCode: {"icmp type/code", baseTransport, 0, 2, asHex},

	ctState:     {"ct state", baseNone, 0, 4, asNumber},
	ctDirection: {"ct direction", baseNone, 0, 1, asNumber},
	tcpOption:   {"tcp option", baseNone, 0, 1, asNumber},

	ip6Authentication: {"ip6 authentication header", baseNone, 0, 0, asNumber},
	arpGratuitous:     {"arp gratuitous", baseNone, 0, 0, asNumber},
	connLimit:         {"ct count over", baseNone, 0, 4, asNumber},
	ipSet:             {"ipset", baseNone, 0, 0, asNumber},
}

// Protocol numbers of Ethernet and IP that rules compare.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherRARP = 0x8035
	etherVLAN = 0x8100
	etherIPv6 = 0x86dd

	hardwareEther = 1
)

// bridgeGroup is the address that spanning tree speaks to.
var bridgeGroup = [6]byte{0x01, 0x80, 0xc2, 0, 0, 0}

// operator is how a field is compared.
type operator uint8

const (
	equal   operator = iota // field == a
	masked                  // field & b == a
	between                 // a <= field <= b
	anyOf                   // field & a != 0, for states
)

// match is one condition of a rule.
type match struct {
	field    field
	operator operator
	negated  bool
	a, b     [16]byte // in network order, as many bytes as the field has
	set      string   // ipSet: name and flags
}

func number(f field, n uint32) match {
	m := match{field: f}
	putNumber(m.a[:], fields[f].length, n)
	return m
}

func numbers(f field, lo, hi uint32) match {
	if lo == hi {
		return number(f, lo)
	}
	m := number(f, lo)
	m.operator = between
	putNumber(m.b[:], fields[f].length, hi)
	return m
}

func maskedNumber(f field, n, mask uint32) match {
	m := number(f, n&mask)
	m.operator = masked
	putNumber(m.b[:], fields[f].length, mask)
	return m
}

func bytesEqual(f field, b []byte) match {
	m := match{field: f}
	copy(m.a[:], b)
	return m
}

// bytesMasked compares the bits of the mask; a mask of ones is none.
func bytesMasked(f field, b, mask []byte) match {
	m := match{field: f, operator: masked}
	ones := true
	for i := range mask {
		m.a[i], m.b[i] = b[i]&mask[i], mask[i]
		ones = ones && mask[i] == 0xff
	}
	if ones {
		return bytesEqual(f, b)
	}
	return m
}

func (m match) not(negated bool) match {
	m.negated = negated
	return m
}

func putNumber(b []byte, length uint8, n uint32) {
	switch length {
	case 1:
		b[0] = byte(n)
	case 2:
		binary.BigEndian.PutUint16(b, uint16(n))
	default:
		binary.BigEndian.PutUint32(b, n)
	}
}

func (m *match) number() uint32 {
	switch fields[m.field].length {
	case 1:
		return uint32(m.a[0])
	case 2:
		return uint32(binary.BigEndian.Uint16(m.a[:]))
	}
	return binary.BigEndian.Uint32(m.a[:])
}

// states are the kernel's bits of connection tracking, by libvirt's names.
var states = []struct {
	name string
	bit  uint32
}{{"NEW", 8}, {"ESTABLISHED", 2}, {"RELATED", 4}, {"INVALID", 1}}

func (m match) String() string {
	info := fields[m.field]
	not := ""
	if m.negated {
		not = "!= "
	}
	switch m.field {
	case arpGratuitous:
		if m.negated {
			return "not arp gratuitous"
		}
		return "arp gratuitous"
	case ip6Authentication:
		return "ip6 authentication header exists"
	case ctState:
		var names []string
		for _, s := range states {
			if m.number()&s.bit != 0 {
				names = append(names, strings.ToLower(s.name))
			}
		}
		return "ct state " + strings.Join(names, ",")
	case ctDirection:
		return "ct direction " + [...]string{"original", "reply"}[m.a[0]&1]
	case connLimit:
		if m.negated {
			return fmt.Sprintf("ct count up to %d", m.number())
		}
		return fmt.Sprintf("ct count over %d", m.number())
	case ipSet:
		return "ipset " + not + m.set
	case tcpOption:
		if m.negated {
			return fmt.Sprintf("tcp option %d missing", m.a[0])
		}
		return fmt.Sprintf("tcp option %d exists", m.a[0])
	}
	a, b := info.print(m.a[:info.length]), info.print(m.b[:info.length])
	switch m.operator {
	case masked:
		if m.negated {
			return fmt.Sprintf("%s & %s != %s", info.name, b, a)
		}
		return fmt.Sprintf("%s & %s == %s", info.name, b, a)
	case between:
		return fmt.Sprintf("%s %s%s-%s", info.name, not, a, b)
	}
	return fmt.Sprintf("%s %s%s", info.name, not, a)
}

func (i fieldInfo) print(b []byte) string {
	switch i.format {
	case asMAC:
		return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
	case asIP:
		addr, _ := netip.AddrFromSlice(b)
		return addr.String()
	case asBytes:
		return hex.EncodeToString(b)
	case asHex:
		return "0x" + hex.EncodeToString(b)
	}
	m := match{}
	copy(m.a[:], b)
	switch len(b) {
	case 1:
		return fmt.Sprint(b[0])
	case 2:
		return fmt.Sprint(binary.BigEndian.Uint16(b))
	}
	return fmt.Sprint(binary.BigEndian.Uint32(b))
}
