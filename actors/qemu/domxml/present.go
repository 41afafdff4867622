package domxml

import (
	"fmt"
	"strconv"
	"strings"
)

// present turns the complete tree into the view the flags ask for.
func present(root *node, flags FormatFlags) {
	if meta := root.kid(metadataName); meta != nil && len(meta.kids) > 0 {
		meta.raw, meta.kids = dumpMetadata(meta, 2), nil
	}
	if flags&Inactive != 0 {
		forgetRuntime(root)
	}
	if flags&Inactive == 0 {
		consoleTTY(root.kid("devices/console"))
	}
	if flags&Secure == 0 {
		dropSecrets(root)
	}
	if h := root.kid("features/hyperv"); h != nil && len(h.kids) == 0 {
		h.open = true
	}
	devices := root.kid("devices")
	for _, c := range devices.all("controller") {
		hexAttr(c.kid("target"), "port", "0x%x")
	}
	if k := root.kid("features/kvm"); k != nil && len(k.kids) == 0 {
		k.open = true
	}
	for _, name := range []string{"input", "hostdev", "interface"} {
		for _, d := range devices.all(name) {
			dropHollowSource(d)
		}
	}
	for _, n := range devices.all("interface") {
		switch {
		case flags&Status != 0:
			keepActual(n)
		case flags&Inactive != 0:
			hideActual(n)
		default:
			showActual(n)
		}
		if n.get("type") == "hostdev" {
			driverFirst(n)
		}
	}
	if flags&Status != 0 {
		notePrivate(devices)
	} else {
		for _, d := range devices.all("disk") {
			hideResolved(d)
		}
	}
	for _, u := range devices.kid("redirfilter").all("usbdev") {
		hexAttr(u, "class", "0x%02X")
		hexAttr(u, "vendor", "0x%04X")
		hexAttr(u, "product", "0x%04X")
	}
}

// hexAttr rewrites a number libvirtxml prints in decimal or in another form of hexadecimal.
func hexAttr(n *node, name, format string) {
	if v, ok := n.lookup(name); ok {
		if u, err := strconv.ParseUint(v, 0, 64); err == nil {
			n.set(name, fmt.Sprintf(format, u))
		}
	}
}

// dropHollowSource removes a source that libvirtxml keeps for the sake of its type only.
func dropHollowSource(d *node) {
	s := d.kid("source")
	if s == nil || len(s.kids) > 0 {
		return
	}
	for _, a := range s.attrs {
		if a.value != "" {
			return
		}
	}
	d.remove(s)
}

// driverFirst: an assigned interface is printed as a host device is, its driver before its source.
func driverFirst(n *node) {
	drv, src := n.kid("driver"), n.kid("source")
	if drv == nil || src == nil {
		return
	}
	n.remove(drv)
	n.insertBefore(src, drv)
}

// forgetRuntime takes away what only the running domain has. libvirt leaves more of a running domain in this view than
// one would think: aliases, addresses, labels, node numbers of images.
func forgetRuntime(root *node) {
	root.unset("id")
	for _, d := range root.kid("devices").elements() {
		switch d.name {
		case "graphics":
			if d.get("type") == "vnc" && d.get("autoport") == "yes" && d.has("port") {
				d.set("port", "-1")
			}
		case "interface":
			if t := d.kid("target"); strings.HasPrefix(t.get("dev"), "vnet") || strings.HasPrefix(t.get("dev"), "macvtap") {
				t.unset("dev")
				if len(t.attrs) == 0 {
					d.remove(t)
				}
			}
		case "disk":
			if b := d.kid("backingStore"); b.has("index") {
				d.remove(b) // found on the image, not in a document
			}
		case "serial", "parallel", "console", "channel":
			d.unset("tty")
			if s := d.kid("source"); d.get("type") == "pty" && s != nil {
				d.remove(s)
			}
			d.kid("target").unset("state")
		}
	}
}

// dropSecrets removes the passwords, which only clients with the right to write may see.
func dropSecrets(root *node) {
	for _, g := range root.kid("devices").all("graphics") {
		g.unset("passwd")
	}
}

// consoleTTY repeats the terminal of the first console where the oldest clients look for it.
func consoleTTY(c *node) {
	if path := c.kid("source").get("path"); path != "" && c.get("type") == "pty" && c.kid("target").get("type") == "serial" {
		c.set("tty", path)
	}
}
