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
	for _, c := range devices.All("controller") {
		if c.Get("type") == "usb" {
			usb++
		}
	}
	devices.Kids = slices.DeleteFunc(devices.Kids, func(d *node) bool {
		switch {
		case d.Name == "controller" && d.Get("type") == "pci":
			return d.Get("model") == "pci-root" && d.Kid("pcihole64") == nil && len(def.pciBridges()) == 0
		case d.Name == "controller" && d.Get("type") == "usb":
			return usb == 1 && d.Get("index") == "0" && d.Get("model") == "piix3-uhci" && def.isI440FX() && !d.Has("ports")
		case d.Name == "input":
			return d.Get("type") == "keyboard" && d.Get("bus") == "ps2"
		case d.Name == "audio":
			return len(devices.All("audio")) == 1 && len(d.Kids) == 0 && (d.Get("type") == "none" || d.Get("type") == "spice")
		}
		return false
	})
	for _, d := range devices.Kids {
		if a := d.Kid("alias"); a != nil && !strings.HasPrefix(a.Get("name"), "ua-") {
			d.Remove(a)
		}
		if d.Name == "graphics" && d.Kid("listen").Get("type") == "none" {
			d.Drop("listen")
			if d.Get("type") == "spice" {
				d.Set("autoport", "no")
			}
		}
		if l := d.Kid("listen"); d.Name == "graphics" && l.Get("type") == "socket" && d.Get("socket") != "" {
			d.Remove(l) // the attribute says it
			d.Open = true
		}
		if s := d.Kid("source"); d.Name == "channel" && strings.Contains(s.Get("path"), "/channel/target/domain-") {
			d.Remove(s)
		}
	}
	if root.Has("id") {
		for _, l := range root.All("seclabel") {
			if l.Get("type") == "dynamic" {
				root.Remove(l)
			}
		}
	}
	grammar["domain"].arrange(root)
}

// pciBridges are the PCI controllers beside the root.
func (def *definition) pciBridges() (out []*node) {
	for _, c := range def.devices.All("controller") {
		if c.Get("type") == "pci" && c.Get("index") != "0" {
			out = append(out, c)
		}
	}
	return out
}
