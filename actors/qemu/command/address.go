package command

import (
	"fmt"
	"strconv"

	"libvirt.org/go/libvirtxml"
)

func itoa(n int) string { return strconv.Itoa(n) }

func aliasOf(a *libvirtxml.DomainAlias) string {
	if a == nil {
		return ""
	}
	return a.Name
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// controller finds the bus a device sits on.
func (b *builder) controller(kind string, index uint) *libvirtxml.DomainController {
	for i := range b.dev.Controllers {
		c := &b.dev.Controllers[i]
		// Companions of a USB 2 controller share its index; the bus is the master's.
		if c.Type == kind && value(c.Index) == index && !isCompanion(c) {
			return c
		}
	}
	return nil
}

// bus is the id of the controller a device sits on.
func (b *builder) bus(kind string, index uint) (string, error) {
	c := b.controller(kind, index)
	if c == nil {
		return "", internal("Could not find %s controller with index %d required for device", kind, index)
	}
	if id := aliasOf(c.Alias); id != "" {
		return id, nil
	}
	return "", internal("Device alias was not set for %s controller with index %d", kind, index)
}

// at adds where a device sits.
func (b *builder) at(p *Props, addr *libvirtxml.DomainAddress, acpi *libvirtxml.DomainDeviceACPI) error {
	if addr == nil {
		return nil
	}
	switch {
	case addr.PCI != nil:
		return b.atPCI(p, addr.PCI, acpi)
	case addr.USB != nil:
		bus, err := b.bus("usb", value(addr.USB.Bus))
		if err != nil {
			return err
		}
		p.Set("bus", bus+".0")
		p.text("port", addr.USB.Port)
	case addr.ISA != nil:
		p.optional("iobase", addr.ISA.IOBase)
		p.optional("irq", addr.ISA.IRQ)
	case addr.SpaprVIO != nil:
		if addr.SpaprVIO.Reg != nil {
			p.Set("reg", *addr.SpaprVIO.Reg)
		}
	case addr.CCW != nil:
		p.Set("devno", fmt.Sprintf("%x.%x.%04x", value(addr.CCW.CSSID), value(addr.CCW.SSID), value(addr.CCW.DevNo)))
	case addr.DIMM != nil:
		p.optional("slot", addr.DIMM.Slot)
		if addr.DIMM.Base != nil {
			p.Set("addr", *addr.DIMM.Base)
		}
	}
	return nil
}

func (b *builder) atPCI(p *Props, a *libvirtxml.DomainAddressPCI, acpi *libvirtxml.DomainDeviceACPI) error {
	if value(a.Domain) != 0 {
		return unsupported("Only PCI device addresses with domain=0 are supported")
	}
	bus, err := b.bus("pci", value(a.Bus))
	if err != nil {
		return err
	}
	p.Set("bus", bus)
	p.flag("multifunction", a.MultiFunction)
	addr := fmt.Sprintf("0x%x", value(a.Slot))
	if f := value(a.Function); f != 0 {
		addr += fmt.Sprintf(".0x%x", f)
	}
	p.Set("addr", addr)
	if acpi != nil {
		p.count("acpi-index", acpi.Index)
	}
	return nil
}

// rom adds what a PCI device's option ROM is.
func rom(p *Props, r *libvirtxml.DomainROM) {
	if r == nil {
		return
	}
	if r.Enabled == "no" {
		p.Set("romfile", "")
		return
	}
	switch r.Bar {
	case "on":
		p.Set("rombar", 1)
	case "off":
		p.Set("rombar", 0)
	}
	if r.File != nil && *r.File != "" {
		p.Set("romfile", *r.File)
	}
}

// bootIndex adds a device's place in the boot order.
func bootIndex(p *Props, boot *libvirtxml.DomainDeviceBoot, fallback uint) {
	switch {
	case boot != nil && boot.Order != 0:
		p.Set("bootindex", boot.Order)
	case fallback != 0:
		p.Set("bootindex", fallback)
	}
}
