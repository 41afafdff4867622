package qemu

import (
	"os"
	"reflect"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
)

// detachTarget finds the running guest's device that a document means, and refuses one that cannot go.
//
// Compat: what identifies a device, and the words for a miss, are not those for the stored definition.
func (j *deviceJob) detachTarget(dev *domxml.Device) (*piece, error) {
	want := only(dev)
	if want == nil {
		return nil, unsupportedOperation("live detach of device '%s' is not supported", dev.Kind)
	}
	switch dev.Kind {
	case "disk", "controller", "hostdev", "redirdev", "serial", "parallel", "console", "channel", "rng", "memory", "shmem", "watchdog", "input", "vsock", "filesystem":
	case "interface":
		found, err := domxml.Find(j.live, dev)
		if err != nil {
			return nil, err
		}
		one := findAlias(j.live.Devices, only(found).name())
		return one, detachable(one)
	default:
		return nil, unsupportedOperation("live detach of device '%s' is not supported", dev.Kind)
	}
	for _, p := range pieces(j.live.Devices) {
		if p.kind != want.kind || want.name() != "" && isUserAlias(want.name()) && want.name() != p.name() || !j.meant(want, &p) {
			continue
		}
		return &p, detachable(&p)
	}
	return nil, notMeant(want)
}

// isUserAlias: the client chose it; others it cannot know.
func isUserAlias(name string) bool { return len(name) > 3 && name[:3] == "ua-" }

// meant tells whether a document means a device.
func (j *deviceJob) meant(want, have *piece) bool {
	switch w := want.device.(type) {
	case *libvirtxml.DomainDisk:
		return diskTarget(w) == diskTarget(have.device.(*libvirtxml.DomainDisk))
	case *libvirtxml.DomainController:
		h := have.device.(*libvirtxml.DomainController)
		return w.Type == h.Type && value(w.Index) == value(h.Index)
	case *libvirtxml.DomainHostdev:
		h := have.device.(*libvirtxml.DomainHostdev)
		return sameUSB(w, h) || sameHostPCI(w, h) || w.SubsysUSB == nil && w.SubsysPCI == nil && reflect.DeepEqual(hostdevSource(w), hostdevSource(h))
	case *libvirtxml.DomainRedirDev:
		h := have.device.(*libvirtxml.DomainRedirDev)
		return w.Bus == h.Bus && sameSource(w.Source, h.Source) && samePlace(want, have)
	case *libvirtxml.DomainRNG:
		h := have.device.(*libvirtxml.DomainRNG)
		return w.Model == h.Model && reflect.DeepEqual(w.Backend, h.Backend) && reflect.DeepEqual(w.Rate, h.Rate) && samePlace(want, have)
	case *libvirtxml.DomainMemorydev:
		h := have.device.(*libvirtxml.DomainMemorydev)
		return w.Model == h.Model && reflect.DeepEqual(w.Target, h.Target) && reflect.DeepEqual(w.Source, h.Source) && (want.address == nil || samePlace(want, have))
	case *libvirtxml.DomainShmem:
		h := have.device.(*libvirtxml.DomainShmem)
		return w.Name == h.Name && reflect.DeepEqual(w.Model, h.Model) && shmemSize(w) == shmemSize(h) && samePlace(want, have)
	case *libvirtxml.DomainWatchdog:
		h := have.device.(*libvirtxml.DomainWatchdog)
		return w.Model == h.Model && w.Action == h.Action && samePlace(want, have)
	case *libvirtxml.DomainInput:
		h := have.device.(*libvirtxml.DomainInput)
		return w.Type == h.Type && w.Bus == h.Bus && w.Model == h.Model && samePlace(want, have)
	case *libvirtxml.DomainVSock:
		h := have.device.(*libvirtxml.DomainVSock)
		return w.CID == nil || h.CID != nil && w.CID.Auto == h.CID.Auto && (w.CID.Auto == "yes" || w.CID.Address == h.CID.Address)
	case *libvirtxml.DomainFilesystem:
		h := have.device.(*libvirtxml.DomainFilesystem)
		return w.Target != nil && h.Target != nil && w.Target.Dir == h.Target.Dir
	}
	return sameLine(want, have)
}

func value(n *uint) uint {
	if n == nil {
		return 0
	}
	return *n
}

// samePlace: the document names no address, or this one.
func samePlace(want, have *piece) bool {
	if want.address == nil {
		return true
	}
	a, b := want.address, have.address
	if b == nil {
		return false
	}
	if a.DIMM != nil && b.DIMM != nil {
		return value(a.DIMM.Slot) == value(b.DIMM.Slot)
	}
	if a.PCI != nil && b.PCI != nil {
		return pciText(a.PCI) == pciText(b.PCI)
	}
	return reflect.DeepEqual(a, b)
}

