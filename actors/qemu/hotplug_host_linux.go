package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
)

// hostSide is the part of a start that prepares the host, for a guest that runs already.
func (j *deviceJob) hostSide(def *libvirtxml.Domain) *launchPlan {
	lib := j.drv.env.Paths.DriverLib("qemu")
	short := command.ShortName(int(j.id), j.name)
	p := &launchPlan{drv: j.drv, system: j.system, self: j.self, def: def, name: j.name, uuid: j.uuid, id: j.id, dir: j.dir, user: guestOf(j.drv, def)}
	p.rt = command.Runtime{
		LibDir: j.dir, ChannelDir: filepath.Join(lib, "channel", "target", "domain-"+short), RAMDir: filepath.Join(lib, "ram", short),
		NICs: map[string]command.NIC{},
	}
	j.drv.tlsRuntime(&p.rt)
	return p
}

// guestOf is whom a running guest runs as.
func guestOf(drv *shared, live *libvirtxml.Domain) guestUser {
	for _, l := range live.SecLabel {
		if l.Model == "dac" && l.Label != "" {
			return userOf(l.Label, drv.guest)
		}
	}
	return drv.guest
}

// provide does on the host what a device needs there, and completes the device's definition with it.
func (p *plugging) provide(ctx context.Context, undo *kit.Undo, one *piece) error {
	switch d := one.device.(type) {
	case *libvirtxml.DomainDisk:
		if err := p.drv.holdDisk(ctx, p.uuid, undo, d); err != nil {
			return err
		}
		return p.lend(undo, libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{*d}})
	case *libvirtxml.DomainRNG:
		return p.lend(undo, libvirtxml.DomainDeviceList{RNGs: []libvirtxml.DomainRNG{*d}})
	case *libvirtxml.DomainInterface:
		nic, err := p.host.connectNIC(ctx, d, undo)
		if err != nil {
			return err
		}
		p.host.rt.NICs[one.name()] = nic
		return wakeNIC(d)
	case *libvirtxml.DomainChannel:
		placeSocket(d, p.host.rt.ChannelDir)
		return p.openLine(ctx, undo, one)
	case *libvirtxml.DomainSerial, *libvirtxml.DomainParallel, *libvirtxml.DomainConsole, *libvirtxml.DomainRedirDev:
		return p.openLine(ctx, undo, one)
	case *libvirtxml.DomainVSock:
		return p.vsock(d)
	case *libvirtxml.DomainHostdev:
		return p.host.takeHostdevs(ctx, undo, []libvirtxml.DomainHostdev{*d})
	}
	return nil
}

// lend gives the guest the files of a device.
func (p *plugging) lend(undo *kit.Undo, l libvirtxml.DomainDeviceList) error {
	return lendFiles(undo, p.host.user, p.def, l)
}

func lendFiles(undo *kit.Undo, to guestUser, def *libvirtxml.Domain, l libvirtxml.DomainDeviceList) error {
	if to.self() || !relabels(def) {
		return nil
	}
	for _, path := range guestFiles(&libvirtxml.Domain{Devices: &l}) {
		if err := takeFile(path, to); err != nil {
			return liberr.System(liberr.FromSecurity, err, "unable to set user and group to '%d:%d' on '%s'", to.uid, to.gid, path)
		}
		undo.Add("give back "+path, func(context.Context) error { return giveBack(path) })
	}
	return nil
}

// returnFiles takes back the files of a device that the guest does not have any more.
func returnFiles(user guestUser, def *libvirtxml.Domain, one *piece) {
	if user.self() || !relabels(def) {
		return
	}
	var l libvirtxml.DomainDeviceList
	switch d := one.device.(type) {
	case *libvirtxml.DomainDisk:
		l.Disks = []libvirtxml.DomainDisk{*d}
	case *libvirtxml.DomainRNG:
		l.RNGs = []libvirtxml.DomainRNG{*d}
	default:
		return
	}
	for _, path := range guestFiles(&libvirtxml.Domain{Devices: &l}) {
		_ = giveBack(path) // a file that is gone needs no owner
	}
}

// placeSocket gives a channel that leaves it to us the place of its socket.
func placeSocket(c *libvirtxml.DomainChannel, dir string) {
	if c.Target == nil || c.Target.VirtIO == nil || c.Source == nil || c.Source.UNIX == nil || c.Source.UNIX.Path != "" {
		return
	}
	c.Source.UNIX.Path = filepath.Join(dir, c.Target.VirtIO.Name)
	if c.Source.UNIX.Mode == "" {
		c.Source.UNIX.Mode = "bind"
	}
}

// vhostSetCID is the request of /dev/vhost-vsock that gives the guest its number.
const vhostSetCID = 0x4008af60

// firstCID is the first number that is not reserved.
const firstCID = 3

