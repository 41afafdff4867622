package domxml

import (
	"slices"
	"strings"

	"virtree/actors/internal/xmltree"
)

// conventionalNICs are the models libvirt knows to be plain PCI devices.
var conventionalNICs = []string{"netfront", "rtl8139", "e1000", "vmxnet2", "vmxnet3", "Am79C970A", "Am79C973", "82540EM", "82545EM", "82543GC", "lan9118", "scm91c111", "vlance", "smc91c111"}

// connects says what kind of slot a device needs, 0 when it is no PCI device.
func (def *definition) connects(d *node) connect {
	virtio := connect(pciDevice)
	pcie := connect(pciDevice)
	if def.isQ35() {
		pcie = pcieDevice
		virtio = pcieDevice
	}
	modern := func(model string) connect {
		if strings.HasSuffix(model, "-transitional") && !strings.HasSuffix(model, "non-transitional") {
			return pciDevice
		}
		return virtio
	}
	switch d.Name {
	case "controller":
		switch d.Get("type") {
		case "pci":
			return pciModels[d.Get("model")].connects
		case "usb":
			switch d.Get("model") {
			case "nec-xhci", "qemu-xhci":
				return pcie
			case "none":
				return 0
			}
			return pciDevice
		case "scsi":
			switch m := d.Get("model"); m {
			case "virtio-scsi", "virtio-non-transitional":
				return virtio
			case "virtio-transitional":
				return pciDevice
			}
			return pciDevice
		case "virtio-serial":
			return modern(d.Get("model"))
		case "ide", "sata":
			return pciDevice
		}
		return 0
	case "filesystem":
		switch d.Kid("driver").Get("type") {
		case "", "path", "handle", "virtiofs":
			return modern(d.Get("model"))
		}
		return unknownSlot
	case "interface":
		if d.Get("type") == "hostdev" {
			return def.assigned(d, pcie)
		}
		m := d.Kid("model").Get("type")
		switch {
		case m == "e1000e":
			return pcie
		case m == "usb-net" || m == "spapr-vlan":
			return 0
		case slices.Contains(conventionalNICs, m):
			return pciDevice
		}
		// A model libvirt does not know is taken for a modern one.
		return modern(m)
	case "sound":
		switch d.Get("model") {
		case "sb16", "pcspk", "usb":
			return 0
		case "ich7":
			return unknownSlot
		}
		return pciDevice
	case "disk":
		if d.Kid("target").Get("bus") != "virtio" {
			return 0
		}
		return modern(d.Get("model"))
	case "hostdev":
		switch d.Get("type") {
		case "pci":
			return def.assigned(d, pcie)
		case "mdev":
			if d.Get("model") != "vfio-pci" {
				return 0
			}
			return pcie
		case "scsi_host":
			return modern(d.Get("model"))
		}
		return 0
	case "memballoon":
		switch m := d.Get("model"); m {
		case "none":
			return 0
		case "xen":
			return unknownSlot
		default:
			return modern(m)
		}
	case "rng":
		return modern(d.Get("model"))
	case "vsock":
		return modern(d.Get("model"))
	case "watchdog":
		if d.Get("model") == "i6300esb" {
			return pciDevice
		}
		return 0
	case "video":
		switch d.Kid("model").Get("type") {
		case "virtio":
			return virtio
		case "bochs":
			return pcie
		case "ramfb", "none":
			return 0
		}
		return pciDevice
	case "input":
		if d.Get("bus") == "virtio" {
			return modern(d.Get("model"))
		}
		return 0
	case "shmem":
		return pciDevice
	case "serial":
		if d.Kid("target").Get("type") == "pci-serial" {
			return pciDevice
		}
		return 0
	case "memory":
		switch d.Get("model") {
		case "virtio-pmem", "virtio-mem":
			return pcie
		}
		return 0
	case "iommu":
		if d.Get("model") == "virtio" {
			return pcie
		}
		return 0
	}
	return 0
}

// assigned says where a device of the host goes: where it would sit on a board.
func (def *definition) assigned(d *node, pcie connect) connect {
	if pcie == pciDevice {
		return pcie
	}
	address := d.Kid("source/address")
	if address == nil {
		return pcie
	}
	host := xmltree.Elem("device")
	a := address.Clone()
	a.Set("type", "pci")
	host.Add(a)
	if p, ok := pciAddressOf(host); ok && !def.env.pciExpress(p.String()) {
		return pciDevice
	}
	return pcie
}
