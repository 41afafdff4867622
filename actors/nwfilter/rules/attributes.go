package rules

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// attribute is one of the attributes that a protocol's element may have.
type attribute uint8

const (
	aSrcMAC attribute = iota
	aSrcMACMask
	aDstMAC
	aDstMACMask
	aProtocolID
	aVLANID
	aEncap
	aSTPType
	aSTPFlags
	aRootPriority
	aRootPriorityHi
	aRootAddress
	aRootAddressMask
	aRootCost
	aRootCostHi
	aSenderPriority
	aSenderPriorityHi
	aSenderAddress
	aSenderAddressMask
	aPort
	aPortHi
	aAge
	aAgeHi
	aMaxAge
	aMaxAgeHi
	aHelloTime
	aHelloTimeHi
	aForwardDelay
	aForwardDelayHi
	aHWType
	aProtocolType
	aOpcode
	aARPSrcMAC
	aARPDstMAC
	aARPSrcIP
	aARPSrcMask
	aARPDstIP
	aARPDstMask
	aGratuitous
	aSrcIP
	aSrcMask
	aDstIP
	aDstMask
	aSrcIPFrom
	aSrcIPTo
	aDstIPFrom
	aDstIPTo
	aProtocol
	aSrcPort
	aSrcPortEnd
	aDstPort
	aDstPortEnd
	aDSCP
	aConnLimit
	aState
	aIPSet
	aIPSetFlags
	aOption
	aFlags
	aType
	aTypeEnd
	aCode
	aCodeEnd
	attributeCount
)

// syntax is how an attribute's text is read.
type syntax uint8

const (
	asMACAddress syntax = iota
	asMACMask
	as8
	as16
	as32
	asAddress // of the family that the protocol is of
	asMask
	asEtherType
	asOpcode
	asIPProtocol
	asVLAN
	asDSCP
	asFlag // yes or no
	asStates
	asTCPFlags
	asSetName
	asSetFlags
)

var attributes = [attributeCount]struct {
	name   string
	syntax syntax
}{
	aSrcMAC: {"srcmacaddr", asMACAddress}, aSrcMACMask: {"srcmacmask", asMACMask},
	aDstMAC: {"dstmacaddr", asMACAddress}, aDstMACMask: {"dstmacmask", asMACMask},
	aProtocolID: {"protocolid", asEtherType}, aVLANID: {"vlanid", asVLAN}, aEncap: {"encap-protocol", asEtherType},

	aSTPType: {"type", as8}, aSTPFlags: {"flags", as8},
	aRootPriority: {"root-priority", as16}, aRootPriorityHi: {"root-priority-hi", as16},
	aRootAddress: {"root-address", asMACAddress}, aRootAddressMask: {"root-address-mask", asMACMask},
	aRootCost: {"root-cost", as32}, aRootCostHi: {"root-cost-hi", as32},
	aSenderPriority: {"sender-priority", as16}, aSenderPriorityHi: {"sender-priority-hi", as16},
	aSenderAddress: {"sender-address", asMACAddress}, aSenderAddressMask: {"sender-address-mask", asMACMask},
	aPort: {"port", as16}, aPortHi: {"port-hi", as16},
	aAge: {"age", as16}, aAgeHi: {"age-hi", as16},
	aMaxAge: {"max-age", as16}, aMaxAgeHi: {"max-age-hi", as16},
	aHelloTime: {"hello-time", as16}, aHelloTimeHi: {"hello-time-hi", as16},
	aForwardDelay: {"forward-delay", as16}, aForwardDelayHi: {"forward-delay-hi", as16},

	aHWType: {"hwtype", as16}, aProtocolType: {"protocoltype", as16}, aOpcode: {"opcode", asOpcode},
	aARPSrcMAC: {"arpsrcmacaddr", asMACAddress}, aARPDstMAC: {"arpdstmacaddr", asMACAddress},
	aARPSrcIP: {"arpsrcipaddr", asAddress}, aARPSrcMask: {"arpsrcipmask", asMask},
	aARPDstIP: {"arpdstipaddr", asAddress}, aARPDstMask: {"arpdstipmask", asMask},
	aGratuitous: {"gratuitous", asFlag},

	aSrcIP: {"srcipaddr", asAddress}, aSrcMask: {"srcipmask", asMask},
	aDstIP: {"dstipaddr", asAddress}, aDstMask: {"dstipmask", asMask},
	aSrcIPFrom: {"srcipfrom", asAddress}, aSrcIPTo: {"srcipto", asAddress},
	aDstIPFrom: {"dstipfrom", asAddress}, aDstIPTo: {"dstipto", asAddress},
	aProtocol: {"protocol", asIPProtocol},
	aSrcPort:  {"srcportstart", as16}, aSrcPortEnd: {"srcportend", as16},
	aDstPort: {"dstportstart", as16}, aDstPortEnd: {"dstportend", as16},
	aDSCP: {"dscp", asDSCP}, aConnLimit: {"connlimit-above", as16}, aState: {"state", asStates},
	aIPSet: {"ipset", asSetName}, aIPSetFlags: {"ipsetflags", asSetFlags},
	aOption: {"option", as8}, aFlags: {"flags", asTCPFlags},
	aType: {"type", as8}, aTypeEnd: {"typeend", as8}, aCode: {"code", as8}, aCodeEnd: {"codeend", as8},
}

