package domxml

import (
	"slices"
	"strings"
)

// virtioOptions are driver options only virtio devices have.
var virtioOptions = []string{"iommu", "ats", "packed", "page_per_vq"}

func refuseVirtioOptions(d *node) error {
	for _, o := range virtioOptions {
		if d.Kid("driver").Has(o) {
			return unsupported("%s driver option is only supported for virtio devices", o)
		}
	}
	return nil
}

// validateDiskOptions refuses options the disk's bus or type does not have.
func (def *definition) validateDiskOptions(d *node) error {
	driver, target := d.Kid("driver"), d.Kid("target")
	dev, bus, device := target.Get("dev"), target.Get("bus"), d.Get("device")
	readonly := d.Kid("readonly") != nil
	switch {
	case d.Has("model") && bus != "virtio":
		return unsupported("disk model '%s' not supported for bus '%s'", d.Get("model"), bus)
	case target.Has("rotation_rate") && bus != "scsi" && bus != "ide" && bus != "sata":
		return internalError("rotation rate is only valid for SCSI/IDE/SATA bus")
	case (d.Kid("vendor") != nil || d.Kid("product") != nil) && bus != "scsi":
		return qemuUnsupported("Only scsi disk supports vendor and product")
	case driver.Has("event_idx") && bus != "virtio":
		return unsupported("disk event_idx mode supported only for virtio bus")
	case driver.Has("ioeventfd") && bus != "virtio":
		return unsupported("disk ioeventfd mode supported only for virtio bus")
	case driver.Has("queues") && bus != "virtio":
		return unsupported("queues attribute in disk driver element is only supported by virtio-blk")
	case driver.Get("copy_on_read") == "on" && readonly:
		return qemuUnsupported("copy_on_read is not compatible with read-only disk '%s'", dev)
	case d.Get("type") == "dir" && driver.Get("type") == "fat" && !readonly:
		return qemuUnsupported("virtual FAT storage can't be accessed in read-write mode")
	case device == "lun" && d.Kid("serial") != nil && bus == "scsi":
		return qemuUnsupported("scsi-block 'lun' devices do not support the serial property")
	case d.Get("type") == "vhostuser" && !def.sharedMemory():
		return qemuUnsupported("'vhostuser' requires shared memory")
	case device == "disk" && readonly && (bus == "ide" || bus == "sata"):
		return qemuUnsupported("readonly %s disks are not supported", bus)
	case d.Kid("transient") != nil && readonly:
		return qemuUnsupported("transient disk '%s' must not be read-only", dev)
	case d.Kid("transient") != nil && d.Get("type") != "file":
		return qemuUnsupported("transient disk supported only with 'file' type (%s)", dev)
	}
	if bus != "virtio" {
		return refuseVirtioOptions(d)
	}
	return nil
}

// validateInterfaceOptions refuses what a type of interface cannot have.
func (def *definition) validateInterfaceOptions(n *node) error {
	typ, model := n.Get("type"), n.Kid("model").Get("type")
	onHost := slices.Contains([]string{"ethernet", "network", "bridge"}, typ) // a tap device of the host's
	switch {
	case typ == "vhostuser" && !strings.HasPrefix(model, "virtio"):
		return internalError("Wrong or no <model> 'type' attribute specified with <interface type='vhostuser'/>. vhostuser requires the virtio-net* frontend")
	case n.Kid("virtualport").Has("type") && !slices.Contains([]string{"network", "bridge", "direct", "hostdev"}, typ):
		return unsupported("<virtualport> element unsupported for <interface type='%s'>", typ)
	case n.Kid("mtu") != nil && !onHost && typ != "vhostuser" && typ != "direct":
		return qemuUnsupported("setting MTU on interface type %s is not supported yet", typ)
	case n.Kid("coalesce") != nil && !onHost && typ != "direct":
		return qemuUnsupported("coalesce settings on interface type %s are not supported", typ)
	case n.Kid("port").Has("isolated") && typ != "network" && typ != "bridge":
		return unsupported("interface %s - <port isolated='%s'/> is not supported for network interfaces with type='%s'", n.Kid("mac").Get("address"), n.Kid("port").Get("isolated"), typ)
	case n.Kid("bandwidth/inbound").Has("floor") && typ != "network":
		return unsupported("floor attribute is not supported for this config")
	case n.Kid("teaming").Get("type") == "transient" && !n.Kid("teaming").Has("persistent"):
		return unsupported("teaming persistent attribute must be set if teaming type is 'transient'")
	}
	return nil
}

