package qemu

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

func unsupportedOperation(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, format, args...)
}

func unsupportedConfig(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, format, args...)
}

func invalidOperation(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.OperationInvalid, format, args...)
}

func failedOperation(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.OperationFailed, format, args...)
}

func missingDevice(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.DeviceMissing, format, args...)
}

// pluggable are the kinds that come to running guests.
var pluggable = []string{"disk", "controller", "lease", "interface", "hostdev", "redirdev", "serial", "parallel", "console", "channel",
	"rng", "memory", "shmem", "watchdog", "input", "vsock", "filesystem"}

// attachable refuses what cannot be plugged, before anything is done for it.
func (j *deviceJob) attachable(dev *domxml.Device) error {
	if dev.Kind == "smartcard" {
		return unsupportedConfig("this QEMU binary lacks multiple smartcard support")
	}
	if !slices.Contains(pluggable, dev.Kind) {
		return unsupportedOperation("live attach of device '%s' is not supported", dev.Kind)
	}
	if err := bootFits(j.live, dev); err != nil {
		return err
	}
	if a := only(dev); a != nil && a.name() != "" && findAlias(j.live.Devices, a.name()) != nil {
		return liberr.New(liberr.FromDomain, liberr.ConfigUnsupported, "non unique alias detected: %s", a.name())
	}
	switch dev.Kind {
	case "memory":
		return memoryFits(j.live, dev)
	case "rng":
		if b := dev.RNGs[0].Backend; b != nil && b.Random != nil {
			return accessible(b.Random.Device)
		}
	case "disk":
		return j.diskFits(&dev.Disks[0])
	case "controller":
		return j.controllerFits(&dev.Controllers[0])
	case "interface":
		return nicFits(&dev.Interfaces[0])
	case "input":
		if bus := dev.Inputs[0].Bus; bus != "usb" && bus != "virtio" {
			return unsupportedOperation("input device on bus '%s' cannot be hot plugged.", bus)
		}
		if s := dev.Inputs[0].Source; s != nil && s.Passthrough != nil {
			return accessible(s.Passthrough.EVDev)
		}
	case "watchdog":
		if model := dev.Watchdogs[0].Model; model != "i6300esb" {
			return unsupportedOperation("hotplug of watchdog of model %s is not supported", model)
		}
	case "filesystem":
		if f := dev.Filesystems[0]; f.Driver == nil || f.Driver.Type != "virtiofs" {
			return unsupportedOperation("only virtiofs filesystems can be hotplugged")
		}
	case "hostdev":
		return j.hostdevFits(&dev.Hostdevs[0])
	}
	return nil
}

func (j *deviceJob) diskFits(d *libvirtxml.DomainDisk) error {
	if d.Device == "floppy" {
		return unsupportedOperation("floppy device hotplug isn't supported")
	}
	if o := diskByTarget(j.live, diskTarget(d)); o != nil {
		return liberr.New(liberr.FromDomain, liberr.XMLError, "target '%s' duplicated for disk sources '%s' and '%s'", diskTarget(d), orNull(diskPath(o)), orNull(diskPath(d)))
	}
	switch bus := diskBus(d); bus {
	case "virtio", "usb", "scsi":
		return nil
	case "sata", "ide":
		return j.driveController(d, bus)
	default:
		return unsupportedOperation("disk bus '%s' cannot be hotplugged.", bus)
	}
}

// driveController finds the controller of a disk on a bus whose controllers cannot come later.
func (j *deviceJob) driveController(d *libvirtxml.DomainDisk, bus string) error {
	width := map[string]uint{"sata": 6, "ide": 4}[bus] // disks to a controller
	index := diskNumber(diskTarget(d)) / width
	if d.Address != nil && d.Address.Drive != nil {
		index = value(d.Address.Drive.Controller)
	}
	for _, c := range j.live.Devices.Controllers {
		if c.Type == bus && value(c.Index) == index {
			return nil
		}
	}
	j.nextNode++ // Compat: by then the image has its number
	return liberr.New(liberr.FromQemu, liberr.InternalError, "Could not find %s controller with index %d required for device", bus, index)
}

// bootFits refuses a place in the boot order that another device has, or that goes against the domain's own order.
func bootFits(def *libvirtxml.Domain, dev *domxml.Device) error {
	order := bootOrder(only(dev))
	if order == 0 {
		return nil
	}
	if def.OS != nil && len(def.OS.BootDevices) > 0 {
		return liberr.New(liberr.FromDomain, liberr.ConfigUnsupported, "per-device boot elements cannot be used together with os/boot elements")
	}
	return nil
}

