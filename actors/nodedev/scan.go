package nodedev

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// source is a folder of sysfs whose entries may be devices of libvirt.
type source struct {
	folder   string
	identify func(h host, dir string) *device // nil: not a device for us
}

var sources = []source{
	{"bus/pci/devices", pci},
	{"bus/usb/devices", usb},
	{"class/net", netDevice},
	{"bus/scsi/devices", scsi},
	{"class/block", storage},
	{"class/scsi_generic", scsiGeneric},
	{"class/drm", drm},
	{"bus/mdev/devices", mdev},
	{"bus/vdpa/devices", vdpa},
	{"bus/css/devices", css},
	{"bus/ccw/devices", ccw},
	{"bus/ap/devices", ap},
	{"bus/matrix/devices", matrix},
}

// of makes a device named after its subsystem, itself and perhaps more; its folder is filled in by the scan.
func of(k kind, parts ...string) *device {
	return &device{name: name(parts...), kind: k, caps: []kind{k}}
}

// exists tells whether a device has an attribute, or a folder, of this name.
func exists(dir, name string) bool {
	return unix.Access(dir+"/"+name, unix.F_OK) == nil
}

func (d *device) withMdevTypes(dir string) *device {
	if exists(dir, "mdev_supported_types") {
		d.caps = append(d.caps, capMdevTypes)
	}
	return d
}

// pci leaves out a device whose configuration cannot be read, as libvirt does.
func pci(h host, dir string) *device {
	config, err := readHead(filepath.Join(dir, "config"), pciHeaderSize)
	if err != nil || len(config) <= pciHeaderType {
		return nil
	}
	d := of(kindPCI, "pci", filepath.Base(dir)).withMdevTypes(dir)
	if exists(dir, "vpd") {
		if d.unread = h.quick; !h.quick && readVPD(dir) != nil { // a device may take many milliseconds
			d.caps = append(d.caps, capVPD)
		}
	}
	return d
}

func usb(h host, dir string) *device {
	switch property(dir, "DEVTYPE") {
	case "usb_device":
		return of(kindUSBDevice, "usb", filepath.Base(dir))
	case "usb_interface":
		return of(kindUSB, "usb", filepath.Base(dir))
	}
	return nil
}

// operStates are the states of a link; a device in another one is not listed.
var operStates = []string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

// netDevice leaves out bridges, VLANs and other devices that the kernel calls by a type of their own.
func netDevice(h host, dir string) *device {
	env := h.kernelProps(dir).env
	t := env["DEVTYPE"]
	if env["INTERFACE"] == "" || t != "" && t != "wlan" || !slices.Contains(operStates, attr(dir, "operstate")) {
		return nil
	}
	parts := []string{"net", filepath.Base(dir)}
	if mac := attr(dir, "address"); mac != "" {
		parts = append(parts, mac)
	}
	return of(kindNet, parts...)
}

func scsi(h host, dir string) *device {
	base := filepath.Base(dir)
	switch property(dir, "DEVTYPE") {
	case "scsi_host":
		d := of(kindSCSIHost, "scsi", base)
		fc := h.fcHost(base)
		if fc.is() {
			d.caps = append(d.caps, capFCHost)
		}
		if fc.vports() {
			d.caps = append(d.caps, capVports)
		}
		return d
	case "scsi_target":
		return of(kindSCSITarget, "scsi", base)
	case "scsi_device":
		return of(kindSCSI, "scsi", base)
	}
	return nil
}

// storage is a whole disk whose type is known.
func storage(h host, dir string) *device {
	if property(dir, "DEVTYPE") != "disk" {
		return nil
	}
	p := h.props(dir)
	if driveType(p) == "" {
		return nil
	}
	parts := []string{"block", filepath.Base(dir)}
	if s := p.env["ID_SERIAL"]; s != "" {
		parts = append(parts, s)
	}
	return of(kindStorage, parts...)
}

func scsiGeneric(_ host, dir string) *device {
	return of(kindSCSIGeneric, "scsi_generic", filepath.Base(dir))
}

func drm(h host, dir string) *device {
	if property(dir, "DEVTYPE") != "drm_minor" {
		return nil
	}
	return of(kindDRM, "drm", filepath.Base(dir))
}

