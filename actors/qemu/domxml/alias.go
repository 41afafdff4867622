package domxml

import (
	"fmt"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// aliasPrefix names the devices that are simply counted.
var aliasPrefix = map[string]string{
	"filesystem": "fs", "sound": "sound", "hostdev": "hostdev", "redirdev": "redir", "video": "video", "console": "console", "serial": "serial",
	"parallel": "parallel", "channel": "channel", "smartcard": "smartcard", "input": "input", "hub": "hub", "shmem": "shmem", "watchdog": "watchdog",
	"memballoon": "balloon", "rng": "rng", "tpm": "tpm", "vsock": "vsock", "iommu": "iommu", "interface": "net",
}

// memoryAlias is the prefix for each model of memory module; the number is its slot, or its place among its kind.
var memoryAlias = map[string]string{"dimm": "dimm", "nvdimm": "nvdimm", "virtio-pmem": "virtiopmem", "virtio-mem": "virtiomem"}

// AssignAliases gives every device of a domain about to start the name QEMU will know it by. Names the document gave
// ("ua-...") stay.
func AssignAliases(d *libvirtxml.Domain) error {
	return edit(d, func(root *node) error {
		def := treeOf(root)
		for _, dev := range def.devices.kids {
			def.assignAlias(dev)
		}
		return nil
	})
}

// edit lets f change a domain in the form of a tree.
func edit(d *libvirtxml.Domain, f func(root *node) error) error {
	root, err := fromStruct(d)
	if err != nil {
		return err
	}
	if err := f(root); err != nil {
		return err
	}
	grammar["domain"].arrange(root)
	out, err := toStruct(root)
	if err != nil {
		return err
	}
	*d = *out
	return nil
}

// treeOf wraps a tree that has been through process before.
func treeOf(root *node) *definition {
	def := &definition{root: root, devices: root.kid("devices"), arch: root.kid("os/type").get("arch")}
	if def.devices == nil {
		def.devices = elem("devices")
		root.add(def.devices)
	}
	return def
}

func (def *definition) assignAlias(d *node) {
	if d.kid("alias") != nil {
		return
	}
	if name := def.aliasFor(d); name != "" {
		d.add(elem("alias", "name", name))
	}
}

// aliasFor is "" for what QEMU does not know as a device.
func (def *definition) aliasFor(d *node) string {
	switch d.name {
	case "disk":
		return def.diskAlias(d)
	case "controller":
		return def.controllerAlias(d)
	case "memory":
		prefix := memoryAlias[d.get("model")]
		if prefix == "" {
			return ""
		}
		if slot := d.kid("address").get("slot"); d.kid("address").get("type") == "dimm" && slot != "" {
			return prefix + slot
		}
		return prefix + strconv.Itoa(def.nextAlias(prefix))
	case "memballoon":
		if d.get("model") == "none" {
			return ""
		}
	case "panic":
		if d.get("model") == "isa" && d.kid("address") == nil {
			return ""
		}
		return "panic" + strconv.Itoa(def.nextAlias("panic"))
	case "interface":
		if d.get("type") == "hostdev" || d.kid("actual").get("type") == "hostdev" {
			return "hostdev" + strconv.Itoa(def.nextAlias("hostdev"))
		}
	case "console":
		if i := indexOf(def.devices.all("console"), d); i == 0 && d.kid("target").get("type") == "serial" {
			if s := def.devices.kid("serial"); s != nil {
				def.assignAlias(s)
				return s.kid("alias").get("name")
			}
		}
	}
	prefix, ok := aliasPrefix[d.name]
	if !ok {
		return ""
	}
	n := indexOf(def.devices.all(d.name), d)
	if used := def.nextAlias(prefix); used > n {
		n = used // a device that came later, or went
	}
	return prefix + strconv.Itoa(n)
}

func indexOf(list []*node, d *node) int {
	for i, o := range list {
		if o == d {
			return i
		}
	}
	return -1
}

// nextAlias is one more than the highest number in use behind the prefix.
func (def *definition) nextAlias(prefix string) int {
	next := 0
	for _, d := range def.devices.kids {
		rest, ok := strings.CutPrefix(d.kid("alias").get("name"), prefix)
		if v, err := strconv.Atoi(rest); ok && err == nil {
			next = max(next, v+1)
		}
	}
	return next
}

func (def *definition) diskAlias(d *node) string {
	t, a := d.kid("target"), d.kid("address")
	idx, _ := diskIndex(t.get("dev"))
	switch bus := t.get("bus"); bus {
	case "virtio", "usb", "sd", "xen":
		return fmt.Sprintf("%s-disk%d", bus, idx)
	case "scsi":
		if def.isLSI(a.get("controller")) { // which knows no targets
			return fmt.Sprintf("scsi%s-%s-%s", a.get("controller"), a.get("bus"), a.get("unit"))
		}
		return fmt.Sprintf("scsi%s-%s-%s-%s", a.get("controller"), a.get("bus"), a.get("target"), a.get("unit"))
	default:
		return fmt.Sprintf("%s%s-%s-%s", bus, a.get("controller"), a.get("bus"), a.get("unit"))
	}
}

// isLSI tells whether a SCSI controller is of the oldest kind.
func (def *definition) isLSI(index string) bool {
	for _, c := range def.devices.all("controller") {
		if c.get("type") == "scsi" && c.get("index") == index {
			return c.get("model") == "lsilogic"
		}
	}
	return false
}

func (def *definition) controllerAlias(c *node) string {
	typ, idx := c.get("type"), c.get("index")
	switch {
	case typ == "pci" && c.get("model") == "pcie-root":
		return "pcie." + idx
	case typ == "pci":
		return "pci." + idx
	case typ == "ide" && idx == "0" && def.isI440FX(), typ == "sata" && idx == "0" && def.isQ35():
		return "ide" // built in
	case typ == "usb" && idx == "0":
		return "usb"
	}
	return typ + idx
}
