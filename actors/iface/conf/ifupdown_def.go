package conf

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/iface/def"
)

// How ifupdown's stanzas say what a definition says. bridge_* are those of bridge-utils, bond-* of ifenslave, vlan-* of
// vlan; Debian's own ifupdown passes them to these, and knows vlan-raw-device by itself.

// tagged is a name that says the device and the tag.
var tagged = regexp.MustCompile(`^(.+)\.([0-9]{1,4})$`)

// describe makes definitions out of stanzas, in the order of the first ones. Ports are below their bridge or bond unless
// they have addresses of their own.
func describe(files []*file) []*def.Interface {
	var names []string
	for _, f := range files {
		for _, s := range f.stanzas {
			if s.is("iface") && len(s.words) > 1 && !slices.Contains(names, s.words[1]) {
				names = append(names, s.words[1])
			}
		}
	}
	var all []*def.Interface
	port := map[string]bool{}
	for _, name := range names {
		i := describeOne(files, name, nil)
		for _, p := range portNames(ifaces(files, name)) {
			port[p] = true
		}
		all = append(all, i)
	}
	return slices.DeleteFunc(all, func(i *def.Interface) bool { return port[i.Name] && plain(files, i.Name) })
}

func ifaces(files []*file, name string) (list []*stanza) {
	for _, f := range files {
		for _, s := range f.stanzas {
			if s.iface(name) {
				list = append(list, s)
			}
		}
	}
	return list
}

// plain tells whether a name has no addresses and nothing brings it up by itself.
func plain(files []*file, name string) bool {
	for _, s := range ifaces(files, name) {
		if len(s.words) < 4 || s.words[3] != "manual" {
			return false
		}
	}
	return startOf(files, name) == "none"
}

func startOf(files []*file, name string) string {
	start := "none"
	for _, f := range files {
		for _, s := range f.stanzas {
			switch {
			case !s.selects() || !slices.Contains(s.words[1:], name):
			case s.is("auto") || s.is("allow-auto"):
				return "onboot"
			case s.is("allow-hotplug"):
				start = "hotplug"
			}
		}
	}
	return start
}

// first is the value of an option in the first stanza that has it.
func first(list []*stanza, names ...string) (string, bool) {
	for _, s := range list {
		if v, ok := s.get(names...); ok {
			return v, true
		}
	}
	return "", false
}

func portNames(list []*stanza) []string {
	v, _ := first(list, "bridge-ports", "bond-slaves", "slaves")
	return slices.DeleteFunc(strings.Fields(v), func(w string) bool { return w == "none" })
}

// describeOne makes one definition; within names the interfaces it is a port of, so that a circle ends.
func describeOne(files []*file, name string, within []string) *def.Interface {
	list := ifaces(files, name)
	i := &def.Interface{Type: "ethernet", Name: name}
	_, isBridge := first(list, "bridge-ports")
	_, slaves := first(list, "bond-slaves", "slaves")
	_, mode := first(list, "bond-mode")
	device, isVLAN := first(list, "vlan-raw-device")
	tag, _ := first(list, "vlan-id")
	if m := tagged.FindStringSubmatch(name); m != nil && !isBridge {
		isVLAN = true
		if device == "" {
			device = m[1]
		}
		if tag == "" {
			tag = strings.TrimLeft(m[2], "0")
		}
	} else if n, ok := strings.CutPrefix(name, "vlan"); ok && isVLAN && tag == "" {
		tag = strings.TrimLeft(n, "0")
	}
	var ports []*def.Interface
	for _, p := range portNames(list) {
		if !slices.Contains(within, p) && p != name {
			below := describeOne(files, p, append(within, name))
			below.Start, below.MTU, below.Protocols = "", 0, nil
			ports = append(ports, below)
		}
	}
	switch {
	case isBridge:
		i.Type, i.Bridge = "bridge", &def.Bridge{Ports: ports}
		if v, ok := first(list, "bridge-stp"); ok {
			i.Bridge.STP = map[bool]string{true: "on", false: "off"}[v == "on" || v == "yes"]
		}
		i.Bridge.Delay, _ = first(list, "bridge-fd")
	case slaves || mode:
		i.Type, i.Bond = "bond", describeBond(list, ports)
	case isVLAN:
		i.Type, i.VLAN = "vlan", &def.VLAN{Tag: tag, Device: device}
	default:
		if v, ok := first(list, "hwaddress"); ok {
			w := strings.Fields(v)
			if len(w) > 0 {
				i.MAC = w[len(w)-1]
			}
		}
	}
	i.Start = startOf(files, name)
	if v, ok := first(list, "mtu"); ok {
		n, _ := strconv.ParseUint(v, 10, 32)
		i.MTU = uint(n)
	}
	i.Protocols = describeProtocols(list)
	return i
}

