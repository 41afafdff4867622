package iface

import (
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"virtree/actors/iface/def"
	"virtree/wire/liberr"
)

// describe is an interface as the kernel has it, and those below it. Those below another one have no MTU.
func (h host) describe(l link, top bool) (*def.Interface, error) {
	i := &def.Interface{Type: l.devtype(), Name: l.name}
	if i.Type != "bridge" && i.Type != "bond" && i.Type != "vlan" {
		i.Type = "ethernet"
	}
	if top {
		i.MTU = uint(l.number("mtu"))
	}
	var err error
	switch i.Type {
	case "ethernet":
		l.ethernet(i)
	case "bridge":
		i.Bridge, err = h.bridge(l)
	case "bond":
		i.Bond, err = h.bond(l)
	case "vlan":
		i.VLAN, err = h.vlan(l)
	}
	return i, err
}

// Compat: a speed the kernel does not know is -1 there, which libvirt reads as unsigned and prints as 4294967295.
func (l link) ethernet(i *def.Interface) {
	if state := l.attr("operstate"); state != "" {
		i.Link = &def.Link{State: state}
		if n, err := strconv.ParseInt(l.attr("speed"), 10, 64); err == nil && state == "up" {
			i.Link.Speed = uint(uint32(n))
		}
	}
	i.MAC = l.attr("address")
}

// members describes the interfaces of these names, where they still are.
func (h host) members(names []string) (list []*def.Interface, err error) {
	for _, name := range names {
		l, err := h.kernelLink(name)
		if err != nil {
			continue
		}
		i, err := h.describe(l, false)
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

// bridge reads a bridge. Compat: libvirt's udev backend shows the delay in the kernel's hundredths of a second, where a
// definition has seconds; where there are definitions the two must not be mixed up.
func (h host) bridge(l link) (*def.Bridge, error) {
	b := &def.Bridge{STP: "off", Delay: l.attr("bridge/forward_delay")}
	if n, err := strconv.Atoi(l.attr("bridge/stp_state")); err != nil {
		return nil, liberr.New(from, liberr.InternalError, "Could not retrieve 'bridge/stp_state' for '%s'", l.name)
	} else if n != 0 {
		b.STP = "on"
	}
	if n, err := strconv.ParseFloat(b.Delay, 64); err == nil && h.defines {
		b.Delay = strconv.FormatFloat(n/100, 'f', -1, 64)
	}
	entries, err := os.ReadDir(filepath.Join(l.dir, "brif"))
	if err != nil {
		return nil, liberr.System(from, err, "Could not get members of bridge '%s'", l.name)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	sort.Strings(names)
	b.Ports, err = h.members(names)
	return b, err
}

// option returns the name, and with it the number, of an attribute that reads "name number".
func (l link) option(attr string) (name string, number int) {
	name, n, _ := strings.Cut(l.attr(attr), " ")
	number, _ = strconv.Atoi(n)
	return name, number
}

func (l link) number(attr string) int {
	n, _ := strconv.Atoi(l.attr(attr))
	return n
}

// bond reads how the bond watches its links: by their carrier when there is an interval for that, else by ARP.
func (h host) bond(l link) (b *def.Bond, err error) {
	b = &def.Bond{}
	b.Mode, _ = l.option("bonding/mode")
	if freq := l.number("bonding/miimon"); freq > 0 {
		b.MII = &def.MII{Freq: freq, DownDelay: l.number("bonding/downdelay"), UpDelay: l.number("bonding/updelay"), Carrier: "ioctl"}
		if l.number("bonding/use_carrier") != 0 {
			b.MII.Carrier = "netif"
		}
	} else if interval := l.number("bonding/arp_interval"); interval > 0 {
		b.ARP = &def.ARP{Interval: interval}
		b.ARP.Target, _, _ = strings.Cut(l.attr("bonding/arp_ip_target"), " ")
		if v, n := l.option("bonding/arp_validate"); n != 0 {
			b.ARP.Validate = v
		}
	}
	b.Ports, err = h.members(strings.Fields(l.attr("bonding/slaves")))
	return b, err
}

// vlan asks /proc/net/vlan, the only place that tells the tag.
func (h host) vlan(l link) (*def.VLAN, error) {
	b, err := os.ReadFile(filepath.Join(h.proc, "net/vlan", l.name))
	if err != nil {
		return nil, liberr.System(from, err, "failed to read the vlan configuration of '%s'", l.name)
	}
	v := &def.VLAN{}
	words := strings.Fields(string(b))
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "VID:":
			v.Tag = words[i+1]
		case "Device:":
			v.Device = words[i+1]
		}
	}
	if v.Tag == "" || v.Device == "" {
		return nil, liberr.New(from, liberr.InternalError, "failed to find the VID for the VLAN device '%s'", l.name)
	}
	return v, nil
}
