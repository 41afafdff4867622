package def

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
)

// kind is how an attribute's value is read, and how it is printed again.
type kind func(value string) (printed string, ok bool)

// number reads what C's strtoul reads: blanks, a sign, digits. A negative number wraps around.
func number(s string, base int) (uint32, bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	neg := strings.HasPrefix(s, "-")
	if neg || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	if base == 16 && len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X") {
		s = s[2:]
	}
	if s == "" || strings.ContainsAny(s, "+-_") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err != nil || n > math.MaxUint32 {
		return 0, false
	}
	if neg {
		return -uint32(n), true
	}
	return uint32(n), true
}

// scaled reads a number of at most so many bits, in decimal or else in hexadecimal form.
func scaled(s string, bits uint) (n uint32, hex, ok bool) {
	limit := uint32(uint64(1)<<bits - 1)
	if n, ok = number(s, 10); ok && n <= limit {
		return n, false, true
	}
	n, ok = number(s, 16)
	return n, true, ok && n <= limit
}

func spell(n uint32, hex bool) string {
	if hex {
		return "0x" + strconv.FormatUint(uint64(n), 16)
	}
	return strconv.FormatUint(uint64(n), 10)
}

// unsigned is a number of so many bits that stays in the form in which it was given.
func unsigned(bits uint) kind { return below(bits, math.MaxUint32) }

// below is an unsigned that is not above max.
func below(bits uint, max uint32) kind {
	return func(s string) (string, bool) {
		n, hex, ok := scaled(s, bits)
		return spell(n, hex), ok && n <= max
	}
}

// decimal16 is a number that cannot be given in hexadecimal form.
func decimal16(s string) (string, bool) {
	n, ok := number(s, 10)
	return spell(n, false), ok && n <= math.MaxUint16
}

// names are the numbers that have one.
type names []struct {
	name  string
	value uint32
}

func (m names) byName(s string) (uint32, bool) {
	for _, e := range m {
		if strings.EqualFold(e.name, s) {
			return e.value, true
		}
	}
	return 0, false
}

func (m names) byValue(n uint32) (string, bool) {
	for _, e := range m {
		if e.value == n {
			return e.name, true
		}
	}
	return "", false
}

// named is a number of at least min, or a name; what has a name is printed by it, the rest in the form in which it was
// given, or in decimal form when that is asked for.
func named(m names, bits uint, min uint32, decimal bool) kind {
	return func(s string) (string, bool) {
		n, hex, ok := scaled(s, bits)
		if ok {
			ok = n >= min
		} else {
			n, ok = m.byName(s)
		}
		if name, known := m.byValue(n); known {
			return name, ok
		}
		return spell(n, hex && !decimal), ok
	}
}

var etherTypes = names{{"arp", 0x806}, {"rarp", 0x8035}, {"ipv4", 0x800}, {"ipv6", 0x86dd}, {"vlan", 0x8100}}

var opcodes = names{
	{"Request", 1}, {"Reply", 2}, {"Request_Reverse", 3}, {"Reply_Reverse", 4}, {"DRARP_Request", 5}, {"DRARP_Reply", 6},
	{"DRARP_Error", 7}, {"InARP_Request", 8}, {"ARP_NAK", 9},
}

var ipProtocols = names{
	{"tcp", 6}, {"udp", 17}, {"udplite", 136}, {"esp", 50}, {"ah", 51}, {"icmp", 1}, {"igmp", 2}, {"sctp", 132}, {"icmpv6", 58},
}

// mac is an address of six numbers of one or two hexadecimal digits.
func mac(s string) (string, bool) {
	a, ok := xmltree.MAC(s)
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5]), ok
}

// macMask is a mac whose bits are ones first and zeros then.
func macMask(s string) (string, bool) {
	a, ok := xmltree.MAC(s)
	var v uint64
	for _, b := range a {
		v = v<<8 | uint64(b)
	}
	inverse := ^v & (1<<48 - 1)
	printed, _ := mac(s)
	return printed, ok && inverse&(inverse+1) == 0
}

func ipv4(s string) (string, bool) {
	a, ok := xmltree.IPv4(s)
	return a.String(), ok
}

