package xmltree

import (
	"net/netip"
	"strconv"
	"strings"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// BadValue is libvirt's complaint about the value of an attribute. expected says what it may be; "" says nothing, else it
// begins with a blank.
func (n *Node) BadValue(attribute, value, expected string) error {
	return liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute '%s' in element '%s': '%s'.%s", attribute, n.Local(), value, expected)
}

// UUID takes what libvirt takes for one: 32 hexadecimal digits with dashes between bytes, and space around.
func UUID(s string) (u protocol.UUID, ok bool) {
	s = strings.TrimSpace(s)
	for i := range u {
		s = strings.TrimLeft(s, "-")
		if len(s) < 2 {
			return u, false
		}
		n, err := strconv.ParseUint(s[:2], 16, 8)
		if err != nil {
			return u, false
		}
		u[i], s = byte(n), s[2:]
	}
	return u, s == ""
}

// MAC takes what libvirt takes for the address of a card: six hexadecimal numbers of one or two digits with colons between
// them.
func MAC(s string) (mac [6]byte, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) != len(mac) {
		return mac, false
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) > 2 {
			return mac, false
		}
		mac[i] = byte(v)
	}
	return mac, true
}

// IPv4 takes what the C library takes for an address: one to four numbers, the last for all that is left; hexadecimal and
// octal ones too.
func IPv4(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var v uint64
	for i, p := range parts {
		if p == "" || strings.ContainsAny(p, "+-_ oObB") && !strings.HasPrefix(strings.ToLower(p), "0x") {
			return netip.Addr{}, false
		}
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		n, err := strconv.ParseUint(p, 0, 64)
		if err != nil || n >= 1<<bits {
			return netip.Addr{}, false
		}
		v = v<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
}