func describeBond(list []*stanza, ports []*def.Interface) *def.Bond {
	b := &def.Bond{Ports: ports}
	if v, ok := first(list, "bond-mode"); ok {
		if n, err := strconv.Atoi(v); err == nil && n >= 0 && n < len(def.Modes) {
			v = def.Modes[n]
		}
		b.Mode = v
	}
	number := func(name string) int {
		v, _ := first(list, name)
		n, _ := strconv.Atoi(strings.TrimSpace(v))
		return n
	}
	if n := number("bond-miimon"); n > 0 {
		b.MII = &def.MII{Freq: n, DownDelay: number("bond-downdelay"), UpDelay: number("bond-updelay")}
		if v, ok := first(list, "bond-use-carrier"); ok {
			b.MII.Carrier = map[bool]string{true: "netif", false: "ioctl"}[v != "0"]
		}
	} else if n := number("bond-arp-interval"); n > 0 {
		b.ARP = &def.ARP{Interval: n}
		b.ARP.Target, _ = first(list, "bond-arp-ip-target")
		if v, _ := first(list, "bond-arp-validate"); v != "none" {
			b.ARP.Validate = v
		}
	}
	return b
}

func describeProtocols(list []*stanza) (out []def.Protocol) {
	of := func(family string) *def.Protocol {
		for n := range out {
			if out[n].Family == family {
				return &out[n]
			}
		}
		out = append(out, def.Protocol{Family: family})
		return &out[len(out)-1]
	}
	families := map[string]string{"inet": "ipv4", "inet6": "ipv6"}
	for _, s := range list {
		if len(s.words) < 4 || families[s.words[2]] == "" {
			continue
		}
		gateway, routed := s.get("gateway")
		address, addressed := s.get("address")
		if s.words[3] == "loopback" || s.words[3] == "manual" && !routed && s.words[2] == "inet" {
			continue
		}
		p := of(families[s.words[2]])
		if routed {
			p.Gateway, _, _ = strings.Cut(gateway, " ")
		}
		switch s.words[3] {
		case "auto":
			p.Autoconf = true
		case "dhcp":
			p.DHCP = true
			if v, ok := s.get("peerdns"); ok {
				p.PeerDNS = v
			}
		}
		if addressed {
			mask, _ := s.get("netmask")
			p.IPs = append(p.IPs, ipOf(address, mask))
		}
	}
	return out
}

func ipOf(address, mask string) def.IP {
	address, prefix, ok := strings.Cut(address, "/")
	if !ok {
		prefix = mask
	}
	ip := def.IP{Address: address}
	if n, err := strconv.Atoi(prefix); err == nil {
		ip.Prefix = n
	} else if m := net.ParseIP(prefix).To4(); m != nil {
		ip.Prefix, _ = net.IPMask(m).Size()
	}
	return ip
}

// writer writes stanzas.
type writer struct{ strings.Builder }

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

