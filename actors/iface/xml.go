package iface

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// printer writes elements at a depth.
type printer struct {
	b      strings.Builder
	indent string
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(&p.b, p.indent+format+"\n", args...)
}

func (p *printer) in()  { p.indent += "  " }
func (p *printer) out() { p.indent = p.indent[2:] }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;")

// format prints an interface and those below it as libvirt does.
func (h host) format(l link) (string, error) {
	var p printer
	err := h.print(&p, l, true)
	return p.b.String(), err
}

// print writes one interface. Those below another one have no mtu.
func (h host) print(p *printer, l link, top bool) error {
	kind := l.devtype()
	if kind != "bridge" && kind != "bond" && kind != "vlan" {
		kind = "ethernet"
	}
	p.line("<interface type='%s' name='%s'>", kind, escaper.Replace(l.name))
	p.in()
	if mtu := l.attr("mtu"); top && mtu != "" {
		p.line("<mtu size='%s'/>", mtu)
	}
	var err error
	switch kind {
	case "ethernet":
		p.ethernet(l)
	case "bridge":
		err = h.bridge(p, l)
	case "bond":
		err = h.bond(p, l)
	case "vlan":
		err = h.vlan(p, l)
	}
	p.out()
	p.line("</interface>")
	return err
}

// Compat: a speed the kernel does not know is -1 there, which libvirt reads as unsigned and prints as 4294967295.
func (p *printer) ethernet(l link) {
	state := l.attr("operstate")
	if state != "" {
		speed := ""
		if n, err := strconv.ParseInt(l.attr("speed"), 10, 64); err == nil && state == "up" && n != 0 {
			speed = fmt.Sprintf("speed='%d' ", uint32(n))
		}
		p.line("<link %sstate='%s'/>", speed, escaper.Replace(state))
	}
	if mac := l.attr("address"); mac != "" {
		p.line("<mac address='%s'/>", mac)
	}
}

// members prints the interfaces of these names, where they still are.
func (h host) members(p *printer, names []string) error {
	for _, name := range names {
		l, err := h.link(name)
		if err != nil {
			continue
		}
		if err := h.print(p, l, false); err != nil {
			return err
		}
	}
	return nil
}

func (h host) bridge(p *printer, l link) error {
	stp := "off"
	if n, err := strconv.Atoi(l.attr("bridge/stp_state")); err != nil {
		return liberr.New(from, liberr.InternalError, "Could not retrieve 'bridge/stp_state' for '%s'", l.name)
	} else if n != 0 {
		stp = "on"
	}
	p.line("<bridge stp='%s' delay='%s'>", stp, l.attr("bridge/forward_delay"))
	p.in()
	entries, err := os.ReadDir(filepath.Join(l.dir, "brif"))
	if err != nil {
		return liberr.System(from, err, "Could not get members of bridge '%s'", l.name)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	sort.Strings(names)
	if err := h.members(p, names); err != nil {
		return err
	}
	p.out()
	p.line("</bridge>")
	return nil
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

// bond prints how the bond watches its links: by their carrier when there is an interval for that, else by ARP.
func (h host) bond(p *printer, l link) error {
	mode, _ := l.option("bonding/mode")
	p.line("<bond mode='%s'>", mode)
	p.in()
	if freq := l.number("bonding/miimon"); freq > 0 {
		s := fmt.Sprintf("<miimon freq='%d'", freq)
		for _, delay := range []string{"downdelay", "updelay"} {
			if n := l.number("bonding/" + delay); n > 0 {
				s += fmt.Sprintf(" %s='%d'", delay, n)
			}
		}
		carrier := "ioctl"
		if l.number("bonding/use_carrier") != 0 {
			carrier = "netif"
		}
		p.line("%s carrier='%s'/>", s, carrier)
	} else if interval := l.number("bonding/arp_interval"); interval > 0 {
		target, _, _ := strings.Cut(l.attr("bonding/arp_ip_target"), " ")
		s := fmt.Sprintf("<arpmon interval='%d' target='%s'", interval, target)
		if v, n := l.option("bonding/arp_validate"); n != 0 {
			s += fmt.Sprintf(" validate='%s'", v)
		}
		p.line("%s/>", s)
	}
	if err := h.members(p, strings.Fields(l.attr("bonding/slaves"))); err != nil {
		return err
	}
	p.out()
	p.line("</bond>")
	return nil
}

// vlan asks /proc/net/vlan, the only place that tells the tag.
func (h host) vlan(p *printer, l link) error {
	b, err := os.ReadFile(filepath.Join(h.proc, "net/vlan", l.name))
	if err != nil {
		return liberr.System(from, err, "failed to read the vlan configuration of '%s'", l.name)
	}
	tag, device := "", ""
	words := strings.Fields(string(b))
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "VID:":
			tag = words[i+1]
		case "Device:":
			device = words[i+1]
		}
	}
	if tag == "" || device == "" {
		return liberr.New(from, liberr.InternalError, "failed to find the VID for the VLAN device '%s'", l.name)
	}
	p.line("<vlan tag='%s'>", tag)
	p.line("  <interface name='%s'/>", escaper.Replace(device))
	p.line("</vlan>")
	return nil
}
