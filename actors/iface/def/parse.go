package def

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

const from = liberr.FromInterface

const origin = "(interface_definition)"

// element is a part of a document as it was written.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Children []element  `xml:",any"`
}

// attr is an attribute's value; "" when there is none, and then ok is false.
func (e *element) attr(name string) (value string, ok bool) {
	for _, a := range e.Attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

// child is the first of that name; nil when there is none.
func (e *element) child(name string) *element {
	for i := range e.Children {
		if e.Children[i].XMLName.Local == name {
			return &e.Children[i]
		}
	}
	return nil
}

// of is an attribute of a child. Compat: an empty one counts as missing, as in libvirt's string(./child/@name).
func (e *element) of(child, name string) (string, bool) {
	if c := e.child(child); c != nil {
		v, _ := c.attr(name)
		return v, v != ""
	}
	return "", false
}

func bad(format string, args ...any) error {
	return liberr.New(from, liberr.XMLError, "%s", fmt.Sprintf(format, args...))
}

// badValue is the complaint of libvirt's readers of attributes.
func badValue(e *element, name, value, expected string) error {
	return liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute '%s' in element '%s': '%s'.%s", name, e.XMLName.Local, value, expected)
}

// Parse reads a document.
func Parse(doc string) (*Interface, error) {
	root, err := read(doc)
	if err != nil {
		return nil, err
	}
	if root.XMLName.Local != "interface" {
		return nil, bad("unexpected root element <%s>, expecting <interface>", root.XMLName.Local)
	}
	return parse(root, "")
}

func read(doc string) (*element, error) {
	dec := xml.NewDecoder(strings.NewReader(doc))
	var e element
	err := dec.Decode(&e)
	for err == nil {
		var t xml.Token
		if t, err = dec.Token(); err == io.EOF {
			return &e, nil
		}
		if _, more := t.(xml.StartElement); more {
			err = &xml.SyntaxError{Msg: "Extra content at the end of the document", Line: 1}
		}
	}
	return nil, syntaxError(doc, err)
}

// syntaxError says in libxml2's words why a document is not well formed; the scanner of domain documents knows them.
func syntaxError(doc string, own error) error {
	_, err := domxml.Parse([]byte(doc), domxml.Env{}, domxml.ParseTrusted|domxml.ParseNoCaps)
	var e *liberr.Error
	if errors.As(err, &e) && e.Code == liberr.XMLDetail {
		if rest, ok := strings.CutPrefix(e.Message, "(domain_definition)"); ok {
			return liberr.Raw(from, liberr.XMLDetail, origin+rest).WithCause(own)
		}
	}
	return liberr.Raw(from, liberr.XMLDetail, origin+":1: "+own.Error()).WithCause(own)
}

// below names the types that may be ports of a type.
var below = map[string][]string{"bond": {"ethernet"}, "bridge": {"ethernet", "bond", "vlan"}}

// parse reads one interface; parent is the type it is a port of, "" at the top.
func parse(e *element, parent string) (*Interface, error) {
	i := &Interface{}
	var ok bool
	if i.Type, ok = e.attr("type"); !ok {
		return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Missing required attribute '%s' in element '%s'", "type", "interface")
	}
	if !slices.Contains([]string{"ethernet", "bridge", "bond", "vlan"}, i.Type) {
		return nil, badValue(e, "type", i.Type, "")
	}
	if parent != "" && !slices.Contains(below[parent], i.Type) {
		return nil, bad("interface has unsupported type '%s'", i.Type)
	}
	if i.Name, ok = e.attr("name"); !ok {
		return nil, bad("interface has no name")
	}
	if parent == "" {
		if err := i.common(e); err != nil {
			return nil, err
		}
	}
	if i.Type != "bridge" {
		if err := i.link(e.child("link")); err != nil {
			return nil, err
		}
	}
	if i.Type == "ethernet" {
		i.MAC, _ = e.of("mac", "address")
		return i, nil
	}
	own := e.child(i.Type)
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
func (i *Interface) common(e *element) error {
	if mode, ok := e.of("start", "mode"); ok {
		if !slices.Contains([]string{"onboot", "hotplug", "none"}, mode) {
			return bad("unknown interface startmode %s", mode)
		}
		i.Start = mode
	}
	if size, ok := e.of("mtu", "size"); ok {
		n, err := strconv.ParseUint(strings.TrimSpace(size), 10, 64)
		if err != nil || n > 100000 {
			return bad("interface mtu value is improper")
		}
		i.MTU = uint(n)
	}
	for n := range e.Children {
		if e.Children[n].XMLName.Local != "protocol" {
			continue
		}
		p, err := protocol(&e.Children[n])
		if err != nil {
			return err
		}
		i.Protocols = append(i.Protocols, p)
	}
	return nil
}

var linkStates = []string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

func (i *Interface) link(e *element) error {
	if e == nil {
		return nil
	}
	i.Link = &Link{}
	if s, ok := e.attr("state"); ok {
		if !slices.Contains(linkStates, s) {
			return badValue(e, "state", s, "")
		}
		i.Link.State = s
	}
	if s, ok := e.attr("speed"); ok {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return badValue(e, "speed", s, " Expected non-negative integer value")
		}
		i.Link.Speed = uint(n)
	}
	return nil
}

func protocol(e *element) (p Protocol, err error) {
	var ok bool
	if p.Family, ok = e.attr("family"); !ok {
		return p, bad("protocol misses the family attribute")
	}
	if p.Family != "ipv4" && p.Family != "ipv6" {
		return p, bad("unsupported protocol family '%s'", p.Family)
	}
	p.Gateway, _ = e.of("route", "gateway")
	p.Autoconf = p.Family == "ipv6" && e.child("autoconf") != nil
	if d := e.child("dhcp"); d != nil {
		p.DHCP = true
		if v, ok := d.attr("peerdns"); ok {
			if v != "yes" && v != "no" {
				return p, badValue(d, "peerdns", v, "")
			}
			p.PeerDNS = v
		}
	}
	for n := range e.Children {
		c := &e.Children[n]
		if c.XMLName.Local != "ip" {
			continue
		}
		var ip IP
		if ip.Address, ok = c.attr("address"); !ok {
			continue // Compat: an address without address is passed over
		}
		if v, ok := c.attr("prefix"); ok {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil {
				return p, badValue(c, "prefix", v, " Expected integer value")
			}
			ip.Prefix = int(n)
		}
		p.IPs = append(p.IPs, ip)
	}
	return p, nil
}

func ports(e *element, parent string) (list []*Interface, err error) {
	for n := range e.Children {
		if e.Children[n].XMLName.Local != "interface" {
			continue
		}
		i, err := parse(&e.Children[n], parent)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

func bridge(e *element) (*Bridge, error) {
	b := &Bridge{}
	if v, ok := e.attr("stp"); ok {
		if v != "on" && v != "off" {
			return nil, bad("bridge interface stp should be on or off got %s", v)
		}
		b.STP = v
	}
	b.Delay, _ = e.attr("delay")
	var err error
	b.Ports, err = ports(e, "bridge")
	return b, err
}

// Modes are the modes of bonds, in the kernel's order.
var Modes = []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}

func bond(e *element) (*Bond, error) {
	b := &Bond{}
	if mode, _ := e.attr("mode"); mode != "" {
		if !slices.Contains(Modes, mode) {
			return nil, bad("unknown bonding mode %s", mode)
		}
		b.Mode = mode
	}
	var err error
	if b.Ports, err = ports(e, "bond"); err != nil {
		return nil, err
	}
	if m := e.child("miimon"); m != nil {
		b.MII, err = mii(m)
	} else if a := e.child("arpmon"); a != nil {
		b.ARP, err = arp(a)
	}
	return b, err
}

// number reads an integer attribute as libvirt's XPath does; given is false when it is missing.
func number(e *element, name string) (n int, given bool, err error) {
	v, _ := e.attr(name)
	if v == "" {
		return 0, false, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if n = int(f); err != nil || float64(n) != f {
		return 0, true, strconv.ErrSyntax
	}
	return n, true, nil
}

func mii(e *element) (m *MII, err error) {
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
	if m.Carrier, _ = e.attr("carrier"); m.Carrier != "" && m.Carrier != "ioctl" && m.Carrier != "netif" {
		return nil, bad("unknown mii bonding carrier %s", m.Carrier)
	}
	return m, nil
}

func arp(e *element) (a *ARP, err error) {
	a = &ARP{}
	var given bool
	if a.Interval, given, err = number(e, "interval"); err != nil || !given {
		return nil, bad("bond interface arpmon interval missing or invalid")
	}
	if a.Target, _ = e.attr("target"); a.Target == "" {
		return nil, bad("bond interface arpmon target missing")
	}
	if a.Validate, _ = e.attr("validate"); a.Validate != "" && !slices.Contains([]string{"active", "backup", "all"}, a.Validate) {
		return nil, bad("unknown arp bonding validate %s", a.Validate)
	}
	return a, nil
}

func vlan(e *element) (*VLAN, error) {
	v := &VLAN{}
	if v.Tag, _ = e.attr("tag"); v.Tag == "" {
		return nil, bad("vlan interface misses the tag attribute")
	}
	if v.Device, _ = e.of("interface", "name"); v.Device == "" {
		return nil, bad("vlan interface misses name attribute")
	}
	return v, nil
}
