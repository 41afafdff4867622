package conf

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"virtree/actors/iface/def"
)

// networkd is the folder of systemd-networkd's files.
//
// An interface is what a .network file matches by its name alone, or what a .netdev file makes; files that match by
// pattern, address or driver are left alone and list nothing. A definition has the files 50-NAME.network and, when it is
// not an ethernet, 50-NAME.netdev, unless others say the same already: those are then replaced.
type networkd struct{ dir string }

// Kind names the format.
func (*networkd) Kind() string { return "networkd" }

func (n *networkd) inUse() (bool, error) {
	units, err := n.read()
	return len(units) > 0, err
}

func (n *networkd) read() (units []*unit, err error) {
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		if os.IsNotExist(err) {
			err = nil
		}
		return nil, err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".network" && ext != ".netdev" {
			continue
		}
		path := filepath.Join(n.dir, e.Name())
		text, err := readIfThere(path)
		if err != nil {
			return nil, err
		}
		units = append(units, parseUnit(path, string(text)))
	}
	return units, nil
}

// name is the interface that a file is about; "" when it is about none, or about several.
func (u *unit) name() string {
	if strings.HasSuffix(u.path, ".netdev") {
		return u.get("NetDev", "Name")
	}
	names := u.all("Match", "Name")
	others := slices.ContainsFunc(u.lines, func(l unitLine) bool { return l.section == "Match" && l.key != "" && l.key != "Name" })
	if len(names) != 1 || others || strings.ContainsAny(names[0], "*?[!") {
		return ""
	}
	return names[0]
}

// find is the first file of an interface with an extension, as networkd takes it; nil when there is none.
func find(units []*unit, name, ext string) *unit {
	for _, u := range units {
		if filepath.Ext(u.path) == ext && u.name() == name {
			return u
		}
	}
	return nil
}

// portKeys are all that a file says which only makes an interface a port.
var portKeys = []string{"Match.Name", "Network.Bridge", "Network.Bond", "Link.MACAddress"}

// isPort tells whether an interface is a port and nothing else.
func isPort(u *unit) bool {
	return u != nil && (u.get("Network", "Bridge") != "" || u.get("Network", "Bond") != "") && u.only(portKeys...)
}

// Interfaces reads all definitions.
func (n *networkd) Interfaces() ([]*def.Interface, error) {
	units, err := n.read()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, u := range units {
		if name := u.name(); name != "" {
			names[name] = true
		}
	}
	var all []*def.Interface
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !isPort(find(units, name, ".network")) {
			all = append(all, describeUnits(units, name, nil))
		}
	}
	return all, nil
}

// describeUnits makes one definition; within names the interfaces it is a port of, so that a circle ends.
func describeUnits(units []*unit, name string, within []string) *def.Interface {
	dev, net := find(units, name, ".netdev"), find(units, name, ".network")
	i := &def.Interface{Type: "ethernet", Name: name}
	kind := ""
	if dev != nil {
		kind = dev.get("NetDev", "Kind")
	}
	switch kind {
	case "bridge":
		i.Type, i.Bridge = kind, &def.Bridge{Ports: unitPorts(units, name, "Bridge", within)}
		if v := dev.get("Bridge", "STP"); v != "" {
			i.Bridge.STP = map[bool]string{true: "on", false: "off"}[truth(v)]
		}
		i.Bridge.Delay = strings.TrimSuffix(dev.get("Bridge", "ForwardDelaySec"), "s")
	case "bond":
		i.Type, i.Bond = kind, bondOf(dev)
		i.Bond.Ports = unitPorts(units, name, "Bond", within)
	case "vlan":
		i.Type, i.VLAN = kind, &def.VLAN{Tag: dev.get("VLAN", "Id")}
		for _, u := range units {
			if slices.Contains(u.all("Network", "VLAN"), name) {
				i.VLAN.Device = u.name()
			}
		}
	}
	if net == nil {
		if len(within) == 0 {
			i.Start = "onboot"
		}
		return i
	}
	if i.Type == "ethernet" {
		i.MAC = net.get("Link", "MACAddress")
	}
	if len(within) > 0 {
		return i
	}
	switch {
	case net.get("Link", "ActivationPolicy") == "manual":
		i.Start = "none"
	case net.get("Link", "RequiredForOnline") == "no":
		i.Start = "hotplug"
	default:
		i.Start = "onboot"
	}
	mtu, _ := strconv.ParseUint(net.get("Link", "MTUBytes"), 10, 32)
	i.MTU = uint(mtu)
	i.Protocols = unitProtocols(net)
	return i
}

func unitPorts(units []*unit, name, key string, within []string) (list []*def.Interface) {
	for _, u := range units {
		if p := u.name(); u.get("Network", key) == name && p != "" && p != name && !slices.Contains(within, p) {
			list = append(list, describeUnits(units, p, append(within, name)))
		}
	}
	return list
}

