package domxml

import (
	"slices"
	"strings"
)

// virtioOptions are driver options only virtio devices have.
var virtioOptions = []string{"iommu", "ats", "packed", "page_per_vq"}

func refuseVirtioOptions(d *node) error {
	for _, o := range virtioOptions {
		if d.kid("driver").has(o) {
			return unsupported("%s driver option is only supported for virtio devices", o)
		}
	}
	return nil
}

// validateDiskOptions refuses options the disk's bus or type does not have.
func (def *definition) validateDiskOptions(d *node) error {
	driver, target := d.kid("driver"), d.kid("target")
	dev, bus, device := target.get("dev"), target.get("bus"), d.get("device")
	readonly := d.kid("readonly") != nil
	switch {
	case d.has("model") && bus != "virtio":
		return unsupported("disk model '%s' not supported for bus '%s'", d.get("model"), bus)
	case target.has("rotation_rate") && bus != "scsi" && bus != "ide" && bus != "sata":
		return internalError("rotation rate is only valid for SCSI/IDE/SATA bus")
	case (d.kid("vendor") != nil || d.kid("product") != nil) && bus != "scsi":
		return qemuUnsupported("Only scsi disk supports vendor and product")
	case driver.has("event_idx") && bus != "virtio":
		return unsupported("disk event_idx mode supported only for virtio bus")
	case driver.has("ioeventfd") && bus != "virtio":
		return unsupported("disk ioeventfd mode supported only for virtio bus")
	case driver.has("queues") && bus != "virtio":
		return unsupported("queues attribute in disk driver element is only supported by virtio-blk")
	case driver.get("copy_on_read") == "on" && readonly:
		return qemuUnsupported("copy_on_read is not compatible with read-only disk '%s'", dev)
	case d.get("type") == "dir" && driver.get("type") == "fat" && !readonly:
		return qemuUnsupported("virtual FAT storage can't be accessed in read-write mode")
	case device == "lun" && d.kid("serial") != nil && bus == "scsi":
		return qemuUnsupported("scsi-block 'lun' devices do not support the serial property")
	case d.get("type") == "vhostuser" && !def.sharedMemory():
		return qemuUnsupported("'vhostuser' requires shared memory")
	case device == "disk" && readonly && (bus == "ide" || bus == "sata"):
		return qemuUnsupported("readonly %s disks are not supported", bus)
	case d.kid("transient") != nil && readonly:
		return qemuUnsupported("transient disk '%s' must not be read-only", dev)
	case d.kid("transient") != nil && d.get("type") != "file":
		return qemuUnsupported("transient disk supported only with 'file' type (%s)", dev)
	}
	if bus != "virtio" {
		return refuseVirtioOptions(d)
	}
	return nil
}

// validateInterfaceOptions refuses what a type of interface cannot have.
func (def *definition) validateInterfaceOptions(n *node) error {
	typ, model := n.get("type"), n.kid("model").get("type")
	onHost := slices.Contains([]string{"ethernet", "network", "bridge"}, typ) // a tap device of the host's
	switch {
	case typ == "vhostuser" && !strings.HasPrefix(model, "virtio"):
		return internalError("Wrong or no <model> 'type' attribute specified with <interface type='vhostuser'/>. vhostuser requires the virtio-net* frontend")
	case n.kid("virtualport").has("type") && !slices.Contains([]string{"network", "bridge", "direct", "hostdev"}, typ):
		return unsupported("<virtualport> element unsupported for <interface type='%s'>", typ)
	case n.kid("mtu") != nil && !onHost && typ != "vhostuser" && typ != "direct":
		return qemuUnsupported("setting MTU on interface type %s is not supported yet", typ)
	case n.kid("coalesce") != nil && !onHost && typ != "direct":
		return qemuUnsupported("coalesce settings on interface type %s are not supported", typ)
	case n.kid("port").has("isolated") && typ != "network" && typ != "bridge":
		return unsupported("interface %s - <port isolated='%s'/> is not supported for network interfaces with type='%s'", n.kid("mac").get("address"), n.kid("port").get("isolated"), typ)
	case n.kid("bandwidth/inbound").has("floor") && typ != "network":
		return unsupported("floor attribute is not supported for this config")
	case n.kid("teaming").get("type") == "transient" && !n.kid("teaming").has("persistent"):
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
	model := c.get("model")
	switch c.get("type") {
	case "pci":
		name := pciModels[model].name
		if name == "" {
			name = "none"
		}
		for _, a := range c.kid("target").attributes() {
			if !slices.Contains(pciTargetOptions[model], a.name) {
				return qemuUnsupported("Option '%s' is not valid for PCI controller with index '%s', model '%s' and modelName '%s'", a.name, c.get("index"), model, name)
			}
		}
	case "scsi":
		if !strings.HasPrefix(model, "virtio") {
			for _, o := range []string{"queues", "cmd_per_lun", "max_sectors", "ioeventfd", "iothread"} {
				if c.kid("driver").has(o) {
					return qemuUnsupported("'%s' is only supported by virtio-scsi controller", o)
				}
			}
		}
	case "usb":
		if v, ok := c.uint("ports"); ok && v > 15 && (model == "qemu-xhci" || model == "nec-xhci") {
			return qemuUnsupported("'%s' controller only supports up to '15' ports", model)
		}
	case "ide":
		if c.get("index") != "0" && def.isI440FX() {
			return qemuUnsupported("Only a single IDE controller is supported for this machine type")
		}
	}
	return nil
}

func (n *node) attributes() []attr {
	if n == nil {
		return nil
	}
	return n.attrs
}

// validateCPUOptions refuses options the mode does not have.
func (def *definition) validateCPUOptions() error {
	c := def.root.kid("cpu")
	passes := c.get("mode") == "host-passthrough" || c.get("mode") == "maximum"
	if cache := c.kid("cache"); cache != nil {
		if v, ok := cache.uint("level"); ok && (v < 1 || v > 3) {
			return xmlError("invalid CPU cache level, must be in range [1,3]")
		}
		if cache.get("mode") == "passthrough" && !passes {
			return qemuUnsupported("CPU cache mode 'passthrough' can only be used with 'host-passthrough' / 'maximum' CPUs")
		}
	}
	if def.root.kid("features/smm/tseg") != nil && !def.isQ35() {
		return qemuUnsupported("SMM TSEG is only supported with q35 machine type")
	}
	if len(def.devices.all("memory")) > 0 && def.memory.maximum == 0 {
		return qemuUnsupported("cannot use/hotplug a memory device when domain 'maxMemory' is not defined")
	}
	for _, t := range def.root.kid("clock").all("timer") {
		switch t.get("name") {
		case "armvtimer":
			return qemuUnsupported("Configuring the '%s' timer is not supported for virtType=%s arch=%s machine=%s guests", t.get("name"), def.root.get("type"), def.arch, def.machineName())
		case "kvmclock", "hypervclock":
			if t.has("tickpolicy") {
				return unsupported("timer %s doesn't support setting of timer tickpolicy", t.get("name"))
			}
		}
	}
	return nil
}

// validateOpenGL: QEMU draws with the host's card for one display only.
func (def *definition) validateOpenGL() error {
	count := 0
	for _, g := range def.devices.all("graphics") {
		if g.get("type") == "egl-headless" || g.kid("gl").get("enable") == "yes" {
			count++
		}
	}
	if count > 1 {
		return qemuUnsupported("multiple OpenGL displays are not supported by QEMU")
	}
	return nil
}