// bootOrder is a device's place in the boot order, 0 when it has none.
func bootOrder(p *piece) uint {
	var b *libvirtxml.DomainDeviceBoot
	if p != nil {
		switch d := p.device.(type) {
		case *libvirtxml.DomainDisk:
			b = d.Boot
		case *libvirtxml.DomainInterface:
			b = d.Boot
		case *libvirtxml.DomainHostdev:
			b = d.Boot
		case *libvirtxml.DomainRedirDev:
			b = d.Boot
		}
	}
	if b == nil {
		return 0
	}
	return b.Order
}

// memoryFits refuses a module that the domain has no room for.
func memoryFits(def *libvirtxml.Domain, dev *domxml.Device) error {
	if dev.Kind != "memory" || def.MaximumMemory == nil || def.Memory == nil {
		return nil
	}
	t := dev.Memorydevs[0].Target
	if t == nil || t.Size == nil {
		return nil
	}
	size, limit := memoryKiB(t.Size.Value, t.Size.Unit), memoryKiB(def.MaximumMemory.Value, def.MaximumMemory.Unit)
	if memoryKiB(def.Memory.Value, def.Memory.Unit)+size > limit {
		return unsupportedConfig("Attaching memory device with size '%d' would exceed domain's maxMemory config size '%d'", size, limit)
	}
	if cells := numaCells(def); cells > 0 && def.ID != nil {
		switch {
		case t.Node == nil:
			return unsupportedConfig("target NUMA node needs to be specified for memory device")
		case int(t.Node.Value) >= cells:
			return liberr.Raw(liberr.FromQemu, liberr.ConfigUnsupported,
				"can't add memory backend for guest node '"+itoa(int(t.Node.Value))+"' as the guest has only '"+itoa(cells)+"' NUMA nodes configured")
		}
	}
	return nil
}

func numaCells(def *libvirtxml.Domain) int {
	if def.CPU == nil || def.CPU.Numa == nil {
		return 0
	}
	return len(def.CPU.Numa.Cell)
}

// accessible refuses a path of the host that leads nowhere.
func accessible(path string) error {
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return liberr.System(liberr.FromQemu, err, "Path '%s' is not accessible", path)
	}
	return nil
}

// followChain completes a disk's chain of images. What is no image of the format it should be, QEMU will say in its own
// words.
func followChain(d *libvirtxml.DomainDisk) error {
	err := completeChain(d)
	if errors.Is(err, errNotQcow2) {
		d.BackingStore = &libvirtxml.DomainDiskBackingStore{}
		return nil
	}
	return err
}

// orNull is how libvirt prints a text that is not there.
func orNull(s string) string {
	if s == "" {
		return "(null)"
	}
	return s
}

func (j *deviceJob) controllerFits(c *libvirtxml.DomainController) error {
	if c.Type != "scsi" {
		return unsupportedOperation("'%s' controller cannot be hot plugged.", c.Type)
	}
	if c.Index != nil {
		for _, o := range j.live.Devices.Controllers {
			if o.Type == c.Type && o.Index != nil && *o.Index == *c.Index {
				return failedOperation("target %s:%d already exists", c.Type, *c.Index)
			}
		}
	}
	return nil
}

func nicFits(n *libvirtxml.DomainInterface) error {
	switch kind := nicKind(n); kind {
	case "server", "client", "mcast", "udp", "internal":
		return unsupportedOperation("hotplug of interface type of %s is not implemented yet", kind)
	}
	return nil
}

func (j *deviceJob) hostdevFits(h *libvirtxml.DomainHostdev) error {
	for _, o := range j.live.Devices.Hostdevs {
		switch {
		case sameUSB(h, &o):
			return failedOperation("target usb device %s already exists", usbName(&o))
		case sameHostPCI(h, &o):
			return failedOperation("target pci device %s already exists", pciName(&o))
		}
	}
	if h.SubsysPCI != nil && !vfioReady() {
		return unsupportedConfig("host doesn't support passthrough of host PCI devices")
	}
	return nil
}

// vfioReady tells whether this host can hand PCI devices to guests: it isolates them, and the kernel's driver for it
// is there.
func vfioReady() bool {
	groups, _ := filepath.Glob("/sys/kernel/iommu_groups/*")
	_, err := os.Stat("/dev/vfio/vfio")
	return len(groups) > 0 && err == nil
}

// checkImage refuses an image that is not there.
func checkImage(d *libvirtxml.DomainDisk) error {
	if d.Source == nil || d.Source.File == nil && d.Source.Block == nil {
		return nil
	}
	path := diskPath(d)
	if path == "" {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return liberr.System(liberr.FromStorage, err, "Cannot access storage file '%s'", path)
	}
	return nil
}