// truth reads systemd's booleans.
func truth(s string) bool {
	return slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(s))
}

func bondOf(dev *unit) *def.Bond {
	b := &def.Bond{Mode: dev.get("Bond", "Mode")}
	ms := func(key string) int { return milliseconds(dev.get("Bond", key)) }
	if n := ms("MIIMonitorSec"); n > 0 {
		b.MII = &def.MII{Freq: n, DownDelay: ms("DownDelaySec"), UpDelay: ms("UpDelaySec")}
	} else if n := ms("ARPIntervalSec"); n > 0 {
		b.ARP = &def.ARP{Interval: n}
		if t := dev.all("Bond", "ARPIPTargets"); len(t) > 0 {
			b.ARP.Target = t[0]
		}
		if v := dev.get("Bond", "ARPValidate"); v != "none" {
			b.ARP.Validate = v
		}
	}
	return b
}

// milliseconds reads systemd's time spans, of which a number alone is seconds.
func milliseconds(s string) int {
	s = strings.ReplaceAll(strings.ReplaceAll(s, " ", ""), "sec", "s")
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return int(n * 1000)
	}
	d, _ := time.ParseDuration(strings.ReplaceAll(s, "min", "m"))
	return int(d.Milliseconds())
}

func unitProtocols(net *unit) (out []def.Protocol) {
	dhcp := strings.ToLower(net.get("Network", "DHCP"))
	for _, family := range []string{"ipv4", "ipv6"} {
		p := def.Protocol{Family: family}
		p.DHCP = dhcp == family || dhcp == "both" || truth(dhcp)
		if p.DHCP {
			section := map[string]string{"ipv4": "DHCPv4", "ipv6": "DHCPv6"}[family]
			if v := net.get(section, "UseDNS"); v != "" {
				p.PeerDNS = map[bool]string{true: "yes", false: "no"}[truth(v)]
			}
		}
		p.Autoconf = family == "ipv6" && truth(net.get("Network", "IPv6AcceptRA"))
		of := func(s string) bool { return strings.Contains(s, ":") == (family == "ipv6") }
		for _, a := range slices.Concat(net.all("Network", "Address"), net.all("Address", "Address")) {
			if of(a) {
				p.IPs = append(p.IPs, ipOf(a, ""))
			}
		}
		for _, g := range net.all("Network", "Gateway") {
			if of(g) && !strings.HasPrefix(g, "_") {
				p.Gateway = g
			}
		}
		if p.DHCP || p.Autoconf || len(p.IPs) > 0 || p.Gateway != "" {
			out = append(out, p)
		}
	}
	return out
}

// editor is a change in the making.
type editor struct {
	dir   string
	units []*unit
	c     change
}

func (n *networkd) edit() (*editor, error) {
	units, err := n.read()
	return &editor{n.dir, units, change{}}, err
}

// forget removes the files of an interface, and its name where others name it. What is a port of it and nothing else goes
// with it.
func (e *editor) forget(name string) {
	var ports []string
	e.units = slices.DeleteFunc(e.units, func(u *unit) bool {
		if u.name() == name {
			e.c[u.path] = nil
			return true
		}
		if u.get("Network", "Bridge") == name || u.get("Network", "Bond") == name {
			if isPort(u) {
				ports = append(ports, u.name())
			}
			u.drop("Network", "Bridge", name)
			u.drop("Network", "Bond", name)
		}
		u.drop("Network", "VLAN", name)
		return false
	})
	for _, p := range ports {
		e.forget(p)
	}
}

// file is the file of an interface with an extension, empty and in the place of one that was removed.
func (e *editor) file(name, ext string, old map[string]string) *unit {
	u := &unit{path: cmp.Or(old[name+ext], filepath.Join(e.dir, "50-"+name+ext)), changed: true}
	if ext == ".network" {
		u.add("Match", "Name", name)
	}
	e.units = append(e.units, u)
	return u
}

func (e *editor) done() change {
	for _, u := range e.units {
		if u.changed {
			e.c[u.path] = u.text()
		}
	}
	return e.c
}

func (n *networkd) undefine(name string) (change, error) {
	e, err := n.edit()
	if err != nil {
		return nil, err
	}
	e.forget(name)
	return e.done(), nil
}

