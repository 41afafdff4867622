package command

import (
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"
)

func (b *builder) disks() error {
	if err := b.floppyController(); err != nil {
		return err
	}
	return each(b.dev.Disks, func(d *libvirtxml.DomainDisk) error { return b.disk(d) })
}

func targetOf(d *libvirtxml.DomainDisk) libvirtxml.DomainDiskTarget {
	if d.Target == nil {
		return libvirtxml.DomainDiskTarget{}
	}
	return *d.Target
}

func driverOf(d *libvirtxml.DomainDisk) *libvirtxml.DomainDiskDriver {
	if d.Driver == nil {
		return &libvirtxml.DomainDiskDriver{}
	}
	return d.Driver
}

func driveOf(d *libvirtxml.DomainDisk) *libvirtxml.DomainAddressDrive {
	if d.Address == nil || d.Address.Drive == nil {
		return &libvirtxml.DomainAddressDrive{}
	}
	return d.Address.Drive
}

// floppyController is there on i440FX machines; elsewhere it is a device, and holds the boot order of its drives.
func (b *builder) floppyController() error {
	var p Props
	place := b.boot.floppy
	found := false
	for i := range b.dev.Disks {
		d := &b.dev.Disks[i]
		if targetOf(d).Bus != "fdc" {
			continue
		}
		found = true
		order := uint(0)
		if d.Boot != nil {
			order = d.Boot.Order
		} else {
			order = take(&place)
		}
		if order == 0 {
			continue
		}
		if value(driveOf(d).Unit) == 0 {
			p.Set("bootindexA", order)
		} else {
			p.Set("bootindexB", order)
		}
	}
	if !found {
		return nil
	}
	if !b.isQ35() {
		for _, m := range p {
			b.arg("-global", "isa-fdc."+m.Name+"="+strconv.FormatUint(uint64(m.Value.(uint)), 10))
		}
		return nil
	}
	return b.device(append(Props{{"driver", "isa-fdc"}}, p...))
}

// disk adds the images of a disk, base first, and the device on top.
func (b *builder) disk(d *libvirtxml.DomainDisk) error {
	node := ""
	if vhostUserDisk(d) {
		if err := b.vhostUserChardev(diskChardev(d), d.Source.VHostUser.UNIX, d.Alias); err != nil {
			return err
		}
	} else if !sourceEmpty(d.Source) {
		var err error
		if node, err = b.chain(d); err != nil {
			return err
		}
	}
	p, err := b.diskDevice(d, node)
	if err != nil {
		return err
	}
	return b.device(p)
}

func (b *builder) diskDevice(d *libvirtxml.DomainDisk, node string) (Props, error) {
	drv, target := driverOf(d), targetOf(d)
	p, err := b.diskFrontend(d)
	if err != nil {
		return nil, err
	}
	if d.Shareable != nil {
		p.Set("share-rw", true)
	}
	if vhostUserDisk(d) {
		p.Set("chardev", diskChardev(d))
	}
	p.text("drive", node)
	p.Set("id", aliasOf(d.Alias))
	if target.Bus != "fdc" {
		bootIndex(&p, d.Boot, b.boot.forDisk(d.Device))
	}
	if d.Boot != nil {
		p.text("loadparm", d.Boot.LoadParm)
	}
	if d.BlockIO != nil {
		p.count("logical_block_size", d.BlockIO.LogicalBlockSize)
		p.count("physical_block_size", d.BlockIO.PhysicalBlockSize)
	}
	if d.WWN != "" {
		wwn, err := strconv.ParseUint(d.WWN, 16, 64)
		if err != nil {
			return nil, internal("Unable to parse WWN '%s'", d.WWN)
		}
		p.Set("wwn", wwn)
	}
	p.count("rotation_rate", target.RotationRate)
	p.text("vendor", d.Vendor)
	p.text("product", d.Product)
	if target.Bus == "usb" {
		p.Set("removable", isOn(target.Removable))
	}
	if b.caps.HasProp(driverName(p), "write-cache") && !sourceEmpty(d.Source) {
		switch drv.Cache {
		case "none", "writeback", "unsafe":
			p.Set("write-cache", "on")
		case "writethrough", "directsync":
			p.Set("write-cache", "off")
		}
	}
	if g := d.Geometry; g != nil {
		p.Set("cyls", g.Cylinders)
		p.Set("heads", g.Headers)
		p.Set("secs", g.Sectors)
		if g.Trans != "" && g.Trans != "default" {
			p.Set("bios-chs-trans", g.Trans)
		}
	}
	// Compat: a space in a serial number has a backslash before it, a relic of shell quoting that guests have seen since.
	p.text("serial", strings.ReplaceAll(d.Serial, " ", "\\ "))
	errorPolicy(&p, drv)
	return p, nil
}

func driverName(p Props) string {
	v, _ := p.Get("driver")
	s, _ := v.(string)
	return s
}

// errorPolicy is what happens to the guest when an image cannot be read or written. A read policy follows the write
// policy unless it is given, except that running out of space is no matter of reading.
func errorPolicy(p *Props, drv *libvirtxml.DomainDiskDriver) {
	write, read := drv.ErrorPolicy, drv.RErrorPolicy
	switch {
	case write == "enospace":
		write = "enospc"
	case read == "":
		read = write
	}
	p.text("werror", write)
	p.text("rerror", read)
}
