package nodedev

import (
	"fmt"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// net prints a network device. Features are asked of the kernel's driver by ethtool, for a device of this host only.
func (h host) net(p *printer, d *device, pr props) {
	name := filepath.Base(d.dir)
	p.text("interface", name)
	p.text("address", attr(d.dir, "address"))
	if state := attr(d.dir, "operstate"); state != "" {
		speed := ""
		// Compat: an unknown speed is -1 in sysfs, which libvirt reads as unsigned.
		if n, err := strconv.ParseInt(attr(d.dir, "speed"), 10, 64); err == nil && n != 0 && state == "up" {
			speed = fmt.Sprintf("speed='%d' ", uint32(n))
		}
		p.line("<link %sstate='%s'/>", speed, escape(state))
	}
	if h.sys == thisHost.sys {
		for _, f := range features(name) {
			p.line("<feature name='%s'/>", f)
		}
	}
	medium := "80203"
	if pr.env["DEVTYPE"] == "wlan" {
		medium = "80211"
	}
	p.line("<capability type='%s'/>", medium)
}

// Commands of ethtool that read one flag each.
const (
	ethtoolGRXCSUM   = 0x14
	ethtoolGTXCSUM   = 0x16
	ethtoolGSG       = 0x18
	ethtoolGTSO      = 0x1e
	ethtoolGGSO      = 0x23
	ethtoolGFLAGS    = 0x25
	ethtoolGGRO      = 0x2b
	ethtoolGFEATURES = 0x3a
)

// Bits of GFLAGS, and the place of the UDP tunnel segmentation among the features.
const (
	flagTXVLAN, flagRXVLAN, flagLRO, flagNTUPLE, flagRXHASH = 1 << 7, 1 << 8, 1 << 15, 1 << 27, 1 << 28
	bitTXUDPTunnel                                          = 1 << 25
)

type ethtoolValue struct{ cmd, data uint32 }

type ethtoolFeatures struct {
	cmd, size uint32
	blocks    [2]struct{ available, requested, active, neverChanged uint32 }
}

// features names what a device offloads, in libvirt's order. A device that is gone or knows no ethtool has none.
func features(name string) (all []string) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	value := func(cmd uint32) uint32 {
		v := ethtoolValue{cmd: cmd}
		if !ethtool(fd, name, unsafe.Pointer(&v)) {
			return 0
		}
		return v.data
	}
	add := func(name string, on bool) {
		if on {
			all = append(all, name)
		}
	}
	add("rx", value(ethtoolGRXCSUM) != 0)
	add("tx", value(ethtoolGTXCSUM) != 0)
	add("sg", value(ethtoolGSG) != 0)
	add("tso", value(ethtoolGTSO) != 0)
	add("gso", value(ethtoolGGSO) != 0)
	add("gro", value(ethtoolGGRO) != 0)
	flags := value(ethtoolGFLAGS)
	add("lro", flags&flagLRO != 0)
	add("rxvlan", flags&flagRXVLAN != 0)
	add("txvlan", flags&flagTXVLAN != 0)
	add("ntuple", flags&flagNTUPLE != 0)
	add("rxhash", flags&flagRXHASH != 0)
	f := ethtoolFeatures{cmd: ethtoolGFEATURES, size: 2}
	add("txudptnl", ethtool(fd, name, unsafe.Pointer(&f)) && f.blocks[0].active&bitTXUDPTunnel != 0)
	return all
}

func ethtool(fd int, name string, data unsafe.Pointer) bool {
	ifr := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of the kernel's union
	}{data: data}
	copy(ifr.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr)))
	return errno == 0
}
