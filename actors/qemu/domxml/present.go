package domxml

import (
	"fmt"
	"strconv"
)

// present turns the complete tree into the view the flags ask for.
func present(root *node, flags FormatFlags) {
	if meta := root.kid(metadataName); meta != nil && len(meta.kids) > 0 {
		meta.raw, meta.kids = dumpMetadata(meta, 2), nil
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
		if n.get("type") == "hostdev" {
			driverFirst(n)
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