func ipv6(s string) (string, bool) {
	a, ok := parseIPv6(s)
	if !ok {
		return "", false
	}
	if b := a.As16(); [12]byte(b[:12]) == [12]byte{} && (b[12] != 0 || b[13] != 0) { // the C library's spelling
		return fmt.Sprintf("::%d.%d.%d.%d", b[12], b[13], b[14], b[15]), true
	}
	return a.String(), true
}

// mask is the length of a prefix, or a netmask of the family; it is printed as the former.
func mask(bits uint32, parse func(string) (netip.Addr, bool)) kind {
	return func(s string) (string, bool) {
		if n, ok := number(s, 10); ok {
			return spell(n, false), n <= bits
		}
		a, ok := parse(s)
		if !ok {
			return "", false
		}
		ones, end := uint32(0), false
		for _, b := range a.AsSlice() {
			for bit := 0x80; bit != 0; bit >>= 1 {
				switch one := int(b)&bit != 0; {
				case one && end:
					return "", false
				case one:
					ones++
				default:
					end = true
				}
			}
		}
		return spell(ones, false), true
	}
}

func parseIPv6(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is6()
}

// maxComment is the length at which comments are cut, in bytes.
const maxComment = 256

func comment(s string) (string, bool) { return s[:min(len(s), maxComment)], true }

func boolean(s string) (string, bool) {
	return strconv.FormatBool(s == "true" || s == "1" || s == "yes"), true
}

// flagSet is the names of bits, in the order in which they are printed.
type flagSet []struct {
	name string
	bits uint32
}

// parse reads names in any case, with blanks, commas or nothing between them.
func (f flagSet) parse(s string) (bits uint32, ok bool) {
next:
	for {
		s = strings.TrimLeft(s, " \t\n\v\f\r,")
		if s == "" {
			return bits, true
		}
		for _, e := range f {
			if len(s) >= len(e.name) && strings.EqualFold(s[:len(e.name)], e.name) {
				bits |= e.bits
				s = s[len(e.name):]
				continue next
			}
		}
		return 0, false
	}
}

func (f flagSet) format(bits uint32) string {
	var parts []string
	for _, e := range f {
		if e.bits&(e.bits-1) == 0 && e.bits&bits != 0 {
			parts = append(parts, e.name)
		}
	}
	return strings.Join(parts, ",")
}

const stateNone = 16

var states = flagSet{{"NEW", 1}, {"ESTABLISHED", 2}, {"RELATED", 4}, {"INVALID", 8}, {"NONE", stateNone}}

// state is states of a connection; NONE excludes the others.
func state(s string) (string, bool) {
	bits, ok := states.parse(s)
	if bits&stateNone != 0 {
		bits = stateNone
	}
	return states.format(bits), ok
}

const allTCPFlags = 0x3f

var tcpFlagNames = flagSet{{"FIN", 1}, {"SYN", 2}, {"RST", 4}, {"PSH", 8}, {"ACK", 16}, {"URG", 32}, {"ALL", allTCPFlags}, {"NONE", 0}}

// tcpFlags is which flags are looked at, a slash, and which of these are set.
func tcpFlags(s string) (string, bool) {
	m, f, ok := strings.Cut(s, "/")
	if !ok {
		return "", false
	}
	looked, ok := tcpFlagNames.parse(m)
	set, also := tcpFlagNames.parse(f)
	return formatTCPFlags(looked) + "/" + formatTCPFlags(set), ok && also
}

func formatTCPFlags(bits uint32) string {
	switch bits {
	case 0:
		return "NONE"
	case allTCPFlags:
		return "ALL"
	}
	return tcpFlagNames.format(bits)
}

// maxIPSet is the length of an ipset's name.
const maxIPSet = 31

func ipset(s string) (string, bool) {
	return s, len(s) <= maxIPSet && spans(s, nameChars+".:-+ ")
}

// maxIPSetFlags is how many dimensions an ipset has.
const maxIPSetFlags = 6

func ipsetFlags(s string) (string, bool) {
	parts := strings.Split(strings.ToLower(s), ",")
	for _, p := range parts {
		if p != "src" && p != "dst" {
			return "", false
		}
	}
	return strings.Join(parts, ","), len(parts) <= maxIPSetFlags
}

// nameChars are the characters of variables' names.
const nameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

// spans tells whether s has no other characters.
func spans(s, chars string) bool { return strings.Trim(s, chars) == "" }
