package def

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

const from = liberr.FromInterface

type node = xmltree.Node

// of is an attribute of a child. Compat: an empty one counts as missing, as in libvirt's string(./child/@name).
func of(e *node, child, name string) (string, bool) {
	if c := e.Kid(child); c != nil {
		v, _ := c.Lookup(name)
		return v, v != ""
	}
	return "", false
}

func bad(format string, args ...any) error {
	return liberr.New(from, liberr.XMLError, "%s", fmt.Sprintf(format, args...))
}

// Parse reads a document.
func Parse(doc string) (*Interface, error) {
	root, err := read(doc)
	if err != nil {
		return nil, err
	}
	if root.Local() != "interface" {
		return nil, bad("unexpected root element <%s>, expecting <interface>", root.Local())
	}
	return parse(root, "")
}

// read reads any document: what its root must be is said in other words by Parse and by Validate.
func read(doc string) (*node, error) {
	return xmltree.Reader{Origin: "(interface_definition)", From: from}.Read(doc)
}

// below names the types that may be ports of a type.
var below = map[string][]string{"bond": {"ethernet"}, "bridge": {"ethernet", "bond", "vlan"}}

// parse reads one interface; parent is the type it is a port of, "" at the top.
func parse(e *node, parent string) (*Interface, error) {
	i := &Interface{}
	var ok bool
	if i.Type, ok = e.Lookup("type"); !ok {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Missing required attribute '%s' in element '%s'", "type", "interface")
	}
	if !slices.Contains([]string{"ethernet", "bridge", "bond", "vlan"}, i.Type) {
		return nil, e.BadValue("type", i.Type, "")
	}
	if parent != "" && !slices.Contains(below[parent], i.Type) {
		return nil, bad("interface has unsupported type '%s'", i.Type)
	}
	if i.Name, ok = e.Lookup("name"); !ok {
		return nil, bad("interface has no name")
	}
	if parent == "" {
		if err := i.common(e); err != nil {
			return nil, err
		}
	}
	if i.Type != "bridge" {
		if err := i.link(e.Kid("link")); err != nil {
			return nil, err
		}
	}
	if i.Type == "ethernet" {
		i.MAC, _ = of(e, "mac", "address")
		return i, nil
	}
	own := e.Kid(i.Type)
	if own == nil {
		return nil, bad("%s interface misses the %s element", i.Type, i.Type)
	}
	var err error
	switch i.Type {
	case "bridge":
		i.Bridge, err = bridge(own)
	case "bond":
		i.Bond, err = bond(own)
	case "vlan":
		i.VLAN, err = vlan(own)
	}
	return i, err
}

// common reads what only top-level interfaces have.
func (i *Interface) common(e *node) error {
	if mode, ok := of(e, "start", "mode"); ok {
		if !slices.Contains([]string{"onboot", "hotplug", "none"}, mode) {
			return bad("unknown interface startmode %s", mode)
		}
		i.Start = mode
	}
	if size, ok := of(e, "mtu", "size"); ok {
		n, err := strconv.ParseUint(strings.TrimSpace(size), 10, 64)
		if err != nil || n > 100000 {
			return bad("interface mtu value is improper")
		}
		i.MTU = uint(n)
	}
	for _, k := range e.All("protocol") {
		p, err := protocol(k)
		if err != nil {
			return err
		}
		i.Protocols = append(i.Protocols, p)
	}
	return nil
}

var linkStates = []string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

func (i *Interface) link(e *node) error {
	if e == nil {
		return nil
	}
	i.Link = &Link{}
	if s, ok := e.Lookup("state"); ok {
		if !slices.Contains(linkStates, s) {
			return e.BadValue("state", s, "")
		}
		i.Link.State = s
	}
	if s, ok := e.Lookup("speed"); ok {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return e.BadValue("speed", s, " Expected non-negative integer value")
		}
		i.Link.Speed = uint(n)
	}
	return nil
}

