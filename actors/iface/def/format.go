package def

import (
	"fmt"
	"strings"

	"virtree/actors/internal/xmltree"
)

// printer writes elements at a depth.
type printer struct {
	strings.Builder
	depth int
}

func (p *printer) line(format string, args ...any) {
	p.WriteString(strings.Repeat("  ", p.depth))
	fmt.Fprintf(p, format+"\n", args...)
}

func (p *printer) in(format string, args ...any) {
	p.line(format, args...)
	p.depth++
}

func (p *printer) out(format string, args ...any) {
	p.depth--
	p.line(format, args...)
}

// opt is an attribute, or nothing when its value is empty.
func opt(name, value string) string {
	if value == "" {
		return ""
	}
	return " " + name + "='" + xmltree.Escape(value) + "'"
}

// optNumber is an attribute, or nothing when it is not above 0.
func optNumber(name string, n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" %s='%d'", name, n)
}

// Format prints the document.
func (i *Interface) Format() string {
	var p printer
	p.print(i, true)
	return p.String()
}

func (p *printer) print(i *Interface, top bool) {
	p.in("<interface type='%s'%s>", i.Type, " name='"+xmltree.Escape(i.Name)+"'")
	if top {
		if i.Start != "" {
			p.line("<start mode='%s'/>", i.Start)
		}
		if i.MTU != 0 {
			p.line("<mtu size='%d'/>", i.MTU)
		}
		for n := range i.Protocols {
			p.protocol(&i.Protocols[n])
		}
	}
	if l := i.Link; l != nil && i.Type != "bridge" {
		p.line("<link%s%s/>", optNumber("speed", int(l.Speed)), opt("state", l.State))
	}
	switch {
	case i.Type == "ethernet" && i.MAC != "":
		p.line("<mac%s/>", opt("address", i.MAC))
	case i.Bridge != nil:
		p.in("<bridge%s%s>", opt("stp", i.Bridge.STP), opt("delay", i.Bridge.Delay))
		p.ports(i.Bridge.Ports)
		p.out("</bridge>")
	case i.Bond != nil:
		p.bond(i.Bond)
	case i.VLAN != nil:
		p.in("<vlan%s>", opt("tag", i.VLAN.Tag))
		p.line("<interface%s/>", opt("name", i.VLAN.Device))
		p.out("</vlan>")
	}
	p.out("</interface>")
}

func (p *printer) ports(list []*Interface) {
	for _, i := range list {
		p.print(i, false)
	}
}

func (p *printer) bond(b *Bond) {
	p.in("<bond%s>", opt("mode", b.Mode))
	if m := b.MII; m != nil {
		p.line("<miimon freq='%d'%s%s%s/>", m.Freq, optNumber("downdelay", m.DownDelay), optNumber("updelay", m.UpDelay), opt("carrier", m.Carrier))
	} else if a := b.ARP; a != nil {
		p.line("<arpmon interval='%d'%s%s/>", a.Interval, opt("target", a.Target), opt("validate", a.Validate))
	}
	p.ports(b.Ports)
	p.out("</bond>")
}

func (p *printer) protocol(o *Protocol) {
	p.in("<protocol family='%s'>", o.Family)
	if o.Autoconf {
		p.line("<autoconf/>")
	}
	if o.DHCP {
		p.line("<dhcp%s/>", opt("peerdns", o.PeerDNS))
	}
	for _, ip := range o.IPs {
		prefix := ""
		if ip.Prefix != 0 {
			prefix = fmt.Sprintf(" prefix='%d'", ip.Prefix)
		}
		p.line("<ip%s%s/>", opt("address", ip.Address), prefix)
	}
	if o.Gateway != "" {
		p.line("<route%s/>", opt("gateway", o.Gateway))
	}
	p.out("</protocol>")
}
