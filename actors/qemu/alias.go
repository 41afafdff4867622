package qemu

import "libvirt.org/go/libvirtxml"

func assignAliases(def *libvirtxml.Domain) error {
	a := func(s string, n int) *libvirtxml.DomainAlias { return &libvirtxml.DomainAlias{Name: s + itoa(n)} }
	dev := def.Devices
	for i := range dev.Serials {
		if dev.Serials[i].Alias == nil {
			dev.Serials[i].Alias = a("serial", i)
		}
	}
	for i := range dev.Consoles {
		if dev.Consoles[i].Alias == nil {
			dev.Consoles[i].Alias = a("console", i)
			if i == 0 && len(dev.Serials) > 0 {
				dev.Consoles[i].Alias = a("serial", 0)
			}
		}
	}
	for i := range dev.Interfaces {
		dev.Interfaces[i].Alias = a("net", i)
	}
	for i := range dev.Controllers {
		c := &dev.Controllers[i]
		n := 0
		if c.Index != nil {
			n = int(*c.Index)
		}
		c.Alias = a(c.Type, n)
		if c.Type == "usb" && n == 0 {
			c.Alias.Name = "usb"
		}
		if c.Type == "pci" && (c.Model == "pci-root" || c.Model == "pcie-root") {
			c.Alias.Name = "pci.0"
			if c.Model == "pcie-root" {
				c.Alias.Name = "pcie.0"
			}
		} else if c.Type == "pci" {
			c.Alias.Name = "pci." + itoa(n)
		}
	}
	for i := range dev.Videos {
		dev.Videos[i].Alias = a("video", i)
	}
	for i := range dev.Inputs {
		dev.Inputs[i].Alias = a("input", i)
	}
	for i := range dev.RNGs {
		dev.RNGs[i].Alias = a("rng", i)
	}
	for i := range dev.Channels {
		dev.Channels[i].Alias = a("channel", i)
	}
	if dev.MemBalloon != nil {
		dev.MemBalloon.Alias = a("balloon", 0)
	}
	return nil
}
