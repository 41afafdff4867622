package network

import (
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Parts of documents that networks share with ports and interfaces: bandwidth, VLANs, virtual ports.

func readBandwidth(n *node, floor bool) (*bandwidth, error) {
	if n == nil {
		return nil, nil
	}
	b := &bandwidth{}
	for _, side := range []struct {
		name string
		to   **rate
	}{{"inbound", &b.in}, {"outbound", &b.out}} {
		all := n.All(side.name)
		if len(all) > 1 {
			return nil, liberr.New(liberr.FromNone, liberr.XMLDetail, "Only one child <%s> element allowed", side.name)
		}
		if len(all) == 0 {
			continue
		}
		r, err := readRate(all[0])
		if err != nil {
			return nil, err
		}
		*side.to = r
	}
	if b.in != nil && b.in.floor != 0 && !floor {
		return nil, plainUnsupported("floor attribute is not supported for this config")
	}
	if b.out != nil && b.out.floor != 0 {
		return nil, plainUnsupported("'floor' attribute allowed only in <inbound> element")
	}
	if b.in == nil && b.out == nil {
		return nil, nil
	}
	return b, nil
}

func readRate(n *node) (*rate, error) {
	r := &rate{}
	_, average := n.Lookup("average")
	_, floor := n.Lookup("floor")
	if !average && !floor {
		return nil, liberr.New(liberr.FromNone, liberr.XMLDetail, "Missing mandatory average or floor attributes")
	}
	if _, peak := n.Lookup("peak"); (peak || n.Get("burst") != "") && !average {
		return nil, liberr.New(liberr.FromNone, liberr.XMLDetail, "'peak' and 'burst' require 'average' attribute")
	}
	for _, f := range []struct {
		name string
		to   *uint64
	}{{"average", &r.average}, {"peak", &r.peak}, {"burst", &r.burst}, {"floor", &r.floor}} {
		text, ok := n.Lookup(f.name)
		if !ok {
			continue
		}
		v, err := parseNumber(text, 64)
		if err != nil {
			return nil, plainUnsupported("could not convert bandwidth %s value '%s'", f.name, text)
		}
		*f.to = v
	}
	return r, nil
}

func (w *writer) bandwidth(b *bandwidth) { w.bandwidthClass(b, 0) }

// bandwidthClass writes a bandwidth with the class that a port's floor has on its bridge.
func (w *writer) bandwidthClass(b *bandwidth, class uint) {
	if b == nil {
		return
	}
	if class != 0 {
		w.line("<bandwidth classID='%d'>", class)
	} else {
		w.line("<bandwidth>")
	}
	w.in()
	for _, side := range []struct {
		name string
		r    *rate
	}{{"inbound", b.in}, {"outbound", b.out}} {
		r := side.r
		if r == nil || r.average == 0 && r.floor == 0 {
			continue
		}
		text := "<" + side.name
		for _, f := range []struct {
			name string
			v    uint64
		}{{"average", r.average}, {"peak", r.peak}, {"floor", r.floor}, {"burst", r.burst}} {
			if f.v != 0 {
				text += " " + f.name + "='" + strconv.FormatUint(f.v, 10) + "'"
			}
		}
		w.line("%s/>", text)
	}
	w.out()
	w.line("</bandwidth>")
}

func readVLAN(n *node) (*vlan, error) {
	if n == nil {
		return nil, nil
	}
	v := &vlan{native: -1}
	tags := n.All("tag")
	if len(tags) == 0 {
		return nil, plainXML("missing tag id - each <vlan> must have at least one <tag id='n'/> subelement")
	}
	for i, t := range tags {
		id, given, err := numberOf(t, "id", 32)
		if err != nil {
			return nil, err
		}
		if !given {
			return nil, liberr.New(liberr.FromXML, liberr.XMLError, "Missing required attribute 'id' in element 'tag'")
		}
		if id > 4095 {
			return nil, plainXML("vlan tag id %d too large (maximum 4095)", id)
		}
		mode, err := oneOf(t, "nativeMode", "tagged", "untagged")
		if err != nil {
			return nil, err
		}
		if mode != "" {
			if v.native >= 0 {
				return nil, plainXML("duplicate native vlan setting")
			}
			v.native, v.mode = i, mode
		}
		v.tags = append(v.tags, uint32(id))
	}
	v.trunk = len(tags) > 1
	if t, ok := n.Lookup("trunk"); ok {
		switch {
		case strings.EqualFold(t, "yes"):
			v.trunk = true
		case !strings.EqualFold(t, "no"):
			return nil, plainXML("invalid \"trunk='%s'\" in <vlan> - must be yes or no", t)
		case len(tags) > 1:
			return nil, plainXML("invalid \"trunk='%s'\" in <vlan> - trunk='yes' is required for more than one vlan tag", t)
		case v.native >= 0:
			return nil, plainXML("invalid configuration in <vlan> - \"trunk='%s'\" is not allowed with a native vlan id", t)
		}
	}
	return v, nil
}

func (w *writer) vlan(v *vlan) {
	if v == nil {
		return
	}
	if v.trunk {
		w.line("<vlan trunk='yes'>")
	} else {
		w.line("<vlan>")
	}
	w.in()
	for i, id := range v.tags {
		if i == v.native {
			w.line("<tag id='%d' nativeMode='%s'/>", id, v.mode)
		} else {
			w.line("<tag id='%d'/>", id)
		}
	}
	w.out()
	w.line("</vlan>")
}

// What each type of virtual port takes.
var vportFields = map[string]string{
	"":         "managerid typeid typeidversion instanceid interfaceid profileid",
	"802.1Qbg": "managerid typeid typeidversion instanceid", "802.1Qbh": "profileid",
	"openvswitch": "interfaceid profileid", "midonet": "interfaceid profileid",
}

func readVPort(n *node, wantType bool) (*vport, error) {
	if n == nil {
		return nil, nil
	}
	v := &vport{}
	typ, ok := n.Lookup("type")
	if !ok && wantType {
		return nil, plainXML("missing required virtualport type")
	}
	if _, known := vportFields[typ]; !known || ok && typ == "" {
		return nil, plainUnsupported("unknown virtualport type %s", typ)
	}
	v.typ = typ
	p := n.Kid("parameters")
	for _, f := range []struct {
		name, of string
		to       **uint64
		max      uint64
	}{{"managerid", "of", &v.manager, 0xff}, {"typeid", "for", &v.typeID, 0xffffff}, {"typeidversion", "of", &v.typeVersion, 0xff}} {
		text, ok := p.Lookup(f.name)
		if !ok {
			continue
		}
		u, err := strconv.ParseUint(text, 0, 32)
		if err != nil {
			return nil, plainXML("cannot parse value of %s parameter", f.name)
		}
		if u > f.max {
			return nil, plainXML("value %s %s out of range", f.of, f.name)
		}
		*f.to = &u
	}
	for _, f := range []struct {
		name string
		to   **protocol.UUID
	}{{"instanceid", &v.instance}, {"interfaceid", &v.ifaceID}} {
		text, ok := p.Lookup(f.name)
		if !ok {
			continue
		}
		id, good := xmltree.UUID(text)
		if !good {
			return nil, plainXML("cannot parse %s parameter as a uuid", f.name)
		}
		*f.to = &id
	}
	v.profile = p.Get("profileid")
	if len(v.profile) >= 40 {
		return nil, plainXML("profileid parameter too long")
	}
	return v, v.check()
}

// check refuses parameters that the type does not take.
func (v *vport) check() error {
	allowed := " " + vportFields[v.typ] + " "
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"managerid", v.manager != nil}, {"typeid", v.typeID != nil}, {"typeidversion", v.typeVersion != nil},
		{"instanceid", v.instance != nil}, {"profileid", v.profile != ""}, {"interfaceid", v.ifaceID != nil},
	} {
		if f.set && !strings.Contains(allowed, " "+f.name+" ") {
			return liberr.New(liberr.FromNet, liberr.XMLError, "extra %s unsupported in <virtualport type='%s'>", f.name, v.typ)
		}
	}
	return nil
}

