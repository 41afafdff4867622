package nodedev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// news is what the kernel or udev told: look again at these folders, which lie below /sys. changed are those of devices that
// only changed.
type news struct {
	paths, changed []string
	all            bool // messages were lost: look at everything
}

// Urgent puts news before calls.
func (*news) Urgent() bool { return true }

// Multicast groups of the uevent socket: the kernel's own messages, and udev's, which come when its rules have run.
const groups = 1 | 2

// watcher listens to uevents. Its goroutine ends with close.
type watcher struct {
	file *os.File
	udev string // exists while udevd runs
}

func newWatcher(udev string, report func(*news)) (*watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) // a burst of a thousand devices
	w := &watcher{os.NewFile(uintptr(fd), "uevent"), udev}                   // in the runtime's poller, so that close ends a read
	go w.run(report)
	return w, nil
}

func (w *watcher) close() { _ = w.file.Close() }

func (w *watcher) run(report func(*news)) {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if errors.Is(err, unix.ENOBUFS) { // messages were lost: look at everything
			report(&news{all: true})
			continue
		}
		if err != nil {
			return
		}
		// Where udevd runs its message counts: the kernel's comes before the rules have found out what a device is.
		if fromUdev := bytes.HasPrefix(buf[:n], udevMagic); !fromUdev && w.udevRuns() {
			continue
		}
		if m := parseUevent(buf[:n]); m != nil {
			report(m)
		}
	}
}

func (w *watcher) udevRuns() bool {
	_, err := os.Stat(w.udev)
	return err == nil
}

var udevMagic = []byte("libudev\x00")

// subsystems are those whose devices we know.
var subsystems = map[string]bool{
	"pci": true, "usb": true, "net": true, "scsi": true, "scsi_host": true, "block": true, "scsi_generic": true, "drm": true,
	"mdev": true, "vdpa": true, "css": true, "ccw": true, "ap": true, "matrix": true, "fc_host": true, "vhost-vdpa": true,
}

// udevHeader is how long the head of udev's messages is at least; at 16 it says where the properties begin.
const udevHeader = 24

// parseUevent returns nil for news that do not concern us.
func parseUevent(b []byte) *news {
	if bytes.HasPrefix(b, udevMagic) {
		if len(b) < udevHeader {
			return nil
		}
		at := int(binary.NativeEndian.Uint32(b[16:]))
		if at < udevHeader || at > len(b) {
			return nil
		}
		b = b[at:]
	} else {
		_, rest, ok := bytes.Cut(b, []byte{0}) // "add@/devices/..."
		if !ok {
			return nil
		}
		b = rest
	}
	env := map[string]string{}
	for _, kv := range bytes.Split(b, []byte{0}) {
		if k, v, ok := bytes.Cut(kv, []byte{'='}); ok {
			env[string(k)] = string(v)
		}
	}
	path, action := env["DEVPATH"], env["ACTION"]
	if path == "" || !subsystems[env["SUBSYSTEM"]] {
		return nil
	}
	n := &news{paths: []string{path}}
	if action == "change" || action == "bind" || action == "unbind" {
		n.changed = n.paths
	}
	if old := env["DEVPATH_OLD"]; old != "" {
		n.paths = append(n.paths, old)
	}
	return n
}
