package domxml

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

var netModelName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// checkInterface reads one <interface>.
func (def *definition) checkInterface(n *node) error {
	n.SetDefault("type", "user")
	def.readActual(n)
	if err := grammar["interface"].check(withoutKids(n)); err != nil {
		return err
	}
	typ := n.Get("type")
	if typ != "hostdev" {
		n.Unset("managed")
	}
	if err := def.checkMAC(n); err != nil {
		return err
	}
	if err := def.checkNetSource(n, typ); err != nil {
		return err
	}
	if m := n.Kid("model"); m != nil && m.Has("type") && !netModelName.MatchString(m.Get("type")) {
		return liberr.New(liberr.FromDomain, liberr.InvalidArg, "Model name contains invalid characters")
	}
	if t := n.Kid("target"); t != nil {
		dev := t.Get("dev")
		if def.flags&ParseLive == 0 && (strings.HasPrefix(dev, "vnet") || strings.HasPrefix(dev, "vif") || typ == "direct" && (strings.HasPrefix(dev, "macvtap") || strings.HasPrefix(dev, "macvlan"))) && t.Get("managed") != "no" {
			t.Unset("dev")
		}
		if len(t.Attrs) == 0 {
			n.Remove(t)
		}
	}
	return def.checkNetDetails(n)
}

func (def *definition) checkMAC(n *node) error {
	m := n.Kid("mac")
	if m == nil || !m.Has("address") {
		if m == nil {
			m = xmltree.Elem("mac")
			n.Kids = append([]*node{m}, n.Kids...)
		}
		m.Set("address", def.env.mac())
		return nil
	}
	text := m.Get("address")
	raw, ok := parseMAC(text)
	if !ok {
		return xmlError("unable to parse mac address '%s'", text)
	}
	if raw[0]&1 != 0 {
		return xmlError("expected unicast mac address, found multicast '%s'", text)
	}
	m.Set("address", formatMAC(raw))
	if def.flags&ParseLive == 0 && m.Get("type") == "generated" {
		m.Unset("type")
	}
	return nil
}

func parseMAC(s string) (raw [6]byte, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) != 6 {
		return raw, false
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) > 2 {
			return raw, false
		}
		raw[i] = byte(v)
	}
	return raw, true
}

func formatMAC(raw [6]byte) string {
	h := hex.EncodeToString(raw[:])
	return h[0:2] + ":" + h[2:4] + ":" + h[4:6] + ":" + h[6:8] + ":" + h[8:10] + ":" + h[10:12]
}

func (def *definition) checkNetSource(n *node, typ string) error {
	s := n.Kid("source")
	need := func() error { return xmlError("interface type='%s' requires a 'source' element", typ) }
	required := func(names ...string) error {
		if s == nil {
			return need()
		}
		for _, name := range names {
			if s.Get(name) == "" {
				return missingAttr(xmltree.Elem("source"), name)
			}
		}
		return nil
	}
	switch typ {
	case "network":
		if err := required("network"); err != nil {
			return err
		}
		keep(s, "network", "portid", "portgroup")
		if def.flags&ParseLive == 0 {
			s.Unset("portid")
		}
	case "bridge":
		if err := required("bridge"); err != nil {
			return err
		}
		keep(s, "bridge")
	case "internal":
		if err := required("name"); err != nil {
			return err
		}
		keep(s, "name")
	case "direct":
		if err := required("dev"); err != nil {
			return err
		}
		if v, ok := s.Lookup("mode"); ok {
			if !slices.Contains([]string{"vepa", "private", "bridge", "passthrough"}, v) {
				return badValue(s, "mode", v)
			}
		} else {
			s.Set("mode", "vepa")
		}
		keep(s, "dev", "mode")
	case "vdpa":
		if err := required("dev"); err != nil {
			return err
		}
		keep(s, "dev")
	case "vhostuser":
		if err := required("type", "path", "mode"); err != nil {
			return err
		}
		if s.Get("type") != "unix" {
			return badValue(s, "type", s.Get("type"))
		}
		if v := s.Get("mode"); v != "server" && v != "client" {
			return xmlError("Wrong <source> 'mode' attribute specified with <interface type='vhostuser'/>")
		}
	case "server", "client", "mcast", "udp":
		if s == nil {
			return need()
		}
		if !s.Has("port") {
			return missingAttr(s, "port")
		}
		if _, err := strconv.ParseUint(s.Get("port"), 10, 32); err != nil {
			return xmlError("Invalid value for attribute 'port' in element 'source': '%s'. Expected integer value", s.Get("port"))
		}
		if typ != "server" && s.Get("address") == "" {
			return missingAttr(s, "address")
		}
	case "hostdev":
		a := s.Kid("address")
		if s == nil || a == nil || !a.Has("type") {
			return xmlError("missing source address type")
		}
		if a.Get("type") == "pci" {
			if err := checkHostPCI(a); err != nil {
				return err
			}
		}
		if n.Get("managed") == "no" {
			n.Unset("managed")
		}
	case "user", "ethernet", "null":
		if s != nil {
			keep(s)
		}
	}
	if s != nil && s.Empty() {
		n.Remove(s)
	}
	return nil
}

