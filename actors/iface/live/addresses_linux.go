package live

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"virtree/actors/iface/def"
)

// Protocols are the addresses and default routes that an interface has. Where they came from the kernel tells for router
// advertisements alone.
func Protocols(name string) (out []def.Protocol) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil
	}
	for _, f := range []struct {
		number int
		name   string
	}{{netlink.FAMILY_V4, "ipv4"}, {netlink.FAMILY_V6, "ipv6"}} {
		p := def.Protocol{Family: f.name}
		addrs, err := netlink.AddrList(link, f.number)
		if err != nil {
			continue
		}
		for _, a := range addrs {
			bits, _ := a.Mask.Size()
			p.IPs = append(p.IPs, def.IP{Address: a.IP.String(), Prefix: bits})
			p.Autoconf = p.Autoconf || f.number == netlink.FAMILY_V6 && a.Flags&unix.IFA_F_MANAGETEMPADDR != 0
		}
		routes, err := netlink.RouteList(link, f.number)
		for _, r := range routes {
			if bits := -1; err == nil && r.Gw != nil {
				if r.Dst != nil {
					bits, _ = r.Dst.Mask.Size()
				}
				if bits <= 0 {
					p.Gateway = r.Gw.String()
					break
				}
			}
		}
		if len(p.IPs) > 0 || p.Gateway != "" {
			out = append(out, p)
		}
	}
	return out
}