// value is an attribute's text, read. Which of the fields has it depends on the syntax.
type value struct {
	given  bool
	number uint32   // tcp flags: the flags
	mask   uint32   // tcp flags: the mask
	bytes  [16]byte // addresses and masks, in network order
	text   string
}

// values are those of one rule, by attribute.
type values [attributeCount]value

var (
	etherTypes  = map[string]uint32{"arp": etherARP, "rarp": etherRARP, "ipv4": etherIPv4, "ipv6": etherIPv6, "vlan": etherVLAN}
	ipProtocols = map[string]uint32{"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "esp": 50, "ah": 51, "icmpv6": 58, "sctp": 132, "udplite": 136}
	opcodes     = map[string]uint32{"request": 1, "reply": 2, "request_reverse": 3, "reply_reverse": 4, "drarp_request": 5,
		"drarp_reply": 6, "drarp_error": 7, "inarp_request": 8, "arp_nak": 9}
	tcpFlagBits = map[string]uint32{"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 63, "NONE": 0}
)

// stateNone among an attribute's states means that no state is asked for.
const stateNone = 1 << 31

// read takes an attribute's text in; false if it is no such value. Addresses are IPv6's if six.
func (v *value) read(as syntax, text string, six bool) (ok bool) {
	v.given = true
	limited := func(most uint32) bool {
		v.number, ok = readNumber(text)
		return ok && v.number <= most
	}
	named := func(names map[string]uint32, least, most uint32) bool {
		if v.number, ok = names[strings.ToLower(text)]; ok {
			return true
		}
		return limited(most) && v.number >= least
	}
	switch as {
	case asMACAddress:
		return v.readMAC(text)
	case asMACMask:
		return v.readMAC(text)
	case as8:
		return limited(0xff)
	case as16:
		return limited(0xffff)
	case as32:
		return limited(0xffffffff)
	case asAddress:
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || addr.Is4() == six {
			return false
		}
		copy(v.bytes[:], addr.AsSlice())
		return true
	case asMask:
		return v.readMask(text, six)
	case asEtherType:
		return named(etherTypes, 0x3c, 0xffff)
	case asOpcode:
		return named(opcodes, 0, 0xffff)
	case asIPProtocol:
		return named(ipProtocols, 0, 0xff)
	case asVLAN:
		return limited(4095)
	case asDSCP:
		return limited(63)
	case asFlag:
		if text == "true" || text == "yes" || text == "1" {
			v.number = 1
		}
		return true
	case asStates:
		return v.readStates(text)
	case asTCPFlags:
		mask, flags, found := strings.Cut(text, "/")
		if !found {
			return false
		}
		v.mask, found = readTCPFlags(mask)
		v.number, ok = readTCPFlags(flags)
		return found && ok
	case asSetName:
		v.text = text
		return text != "" && len(text) < 32 // IPSET_MAXNAMELEN
	default:
		return v.readSetFlags(text)
	}
}

// readNumber reads decimal or else hexadecimal digits.
func readNumber(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		digits := text
		if len(text) > 1 && (text[:2] == "0x" || text[:2] == "0X") {
			digits = text[2:]
		}
		n, err = strconv.ParseUint(digits, 16, 32)
	}
	return uint32(n), err == nil
}

func (v *value) readMAC(text string) bool {
	parts := 0
	for part := range strings.SplitSeq(text, ":") {
		n, err := strconv.ParseUint(part, 16, 8)
		if err != nil || parts == 6 || len(part) > 2 {
			return false
		}
		v.bytes[parts] = byte(n)
		parts++
	}
	return parts == 6
}

// readMask reads a length in bits or a mask in an address's form.
func (v *value) readMask(text string, six bool) bool {
	size := 4
	if six {
		size = 16
	}
	if n, err := strconv.ParseUint(text, 10, 16); err == nil {
		if int(n) > size*8 {
			return false
		}
		copy(v.bytes[:], net.CIDRMask(int(n), size*8))
		return true
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Is4() == six {
		return false
	}
	copy(v.bytes[:], addr.AsSlice())
	_, bits := net.IPMask(addr.AsSlice()).Size() // ones first, then zeros
	return bits != 0
}

func (v *value) readStates(text string) bool {
	ok := items(text, func(item string) bool {
		if item == "NONE" {
			v.number |= stateNone
			return true
		}
		for _, s := range states {
			if s.name == item {
				v.number |= s.bit
				return true
			}
		}
		return false
	})
	if v.number&stateNone != 0 {
		v.number = stateNone
	}
	return ok
}

func readTCPFlags(text string) (n uint32, ok bool) {
	ok = items(text, func(item string) bool {
		bit, known := tcpFlagBits[item]
		n |= bit
		return known
	})
	return n, ok
}

// items gives the items of a list with commas and spaces between, in capitals.
func items(text string, take func(string) bool) bool {
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' }) {
		if !take(strings.ToUpper(item)) {
			return false
		}
	}
	return true
}

// readSetFlags reads up to six of src and dst; text has an s or a d for each.
func (v *value) readSetFlags(text string) bool {
	var kept []byte
	for item := range strings.SplitSeq(text, ",") {
		switch strings.ToLower(item) {
		case "src":
			kept = append(kept, 's')
		case "dst":
			kept = append(kept, 'd')
		default:
			return false
		}
		if len(kept) > 6 {
			return false
		}
	}
	v.text = string(kept)
	return true
}
