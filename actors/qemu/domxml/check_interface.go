package domxml

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

var netModelName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// checkInterface reads one <interface>.
func (def *definition) checkInterface(n *node) error {
	n.setDefault("type", "user")
	def.readActual(n)
	if err := grammar["interface"].check(withoutKids(n)); err != nil {
		return err
	}
	typ := n.get("type")
	if typ != "hostdev" {
		n.unset("managed")
	}
	if err := def.checkMAC(n); err != nil {
		return err
	}
	if err := def.checkNetSource(n, typ); err != nil {
		return err
	}
	if m := n.kid("model"); m != nil && m.has("type") && !netModelName.MatchString(m.get("type")) {
		return liberr.New(liberr.FromDomain, liberr.InvalidArg, "Model name contains invalid characters")
	}
	if t := n.kid("target"); t != nil {
		dev := t.get("dev")
		if def.flags&ParseLive == 0 && (strings.HasPrefix(dev, "vnet") || strings.HasPrefix(dev, "vif") || typ == "direct" && (strings.HasPrefix(dev, "macvtap") || strings.HasPrefix(dev, "macvlan"))) && t.get("managed") != "no" {
			t.unset("dev")
		}
		if len(t.attrs) == 0 {
			n.remove(t)
		}
	}
	return def.checkNetDetails(n)
}