// pciTargetOptions are the options of <target> each model of PCI controller takes.
var pciTargetOptions = map[string][]string{
	"pci-bridge": {"chassisNr"}, "pcie-root-port": {"chassis", "port", "hotplug"}, "pcie-switch-downstream-port": {"chassis", "port", "hotplug"},
	"pci-expander-bus": {"busNr"}, "pcie-expander-bus": {"busNr"},
}

func (def *definition) validateControllerOptions(c *node) error {
	model := c.Get("model")
	switch c.Get("type") {
	case "pci":
		name := pciModels[model].name
		if name == "" {
			name = "none"
		}
		for _, a := range attributes(c.Kid("target")) {
			if !slices.Contains(pciTargetOptions[model], a.Name) {
				return qemuUnsupported("Option '%s' is not valid for PCI controller with index '%s', model '%s' and modelName '%s'", a.Name, c.Get("index"), model, name)
			}
		}
	case "scsi":
		if !strings.HasPrefix(model, "virtio") {
			for _, o := range []string{"queues", "cmd_per_lun", "max_sectors", "ioeventfd", "iothread"} {
				if c.Kid("driver").Has(o) {
					return qemuUnsupported("'%s' is only supported by virtio-scsi controller", o)
				}
			}
		}
	case "usb":
		if v, ok := uintOf(c, "ports"); ok && v > 15 && (model == "qemu-xhci" || model == "nec-xhci") {
			return qemuUnsupported("'%s' controller only supports up to '15' ports", model)
		}
	case "ide":
		if c.Get("index") != "0" && def.isI440FX() {
			return qemuUnsupported("Only a single IDE controller is supported for this machine type")
		}
	}
	return nil
}

// validateCPUOptions refuses options the mode does not have.
func (def *definition) validateCPUOptions() error {
	c := def.root.Kid("cpu")
	passes := c.Get("mode") == "host-passthrough" || c.Get("mode") == "maximum"
	if cache := c.Kid("cache"); cache != nil {
		if v, ok := uintOf(cache, "level"); ok && (v < 1 || v > 3) {
			return xmlError("invalid CPU cache level, must be in range [1,3]")
		}
		if cache.Get("mode") == "passthrough" && !passes {
			return qemuUnsupported("CPU cache mode 'passthrough' can only be used with 'host-passthrough' / 'maximum' CPUs")
		}
	}
	if def.root.Kid("features/smm/tseg") != nil && !def.isQ35() {
		return qemuUnsupported("SMM TSEG is only supported with q35 machine type")
	}
	if len(def.devices.All("memory")) > 0 && def.memory.maximum == 0 {
		return qemuUnsupported("cannot use/hotplug a memory device when domain 'maxMemory' is not defined")
	}
	for _, t := range def.root.Kid("clock").All("timer") {
		switch t.Get("name") {
		case "armvtimer":
			return qemuUnsupported("Configuring the '%s' timer is not supported for virtType=%s arch=%s machine=%s guests", t.Get("name"), def.root.Get("type"), def.arch, def.machineName())
		case "kvmclock", "hypervclock":
			if t.Has("tickpolicy") {
				return unsupported("timer %s doesn't support setting of timer tickpolicy", t.Get("name"))
			}
		}
	}
	return nil
}

// validateOpenGL: QEMU draws with the host's card for one display only.
func (def *definition) validateOpenGL() error {
	count := 0
	for _, g := range def.devices.All("graphics") {
		if g.Get("type") == "egl-headless" || g.Kid("gl").Get("enable") == "yes" {
			count++
		}
	}
	if count > 1 {
		return qemuUnsupported("multiple OpenGL displays are not supported by QEMU")
	}
	return nil
}
