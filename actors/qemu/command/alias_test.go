package command

import (
	"fmt"
	"reflect"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// assignAliases names the devices of a recorded definition as a start would. Production gets definitions that have
// them already; the reference shows them only of a running guest, and most of the recorded ones cannot run here.
func assignAliases(def *libvirtxml.Domain) {
	d := def.Devices
	q35 := strings.Contains(def.OS.Type.Machine, "q35")
	set := func(a **libvirtxml.DomainAlias, format string, args ...any) {
		if *a == nil {
			*a = &libvirtxml.DomainAlias{Name: fmt.Sprintf(format, args...)}
		}
	}
	narrow := map[uint]bool{}
	for i := range d.Controllers {
		c := &d.Controllers[i]
		n := value(c.Index)
		switch {
		case c.Model == "pcie-root":
			set(&c.Alias, "pcie.%d", n)
		case c.Type == "pci":
			set(&c.Alias, "pci.%d", n)
		case c.Type == "usb" && n == 0:
			set(&c.Alias, "usb")
		case c.Type == "sata" && n == 0 && q35, c.Type == "ide" && n == 0:
			set(&c.Alias, "ide")
		default:
			set(&c.Alias, "%s%d", c.Type, n)
		}
		if c.Type == "scsi" && c.Model == "lsilogic" {
			narrow[n] = true
		}
	}
	for i := range d.Disks {
		k := &d.Disks[i]
		dev, a := targetOf(k).Dev, driveOf(k)
		letter := int(dev[len(dev)-1] - 'a')
		ctl, bus, target, unit := value(a.Controller), value(a.Bus), value(a.Target), value(a.Unit)
		switch b := targetOf(k).Bus; {
		case b == "virtio":
			set(&k.Alias, "virtio-disk%d", letter)
		case b == "usb":
			set(&k.Alias, "usb-disk%d", letter)
		case b == "scsi" && !narrow[ctl]:
			set(&k.Alias, "scsi%d-%d-%d-%d", ctl, bus, target, unit)
		default:
			set(&k.Alias, "%s%d-%d-%d", b, ctl, bus, unit)
		}
	}
	hostdevs := 0
	for i := range d.Interfaces {
		n := &d.Interfaces[i]
		if n.Source != nil && n.Source.Hostdev != nil {
			set(&n.Alias, "hostdev%d", hostdevs)
			hostdevs++
			continue
		}
		set(&n.Alias, "net%d", i)
	}
	for i := range d.Hostdevs {
		set(&d.Hostdevs[i].Alias, "hostdev%d", hostdevs+i)
	}
	modules := map[string]int{} // those in slots are counted together
	for i := range d.Memorydevs {
		m := &d.Memorydevs[i]
		kind, count := strings.ReplaceAll(m.Model, "-", ""), m.Model
		if !strings.HasPrefix(m.Model, "virtio") {
			count = "slot"
		}
		set(&m.Alias, "%s%d", kind, modules[count])
		modules[count]++
	}
	for i := range d.Shmems {
		set(&d.Shmems[i].Alias, "shmem%d", i)
	}
	for i := range d.Consoles {
		c := &d.Consoles[i]
		if c.Target != nil && c.Target.Type == "serial" && i == 0 {
			set(&c.Alias, "serial0")
		}
	}
	for name, list := range map[string]any{"fs": d.Filesystems, "smartcard": d.Smartcards, "serial": d.Serials,
		"parallel": d.Parallels, "console": d.Consoles, "channel": d.Channels, "input": d.Inputs, "tpm": d.TPMs,
		"sound": d.Sounds, "video": d.Videos, "redir": d.RedirDevs, "hub": d.Hubs, "watchdog": d.Watchdogs, "rng": d.RNGs,
		"panic": d.Panics, "iommu": d.IOMMUs} {
		v := reflect.ValueOf(list)
		for i := 0; i < v.Len(); i++ {
			set(v.Index(i).FieldByName("Alias").Addr().Interface().(**libvirtxml.DomainAlias), "%s%d", name, i)
		}
	}
	if d.MemBalloon != nil && d.MemBalloon.Model != "none" {
		set(&d.MemBalloon.Alias, "balloon0")
	}
	if d.VSock != nil {
		set(&d.VSock.Alias, "vsock0")
	}
}
