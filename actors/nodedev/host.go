package nodedev

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// host is where the kernel and udev tell of devices. Tests have one of their own.
type host struct {
	sys  string // /sys
	udev string // /run/udev/data
	ids  string // folder of pci.ids and usb.ids
	dev  string // /dev

	mdevs   string // folder of the definitions of mediated devices
	mdevctl tool

	quick bool // do not read what is slow to read
}

var thisHost = host{sys: "/sys", udev: "/run/udev/data", ids: "/usr/share/misc", dev: "/dev", mdevs: "/etc/mdevctl.d", mdevctl: mdevctl}

// attr reads an attribute of a device without the newline at its end; "" when there is none.
func attr(dir, name string) string {
	fd, err := unix.Open(dir+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var b [attrSize]byte
	for {
		n, err := unix.Read(fd, b[:]) // the kernel gives an attribute in one piece
		if err == unix.EINTR {
			continue
		}
		return strings.TrimSuffix(string(b[:max(n, 0)]), "\n")
	}
}

// property is one of the kernel's properties of a device.
func property(dir, name string) string {
	rest := attr(dir, "uevent")
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if v, ok := strings.CutPrefix(line, name); ok && v != "" && v[0] == '=' {
			return v[1:]
		}
	}
	return ""
}

// attrSize is how long an attribute of sysfs can be.
const attrSize = 4096

// readHead reads at most n bytes of a file. Like attr it uses the system calls: a scan reads thousands of files, and package
// os asks the runtime's poller about each of them before.
func readHead(path string, n int) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	b := make([]byte, n)
	have := 0
	for have < n {
		k, err := unix.Read(fd, b[have:])
		if err == unix.EINTR {
			continue
		}
		if err != nil && have == 0 {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if err != nil || k == 0 {
			break
		}
		have += k
	}
	return b[:have], nil
}

// number reads an attribute that is a number, decimal or with 0x.
func number(dir, name string) (uint64, bool) {
	n, err := strconv.ParseUint(attr(dir, name), 0, 64)
	return n, err == nil
}

// linkName is the last part of where a link in sysfs points, such as the driver of a device.
func linkName(dir, name string) string {
	target, err := os.Readlink(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// props are the properties of a device: the kernel's, and udev's when it runs.
type props struct {
	env   map[string]string
	links []string // symbolic links in /dev
	udev  bool     // udev knows the device
}

// kernelProps are what the kernel alone says.
func (h host) kernelProps(dir string) props {
	p := props{env: map[string]string{}}
	for _, line := range strings.Split(attr(dir, "uevent"), "\n") {
		if k, v, ok := strings.Cut(line, "="); ok {
			p.env[k] = v
		}
	}
	return p
}

// props adds what udev knows to what the kernel says.
func (h host) props(dir string) props {
	p := h.kernelProps(dir)
	subsystem := linkName(dir, "subsystem")
	var id string
	switch dev := attr(dir, "dev"); {
	case p.env["IFINDEX"] != "":
		id = "n" + p.env["IFINDEX"]
	case dev != "" && subsystem == "block":
		id = "b" + dev
	case dev != "":
		id = "c" + dev
	default:
		id = "+" + subsystem + ":" + filepath.Base(dir)
	}
	f, err := os.Open(filepath.Join(h.udev, id))
	if err != nil {
		return p
	}
	defer f.Close()
	p.udev = true
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		switch {
		case strings.HasPrefix(line, "S:"):
			p.links = append(p.links, filepath.Join(h.dev, line[2:]))
		case strings.HasPrefix(line, "E:"):
			if k, v, ok := strings.Cut(line[2:], "="); ok {
				p.env[k] = v
			}
		}
	}
	return p
}

// node is the device's file in /dev, "" when it has none.
func (h host) node(p props) string {
	if n := p.env["DEVNAME"]; n != "" {
		return filepath.Join(h.dev, n)
	}
	return ""
}

// idName looks a vendor and a product up in an ids file ("pci.ids"); ids are hexadecimal without 0x. What is not in it is "".
func (h host) idName(file, vendor, product string) (vendorName, productName string) {
	f, err := os.Open(filepath.Join(h.ids, file))
	if err != nil {
		return "", ""
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		line := in.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] != '\t':
			if vendorName != "" {
				return vendorName, "" // the next vendor
			}
			if n, ok := strings.CutPrefix(line, vendor+"  "); ok {
				vendorName = n
			}
		case vendorName != "" && !strings.HasPrefix(line, "\t\t"):
			if n, ok := strings.CutPrefix(line[1:], product+"  "); ok {
				return vendorName, n
			}
		}
	}
	return vendorName, ""
}
