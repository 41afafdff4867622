package nodedev

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// news is what the kernel or udev told: look again. changed are the folders, below /sys, of devices that only changed.
type news struct{ changed []string }

// Urgent puts news before calls.
func (*news) Urgent() bool { return true }

// Multicast groups of the uevent socket: the kernel's own messages, and udev's, which come when its rules have run.
const groups = 1 | 2

// watcher listens to uevents. Its goroutine ends with close.
type watcher struct{ file *os.File }

func newWatcher(report func(*news)) (*watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	w := &watcher{os.NewFile(uintptr(fd), "uevent")} // in the runtime's poller, so that close ends a read
	go w.run(report)
	return w, nil
}

func (w *watcher) close() { _ = w.file.Close() }

func (w *watcher) run(report func(*news)) {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if errors.Is(err, unix.ENOBUFS) { // messages were lost: look at everything
			report(&news{})
			continue
		}
		if err != nil {
			return
		}
		if m := parseUevent(buf[:n]); m != nil {
			report(m)
		}
	}
}

// subsystems are those whose devices we know.
var subsystems = map[string]bool{
	"pci": true, "usb": true, "net": true, "scsi": true, "scsi_host": true, "block": true, "scsi_generic": true, "drm": true,
	"mdev": true, "vdpa": true,
}

// parseUevent returns nil for news that do not concern us.
func parseUevent(b []byte) *news {
	if bytes.HasPrefix(b, []byte("libudev\x00")) {
		return &news{}
	}
	header, rest, ok := bytes.Cut(b, []byte{0})
	action, path, at := bytes.Cut(header, []byte{'@'})
	if !ok || !at {
		return nil
	}
	known := false
	for _, kv := range bytes.Split(rest, []byte{0}) {
		if s, ok := bytes.CutPrefix(kv, []byte("SUBSYSTEM=")); ok {
			known = subsystems[string(s)]
		}
	}
	switch {
	case !known:
		return nil
	case string(action) == "change":
		return &news{changed: []string{string(path)}}
	}
	return &news{}
}
