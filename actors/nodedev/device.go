package nodedev

import (
	"slices"
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
	kindCCW         kind = "ccw"
	kindCSS         kind = "css"
	kindVDPA        kind = "vdpa"
	kindAPCard      kind = "ap_card"
	kindAPQueue     kind = "ap_queue"
	kindAPMatrix    kind = "ap_matrix"

	// What a device can do beside being of its kind.
	capFCHost    kind = "fc_host"    // of a SCSI host
	capVports    kind = "vports"     // of a SCSI host that virtual ones can be made of
	capMdevTypes kind = "mdev_types" // of a device that mediated ones can be made of
	capVPD       kind = "vpd"        // of a PCI device with product data
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
	capFCHost:       virt.ConnectListNodeDevicesCapFcHost,
	capVports:       virt.ConnectListNodeDevicesCapVports,
	kindSCSIGeneric: virt.ConnectListNodeDevicesCapSCSIGeneric,
	kindDRM:         virt.ConnectListNodeDevicesCapDrm,
	capMdevTypes:    virt.ConnectListNodeDevicesCapMdevTypes,
	kindMdev:        virt.ConnectListNodeDevicesCapMdev,
	kindCCW:         virt.ConnectListNodeDevicesCapCcwDev,
	kindCSS:         virt.ConnectListNodeDevicesCapCssDev,
	kindVDPA:        virt.ConnectListNodeDevicesCapVdpa,
	kindAPCard:      virt.ConnectListNodeDevicesCapApCard,
	kindAPQueue:     virt.ConnectListNodeDevicesCapApQueue,
	kindAPMatrix:    virt.ConnectListNodeDevicesCapApMatrix,
	capVPD:          virt.ConnectListNodeDevicesCapVpd,
}

// rootName is the device that all others hang on: the machine.
const rootName = "computer"

// device is one device of a scan, or a mediated one that is only defined. It is constant after it was made.
type device struct {
	name   string
	kind   kind
	caps   []kind // its kind, and what else it can do
	dir    string // folder in sysfs; empty for the machine, and for what is only defined
	parent string // name of the nearest device above it; empty for the machine
	unread bool   // the next scan is to find out what takes long

	def *mdevDef // how it is defined, if it is
}

// flags are the filters that let the device pass.
func (d *device) flags() (flags uint32) {
	for _, c := range d.caps {
		flags |= listFlag[c]
	}
	return flags
}

func (d *device) has(c kind) bool { return slices.Contains(d.caps, c) }

// active: all devices are, but those that are only defined.
func (d *device) active() bool { return d.dir != "" || d.kind == kindSystem }

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
