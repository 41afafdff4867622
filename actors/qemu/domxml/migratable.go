package domxml

import (
	"slices"
	"strings"
)

// forMigration takes away what a receiving daemon adds by itself, an older one too, which might not know it.
//
// What a start has changed beyond that is not undone here: the CPU as QEMU made it, the address qemu.conf had graphics
// listen on. The caller prints the definition the domain was started from, or carries those over.
func forMigration(root *node) {
	def := treeOf(root)
	def.groupControllers()
	devices := def.devices
	usb := 0
	for _, c := range devices.all("controller") {
		if c.get("type") == "usb" {
			usb++
		}
	}
	devices.kids = slices.DeleteFunc(devices.kids, func(d *node) bool {
		switch {
		case d.name == "controller" && d.get("type") == "pci":
			return d.get("model") == "pci-root" && d.kid("pcihole64") == nil && len(def.pciBridges()) == 0
		case d.name == "controller" && d.get("type") == "usb":
			return usb == 1 && d.get("index") == "0" && d.get("model") == "piix3-uhci" && def.isI440FX() && !d.has("ports")
		case d.name == "input":
			return d.get("type") == "keyboard" && d.get("bus") == "ps2"
		case d.name == "audio":
			return len(devices.all("audio")) == 1 && len(d.kids) == 0 && (d.get("type") == "none" || d.get("type") == "spice")
		}
		return false
	})
	for _, d := range devices.kids {
		if a := d.kid("alias"); a != nil && !strings.HasPrefix(a.get("name"), "ua-") {
			d.remove(a)
		}
		if d.name == "graphics" && d.kid("listen").get("type") == "none" {
			d.drop("listen")
			if d.get("type") == "spice" {
				d.set("autoport", "no")
			}
		}
		if l := d.kid("listen"); d.name == "graphics" && l.get("type") == "socket" && d.get("socket") != "" {
			d.remove(l) // the attribute says it
			d.open = true
		}
		if s := d.kid("source"); d.name == "channel" && strings.Contains(s.get("path"), "/channel/target/domain-") {
			d.remove(s)
		}
	}
	if root.has("id") {
		for _, l := range root.all("seclabel") {
			if l.get("type") == "dynamic" {
				root.remove(l)
			}
		}
	}
	grammar["domain"].arrange(root)
}

// pciBridges are the PCI controllers beside the root.
func (def *definition) pciBridges() (out []*node) {
	for _, c := range def.devices.all("controller") {
		if c.get("type") == "pci" && c.get("index") != "0" {
			out = append(out, c)
		}
	}
	return out
}