func protocol(e *node) (p Protocol, err error) {
	var ok bool
	if p.Family, ok = e.Lookup("family"); !ok {
		return p, bad("protocol misses the family attribute")
	}
	if p.Family != "ipv4" && p.Family != "ipv6" {
		return p, bad("unsupported protocol family '%s'", p.Family)
	}
	p.Gateway, _ = of(e, "route", "gateway")
	p.Autoconf = p.Family == "ipv6" && e.Kid("autoconf") != nil
	if d := e.Kid("dhcp"); d != nil {
		p.DHCP = true
		if v, ok := d.Lookup("peerdns"); ok {
			if v != "yes" && v != "no" {
				return p, d.BadValue("peerdns", v, "")
			}
			p.PeerDNS = v
		}
	}
	for _, c := range e.All("ip") {
		var ip IP
		if ip.Address, ok = c.Lookup("address"); !ok {
			continue // Compat: an address without address is passed over
		}
		if v, ok := c.Lookup("prefix"); ok {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil {
				return p, c.BadValue("prefix", v, " Expected integer value")
			}
			ip.Prefix = int(n)
		}
		p.IPs = append(p.IPs, ip)
	}
	return p, nil
}

func ports(e *node, parent string) (list []*Interface, err error) {
	for _, k := range e.All("interface") {
		i, err := parse(k, parent)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

func bridge(e *node) (*Bridge, error) {
	b := &Bridge{}
	if v, ok := e.Lookup("stp"); ok {
		if v != "on" && v != "off" {
			return nil, bad("bridge interface stp should be on or off got %s", v)
		}
		b.STP = v
	}
	b.Delay, _ = e.Lookup("delay")
	var err error
	b.Ports, err = ports(e, "bridge")
	return b, err
}

// Modes are the modes of bonds, in the kernel's order.
var Modes = []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}

func bond(e *node) (*Bond, error) {
	b := &Bond{}
	if mode, _ := e.Lookup("mode"); mode != "" {
		if !slices.Contains(Modes, mode) {
			return nil, bad("unknown bonding mode %s", mode)
		}
		b.Mode = mode
	}
	var err error
	if b.Ports, err = ports(e, "bond"); err != nil {
		return nil, err
	}
	if m := e.Kid("miimon"); m != nil {
		b.MII, err = mii(m)
	} else if a := e.Kid("arpmon"); a != nil {
		b.ARP, err = arp(a)
	}
	return b, err
}

// number reads an integer attribute as libvirt's XPath does; given is false when it is missing.
func number(e *node, name string) (n int, given bool, err error) {
	v, _ := e.Lookup(name)
	if v == "" {
		return 0, false, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if n = int(f); err != nil || float64(n) != f {
		return 0, true, strconv.ErrSyntax
	}
	return n, true, nil
}

func mii(e *node) (m *MII, err error) {
	m = &MII{}
	var given bool
	if m.Freq, given, err = number(e, "freq"); err != nil || !given {
		return nil, bad("bond interface miimon freq missing or invalid")
	}
	if m.DownDelay, _, err = number(e, "downdelay"); err != nil {
		return nil, bad("bond interface miimon downdelay invalid")
	}
	if m.UpDelay, _, err = number(e, "updelay"); err != nil {
		return nil, bad("bond interface miimon updelay invalid")
	}
	if m.Carrier, _ = e.Lookup("carrier"); m.Carrier != "" && m.Carrier != "ioctl" && m.Carrier != "netif" {
		return nil, bad("unknown mii bonding carrier %s", m.Carrier)
	}
	return m, nil
}

func arp(e *node) (a *ARP, err error) {
	a = &ARP{}
	var given bool
	if a.Interval, given, err = number(e, "interval"); err != nil || !given {
		return nil, bad("bond interface arpmon interval missing or invalid")
	}
	if a.Target, _ = e.Lookup("target"); a.Target == "" {
		return nil, bad("bond interface arpmon target missing")
	}
	if a.Validate, _ = e.Lookup("validate"); a.Validate != "" && !slices.Contains([]string{"active", "backup", "all"}, a.Validate) {
		return nil, bad("unknown arp bonding validate %s", a.Validate)
	}
	return a, nil
}

func vlan(e *node) (*VLAN, error) {
	v := &VLAN{}
	if v.Tag, _ = e.Lookup("tag"); v.Tag == "" {
		return nil, bad("vlan interface misses the tag attribute")
	}
	if v.Device, _ = of(e, "interface", "name"); v.Device == "" {
		return nil, bad("vlan interface misses name attribute")
	}
	return v, nil
}
