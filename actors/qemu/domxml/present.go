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
