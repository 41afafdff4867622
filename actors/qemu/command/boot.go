package command

import (
	"strconv"

	"libvirt.org/go/libvirtxml"
)

// bootOrder turns <boot dev='...'/> into a place for the first device of each kind. Zero: not booted from, or the
// device of that kind has been placed.
type bootOrder struct{ disk, cdrom, floppy, network uint }

func bootOrderOf(def *libvirtxml.Domain) bootOrder {
	var o bootOrder
	if def.OS == nil {
		return o
	}
	for i, d := range def.OS.BootDevices {
		place := uint(i + 1)
		switch d.Dev {
		case "hd":
			o.disk = place
		case "cdrom":
			o.cdrom = place
		case "fd":
			o.floppy = place
		case "network":
			o.network = place
		}
	}
	return o
}

// take gives a place to the first who asks.
func take(place *uint) uint {
	n := *place
	*place = 0
	return n
}

// forDisk is the place of the next disk of a kind.
func (o *bootOrder) forDisk(device string) uint {
	switch device {
	case "cdrom":
		return take(&o.cdrom)
	case "floppy":
		return take(&o.floppy)
	}
	return take(&o.disk)
}

func (b *builder) bootOptions() error {
	k := keyval{}
	if os := b.def.OS; os != nil {
		if m := os.BootMenu; m != nil {
			k.flag("menu", m.Enable)
		}
		if os.BIOS != nil && os.BIOS.RebootTimeout != nil {
			k.set("reboot-timeout", strconv.Itoa(*os.BIOS.RebootTimeout))
		}
		if m := os.BootMenu; m != nil && isOn(m.Enable) && m.Timeout != "" {
			k.set("splash-time", m.Timeout)
		}
	}
	k.set("strict", "on")
	b.arg("-boot", k.String())
	return nil
}

// kernel is a guest that boots a kernel from the host without its firmware looking for one.
func (b *builder) kernel() error {
	os := b.def.OS
	if os == nil {
		return nil
	}
	for _, o := range []struct{ option, value string }{
		{"-kernel", os.Kernel}, {"-initrd", os.Initrd}, {"-append", os.Cmdline}, {"-dtb", os.DTB},
	} {
		if o.value != "" {
			b.arg(o.option, o.value)
		}
	}
	if os.ACPI != nil {
		for _, t := range os.ACPI.Tables {
			k := keyval{}
			if t.Type == "slic" {
				k.set("sig", "SLIC")
			}
			k.set("file", t.Path)
			b.arg("-acpitable", k.String())
		}
	}
	return nil
}
