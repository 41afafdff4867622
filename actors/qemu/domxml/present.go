package domxml

import (
	"fmt"
	"strconv"
	"strings"
)

// present turns the complete tree into the view the flags ask for.
func present(root *node, flags FormatFlags) {
	if flags&Inactive != 0 {
		forgetRuntime(root)
	}
	if flags&Inactive == 0 {
		consoleTTY(root.Kid("devices/console"))
	}
	if flags&Secure == 0 {
		dropSecrets(root)
	}
	if h := root.Kid("features/hyperv"); h != nil && len(h.Kids) == 0 {
		h.Open = true
	}
	devices := root.Kid("devices")
	for _, c := range devices.All("controller") {
		hexAttr(c.Kid("target"), "port", "0x%x")
	}
	if k := root.Kid("features/kvm"); k != nil && len(k.Kids) == 0 {
		k.Open = true
	}
	for _, name := range []string{"input", "hostdev", "interface"} {
		for _, d := range devices.All(name) {
			dropHollowSource(d)
		}
	}
	for _, n := range devices.All("interface") {
		switch {
		case flags&Status != 0:
			keepActual(n)
		case flags&Inactive != 0:
			hideActual(n)
		default:
			showActual(n)
		}
		if n.Get("type") == "hostdev" {
			driverFirst(n)
		}
	}
	if flags&Status != 0 {
		notePrivate(devices)
	} else {
		for _, d := range devices.All("disk") {
			hideResolved(d)
		}
	}
	for _, u := range devices.Kid("redirfilter").All("usbdev") {
		hexAttr(u, "class", "0x%02X")
		hexAttr(u, "vendor", "0x%04X")
		hexAttr(u, "product", "0x%04X")
	}
}

// hexAttr rewrites a number libvirtxml prints in decimal or in another form of hexadecimal.
func hexAttr(n *node, name, format string) {
	if v, ok := n.Lookup(name); ok {
		if u, err := strconv.ParseUint(v, 0, 64); err == nil {
			n.Set(name, fmt.Sprintf(format, u))
		}
	}
}

// dropHollowSource removes a source that libvirtxml keeps for the sake of its type only.
func dropHollowSource(d *node) {
	s := d.Kid("source")
	if s == nil || len(s.Kids) > 0 {
		return
	}
	for _, a := range s.Attrs {
		if a.Value != "" {
			return
		}
	}
	d.Remove(s)
}

// driverFirst: an assigned interface is printed as a host device is, its driver before its source.
func driverFirst(n *node) {
	drv, src := n.Kid("driver"), n.Kid("source")
	if drv == nil || src == nil {
		return
	}
	n.Remove(drv)
	n.InsertBefore(src, drv)
}

// forgetRuntime takes away what only the running domain has. libvirt leaves more of a running domain in this view than
// one would think: aliases, addresses, labels, node numbers of images.
func forgetRuntime(root *node) {
	root.Unset("id")
	for _, d := range elements(root.Kid("devices")) {
		switch d.Name {
		case "graphics":
			if d.Get("type") == "vnc" && d.Get("autoport") == "yes" && d.Has("port") {
				d.Set("port", "-1")
			}
		case "interface":
			if t := d.Kid("target"); strings.HasPrefix(t.Get("dev"), "vnet") || strings.HasPrefix(t.Get("dev"), "macvtap") {
				t.Unset("dev")
				if len(t.Attrs) == 0 {
					d.Remove(t)
				}
			}
		case "disk":
			if b := d.Kid("backingStore"); b.Has("index") {
				d.Remove(b) // found on the image, not in a document
			}
		case "serial", "parallel", "console", "channel":
			d.Unset("tty")
			if s := d.Kid("source"); d.Get("type") == "pty" && s != nil {
				d.Remove(s)
			}
			d.Kid("target").Unset("state")
		}
	}
}

// dropSecrets removes the passwords, which only clients with the right to write may see.
func dropSecrets(root *node) {
	for _, g := range root.Kid("devices").All("graphics") {
		g.Unset("passwd")
	}
}

// consoleTTY repeats the terminal of the first console where the oldest clients look for it.
func consoleTTY(c *node) {
	if path := c.Kid("source").Get("path"); path != "" && c.Get("type") == "pty" && c.Kid("target").Get("type") == "serial" {
		c.Set("tty", path)
	}
}
