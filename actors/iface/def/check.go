package def

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
)

// deviceName is what interfaces may be called: what the kernel takes, and what a file name and a word of a
// configuration can be.
var deviceName = regexp.MustCompile(`^[a-zA-Z0-9_.\-]{1,15}$`)

// delaySeconds is a forward delay.
var delaySeconds = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// Check returns what a configuration cannot hold, nil when there is nothing of the kind. It is what netcf's schema says;
// the words are ours.
func (i *Interface) Check() error {
	seen := map[string]bool{}
	if err := i.check(seen); err != nil {
		return err
	}
	families := map[string]bool{}
	for n := range i.Protocols {
		p := &i.Protocols[n]
		if families[p.Family] {
			return fmt.Errorf("two protocols of family %s", p.Family)
		}
		families[p.Family] = true
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

func (i *Interface) check(seen map[string]bool) error {
	if !deviceName.MatchString(i.Name) || i.Name == "." || i.Name == ".." {
		return fmt.Errorf("'%s' is no name for an interface", i.Name)
	}
	if seen[i.Name] {
		return fmt.Errorf("interface '%s' appears twice", i.Name)
	}
	seen[i.Name] = true
	if i.MAC != "" {
		if hw, err := net.ParseMAC(i.MAC); err != nil || len(hw) != 6 {
			return fmt.Errorf("'%s' is no MAC address", i.MAC)
		}
	}
	switch {
	case i.Bridge != nil:
		if d := i.Bridge.Delay; d != "" && !delaySeconds.MatchString(d) {
			return fmt.Errorf("bridge delay '%s' is no number of seconds", d)
		}
	case i.Bond != nil:
		if err := i.Bond.check(); err != nil {
			return err
		}
	case i.VLAN != nil:
		if n, err := strconv.ParseUint(i.VLAN.Tag, 10, 16); err != nil || n > 4095 {
			return fmt.Errorf("'%s' is no tag of a vlan", i.VLAN.Tag)
		}
		if !deviceName.MatchString(i.VLAN.Device) {
			return fmt.Errorf("'%s' is no name for an interface", i.VLAN.Device)
		}
		if i.VLAN.Device == i.Name {
			return fmt.Errorf("vlan '%s' is on itself", i.Name)
		}
	}
	for _, p := range i.Ports() {
		if err := p.check(seen); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bond) check() error {
	if len(b.Ports) == 0 {
		return fmt.Errorf("a bond needs an interface")
	}
	if m := b.MII; m != nil && (m.Freq < 0 || m.DownDelay < 0 || m.UpDelay < 0) {
		return fmt.Errorf("miimon has a negative time")
	}
	if a := b.ARP; a != nil {
		if ip, err := netip.ParseAddr(a.Target); err != nil || !ip.Is4() || a.Interval < 0 {
			return fmt.Errorf("arpmon needs an interval and an IPv4 address, not %d and '%s'", a.Interval, a.Target)
		}
	}
	return nil
}

func (p *Protocol) check() error {
	of := func(s string) bool {
		ip, err := netip.ParseAddr(s)
		return err == nil && ip.Zone() == "" && ip.Is4() == (p.Family == "ipv4")
	}
	limit := map[string]int{"ipv4": 32, "ipv6": 128}[p.Family]
	for _, ip := range p.IPs {
		if !of(ip.Address) {
			return fmt.Errorf("'%s' is no %s address", ip.Address, p.Family)
		}
		if ip.Prefix < 0 || ip.Prefix > limit {
			return fmt.Errorf("%s prefix %d is not between 0 and %d", p.Family, ip.Prefix, limit)
		}
	}
	if p.Gateway != "" && !of(p.Gateway) {
		return fmt.Errorf("'%s' is no %s address", p.Gateway, p.Family)
	}
	return nil
}
