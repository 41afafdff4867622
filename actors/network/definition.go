package network

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"virtree/actors/internal/xmltree"
	"virtree/wire/protocol"
)

// definition is a network's document. One that an actor holds is never changed: who changes one works on a clone.
// Attributes that are yes, no or not given are strings, "" when not given.
type definition struct {
	name               string
	uuid               protocol.UUID
	title, description string
	metadata           *node

	ipv6     bool // guests may talk IPv6 on a bridge without an IPv6 address
	trust    string
	forward  forward
	bridge   string
	zone     string
	stp      bool
	delay    uint64
	macTable string
	mtu      uint64
	mac      string // of the bridge; "" where there is none
	domain   string
	local    string // localOnly

	dns        dns
	vlan       *vlan
	bandwidth  *bandwidth
	isolated   string
	ips        []ipDef
	routes     []route
	vport      *vport
	portgroups []portgroup
	options    []string // for dnsmasq
	hasOptions bool
}

// Forward modes.
const (
	modeNone        = ""
	modeNAT         = "nat"
	modeRoute       = "route"
	modeBridge      = "bridge"
	modePrivate     = "private"
	modeVEPA        = "vepa"
	modePassthrough = "passthrough"
	modeHostdev     = "hostdev"
	modeOpen        = "open"
)

type forward struct {
	mode    string
	managed bool
	driver  string
	ifaces  []forwardIf
	pf      string
	natIPv6 string
	addrs   [2]netip.Addr // of NAT; zero when not given
	ports   [2]uint16
}

// forwardIf is a device of the pool: a network interface or a PCI device.
type forwardIf struct {
	dev string
	pci *pciAddr
}

type pciAddr struct{ domain, bus, slot, function uint32 }

func (p *pciAddr) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", p.domain, p.bus, p.slot, p.function)
}

type dns struct {
	enable, plain string
	forwarders    []forwarder
	txts          []txt
	srvs          []srv
	hosts         []dnsHost
}

type forwarder struct {
	domain string
	addr   netip.Addr
}

type txt struct{ name, value string }

type srv struct {
	service, protocol, domain, target string
	port, priority, weight            uint64
}

type dnsHost struct {
	ip    netip.Addr
	names []string
}

type vlan struct {
	trunk  bool
	tags   []uint32
	native int    // index of the native tag, -1 when there is none
	mode   string // of the native tag
}

type rate struct{ average, peak, floor, burst uint64 }

type bandwidth struct{ in, out *rate }

type ipDef struct {
	family   string // as given
	address  netip.Addr
	netmask  netip.Addr
	prefix   uint64
	hasPfx   bool
	localPtr string
	tftp     string
	ranges   []dhcpRange
	hosts    []dhcpHost
	bootFile string
	bootFrom netip.Addr
}

type lease struct {
	expiry uint64
	unit   string
}

type dhcpRange struct {
	start, end netip.Addr
	lease      *lease
}

type dhcpHost struct {
	mac, id, name string
	ip            netip.Addr
	lease         *lease
}

type route struct {
	family                    string
	address, netmask, gateway netip.Addr
	prefix, metric            uint64
	hasPfx, hasMetric         bool
}

type vport struct {
	typ                          string
	manager, typeID, typeVersion *uint64
	instance, ifaceID            *protocol.UUID
	profile                      string
}

type portgroup struct {
	name      string
	isDefault bool
	trust     string
	vlan      *vlan
	vport     *vport
	bandwidth *bandwidth
}

// ownBridge tells whether libvirt makes the network's bridge.
func (d *definition) ownBridge() bool {
	switch d.forward.mode {
	case modeNone, modeNAT, modeRoute, modeOpen:
		return true
	}
	return false
}

// clone is a copy whose own slices may be changed; what they point to is shared and never changed.
func (d *definition) clone() *definition {
	c := *d
	c.forward.ifaces = slices.Clone(d.forward.ifaces)
	c.dns.forwarders, c.dns.txts = slices.Clone(d.dns.forwarders), slices.Clone(d.dns.txts)
	c.dns.srvs, c.dns.hosts = slices.Clone(d.dns.srvs), slices.Clone(d.dns.hosts)
	c.ips = slices.Clone(d.ips)
	for i := range c.ips {
		c.ips[i].ranges, c.ips[i].hosts = slices.Clone(c.ips[i].ranges), slices.Clone(c.ips[i].hosts)
	}
	c.routes, c.portgroups = slices.Clone(d.routes), slices.Clone(d.portgroups)
	return &c
}

// bits is the length of the address's network prefix, by libvirt's rules: the prefix, the netmask's leading ones, or the
// class of the address.
func (ip *ipDef) bits() int { return prefixBits(ip.address, ip.netmask, ip.prefix, ip.hasPfx) }

func (ip *ipDef) net() netip.Prefix { return netip.PrefixFrom(ip.address, ip.bits()).Masked() }

func (ip *ipDef) dhcp() bool { return len(ip.ranges)+len(ip.hosts) > 0 }

func (r *route) bits() int {
	if !r.hasPfx && !r.netmask.IsValid() && r.address.IsUnspecified() {
		return 0
	}
	return prefixBits(r.address, r.netmask, r.prefix, r.hasPfx)
}

func prefixBits(a, mask netip.Addr, prefix uint64, given bool) int {
	switch {
	case given:
		return int(prefix)
	case mask.IsValid():
		n := 0
		for _, b := range mask.AsSlice() {
			for ; b&0x80 != 0; b <<= 1 {
				n++
			}
		}
		return n
	case a.Is4():
		switch b := a.As4()[0]; {
		case b < 128:
			return 8
		case b < 192:
			return 16
		case b < 224:
			return 24
		}
		return 32
	case a.Is6():
		return 64
	}
	return 0
}

// parseAddr reads an address as getaddrinfo does with AI_NUMERICHOST: IPv4 in all its old forms.
func parseAddr(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.WithZone(""), true
	}
	return xmltree.IPv4(s)
}

func macString(m [6]byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// newMAC makes an address of the range that is QEMU's.
func newMAC() string {
	m := [6]byte{0x52, 0x54, 0x00}
	_, _ = rand.Read(m[3:]) // never fails
	return macString(m)
}

func newUUID() protocol.UUID { return protocol.UUID(uuid.New()) }

// complete gives a network with a bridge of our own what it must have: a name for the bridge that nobody uses, counted
// from first, and an address.
func (d *definition) complete(taken func(bridge string) bool, first int) {
	if !d.ownBridge() {
		return
	}
	if d.bridge == "" || strings.Contains(d.bridge, "%d") {
		pattern := d.bridge
		if strings.Count(pattern, "%") != 1 { // Compat: more than one is no pattern, and no name
			pattern = "virbr%d"
		}
		for n := first; ; n++ {
			if name := strings.Replace(pattern, "%d", strconv.Itoa(n), 1); !taken(name) {
				d.bridge = name
				break
			}
		}
	}
	if d.mac == "" {
		d.mac = newMAC()
	}
}
