package nodedev

import (
	"strings"

	"virtree/wire/virt"
)

// kind is what a device is, by the name of its capability.
type kind string

const (
	kindSystem      kind = "system"
	kindPCI         kind = "pci"
	kindUSBDevice   kind = "usb_device"
	kindUSB         kind = "usb" // an interface of a USB device
	kindNet         kind = "net"
	kindSCSIHost    kind = "scsi_host"
	kindSCSITarget  kind = "scsi_target"
	kindSCSI        kind = "scsi"
	kindStorage     kind = "storage"
	kindSCSIGeneric kind = "scsi_generic"
	kindDRM         kind = "drm"
	kindMdev        kind = "mdev"
	kindVDPA        kind = "vdpa"
	capMdevTypes    kind = "mdev_types" // of a PCI device that can make mediated ones
)

// listFlag is the filter flag of each capability.
var listFlag = map[kind]uint32{
	kindSystem:      virt.ConnectListNodeDevicesCapSystem,
	kindPCI:         virt.ConnectListNodeDevicesCapPCIDev,
	kindUSBDevice:   virt.ConnectListNodeDevicesCapUSBDev,
	kindUSB:         virt.ConnectListNodeDevicesCapUSBInterface,
	kindNet:         virt.ConnectListNodeDevicesCapNet,
	kindSCSIHost:    virt.ConnectListNodeDevicesCapSCSIHost,
	kindSCSITarget:  virt.ConnectListNodeDevicesCapSCSITarget,
	kindSCSI:        virt.ConnectListNodeDevicesCapSCSI,
	kindStorage:     virt.ConnectListNodeDevicesCapStorage,
	kindSCSIGeneric: virt.ConnectListNodeDevicesCapSCSIGeneric,
	kindDRM:         virt.ConnectListNodeDevicesCapDrm,
	capMdevTypes:    virt.ConnectListNodeDevicesCapMdevTypes,
	kindMdev:        virt.ConnectListNodeDevicesCapMdev,
	kindVDPA:        virt.ConnectListNodeDevicesCapVdpa,
}

// rootName is the device that all others hang on: the machine.
const rootName = "computer"

// device is one device of a scan. It is constant after it was made.
type device struct {
	name   string
	kind   kind
	caps   []kind // its kind, and what else it can do
	dir    string // folder in sysfs; empty for the machine
	parent string // name of the nearest device above it; empty for the machine
}

func (d *device) has(c kind) bool {
	for _, have := range d.caps {
		if have == c {
			return true
		}
	}
	return false
}

// name makes a device's name of its parts: what is no letter or digit becomes an underscore.
func name(parts ...string) string {
	b := []byte(strings.Join(parts, "_"))
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			b[i] = '_'
		}
	}
	return string(b)
}
