package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// diskFrontend starts the device of a disk: its model and its place on its bus.
func (b *builder) diskFrontend(d *libvirtxml.DomainDisk) (Props, error) {
	switch bus := targetOf(d).Bus; bus {
	case "virtio":
		return b.virtioDisk(d)
	case "scsi":
		return b.scsiDisk(d)
	case "ide", "sata":
		return b.ideDisk(d, bus)
	case "usb":
		p := Props{{"driver", "usb-storage"}}
		return p, b.at(&p, d.Address, d.ACPI)
	case "fdc":
		return Props{{"driver", "floppy"}, {"unit", value(driveOf(d).Unit)}}, nil
	default:
		return nil, unsupported("unsupported disk bus '%s' with device setup", bus)
	}
}

func (b *builder) virtioDisk(d *libvirtxml.DomainDisk) (Props, error) {
	drv := driverOf(d)
	base := "virtio-blk"
	if vhostUserDisk(d) {
		base = "vhost-user-blk"
	}
	p, err := b.virtio(base, d.Model, d.Address, virtioOptions{drv.IOMMU, drv.ATS, drv.Packed, drv.PagePerVQ})
	if err != nil {
		return nil, err
	}
	if drv.IOThread != nil && *drv.IOThread != 0 {
		p.Set("iothread", iothreadName(*drv.IOThread))
	}
	p.flag("ioeventfd", drv.IOEventFD)
	p.flag("event_idx", drv.EventIDX)
	if drv.Queues != nil {
		p.count("num-queues", *drv.Queues)
	}
	if drv.QueueSize != nil {
		p.count("queue-size", *drv.QueueSize)
	}
	return p, b.at(&p, d.Address, d.ACPI)
}

func (b *builder) scsiDisk(d *libvirtxml.DomainDisk) (Props, error) {
	a := driveOf(d)
	c := b.controller("scsi", value(a.Controller))
	if c == nil {
		return nil, internal("unable to find a SCSI controller with idx=%d", value(a.Controller))
	}
	driver := "scsi-hd"
	switch d.Device {
	case "lun":
		driver = "scsi-block"
	case "cdrom":
		driver = "scsi-cd"
	}
	p := Props{{"driver", driver}, {"bus", aliasOf(c.Alias) + ".0"}}
	if narrowSCSI(c.Model) {
		if value(a.Target) != 0 {
			return nil, unsupported("target must be 0 for controller model '%s'", c.Model)
		}
		p.Set("scsi-id", value(a.Unit))
	} else {
		if value(a.Target) > 7 && !b.caps.HasDevice("virtio-scsi-pci") {
			return nil, unsupported("This QEMU doesn't support target greater than 7")
		}
		p.Set("channel", value(a.Bus))
		p.Set("scsi-id", value(a.Target))
		p.Set("lun", value(a.Unit))
	}
	if d.Device != "lun" {
		// The guest sees this in the device identification page; it must not depend on how the image is attached.
		if d.Serial != "" {
			p.Set("device_id", d.Serial)
		} else {
			p.Set("device_id", "drive-"+aliasOf(d.Alias))
		}
	}
	return p, nil
}

func (b *builder) ideDisk(d *libvirtxml.DomainDisk, bus string) (Props, error) {
	a := driveOf(d)
	driver := "ide-hd"
	if d.Device == "cdrom" {
		driver = "ide-cd"
	}
	p := Props{{"driver", driver}}
	if bus == "ide" {
		p.Set("bus", fmt.Sprintf("ide.%d", value(a.Bus)))
		p.Set("unit", value(a.Unit))
		return p, nil
	}
	// Every SATA port is a bus of its own. The ports of the machine's own controller are named "ide".
	id, err := b.bus("sata", value(a.Controller))
	if err != nil {
		return nil, err
	}
	p.Set("bus", fmt.Sprintf("%s.%d", id, value(a.Unit)))
	return p, nil
}
