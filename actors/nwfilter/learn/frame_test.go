package learn

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var guest = MAC{0x52, 0x54, 0, 0, 0, 1}

func ether(dst, src MAC, kind uint16, body ...[]byte) []byte {
	f := append(append([]byte{}, dst[:]...), src[:]...)
	return append(binary.BigEndian.AppendUint16(f, kind), slices.Concat(body...)...)
}

func ipPacket(src, dst string, ports [2]uint16, payload []byte) []byte {
	b := make([]byte, 28)
	b[0], b[9] = 0x45, protoUDP
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	copy(b[12:], netip.MustParseAddr(src).AsSlice())
	copy(b[16:], netip.MustParseAddr(dst).AsSlice())
	binary.BigEndian.PutUint16(b[20:], ports[0])
	binary.BigEndian.PutUint16(b[22:], ports[1])
	return append(b, payload...)
}

func bootp(op byte, mac MAC, client, yours string, options ...byte) []byte {
	b := make([]byte, dhcpFixed)
	b[0], b[1], b[2] = op, 1, 6
	copy(b[12:], netip.MustParseAddr(client).AsSlice())
	copy(b[16:], netip.MustParseAddr(yours).AsSlice())
	copy(b[28:], mac[:])
	binary.BigEndian.PutUint32(b[236:], dhcpMagic)
	return append(b, options...)
}

func arpPacket(mac MAC, sender string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	b = append(append(b, mac[:]...), netip.MustParseAddr(sender).AsSlice()...)
	return append(b, make([]byte, 10)...)
}

func TestParse(t *testing.T) {
	other := MAC{0x52, 0x54, 0, 0, 0, 2}
	fromServer, toServer := [2]uint16{67, 68}, [2]uint16{68, 67}
	ack := func(mac MAC, yours string, options ...byte) []byte {
		return ether(mac, other, etherIPv4, ipPacket("10.0.0.2", "255.255.255.255", fromServer, bootp(2, mac, "0.0.0.0", yours, options...)))
	}
	lease := []byte{53, 1, 5, 0, 51, 4, 0, 0, 0, 60, 54, 4, 10, 0, 0, 2, 255}
	for name, c := range map[string]struct {
		frame    []byte
		to, dhcp bool
		want     string // "" for nothing
		lasts    time.Duration
		ended    bool
	}{
		"an ARP request names its sender":          {frame: ether(broadcast, guest, etherARP, arpPacket(guest, "10.0.0.1")), want: "10.0.0.1"},
		"an ARP probe names nobody":                {frame: ether(broadcast, guest, etherARP, arpPacket(guest, "0.0.0.0"))},
		"ARP in another name":                      {frame: ether(broadcast, guest, etherARP, arpPacket(other, "10.0.0.1"))},
		"ARP of somebody else":                     {frame: ether(broadcast, other, etherARP, arpPacket(other, "10.0.0.1"))},
		"ARP to the guest":                         {frame: ether(guest, other, etherARP, arpPacket(other, "10.0.0.1")), to: true},
		"ARP when only DHCP counts":                {frame: ether(broadcast, guest, etherARP, arpPacket(guest, "10.0.0.1")), dhcp: true},
		"an IP packet":                             {frame: ether(other, guest, etherIPv4, ipPacket("10.0.0.1", "10.0.0.2", [2]uint16{1, 2}, nil)), want: "10.0.0.1"},
		"an IP packet when only DHCP counts":       {frame: ether(other, guest, etherIPv4, ipPacket("10.0.0.1", "10.0.0.2", [2]uint16{1, 2}, nil)), dhcp: true},
		"an IP packet from a multicast address":    {frame: ether(other, guest, etherIPv4, ipPacket("224.0.0.1", "10.0.0.2", [2]uint16{1, 2}, nil))},
		"an IP packet of somebody else":            {frame: ether(guest, other, etherIPv4, ipPacket("10.0.0.1", "10.0.0.2", [2]uint16{1, 2}, nil)), to: true},
		"a request for an address":                 {frame: ether(broadcast, guest, etherIPv4, ipPacket("0.0.0.0", "255.255.255.255", toServer, bootp(1, guest, "0.0.0.0", "0.0.0.0", 53, 1, 3, 255)))},
		"an acknowledgement":                       {frame: ack(guest, "10.0.0.1", lease...), to: true, want: "10.0.0.1", lasts: time.Minute},
		"an acknowledgement when only DHCP counts": {frame: ack(guest, "10.0.0.1", lease...), to: true, dhcp: true, want: "10.0.0.1", lasts: time.Minute},
		"an acknowledgement that the guest sends":  {frame: ether(guest, guest, etherIPv4, ipPacket("10.0.0.2", "10.0.0.1", fromServer, bootp(2, guest, "0.0.0.0", "10.0.0.1", lease...))), dhcp: true},
		"an acknowledgement for somebody else":     {frame: ether(broadcast, other, etherIPv4, ipPacket("10.0.0.2", "255.255.255.255", fromServer, bootp(2, other, "0.0.0.0", "10.0.0.1", lease...))), to: true},
		"an acknowledgement without a lease":       {frame: ack(guest, "10.0.0.1", 53, 1, 5, 255), to: true},
		"a lease without an end":                   {frame: ack(guest, "10.0.0.1", 53, 1, 5, 51, 4, 255, 255, 255, 255, 255), to: true, want: "10.0.0.1", lasts: Forever},
		"an offer":                                 {frame: ack(guest, "10.0.0.1", 53, 1, 2, 51, 4, 0, 0, 0, 60, 255), to: true},
		"options that end in the middle":           {frame: ack(guest, "10.0.0.1", 53, 1, 5, 51, 4, 0), to: true},
		"a release":                                {frame: ether(other, guest, etherIPv4, ipPacket("10.0.0.1", "10.0.0.2", toServer, bootp(1, guest, "10.0.0.1", "0.0.0.0", 53, 1, 7, 255))), dhcp: true, want: "10.0.0.1", ended: true},
		"an address that the guest does not take":  {frame: ether(broadcast, guest, etherIPv4, ipPacket("0.0.0.0", "255.255.255.255", toServer, bootp(1, guest, "0.0.0.0", "0.0.0.0", 53, 1, 4, 50, 4, 10, 0, 0, 1, 255))), want: "10.0.0.1", ended: true},
		"something else":                           {frame: ether(other, guest, 0x86dd, make([]byte, 60))},
	} {
		got, ok := Parse(c.frame, c.to, guest, c.dhcp)
		switch {
		case c.want == "" && ok:
			t.Errorf("%s: %+v, want nothing", name, got)
		case c.want != "" && (!ok || got.Address.String() != c.want || got.Lasts != c.lasts || got.Ended != c.ended):
			t.Errorf("%s: %+v, want %s", name, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ether(broadcast, guest, etherARP, arpPacket(guest, "10.0.0.1")), false)
	f.Add(ether(guest, guest, etherIPv4, ipPacket("10.0.0.2", "10.0.0.1", [2]uint16{67, 68}, bootp(2, guest, "0.0.0.0", "10.0.0.1", 53, 1, 5, 51, 4, 0, 0, 0, 60, 255))), true)
	f.Fuzz(func(t *testing.T, frame []byte, to bool) {
		if s, ok := Parse(frame, to, guest, false); ok && (!s.Address.Is4() || s.Address.IsUnspecified()) {
			t.Errorf("%+v", s)
		}
	})
}