func shmemSize(s *libvirtxml.DomainShmem) uint64 {
	if s.Size == nil {
		return 0
	}
	return memoryKiB(s.Size.Value, s.Size.Unit)
}

// hostdevSource is what a host device of a rare kind is known by.
func hostdevSource(h *libvirtxml.DomainHostdev) any {
	switch {
	case h.SubsysSCSI != nil:
		return h.SubsysSCSI.Source
	case h.SubsysSCSIHost != nil:
		return h.SubsysSCSIHost.Source
	case h.SubsysMDev != nil:
		return h.SubsysMDev.Source
	}
	return nil
}

// sameLine compares character devices by source and target.
func sameLine(want, have *piece) bool {
	switch w := want.device.(type) {
	case *libvirtxml.DomainSerial:
		h := have.device.(*libvirtxml.DomainSerial)
		return sameSource(w.Source, h.Source) && w.Target != nil && h.Target != nil && w.Target.Type == h.Target.Type && value(w.Target.Port) == value(h.Target.Port)
	case *libvirtxml.DomainParallel:
		h := have.device.(*libvirtxml.DomainParallel)
		return sameSource(w.Source, h.Source) && w.Target != nil && h.Target != nil && value(w.Target.Port) == value(h.Target.Port)
	case *libvirtxml.DomainConsole:
		h := have.device.(*libvirtxml.DomainConsole)
		return sameSource(w.Source, h.Source) && w.Target != nil && h.Target != nil && w.Target.Type == h.Target.Type && value(w.Target.Port) == value(h.Target.Port)
	case *libvirtxml.DomainChannel:
		h := have.device.(*libvirtxml.DomainChannel)
		if !sameSource(w.Source, h.Source) || w.Target == nil || h.Target == nil {
			return false
		}
		if w.Target.VirtIO != nil && h.Target.VirtIO != nil {
			return w.Target.VirtIO.Name == h.Target.VirtIO.Name
		}
		return reflect.DeepEqual(w.Target, h.Target)
	}
	return false
}

// sameSource compares the host's ends of two lines.
//
// Compat: terminals and sockets are known by their paths, which the document must repeat although it did not choose them.
func sameSource(w, h *libvirtxml.DomainChardevSource) bool {
	if w == nil || h == nil {
		return w == h
	}
	switch {
	case w.UNIX != nil && h.UNIX != nil:
		return w.UNIX.Path == h.UNIX.Path && mode(w.UNIX.Mode) == mode(h.UNIX.Mode)
	case w.Pty != nil && h.Pty != nil:
		return w.Pty.Path == h.Pty.Path
	}
	return reflect.DeepEqual(w, h)
}

func mode(s string) string {
	if s == "" {
		return "bind"
	}
	return s
}

// notMeant is the answer when a running guest has no such device.
func notMeant(want *piece) error {
	switch w := want.device.(type) {
	case *libvirtxml.DomainDisk:
		return missingDevice("disk %s not found", diskTarget(w))
	case *libvirtxml.DomainController:
		return missingDevice("controller %s:%d not found", w.Type, value(w.Index))
	case *libvirtxml.DomainHostdev:
		switch {
		case w.SubsysUSB != nil:
			return missingDevice("host usb device %s not found", usbName(w))
		case w.SubsysPCI != nil:
			return missingDevice("host pci device %s not found", pciName(w))
		case w.SubsysMDev != nil && w.SubsysMDev.Source != nil && w.SubsysMDev.Source.Address != nil:
			return missingDevice("mediated device '%s' not found", w.SubsysMDev.Source.Address.UUID)
		}
		return missingDevice("device not present in domain configuration")
	case *libvirtxml.DomainRedirDev:
		return invalidOperation("no matching redirdev was not found")
	case *libvirtxml.DomainRNG:
		// Compat: libvirt prints the device's model with the names of back ends.
		name := map[string]string{"virtio-transitional": "egd", "virtio-non-transitional": "builtin"}[w.Model]
		if name == "" {
			name = "random"
		}
		return missingDevice("model '%s' RNG device not present in domain configuration", name)
	case *libvirtxml.DomainMemorydev:
		return missingDevice("model '%s' memory device not present in the domain configuration", w.Model)
	case *libvirtxml.DomainShmem:
		model := ""
		if w.Model != nil {
			model = w.Model.Type
		}
		return missingDevice("model '%s' shmem device not present in domain configuration", model)
	case *libvirtxml.DomainWatchdog:
		return missingDevice("watchdog device not present in domain configuration")
	case *libvirtxml.DomainInput:
		return missingDevice("matching input device not found")
	case *libvirtxml.DomainVSock:
		return missingDevice("matching vsock device not found")
	case *libvirtxml.DomainFilesystem:
		return missingDevice("matching filesystem not found")
	}
	return missingDevice("chr type '%s' device not present in domain configuration", want.kind)
}