func (n *networkd) define(i *def.Interface) (change, error) {
	e, err := n.edit()
	if err != nil {
		return nil, err
	}
	old := map[string]string{}
	vlans := map[string][]string{} // those on an interface, which a new definition of it does not end
	master := map[string][2]string{}
	for _, u := range e.units {
		name := u.name()
		if name == "" {
			continue
		}
		if path := name + filepath.Ext(u.path); old[path] == "" {
			old[path] = u.path
		}
		vlans[name] = append(vlans[name], u.all("Network", "VLAN")...)
		for _, key := range []string{"Bridge", "Bond"} {
			if m := u.get("Network", key); m != "" {
				master[name] = [2]string{key, m}
			}
		}
	}
	device := ""
	if i.VLAN != nil {
		device = i.VLAN.Device
	}
	e.forgetAll(i)
	e.write(i, old, vlans, "", "")
	if m := master[i.Name]; m[0] != "" {
		find(e.units, i.Name, ".network").add("Network", m[0], m[1])
	}
	if device != "" {
		u := find(e.units, device, ".network")
		if u == nil {
			u = e.file(device, ".network", old)
		}
		u.add("Network", "VLAN", i.Name)
	}
	return e.done(), nil
}

func (e *editor) forgetAll(i *def.Interface) {
	for _, p := range i.Ports() {
		e.forgetAll(p)
	}
	e.forget(i.Name)
}

// write makes the files of an interface and of its ports.
func (e *editor) write(i *def.Interface, old map[string]string, vlans map[string][]string, key, master string) {
	if i.Type != "ethernet" {
		dev := e.file(i.Name, ".netdev", old)
		dev.add("NetDev", "Name", i.Name)
		dev.add("NetDev", "Kind", i.Type)
		writeNetdev(dev, i)
	}
	net := e.file(i.Name, ".network", old)
	if i.MAC != "" {
		net.add("Link", "MACAddress", i.MAC)
	}
	if i.MTU != 0 {
		net.add("Link", "MTUBytes", fmt.Sprint(i.MTU))
	}
	switch {
	case master != "":
	case i.Start == "hotplug":
		net.add("Link", "RequiredForOnline", "no")
	case i.Start != "onboot":
		net.add("Link", "ActivationPolicy", "manual")
	}
	if master != "" {
		net.add("Network", key, master)
	}
	for _, v := range vlans[i.Name] {
		net.add("Network", "VLAN", v)
	}
	writeProtocols(net, i.Protocols)
	for _, p := range i.Ports() {
		e.write(p, old, vlans, map[string]string{"bridge": "Bridge", "bond": "Bond"}[i.Type], i.Name)
		if p.VLAN != nil {
			u := find(e.units, p.VLAN.Device, ".network")
			if u == nil {
				u = e.file(p.VLAN.Device, ".network", old)
			}
			u.add("Network", "VLAN", p.Name)
		}
	}
}

func writeNetdev(dev *unit, i *def.Interface) {
	opt := func(section, key, value string) {
		if value != "" {
			dev.add(section, key, value)
		}
	}
	ms := func(key string, n int) {
		if n > 0 {
			dev.add("Bond", key, fmt.Sprintf("%dms", n))
		}
	}
	switch {
	case i.Bridge != nil:
		if i.Bridge.STP != "" {
			dev.add("Bridge", "STP", map[string]string{"on": "yes", "off": "no"}[i.Bridge.STP])
		}
		opt("Bridge", "ForwardDelaySec", i.Bridge.Delay)
	case i.Bond != nil:
		opt("Bond", "Mode", i.Bond.Mode)
		if m := i.Bond.MII; m != nil {
			ms("MIIMonitorSec", m.Freq)
			ms("DownDelaySec", m.DownDelay)
			ms("UpDelaySec", m.UpDelay)
		} else if a := i.Bond.ARP; a != nil {
			ms("ARPIntervalSec", a.Interval)
			opt("Bond", "ARPIPTargets", a.Target)
			opt("Bond", "ARPValidate", a.Validate)
		}
	case i.VLAN != nil:
		dev.add("VLAN", "Id", i.VLAN.Tag)
	}
}

func writeProtocols(net *unit, list []def.Protocol) {
	var dhcp []string
	ra := ""
	for _, p := range list {
		if p.DHCP {
			dhcp = append(dhcp, p.Family)
		}
		if p.Family == "ipv6" {
			ra = map[bool]string{true: "yes", false: "no"}[p.Autoconf]
		}
	}
	switch len(dhcp) {
	case 1:
		net.add("Network", "DHCP", dhcp[0])
	case 2:
		net.add("Network", "DHCP", "yes")
	}
	if ra != "" {
		net.add("Network", "IPv6AcceptRA", ra)
	}
	for _, p := range list {
		for _, ip := range p.IPs {
			if ip.Prefix != 0 {
				ip.Address += fmt.Sprintf("/%d", ip.Prefix)
			}
			net.add("Network", "Address", ip.Address)
		}
		if p.Gateway != "" {
			net.add("Network", "Gateway", p.Gateway)
		}
	}
	for _, p := range list {
		if p.DHCP && p.PeerDNS != "" {
			net.add(map[string]string{"ipv4": "DHCPv4", "ipv6": "DHCPv6"}[p.Family], "UseDNS", p.PeerDNS)
		}
	}
}