// vsock opens the kernel's end of a socket device under the guest's number: the one it asks for, or the first free one.
func (p *plugging) vsock(v *libvirtxml.DomainVSock) error {
	f, err := os.OpenFile("/dev/vhost-vsock", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "unable to open vhost-vsock device").WithCause(err)
	}
	p.host.files = append(p.host.files, f)
	p.host.rt.VSock = f
	if v.CID == nil {
		v.CID = &libvirtxml.DomainVSockCID{Auto: "yes"}
	}
	if v.CID.Auto != "yes" {
		cid, _ := strconv.ParseUint(v.CID.Address, 10, 32)
		if err := setCID(f, cid); err != nil {
			return liberr.System(liberr.FromQemu, err, "Failed to set guest cid %d", cid)
		}
		return nil
	}
	for cid := uint64(firstCID); cid < 1<<32-1; cid++ {
		err := setCID(f, cid)
		if err == nil {
			v.CID.Address = strconv.FormatUint(cid, 10)
			return nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return liberr.System(liberr.FromQemu, err, "Failed to set guest cid %d", cid)
		}
	}
	return liberr.New(liberr.FromQemu, liberr.InternalError, "Failed to find free guest cid")
}

func setCID(f *os.File, cid uint64) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, vhostSetCID, uintptr(unsafe.Pointer(&cid)))
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

// findUSB writes where on its bus a USB device is that the definition knows by its make.
func findUSB(sysfs string, s *libvirtxml.DomainHostdevSubsysUSBSource) error {
	if s == nil || s.Vendor == nil || s.Product == nil {
		return nil
	}
	id := func(text string) uint64 { n, _ := strconv.ParseUint(text, 0, 16); return n }
	vendor, product := id(s.Vendor.ID), id(s.Product.ID)
	if _, err := os.ReadDir(sysfs); err != nil {
		return liberr.System(liberr.FromNone, err, "cannot open directory '%s'", sysfs)
	}
	dirs, _ := filepath.Glob(filepath.Join(sysfs, "*"))
	var found []*libvirtxml.DomainAddressUSB
	for _, dir := range dirs {
		read := func(name string, base int) (uint64, bool) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			n, bad := strconv.ParseUint(strings.TrimSpace(string(b)), base, 32)
			return n, err == nil && bad == nil
		}
		v, ok1 := read("idVendor", 16)
		p, ok2 := read("idProduct", 16)
		bus, ok3 := read("busnum", 10)
		dev, ok4 := read("devnum", 10)
		if ok1 && ok2 && ok3 && ok4 && v == vendor && p == product {
			b, d := uint(bus), uint(dev)
			found = append(found, &libvirtxml.DomainAddressUSB{Bus: &b, Device: &d})
		}
	}
	name := fmt.Sprintf("%x:%x", vendor, product)
	switch {
	case len(found) == 0:
		return liberr.New(liberr.FromNone, liberr.InternalError, "Did not find USB device %s", name)
	case len(found) > 1 && s.Address == nil:
		return liberr.New(liberr.FromNone, liberr.OperationFailed, "multiple USB devices for %s, use <address> to specify one", name)
	}
	if s.Address == nil {
		s.Address = found[0]
	}
	return nil
}

// pciName is the host's name for an assigned PCI device: 0000:06:12.5.
func pciName(h *libvirtxml.DomainHostdev) string {
	if h.SubsysPCI == nil || h.SubsysPCI.Source == nil {
		return ""
	}
	return pciText(h.SubsysPCI.Source.Address)
}

func pciText(a *libvirtxml.DomainAddressPCI) string {
	if a == nil {
		return ""
	}
	n := func(p *uint) uint {
		if p == nil {
			return 0
		}
		return *p
	}
	return fmt.Sprintf("%04x:%02x:%02x.%d", n(a.Domain), n(a.Bus), n(a.Slot), n(a.Function))
}

func sameHostPCI(a, b *libvirtxml.DomainHostdev) bool {
	return a.SubsysPCI != nil && b.SubsysPCI != nil && pciName(a) == pciName(b)
}

// sameUSB: both mean one device of the host, as far as a says which.
func sameUSB(a, b *libvirtxml.DomainHostdev) bool {
	if a.SubsysUSB == nil || b.SubsysUSB == nil || a.SubsysUSB.Source == nil || b.SubsysUSB.Source == nil {
		return false
	}
	x, y := a.SubsysUSB.Source, b.SubsysUSB.Source
	if x.Address != nil && x.Address.Bus != nil && x.Address.Device != nil {
		return y.Address != nil && y.Address.Bus != nil && y.Address.Device != nil && *x.Address.Bus == *y.Address.Bus && *x.Address.Device == *y.Address.Device
	}
	return x.Vendor != nil && y.Vendor != nil && x.Product != nil && y.Product != nil && x.Vendor.ID == y.Vendor.ID && x.Product.ID == y.Product.ID
}

// usbName is how a message names a USB device.
func usbName(h *libvirtxml.DomainHostdev) string {
	s := h.SubsysUSB.Source
	if s != nil && s.Address != nil && s.Address.Bus != nil && s.Address.Device != nil {
		return fmt.Sprintf("%03d.%03d", *s.Address.Bus, *s.Address.Device)
	}
	if s == nil || s.Vendor == nil || s.Product == nil {
		return ""
	}
	id := func(text string) uint64 { n, _ := strconv.ParseUint(text, 0, 16); return n }
	return fmt.Sprintf("vendor=0x%.4x product=0x%.4x", id(s.Vendor.ID), id(s.Product.ID))
}