func (def *definition) checkNetDetails(n *node) error {
	if l := n.Kid("link"); l != nil {
		if v := l.Get("state"); v != "up" && v != "down" {
			return unsupported("unknown interface link state '%s'", v)
		}
	}
	if m := n.Kid("mtu"); m != nil {
		if _, err := strconv.ParseUint(m.Get("size"), 10, 32); err != nil {
			return xmlError("malformed mtu size")
		}
	}
	owners := []*node{n}
	if s := n.Kid("source"); s != nil {
		owners = append(owners, s)
	}
	for _, o := range owners {
		for _, ip := range o.All("ip") {
			if _, err := netip.ParseAddr(ip.Get("address")); err != nil {
				return xmlError("Invalid address '%s' in <ip>", ip.Get("address"))
			}
			ip.SetDefault("family", "ipv4")
		}
	}
	if err := checkVLAN(n.Kid("vlan")); err != nil {
		return err
	}
	if err := def.checkVirtualPort(n.Kid("virtualport")); err != nil {
		return err
	}
	if typ := n.Get("type"); typ != "ethernet" && typ != "network" && typ != "bridge" {
		n.Drop("filterref")
	}
	if f := n.Kid("filterref"); f != nil {
		slices.SortStableFunc(f.Kids, func(a, b *node) int { return strings.Compare(a.Get("name"), b.Get("name")) })
	}
	if b := n.Kid("bandwidth"); b != nil {
		for _, dir := range b.Kids {
			if !dir.Has("average") && !(dir.Name == "inbound" && dir.Has("floor")) {
				if dir.Name == "inbound" {
					return liberr.New(liberr.FromNone, liberr.XMLDetail, "Missing mandatory average or floor attributes")
				}
				return liberr.New(liberr.FromNone, liberr.XMLDetail, "Missing mandatory average attribute")
			}
		}
		if len(b.Kids) == 0 {
			n.Remove(b)
		}
	}
	if t := n.Kid("tune"); t != nil && t.KidText("sndbuf") == "" {
		n.Remove(t)
	}
	if n.Get("type") != "ethernet" && n.Get("type") != "bridge" && n.Get("type") != "user" {
		n.Drop("script", "downscript")
	}
	if b := n.Kid("backend"); b.Has("type") {
		return badValue(b, "type", b.Get("type"))
	} else if b != nil && len(b.Attrs) == 0 {
		n.Remove(b)
	}
	return nil
}

func checkVLAN(v *node) error {
	if v == nil {
		return nil
	}
	tags := v.All("tag")
	if len(tags) == 0 {
		return xmlError("missing tag id - each <vlan> must have at least one <tag id='n'/> subelement")
	}
	native := false
	for _, t := range tags {
		id, ok := uintOf(t, "id")
		if !ok {
			return xmlError("missing or invalid vlan tag id attribute")
		}
		if id > 4095 {
			return xmlError("vlan tag id %d too large (maximum 4095)", id)
		}
		native = native || t.Has("nativeMode")
	}
	if v.Get("trunk") == "no" {
		if len(tags) > 1 {
			return xmlError("invalid \"trunk='no'\" in <vlan> - trunk='yes' is required for more than one vlan tag")
		}
		v.Unset("trunk")
	}
	if len(tags) > 1 || native {
		v.Set("trunk", "yes")
	}
	return nil
}

func (def *definition) checkVirtualPort(v *node) error {
	if v == nil {
		return nil
	}
	typ, ok := v.Lookup("type")
	if !ok {
		return nil
	}
	if !slices.Contains([]string{"none", "802.1Qbg", "802.1Qbh", "openvswitch", "midonet"}, typ) {
		return unsupported("unknown virtualport type %s", typ)
	}
	if typ == "openvswitch" || typ == "802.1Qbg" {
		p := v.Ensure("parameters")
		id := map[string]string{"openvswitch": "interfaceid", "802.1Qbg": "instanceid"}[typ]
		if !p.Has(id) {
			p.Set(id, def.env.uuid())
		}
	}
	return nil
}
