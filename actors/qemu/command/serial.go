package command

import (
	"libvirt.org/go/libvirtxml"
)

func (b *builder) serials() error {
	return each(b.dev.Serials, func(s *libvirtxml.DomainSerial) error { return b.serial(s) })
}

func (b *builder) serial(s *libvirtxml.DomainSerial) error {
	alias := aliasOf(s.Alias)
	if err := b.chardev(chardev{id: "char" + alias, alias: alias, source: s.Source, protocol: s.Protocol, log: s.Log}); err != nil {
		return err
	}
	driver := "isa-serial"
	if s.Target != nil && s.Target.Model != nil && s.Target.Model.Name != "" {
		driver = s.Target.Model.Name
	}
	if driver == "pl011" || driver == "16550a" {
		// Boards bring these; the line is attached by number.
		b.arg("-serial", "chardev:char"+alias)
		return nil
	}
	p := Props{{"driver", driver}, {"chardev", "char" + alias}, {"id", alias}}
	if driver == "isa-serial" && s.Target != nil && s.Target.Port != nil {
		p.Set("index", *s.Target.Port)
	}
	if err := b.at(&p, s.Address, s.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

func (b *builder) parallels() error {
	return each(b.dev.Parallels, func(s *libvirtxml.DomainParallel) error { return b.parallel(s) })
}

func (b *builder) parallel(s *libvirtxml.DomainParallel) error {
	alias := aliasOf(s.Alias)
	if err := b.chardev(chardev{id: "char" + alias, alias: alias, source: s.Source, protocol: s.Protocol, log: s.Log}); err != nil {
		return err
	}
	p := Props{{"driver", "isa-parallel"}, {"chardev", "char" + alias}, {"id", alias}}
	if err := b.at(&p, s.Address, s.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

func (b *builder) consoles() error {
	for i := range b.dev.Consoles {
		if err := b.console(&b.dev.Consoles[i], i); err != nil {
			return err
		}
	}
	return nil
}

// console: the first console is the first serial line under another name, unless it is of a kind of its own.
func (b *builder) console(c *libvirtxml.DomainConsole, i int) error {
	kind := ""
	if c.Target != nil {
		kind = c.Target.Type
	}
	alias := aliasOf(c.Alias)
	switch kind {
	case "", "serial":
		if i == 0 {
			return nil
		}
		return unsupported("unsupported console target type serial")
	case "virtio":
	case "sclp", "sclplm":
	default:
		return unsupported("unsupported console target type %s", kind)
	}
	if err := b.chardev(chardev{id: "char" + alias, alias: alias, source: c.Source, protocol: c.Protocol, log: c.Log}); err != nil {
		return err
	}
	var p Props
	if kind == "virtio" {
		p.Set("driver", "virtconsole")
		if err := b.atVirtioSerial(&p, c.Address); err != nil {
			return err
		}
	} else {
		p.Set("driver", map[string]string{"sclp": "sclpconsole", "sclplm": "sclplmconsole"}[kind])
	}
	p.Set("chardev", "char"+alias)
	p.Set("id", alias)
	return b.device(p)
}

func (b *builder) atVirtioSerial(p *Props, a *libvirtxml.DomainAddress) error {
	if a == nil || a.VirtioSerial == nil {
		return nil
	}
	bus, err := b.bus("virtio-serial", value(a.VirtioSerial.Controller))
	if err != nil {
		return err
	}
	p.Set("bus", bus+"."+itoa(int(value(a.VirtioSerial.Bus))))
	p.Set("nr", value(a.VirtioSerial.Port))
	return nil
}
