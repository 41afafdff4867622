package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// controllers makes the buses devices sit on, kind by kind: a controller may itself sit on one of an earlier kind.
func (b *builder) controllers() error {
	for _, kind := range []string{"pci", "usb", "scsi", "ide", "sata", "virtio-serial", "ccid"} {
		for i := range b.dev.Controllers {
			c := &b.dev.Controllers[i]
			if c.Type != kind || b.builtIn(c) {
				continue
			}
			if err := b.controllerDevice(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// builtIn says whether the machine brings the controller.
func (b *builder) builtIn(c *libvirtxml.DomainController) bool {
	switch c.Type {
	case "pci":
		return c.Model == "pci-root" || c.Model == "pcie-root"
	case "usb":
		return c.Model == "none"
	case "ide":
		return value(c.Index) == 0 && b.isI440FX()
	case "sata":
		return value(c.Index) == 0 && b.isQ35()
	}
	return false
}

func (b *builder) controllerDevice(c *libvirtxml.DomainController) error {
	var p Props
	var err error
	switch c.Type {
	case "pci":
		p, err = pciController(c)
	case "usb":
		p, err = b.usbController(c)
	case "scsi":
		p, err = b.scsiController(c)
	case "sata":
		p = Props{{"driver", "ahci"}, {"id", aliasOf(c.Alias)}}
	case "virtio-serial":
		p, err = b.virtioSerialController(c)
	case "ccid":
		p = Props{{"driver", "usb-ccid"}, {"id", aliasOf(c.Alias)}}
	case "ide":
		err = unsupported("Only a single IDE controller is supported for this machine type")
	default:
		err = unsupported("Unsupported controller type: %s", c.Type)
	}
	if err != nil {
		return err
	}
	if err := b.at(&p, c.Address, c.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

func pciController(c *libvirtxml.DomainController) (Props, error) {
	name := ""
	t := &libvirtxml.DomainControllerPCITarget{}
	if c.PCI != nil {
		if c.PCI.Model != nil {
			name = c.PCI.Model.Name
		}
		if c.PCI.Target != nil {
			t = c.PCI.Target
		}
	}
	id := aliasOf(c.Alias)
	var p Props
	driver := func(standard string) {
		if name == "" {
			name = standard
		}
		p.Set("driver", name)
	}
	switch c.Model {
	case "pci-bridge":
		driver("pci-bridge")
		p.optional("chassis_nr", t.ChassisNr)
		p.Set("id", id)
	case "pci-expander-bus":
		driver("pxb")
		p.optional("bus_nr", t.BusNr)
		p.Set("id", id)
		p.optional("numa_node", t.NUMANode)
	case "pcie-expander-bus":
		driver("pxb-pcie")
		p.optional("bus_nr", t.BusNr)
		p.Set("id", id)
		p.optional("numa_node", t.NUMANode)
	case "dmi-to-pci-bridge":
		driver("i82801b11-bridge")
		p.Set("id", id)
	case "pcie-root-port":
		driver("pcie-root-port")
		p.optional("port", t.Port)
		p.optional("chassis", t.Chassis)
		p.Set("id", id)
		p.flag("hotplug", t.Hotplug)
		if t.MemReserve != nil {
			p.Set("mem-reserve", *t.MemReserve)
		}
	case "pcie-switch-upstream-port":
		driver("x3130-upstream")
		p.Set("id", id)
	case "pcie-switch-downstream-port":
		driver("xio3130-downstream")
		p.optional("port", t.Port)
		p.optional("chassis", t.Chassis)
		p.Set("id", id)
		p.flag("hotplug", t.Hotplug)
	case "pcie-to-pci-bridge":
		driver("pcie-pci-bridge")
		p.Set("id", id)
	default:
		return nil, unsupported("Unexpected PCI controller model '%s'", c.Model)
	}
	return p, nil
}

// usbModels are QEMU's names of USB controllers.
var usbModels = map[string]string{
	"piix3-uhci": "piix3-usb-uhci", "piix4-uhci": "piix4-usb-uhci", "ehci": "usb-ehci",
	"ich9-ehci1": "ich9-usb-ehci1", "ich9-uhci1": "ich9-usb-uhci1", "ich9-uhci2": "ich9-usb-uhci2",
	"ich9-uhci3": "ich9-usb-uhci3", "vt82c686b-uhci": "vt82c686b-usb-uhci", "pci-ohci": "pci-ohci",
	"nec-xhci": "nec-usb-xhci", "qemu-xhci": "qemu-xhci",
}

// isCompanion says whether a USB controller serves the slow devices of another.
func isCompanion(c *libvirtxml.DomainController) bool {
	return c.Type == "usb" && c.USB != nil && c.USB.Master != nil
}

func (b *builder) usbController(c *libvirtxml.DomainController) (Props, error) {
	driver := usbModels[c.Model]
	if driver == "" || !b.caps.HasDevice(driver) {
		return nil, unsupported("USB controller model '%s' not supported in this QEMU binary", c.Model)
	}
	p := Props{{"driver", driver}}
	if c.USB != nil && c.USB.Port != nil {
		p.Set("p2", *c.USB.Port)
		p.Set("p3", *c.USB.Port)
	}
	if isCompanion(c) {
		master, err := b.bus("usb", value(c.Index))
		if err != nil {
			return nil, err
		}
		p.Set("masterbus", master+".0")
		p.Set("firstport", c.USB.Master.StartPort)
		return p, nil
	}
	p.Set("id", aliasOf(c.Alias))
	return p, nil
}

// scsiModels are QEMU's names of SCSI controllers that are not virtio.
//
// Compat: libvirt 9.0.0 says "dc-390", which no QEMU knows; the device is the one its definition means.
var scsiModels = map[string]string{
	"lsilogic": "lsi", "lsisas1068": "mptsas1068", "lsisas1078": "megasas", "vmpvscsi": "pvscsi",
	"am53c974": "am53c974", "dc390": "dc390", "ibmvscsi": "spapr-vscsi",
}

// narrowSCSI says whether a controller knows targets only, without channels and units below them.
func narrowSCSI(model string) bool {
	switch model {
	case "lsilogic", "am53c974", "dc390", "ncr53c90":
		return true
	}
	return false
}

func (b *builder) scsiController(c *libvirtxml.DomainController) (Props, error) {
	d := c.Driver
	if d == nil {
		d = &libvirtxml.DomainControllerDriver{}
	}
	switch c.Model {
	case "virtio-scsi", "virtio-transitional", "virtio-non-transitional":
	default:
		driver := scsiModels[c.Model]
		if driver == "" {
			return nil, unsupported("Unsupported controller model: %s", c.Model)
		}
		return Props{{"driver", driver}, {"id", aliasOf(c.Alias)}}, nil
	}
	p, err := b.virtio("virtio-scsi", c.Model, c.Address, virtioOptions{d.IOMMU, d.ATS, d.Packed, d.PagePerVQ})
	if err != nil {
		return nil, err
	}
	if d.IOThread != 0 {
		p.Set("iothread", iothreadName(d.IOThread))
	}
	p.Set("id", aliasOf(c.Alias))
	p.optional("num_queues", d.Queues)
	p.optional("cmd_per_lun", d.CmdPerLUN)
	p.optional("max_sectors", d.MaxSectors)
	p.flag("ioeventfd", d.IOEventFD)
	return p, nil
}

func (b *builder) virtioSerialController(c *libvirtxml.DomainController) (Props, error) {
	d := c.Driver
	if d == nil {
		d = &libvirtxml.DomainControllerDriver{}
	}
	p, err := b.virtio("virtio-serial", c.Model, c.Address, virtioOptions{d.IOMMU, d.ATS, d.Packed, d.PagePerVQ})
	if err != nil {
		return nil, err
	}
	p.Set("id", aliasOf(c.Alias))
	if c.VirtIOSerial != nil {
		p.optional("max_ports", c.VirtIOSerial.Ports)
		p.optional("vectors", c.VirtIOSerial.Vectors)
	}
	return p, nil
}

// pciHoles is the space for 64 bit memory regions, a property of the machine's root bus.
func (b *builder) pciHoles() error {
	for _, c := range b.dev.Controllers {
		if c.Type != "pci" || c.PCI == nil || c.PCI.Hole64 == nil || value(c.Index) != 0 {
			continue
		}
		host := ""
		switch {
		case c.Model == "pci-root" && b.isI440FX():
			host = "i440FX-pcihost"
		case c.Model == "pcie-root" && b.isQ35():
			host = "q35-pcihost"
		default:
			return unsupported("Setting the 64-bit PCI hole size is not supported for machine '%s'", b.machineName())
		}
		b.arg("-global", fmt.Sprintf("%s.pci-hole64-size=%dK", host, kib(c.PCI.Hole64.Size, c.PCI.Hole64.Unit)))
	}
	return nil
}

func (b *builder) hubs() error {
	return each(b.dev.Hubs, func(h *libvirtxml.DomainHub) error {
		if h.Type != "usb" {
			return unsupported("hub type %s not supported", h.Type)
		}
		p := Props{{"driver", "usb-hub"}, {"id", aliasOf(h.Alias)}}
		if err := b.at(&p, h.Address, nil); err != nil {
			return err
		}
		return b.device(p)
	})
}