// detachable refuses devices that never leave a running guest.
func detachable(p *piece) error {
	switch d := p.device.(type) {
	case *libvirtxml.DomainDisk:
		bus := diskBus(d)
		pluggable := bus == "virtio" || bus == "usb" || bus == "scsi"
		switch {
		case d.Device == "floppy", d.Device == "cdrom" && bus != "usb" && bus != "scsi":
			return unsupportedOperation("disk device type '%s' cannot be detached", d.Device)
		case !pluggable:
			return unsupportedOperation("This type of disk cannot be hot unplugged")
		}
	case *libvirtxml.DomainController:
		if d.Type != "scsi" {
			return unsupportedOperation("'%s' controller cannot be hot unplugged.", d.Type)
		}
	case *libvirtxml.DomainWatchdog:
		if d.Model != "i6300esb" {
			return unsupportedOperation("hot unplug of watchdog of model %s is not supported", d.Model)
		}
	case *libvirtxml.DomainInput:
		if d.Bus != "usb" && d.Bus != "virtio" {
			return unsupportedOperation("input device on bus '%s' cannot be detached", d.Bus)
		}
	case *libvirtxml.DomainInterface, *libvirtxml.DomainHostdev, *libvirtxml.DomainRedirDev, *libvirtxml.DomainSerial, *libvirtxml.DomainParallel,
		*libvirtxml.DomainConsole, *libvirtxml.DomainChannel, *libvirtxml.DomainRNG, *libvirtxml.DomainMemorydev, *libvirtxml.DomainShmem,
		*libvirtxml.DomainVSock, *libvirtxml.DomainFilesystem:
	default:
		return unsupportedOperation("live detach of device '%s' is not supported", p.kind)
	}
	return nil
}

// separable refuses a device that its surroundings hold back: a controller with disks, one function of several, a port
// that cannot be plugged.
func (j *deviceJob) separable(p *piece) error {
	if c, ok := p.device.(*libvirtxml.DomainController); ok && j.busy(c) {
		return failedOperation("device cannot be detached: device is busy")
	}
	if p.address == nil || p.address.PCI == nil {
		return nil
	}
	a := p.address.PCI
	for _, o := range pieces(j.live.Devices) {
		if o.name() == p.name() || o.address == nil || o.address.PCI == nil {
			continue
		}
		b := o.address.PCI
		if value(a.Domain) == value(b.Domain) && value(a.Bus) == value(b.Bus) && value(a.Slot) == value(b.Slot) {
			return unsupportedOperation("cannot hot unplug %s device with multifunction PCI guest address: %s", p.kind, pciText(a))
		}
	}
	for i := range j.live.Devices.Controllers {
		c := &j.live.Devices.Controllers[i]
		if c.Type == "pci" && value(c.Index) == value(a.Bus) && c.PCI != nil && c.PCI.Target != nil && c.PCI.Target.Hotplug == "off" {
			return unsupportedOperation("cannot hot unplug %s device with PCI guest address: %s - not allowed by controller", p.kind, pciText(a))
		}
	}
	return nil
}

// busy tells whether disks hang on a controller.
func (j *deviceJob) busy(c *libvirtxml.DomainController) bool {
	for i := range j.live.Devices.Disks {
		d := &j.live.Devices.Disks[i]
		if diskBus(d) == c.Type && d.Address != nil && d.Address.Drive != nil && value(d.Address.Drive.Controller) == value(c.Index) {
			return true
		}
	}
	for i := range j.live.Devices.Hostdevs {
		h := &j.live.Devices.Hostdevs[i]
		if h.SubsysSCSI != nil && h.Address != nil && h.Address.Drive != nil && value(h.Address.Drive.Controller) == value(c.Index) {
			return true
		}
	}
	return false
}

// standIn takes the place of a NIC's host side where only its names matter.
func standIn(p *piece) command.NIC {
	n, ok := p.device.(*libvirtxml.DomainInterface)
	if !ok {
		return command.NIC{}
	}
	return command.NIC{Tap: make([]*os.File, command.Queues(n))}
}