func (def *definition) checkMAC(n *node) error {
	m := n.kid("mac")
	if m == nil || !m.has("address") {
		if m == nil {
			m = elem("mac")
			n.kids = append([]*node{m}, n.kids...)
		}
		m.set("address", def.env.mac())
		return nil
	}
	text := m.get("address")
	raw, ok := parseMAC(text)
	if !ok {
		return xmlError("unable to parse mac address '%s'", text)
	}
	if raw[0]&1 != 0 {
		return xmlError("expected unicast mac address, found multicast '%s'", text)
	}
	m.set("address", formatMAC(raw))
	if def.flags&ParseLive == 0 && m.get("type") == "generated" {
		m.unset("type")
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
	s := n.kid("source")
	need := func() error { return xmlError("interface type='%s' requires a 'source' element", typ) }
	required := func(names ...string) error {
		if s == nil {
			return need()
		}
		for _, name := range names {
			if s.get(name) == "" {
				return missingAttr(elem("source"), name)
			}
		}
		return nil
	}
	switch typ {
	case "network":
		if err := required("network"); err != nil {
			return err
		}
		s.keep("network", "portid", "portgroup")
		if def.flags&ParseLive == 0 {
			s.unset("portid")
		}
	case "bridge":
		if err := required("bridge"); err != nil {
			return err
		}
		s.keep("bridge")
	case "internal":
		if err := required("name"); err != nil {
			return err
		}
		s.keep("name")
	case "direct":
		if err := required("dev"); err != nil {
			return err
		}
		if v, ok := s.lookup("mode"); ok {
			if !slices.Contains([]string{"vepa", "private", "bridge", "passthrough"}, v) {
				return badValue(s, "mode", v)
			}
		} else {
			s.set("mode", "vepa")
		}
		s.keep("dev", "mode")
	case "vdpa":
		if err := required("dev"); err != nil {
			return err
		}
		s.keep("dev")
	case "vhostuser":
		if err := required("type", "path", "mode"); err != nil {
			return err
		}
		if s.get("type") != "unix" {
			return badValue(s, "type", s.get("type"))
		}
		if v := s.get("mode"); v != "server" && v != "client" {
			return xmlError("Wrong <source> 'mode' attribute specified with <interface type='vhostuser'/>")
		}
	case "server", "client", "mcast", "udp":
		if s == nil {
			return need()
		}
		if !s.has("port") {
			return missingAttr(s, "port")
		}
		if _, err := strconv.ParseUint(s.get("port"), 10, 32); err != nil {
			return xmlError("Invalid value for attribute 'port' in element 'source': '%s'. Expected integer value", s.get("port"))
		}
		if typ != "server" && s.get("address") == "" {
			return missingAttr(s, "address")
		}
	case "hostdev":
		a := s.kid("address")
		if s == nil || a == nil || !a.has("type") {
			return xmlError("missing source address type")
		}
		if a.get("type") == "pci" {
			if err := checkHostPCI(a); err != nil {
				return err
			}
		}
		if n.get("managed") == "no" {
			n.unset("managed")
		}
	case "user", "ethernet", "null":
		if s != nil {
			s.keep()
		}
	}
	if s != nil && s.empty() {
		n.remove(s)
	}
	return nil
}

func (def *definition) checkNetDetails(n *node) error {
	if l := n.kid("link"); l != nil {
		if v := l.get("state"); v != "up" && v != "down" {
			return unsupported("unknown interface link state '%s'", v)
		}
	}
	if m := n.kid("mtu"); m != nil {
		if _, err := strconv.ParseUint(m.get("size"), 10, 32); err != nil {
			return xmlError("malformed mtu size")
		}
	}
	owners := []*node{n}
	if s := n.kid("source"); s != nil {
		owners = append(owners, s)
	}
	for _, o := range owners {
		for _, ip := range o.all("ip") {
			if _, err := netip.ParseAddr(ip.get("address")); err != nil {
				return xmlError("Invalid address '%s' in <ip>", ip.get("address"))
			}
			ip.setDefault("family", "ipv4")
		}
	}
	if err := checkVLAN(n.kid("vlan")); err != nil {
		return err
	}
	if err := def.checkVirtualPort(n.kid("virtualport")); err != nil {
		return err
	}
	if typ := n.get("type"); typ != "ethernet" && typ != "network" && typ != "bridge" {
		n.drop("filterref")
	}
	if f := n.kid("filterref"); f != nil {
		slices.SortStableFunc(f.kids, func(a, b *node) int { return strings.Compare(a.get("name"), b.get("name")) })
	}
	if b := n.kid("bandwidth"); b != nil {
		for _, dir := range b.kids {
			if !dir.has("average") && !(dir.name == "inbound" && dir.has("floor")) {
				if dir.name == "inbound" {
					return liberr.New(liberr.FromNone, liberr.XMLDetail, "Missing mandatory average or floor attributes")
				}
				return liberr.New(liberr.FromNone, liberr.XMLDetail, "Missing mandatory average attribute")
			}
		}
		if len(b.kids) == 0 {
			n.remove(b)
		}
	}
	if t := n.kid("tune"); t != nil && t.kidText("sndbuf") == "" {
		n.remove(t)
	}
	if n.get("type") != "ethernet" && n.get("type") != "bridge" && n.get("type") != "user" {
		n.drop("script", "downscript")
	}
	if b := n.kid("backend"); b.has("type") {
		return badValue(b, "type", b.get("type"))
	} else if b != nil && len(b.attrs) == 0 {
		n.remove(b)
	}
	return nil
}

func checkVLAN(v *node) error {
	if v == nil {
		return nil
	}
	tags := v.all("tag")
	if len(tags) == 0 {
		return xmlError("missing tag id - each <vlan> must have at least one <tag id='n'/> subelement")
	}
	native := false
	for _, t := range tags {
		id, ok := t.uint("id")
		if !ok {
			return xmlError("missing or invalid vlan tag id attribute")
		}
		if id > 4095 {
			return xmlError("vlan tag id %d too large (maximum 4095)", id)
		}
		native = native || t.has("nativeMode")
	}
	if v.get("trunk") == "no" {
		if len(tags) > 1 {
			return xmlError("invalid \"trunk='no'\" in <vlan> - trunk='yes' is required for more than one vlan tag")
		}
		v.unset("trunk")
	}
	if len(tags) > 1 || native {
		v.set("trunk", "yes")
	}
	return nil
}

func (def *definition) checkVirtualPort(v *node) error {
	if v == nil {
		return nil
	}
	typ, ok := v.lookup("type")
	if !ok {
		return nil
	}
	if !slices.Contains([]string{"none", "802.1Qbg", "802.1Qbh", "openvswitch", "midonet"}, typ) {
		return unsupported("unknown virtualport type %s", typ)
	}
	if typ == "openvswitch" || typ == "802.1Qbg" {
		p := v.ensure("parameters")
		id := map[string]string{"openvswitch": "interfaceid", "802.1Qbg": "instanceid"}[typ]
		if !p.has(id) {
			p.set(id, def.env.uuid())
		}
	}
	return nil
}