func (w *writer) vport(v *vport) {
	if v == nil || v.typ == "none" {
		return
	}
	var p strings.Builder
	for _, f := range []struct {
		name string
		v    *uint64
	}{{"managerid", v.manager}, {"typeid", v.typeID}, {"typeidversion", v.typeVersion}} {
		if f.v != nil {
			p.WriteString(" " + f.name + "='" + strconv.FormatUint(*f.v, 10) + "'")
		}
	}
	if v.instance != nil {
		p.WriteString(opt("instanceid", v.instance.String()))
	}
	if v.ifaceID != nil {
		p.WriteString(opt("interfaceid", v.ifaceID.String()))
	}
	if v.typ != "midonet" { // Compat: there it is read and counts as a parameter, but is not written
		p.WriteString(opt("profileid", v.profile))
	}
	if p.Len() == 0 && v.profile == "" {
		if v.typ != "" {
			w.line("<virtualport%s/>", opt("type", v.typ))
		}
		return
	}
	w.line("<virtualport%s>", opt("type", v.typ))
	w.in()
	w.line("<parameters%s/>", p.String())
	w.out()
	w.line("</virtualport>")
}

func readPCI(n *node) (*pciAddr, error) {
	a := &pciAddr{}
	for _, f := range []struct {
		name string
		to   *uint32
		max  uint64
	}{{"domain", &a.domain, 0xffff}, {"bus", &a.bus, 0xff}, {"slot", &a.slot, 0x1f}, {"function", &a.function, 7}} {
		text, ok := n.Lookup(f.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseUint(text, 0, 32)
		if err != nil {
			return nil, n.BadValue(f.name, text, wantsNumber)
		}
		if v > f.max {
			return nil, plainXML("Invalid PCI address %s='0x%x', must be <= 0x%X", f.name, v, f.max)
		}
		*f.to = uint32(v)
	}
	return a, nil
}
