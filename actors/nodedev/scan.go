package nodedev

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// source is a folder of sysfs whose entries may be devices of libvirt.
type source struct {
	folder   string
	identify func(h host, dir string) *device // nil: not a device for us
}

var sources = []source{
	{"bus/pci/devices", plain("pci", kindPCI)},
	{"bus/usb/devices", usb},
	{"class/net", netDevice},
	{"bus/scsi/devices", scsi},
	{"class/block", storage},
	{"class/scsi_generic", plain("scsi_generic", kindSCSIGeneric)},
	{"class/drm", drm},
	{"bus/mdev/devices", mdev},
	{"bus/vdpa/devices", plain("vdpa", kindVDPA)},
}

// plain devices are named after their subsystem and themselves.
func plain(subsystem string, k kind) func(host, string) *device {
	return func(_ host, dir string) *device {
		d := &device{name: name(subsystem, filepath.Base(dir)), kind: k, caps: []kind{k}}
		if k == kindPCI {
			if _, err := os.Stat(filepath.Join(dir, "mdev_supported_types")); err == nil {
				d.caps = append(d.caps, capMdevTypes)
			}
		}
		return d
	}
}

func usb(h host, dir string) *device {
	k := kindUSB
	if h.props(dir).env["DEVTYPE"] == "usb_device" {
		k = kindUSBDevice
	}
	return &device{name: name("usb", filepath.Base(dir)), kind: k, caps: []kind{k}}
}

func netDevice(h host, dir string) *device {
	if attr(dir, "address") == "" && attr(dir, "ifindex") == "" {
		return nil // bonding_masters and the like
	}
	parts := []string{"net", filepath.Base(dir)}
	if mac := attr(dir, "address"); mac != "" {
		parts = append(parts, mac)
	}
	return &device{name: name(parts...), kind: kindNet, caps: []kind{kindNet}}
}

func scsi(h host, dir string) *device {
	var k kind
	switch h.props(dir).env["DEVTYPE"] {
	case "scsi_host":
		k = kindSCSIHost
	case "scsi_target":
		k = kindSCSITarget
	case "scsi_device":
		k = kindSCSI
	default:
		return nil
	}
	return &device{name: name("scsi", filepath.Base(dir)), kind: k, caps: []kind{k}}
}

// storage is a whole disk whose type is known.
func storage(h host, dir string) *device {
	p := h.props(dir)
	if p.env["DEVTYPE"] != "disk" || driveType(p) == "" {
		return nil
	}
	parts := []string{"block", filepath.Base(dir)}
	if s := p.env["ID_SERIAL"]; s != "" {
		parts = append(parts, s)
	}
	return &device{name: name(parts...), kind: kindStorage, caps: []kind{kindStorage}}
}

// driveType is udev's type of the drive, or what the name tells of those that udev has none for. Loops, memory disks and
// mapped devices have none.
func driveType(p props) string {
	if t := p.env["ID_TYPE"]; t != "" && t != "generic" {
		return t
	}
	for property, t := range map[string]string{"ID_DRIVE_FLOPPY": "floppy", "ID_DRIVE_FLASH_SD": "sd", "ID_CDROM": "cdrom"} {
		if p.env[property] == "1" {
			return t
		}
	}
	for prefix, t := range map[string]string{"vd": "disk", "nvme": "disk", "dasd": "dasd"} {
		if strings.HasPrefix(p.env["DEVNAME"], prefix) {
			return t
		}
	}
	return ""
}

func drm(h host, dir string) *device {
	if h.props(dir).env["DEVTYPE"] != "drm_minor" {
		return nil
	}
	return &device{name: name("drm", filepath.Base(dir)), kind: kindDRM, caps: []kind{kindDRM}}
}

// mdev carries the address of its parent in its name: its UUID alone may be defined on several.
func mdev(_ host, dir string) *device {
	return &device{name: name("mdev", filepath.Base(dir), filepath.Base(filepath.Dir(dir))), kind: kindMdev, caps: []kind{kindMdev}}
}

// scan finds all devices, the machine first, the others by their folder.
func (h host) scan() []*device {
	byDir := map[string]*device{}
	for _, s := range sources {
		entries, err := os.ReadDir(filepath.Join(h.sys, s.folder))
		if err != nil {
			continue // no such bus here
		}
		for _, e := range entries {
			dir, err := filepath.EvalSymlinks(filepath.Join(h.sys, s.folder, e.Name()))
			if err != nil || byDir[dir] != nil {
				continue
			}
			if d := s.identify(h, dir); d != nil {
				d.dir = dir
				byDir[dir] = d
			}
		}
	}
	all := make([]*device, 0, len(byDir)+1)
	for dir, d := range byDir {
		d.parent = rootName
		for up := filepath.Dir(dir); len(up) > len(h.sys); up = filepath.Dir(up) {
			if p := byDir[up]; p != nil {
				d.parent = p.name
				break
			}
		}
		all = append(all, d)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].dir < all[j].dir })
	machine := &device{name: rootName, kind: kindSystem, caps: []kind{kindSystem}}
	return append([]*device{machine}, all...)
}
