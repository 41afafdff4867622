package domxml

import (
	"fmt"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/xmltree"
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
		for _, dev := range def.devices.Kids {
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
	def := &definition{root: root, devices: root.Kid("devices"), arch: root.Kid("os/type").Get("arch")}
	if def.devices == nil {
		def.devices = xmltree.Elem("devices")
		root.Add(def.devices)
	}
	return def
}

func (def *definition) assignAlias(d *node) {
	if d.Kid("alias") != nil {
		return
	}
	if name := def.aliasFor(d); name != "" {
		d.Add(xmltree.Elem("alias", "name", name))
	}
}

// aliasFor is "" for what QEMU does not know as a device.
func (def *definition) aliasFor(d *node) string {
	switch d.Name {
	case "disk":
		return def.diskAlias(d)
	case "controller":
		return def.controllerAlias(d)
	case "memory":
		prefix := memoryAlias[d.Get("model")]
		if prefix == "" {
			return ""
		}
		if slot := d.Kid("address").Get("slot"); d.Kid("address").Get("type") == "dimm" && slot != "" {
			return prefix + slot
		}
		return prefix + strconv.Itoa(def.nextAlias(prefix))
	case "memballoon":
		if d.Get("model") == "none" {
			return ""
		}
	case "panic":
		if d.Get("model") == "isa" && d.Kid("address") == nil {
			return ""
		}
		return "panic" + strconv.Itoa(def.nextAlias("panic"))
	case "interface":
		if d.Get("type") == "hostdev" || d.Kid("actual").Get("type") == "hostdev" {
			return "hostdev" + strconv.Itoa(def.nextAlias("hostdev"))
		}
	case "console":
		if i := indexOf(def.devices.All("console"), d); i == 0 && d.Kid("target").Get("type") == "serial" {
			if s := def.devices.Kid("serial"); s != nil {
				def.assignAlias(s)
				return s.Kid("alias").Get("name")
			}
		}
	}
	prefix, ok := aliasPrefix[d.Name]
	if !ok {
		return ""
	}
	n := indexOf(def.devices.All(d.Name), d)
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
	for _, d := range def.devices.Kids {
		rest, ok := strings.CutPrefix(d.Kid("alias").Get("name"), prefix)
		if v, err := strconv.Atoi(rest); ok && err == nil {
			next = max(next, v+1)
		}
	}
	return next
}

func (def *definition) diskAlias(d *node) string {
	t, a := d.Kid("target"), d.Kid("address")
	idx, _ := diskIndex(t.Get("dev"))
	switch bus := t.Get("bus"); bus {
	case "virtio", "usb", "sd", "xen":
		return fmt.Sprintf("%s-disk%d", bus, idx)
	case "scsi":
		if def.isLSI(a.Get("controller")) { // which knows no targets
			return fmt.Sprintf("scsi%s-%s-%s", a.Get("controller"), a.Get("bus"), a.Get("unit"))
		}
		return fmt.Sprintf("scsi%s-%s-%s-%s", a.Get("controller"), a.Get("bus"), a.Get("target"), a.Get("unit"))
	default:
		return fmt.Sprintf("%s%s-%s-%s", bus, a.Get("controller"), a.Get("bus"), a.Get("unit"))
	}
}

// isLSI tells whether a SCSI controller is of the oldest kind.
func (def *definition) isLSI(index string) bool {
	for _, c := range def.devices.All("controller") {
		if c.Get("type") == "scsi" && c.Get("index") == index {
			return c.Get("model") == "lsilogic"
		}
	}
	return false
}

func (def *definition) controllerAlias(c *node) string {
	typ, idx := c.Get("type"), c.Get("index")
	switch {
	case typ == "pci" && c.Get("model") == "pcie-root":
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
