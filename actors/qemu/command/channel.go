package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

func (b *builder) channels() error {
	return each(b.dev.Channels, func(c *libvirtxml.DomainChannel) error { return b.channel(c) })
}

func (b *builder) channel(c *libvirtxml.DomainChannel) error {
	switch {
	case c.Target == nil:
		return unsupported("channel without target")
	case c.Target.GuestFWD != nil:
		return b.guestForward(c)
	case c.Target.VirtIO != nil:
	default:
		return unsupported("unsupported channel target type")
	}
	alias, name := aliasOf(c.Alias), c.Target.VirtIO.Name
	source := c.Source
	if source != nil && source.UNIX != nil && source.UNIX.Path == "" {
		unix := *source.UNIX
		unix.Path = b.rt.channelPath(name)
		if unix.Mode == "" {
			unix.Mode = "bind"
		}
		source = &libvirtxml.DomainChardevSource{UNIX: &unix}
	}
	if source != nil && source.SpiceVMC != nil && name != "com.redhat.spice.0" && name != "" {
		return unsupported("Unsupported spicevmc target name '%s'", name)
	}
	err := b.chardev(chardev{id: "char" + alias, alias: alias, source: source, protocol: c.Protocol, log: c.Log, name: "vdagent"})
	if err != nil {
		return err
	}
	p := Props{{"driver", "virtserialport"}}
	if err := b.atVirtioSerial(&p, c.Address); err != nil {
		return err
	}
	p.Set("chardev", "char"+alias)
	p.Set("id", alias)
	if name == "" && source != nil && source.SpiceVMC != nil {
		name = "com.redhat.spice.0"
	}
	p.text("name", name)
	return b.device(p)
}

// guestForward answers a TCP address of the guest's user network from a character device.
func (b *builder) guestForward(c *libvirtxml.DomainChannel) error {
	alias, t := aliasOf(c.Alias), c.Target.GuestFWD
	if err := b.chardev(chardev{id: "char" + alias, alias: alias, source: c.Source, protocol: c.Protocol, log: c.Log}); err != nil {
		return err
	}
	to := fmt.Sprintf("tcp:%s:%s-chardev:char%s", t.Address, t.Port, alias)
	b.netdev(Props{{"type", "user"}, {"guestfwd", []Props{{{"str", to}}}}, {"id", alias}})
	return nil
}
