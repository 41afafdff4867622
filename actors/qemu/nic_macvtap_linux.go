package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
)

var macvtapModes = map[string]netlink.MacvlanMode{
	"vepa": netlink.MACVLAN_MODE_VEPA, "bridge": netlink.MACVLAN_MODE_BRIDGE,
	"private": netlink.MACVLAN_MODE_PRIVATE, "passthrough": netlink.MACVLAN_MODE_PASSTHRU,
}

// macvtap makes a device on top of a host's, and opens the character device that leads to it. It stays down until the
// guest runs (wakeNIC).
func (p *launchPlan) macvtap(n *libvirtxml.DomainInterface, undo *kit.Undo) ([]*os.File, error) {
	dev, mode := directOf(n)
	mac, err := net.ParseMAC(nicMAC(n))
	if err != nil {
		return nil, err
	}
	if mode == "passthrough" {
		if err := p.lendAddress(dev, mac, undo); err != nil {
			return nil, err
		}
	}
	name := hostLink(n)
	if name != "" && linkExists(name) {
		return nil, liberr.System(liberr.FromNone, unix.EEXIST, "Unable to create %s device %s", "macvtap", name)
	}
	if name == "" {
		name = freeName(&p.drv.macvtaps, "macvtap")
	}
	parent, err := findLink(dev)
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = name, parent.Attrs().Index, mac
	if err := netlink.LinkAdd(&netlink.Macvtap{Macvlan: netlink.Macvlan{LinkAttrs: attrs, Mode: macvtapModes[mode]}}); err != nil {
		return nil, liberr.System(liberr.FromNone, err, "error creating macvtap interface %s@%s (%s)", name, dev, mac)
	}
	undo.Add("remove "+name, func(context.Context) error { removeLink(name); return nil })
	made, err := findLink(name)
	if err != nil {
		return nil, err
	}
	if n.Target == nil {
		n.Target = &libvirtxml.DomainInterfaceTarget{}
	}
	n.Target.Dev = name
	return p.openMacvtap(n, made.Attrs().Index)
}

// openMacvtap opens a macvtap as often as the NIC has queues.
func (p *launchPlan) openMacvtap(n *libvirtxml.DomainInterface, index int) ([]*os.File, error) {
	path := "/dev/tap" + itoa(index)
	var files []*os.File
	for range command.Queues(n) {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, liberr.System(liberr.FromNone, err, "cannot open macvtap tap device %s", path)
		}
		p.files = append(p.files, f)
		if err := setHeader(f, carriesHeader(n), command.Queues(n) > 1); err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// setHeader lets a macvtap carry hints on checksums and segments, or not, as the NIC's model expects.
func setHeader(f *os.File, header, multi bool) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var req struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	req.flags = unix.IFF_TAP | unix.IFF_NO_PI
	if header {
		req.flags |= unix.IFF_VNET_HDR
	}
	if multi {
		req.flags |= unix.IFF_MULTI_QUEUE
	}
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, unix.TUNSETIFF, uintptr(unsafe.Pointer(&req)))
	})
	if err == nil && errno != 0 {
		return liberr.System(liberr.FromNone, errno, "unable to set vnet or multiqueue flags on macvtap")
	}
	return err
}

// A device that is passed through takes on its guest's address, and gets its own back after. Until then that is on
// disk, in libvirt's form.

type savedAddress struct {
	MAC string `json:"mac"`
}

func (s *shared) addressPath(dev string) string {
	return filepath.Join(s.env.Paths.DriverRun("qemu"), dev)
}

func (p *launchPlan) lendAddress(dev string, mac net.HardwareAddr, undo *kit.Undo) error {
	link, err := findLink(dev)
	if err != nil {
		return err
	}
	path := p.drv.addressPath(dev)
	if strings.ContainsRune(dev, '/') {
		return fmt.Errorf("'%s' is no name of a device", dev)
	}
	text, err := json.Marshal(savedAddress{MAC: link.Attrs().HardwareAddr.String()})
	if err != nil {
		return err
	}
	if err := disk.WriteVolatile(path, text, 0o600); err != nil {
		return liberr.System(liberr.FromNone, err, "Unable to preserve mac/vlan tag for device = %s, vf = %d", dev, -1)
	}
	undo.Add("give back the address of "+dev, func(context.Context) error { return p.drv.returnAddress(dev) })
	return setMAC(dev, mac)
}

func (s *shared) returnAddress(dev string) error {
	path := s.addressPath(dev)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var saved savedAddress
	if err := json.Unmarshal(text, &saved); err != nil {
		return err
	}
	mac, err := net.ParseMAC(saved.MAC)
	if err != nil {
		return err
	}
	if err := setMAC(dev, mac); err != nil && linkExists(dev) {
		return err
	}
	return os.Remove(path)
}