// mdev carries the address of its parent in its name: its UUID alone may be defined on several.
func mdev(_ host, dir string) *device {
	return of(kindMdev, "mdev", filepath.Base(dir), filepath.Base(filepath.Dir(dir)))
}

// vdpa leaves out a device whose node in /dev is not there (yet).
func vdpa(h host, dir string) *device {
	if node := h.vdpaNode(dir); node != "" {
		if _, err := os.Stat(node); err != nil {
			return nil
		}
	}
	return of(kindVDPA, "vdpa", filepath.Base(dir))
}

// Of a mainframe's subchannels only those for input and output are listed, and only devices that are online.

func css(_ host, dir string) *device {
	switch linkName(dir, "driver") {
	case "io_subchannel", "vfio_ccw":
		return of(kindCSS, "css", filepath.Base(dir)).withMdevTypes(dir)
	}
	return nil
}

func ccw(_ host, dir string) *device {
	if attr(dir, "online") != "1" {
		return nil
	}
	return of(kindCCW, "ccw", filepath.Base(dir))
}

func ap(h host, dir string) *device {
	switch property(dir, "DEVTYPE") {
	case "ap_card":
		return of(kindAPCard, "ap", filepath.Base(dir))
	case "ap_queue":
		return of(kindAPQueue, "ap", filepath.Base(dir))
	}
	return nil
}

func matrix(_ host, dir string) *device {
	return of(kindAPMatrix, "ap", filepath.Base(dir)).withMdevTypes(dir)
}

// found is a folder that a scan must look at, and what it is.
type found struct {
	dir      string
	identify func(host, string) *device
	d        *device // nil: not a device for us
}

// identify looks at folders, with all processors: it is system calls, one after the other.
func (h host) identify(look []*found) {
	var next atomic.Int64
	var all sync.WaitGroup
	var broken atomic.Value // a panic, to be had by the job that scans
	for range min(runtime.GOMAXPROCS(0), 1+len(look)/64) {
		all.Add(1)
		go func() {
			defer all.Done()
			defer func() {
				if p := recover(); p != nil {
					broken.CompareAndSwap(nil, fmt.Sprintf("%v\n%s", p, debug.Stack()))
				}
			}()
			for i := next.Add(1) - 1; i < int64(len(look)); i = next.Add(1) - 1 {
				look[i].d = look[i].identify(h, look[i].dir)
			}
		}()
	}
	all.Wait()
	if p := broken.Load(); p != nil {
		panic(p)
	}
}

// scan looks at all devices of the host. Those of known whose folders are not in stale are taken over without a look;
// known may be nil. The machine comes first, then all others in the order of their folders.
func (h host) scan(known []*device, stale map[string]bool) []*device {
	have := make(map[string]*device, len(known))
	for _, d := range known {
		if d.dir != "" && !stale[d.dir] {
			have[d.dir] = d
		}
	}
	byDir := make(map[string]*device, len(known))
	var look []*found
	for _, s := range sources {
		folder := filepath.Join(h.sys, s.folder)
		f, err := os.Open(folder)
		if err != nil {
			continue // no such bus here
		}
		names, _ := f.Readdirnames(-1)
		f.Close()
		for _, n := range names {
			target, err := os.Readlink(folder + "/" + n)
			if err != nil {
				continue // a file, or gone meanwhile
			}
			dir := filepath.Join(folder, target) // links of sysfs are relative, and lead to a folder by one step
			if d := have[dir]; d != nil {
				byDir[dir] = d
			} else {
				look = append(look, &found{dir: dir, identify: s.identify})
			}
		}
	}
	h.identify(look)
	for _, f := range look {
		if f.d != nil && byDir[f.dir] == nil {
			f.d.dir = f.dir
			byDir[f.dir] = f.d
		}
	}
	all := make([]*device, 0, len(byDir)+1)
	for dir, d := range byDir {
		parent := rootName
		for up := filepath.Dir(dir); len(up) > len(h.sys); up = filepath.Dir(up) {
			if p := byDir[up]; p != nil {
				parent = p.name
				break
			}
		}
		if d.parent != parent {
			moved := *d // what a scan made is constant
			moved.parent = parent
			d = &moved
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *device) int { return strings.Compare(a.dir, b.dir) })
	machine := &device{name: rootName, kind: kindSystem, caps: []kind{kindSystem}}
	return append([]*device{machine}, all...)
}