// stanzasOf is the text of a definition, ports included.
func stanzasOf(i *def.Interface) string {
	var w writer
	for _, p := range i.Ports() {
		w.WriteString(stanzasOf(p))
	}
	switch i.Start {
	case "onboot":
		w.line("auto %s", i.Name)
	case "hotplug":
		w.line("allow-hotplug %s", i.Name)
	}
	own := optionsOf(i) // once, in the first stanza
	put := func(family, method string, more ...string) {
		w.line("iface %s %s %s", i.Name, family, method)
		for _, o := range append(own, more...) {
			w.line("    %s", o)
		}
		own = nil
	}
	if i.Name == "lo" {
		put("inet", "loopback")
	}
	for n := range i.Protocols {
		writeProtocol(&i.Protocols[n], put)
	}
	if own != nil || len(i.Protocols) == 0 && i.Name != "lo" {
		put("inet", "manual")
	}
	return w.String()
}

func writeProtocol(p *def.Protocol, put func(family, method string, more ...string)) {
	family := map[string]string{"ipv4": "inet", "ipv6": "inet6"}[p.Family]
	var route []string
	if p.Gateway != "" {
		route = []string{"gateway " + p.Gateway}
	}
	written := false
	stanza := func(method string, more ...string) {
		put(family, method, append(more, route...)...)
		route, written = nil, true
	}
	for _, ip := range p.IPs {
		if ip.Prefix != 0 {
			stanza("static", fmt.Sprintf("address %s/%d", ip.Address, ip.Prefix))
		} else {
			stanza("static", "address "+ip.Address)
		}
	}
	if p.DHCP {
		if p.PeerDNS != "" {
			stanza("dhcp", "peerdns "+p.PeerDNS)
		} else {
			stanza("dhcp")
		}
	}
	if p.Autoconf {
		stanza("auto")
	}
	if !written {
		stanza("manual")
	}
}

// optionsOf is what does not depend on the family.
func optionsOf(i *def.Interface) (o []string) {
	add := func(format string, args ...any) { o = append(o, fmt.Sprintf(format, args...)) }
	var ports []string
	for _, p := range i.Ports() {
		ports = append(ports, p.Name)
	}
	if len(ports) == 0 {
		ports = []string{"none"}
	}
	switch {
	case i.Bridge != nil:
		add("bridge_ports %s", strings.Join(ports, " "))
		if i.Bridge.STP != "" {
			add("bridge_stp %s", i.Bridge.STP)
		}
		if i.Bridge.Delay != "" {
			add("bridge_fd %s", i.Bridge.Delay)
		}
	case i.Bond != nil:
		add("bond-slaves %s", strings.Join(ports, " "))
		if i.Bond.Mode != "" {
			add("bond-mode %s", i.Bond.Mode)
		}
		if m := i.Bond.MII; m != nil {
			add("bond-miimon %d", m.Freq)
			if m.DownDelay > 0 {
				add("bond-downdelay %d", m.DownDelay)
			}
			if m.UpDelay > 0 {
				add("bond-updelay %d", m.UpDelay)
			}
			if m.Carrier != "" {
				add("bond-use-carrier %d", map[string]int{"netif": 1, "ioctl": 0}[m.Carrier])
			}
		} else if a := i.Bond.ARP; a != nil {
			add("bond-arp-interval %d", a.Interval)
			add("bond-arp-ip-target %s", a.Target)
			if a.Validate != "" {
				add("bond-arp-validate %s", a.Validate)
			}
		}
	case i.VLAN != nil:
		add("vlan-raw-device %s", i.VLAN.Device)
		if m := tagged.FindStringSubmatch(i.Name); m == nil || strings.TrimLeft(m[2], "0") != i.VLAN.Tag {
			add("vlan-id %s", i.VLAN.Tag)
		}
	}
	if i.MAC != "" {
		add("hwaddress ether %s", i.MAC)
	}
	if i.MTU != 0 {
		add("mtu %d", i.MTU)
	}
	return o
}
