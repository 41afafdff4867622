package domxml

import (
	"slices"
	"strconv"
	"strings"
)

// defaultsDevices fills in what devices leave open and adds the devices a machine implies, in the order libvirt does:
// later steps look at what earlier ones added.
func (def *definition) defaultsDevices() error {
	if err := def.validateMasters(); err != nil {
		return err
	}
	if err := def.validateUSB(); err != nil {
		return err
	}
	def.impliedDevices()
	if root := def.controller("pci", 0); root != nil {
		if err := def.checkRoot(root.get("model")); err != nil {
			return err
		}
	}
	if err := def.refuseDuplicates(); err != nil {
		return err
	}
	for _, d := range def.devices.kids {
		if err := def.deviceDefaults(d); err != nil {
			return err
		}
	}
	if err := def.consoles(); err != nil {
		return err
	}
	if err := def.defaultBoot(); err != nil {
		return err
	}
	def.impliedInputs()
	def.impliedVideo()
	if err := def.primaryVideo(); err != nil {
		return err
	}
	if err := def.driveAddresses(); err != nil {
		return err
	}
	def.impliedControllers()
	for _, c := range def.devices.all("controller") {
		if err := def.controllerDefaults(c); err != nil {
			return err
		}
	}
	def.ccidAddresses()
	return nil
}

// impliedDevices adds what the machine type has without being asked.
func (def *definition) impliedDevices() {
	if !def.isX86() {
		return
	}
	q35, i440 := def.isQ35(), def.isI440FX()
	if (q35 || i440) && def.controller("usb", 0) == nil {
		def.addController("usb", 0, def.impliedUSB())
	}
	if q35 && def.controller("sata", 0) == nil {
		def.addController("sata", 0, "")
	}
	if i440 && def.controller("pci", 0) == nil {
		def.addController("pci", 0, "pci-root")
	}
	if q35 && def.controller("pci", 0) == nil {
		def.addController("pci", 0, "pcie-root")
	}
	if def.devices.kid("memballoon") == nil {
		def.devices.add(elem("memballoon", "model", "virtio"))
	}
	def.impliedAudio()
}

// impliedUSB is the model of the USB controller nobody asked for.
func (def *definition) impliedUSB() string {
	if def.isQ35() {
		for _, m := range []string{"qemu-xhci", "nec-xhci", "nec-usb-xhci"} {
			if def.caps.HasDevice(m) {
				return strings.Replace(m, "nec-usb-xhci", "nec-xhci", 1)
			}
		}
	}
	return "piix3-uhci"
}

func (def *definition) impliedAudio() {
	if def.devices.kid("audio") != nil {
		return
	}
	graphics := def.devices.all("graphics")
	if len(graphics) == 0 {
		def.devices.add(elem("audio", "id", "1", "type", "none"))
		return
	}
	// SPICE carries the sound, VNC could: the last of them decides. Other displays leave the guest without a backend.
	backend := ""
	for _, g := range graphics {
		switch g.get("type") {
		case "spice":
			backend = "spice"
		case "vnc":
			backend = "none"
		}
	}
	if backend != "" {
		def.devices.add(elem("audio", "id", "1", "type", backend))
	}
}

func (def *definition) refuseDuplicates() error {
	seen := map[string]*node{}
	for _, c := range def.devices.all("controller") {
		key := c.get("type") + " " + c.get("index")
		if seen[key] != nil && !(c.get("type") == "usb" && (c.kid("master") != nil || seen[key].kid("master") != nil || strings.HasPrefix(c.get("model"), "ich9-"))) {
			return xmlError("Multiple '%s' controllers with index '%s'", c.get("type"), c.get("index"))
		}
		seen[key] = c
	}
	return nil
}

// deviceDefaults is libvirt's post-parse of one device.
func (def *definition) deviceDefaults(d *node) error {
	switch d.name {
	case "disk":
		return def.diskDefaults(d)
	case "controller":
		return def.controllerDefaults(d)
	case "interface":
		if m := d.kid("model"); m.get("type") != "" && !strings.HasPrefix(m.get("type"), "virtio") {
			if err := refuseVirtioOptions(d); err != nil {
				return err
			}
		}
		def.interfaceDefaults(d)
	case "video":
		def.videoDefaults(d)
	case "tpm":
		d.setDefault("model", "tpm-tis")
		if b := d.kid("backend"); b.get("type") == "emulator" {
			version := "2.0"
			if d.get("model") == "tpm-tis" {
				version = "1.2"
			}
			b.setDefault("version", version)
		}
	case "panic":
		if d.get("model") == "" {
			d.set("model", "isa")
		}
	case "graphics":
		def.graphicsDefaults(d)
	case "vsock":
		d.setDefault("model", "virtio")
		c := d.ensure("cid")
		if c.has("address") {
			c.setDefault("auto", "no")
		} else {
			c.setDefault("auto", "yes")
		}
		if c.get("auto") == "yes" && def.flags&ParseLive == 0 {
			c.unset("address")
		}
	case "audio":
		d.kids = slices.DeleteFunc(d.kids, func(k *node) bool { return len(k.attrs) == 0 && len(k.kids) == 0 })
	case "rng":
		if d.kid("driver") != nil && len(d.kid("driver").attrs) == 0 {
			d.drop("driver")
		}
		if b := d.kid("backend"); b.get("model") == "random" && b.text == "" {
			b.text = "/dev/random"
		}
	}
	return nil
}

func (def *definition) diskDefaults(d *node) error {
	if dev := d.get("device"); d.kid("source") == nil && (dev == "cdrom" || dev == "floppy") {
		d.set("type", "file") // an empty drive is of no type
	}
	if t := d.kid("iotune"); t != nil {
		t.kids = slices.DeleteFunc(t.kids, func(k *node) bool { return k.text == "0" })
		if len(t.kids) == 0 {
			d.remove(t)
		}
	}
	drv := d.kid("driver")
	if drv == nil {
		drv = elem("driver")
		d.add(drv)
	}
	drv.setDefault("name", "qemu")
	if !drv.has("type") {
		switch d.get("type") {
		case "dir":
			drv.set("type", "fat")
		case "volume": // known when the volume is looked up
		case "file":
			if def.flags&ParseLive == 0 || d.kid("source") != nil { // a running domain's empty drive has none
				drv.set("type", "raw")
			}
		default:
			drv.set("type", "raw")
		}
	}
	for _, path := range []string{"encryption", "source/encryption"} {
		if e := d.kid(path); e != nil {
			e.setDefault("engine", "qemu")
		}
	}
	return nil
}

func (def *definition) controllerDefaults(c *node) error {
	switch c.get("type") {
	case "usb":
		if c.get("model") == "" {
			c.set("model", "piix3-uhci")
		}
	case "scsi":
		if m := c.get("model"); m == "" || m == "auto" {
			c.set("model", def.defaultSCSI())
		}
	case "pci":
		if c.get("model") == "" && c.get("index") == "0" {
			if def.isQ35() {
				c.set("model", "pcie-root")
			} else {
				c.set("model", "pci-root")
			}
		}
	}
	return nil
}

func (def *definition) defaultSCSI() string {
	switch {
	case def.caps.HasDevice("lsi53c895a") || def.caps.HasDevice("lsi"):
		return "lsilogic"
	case def.caps.HasDevice("virtio-scsi-pci"):
		return "virtio-scsi"
	}
	return "lsilogic"
}

func (def *definition) interfaceDefaults(n *node) {
	if n.get("type") == "hostdev" {
		return
	}
	m := n.kid("model")
	if m == nil || m.get("type") == "" {
		model := "rtl8139"
		if n.get("type") == "vdpa" {
			model = "virtio"
		} else if !def.caps.HasDevice("rtl8139") {
			model = "e1000"
			if !def.caps.HasDevice("e1000") {
				model = "virtio"
			}
		}
		n.drop("model")
		n.add(elem("model", "type", model))
		m = n.kid("model")
	}
	if d := n.kid("driver"); d != nil && !strings.HasPrefix(m.get("type"), "virtio") {
		n.remove(d) // only virtio has options
	} else if d != nil {
		d.kids = slices.DeleteFunc(d.kids, func(k *node) bool { return len(k.attrs) == 0 })
		if d.get("queues") == "0" {
			d.unset("queues")
		}
		if len(d.attrs) == 0 && len(d.kids) == 0 {
			n.remove(d)
		}
	}
}

func (def *definition) videoDefaults(v *node) {
	if d := v.kid("driver"); d != nil && len(d.attrs) == 0 {
		v.remove(d)
	}
	m := v.ensure("model")
	if t := m.get("type"); t == "" || t == "default" {
		m.set("type", def.defaultVideo())
	}
}

func (def *definition) defaultVideo() string {
	switch {
	case !def.isX86():
		return "virtio"
	case def.caps.HasDevice("cirrus-vga"):
		return "cirrus"
	case def.caps.HasDevice("VGA"):
		return "vga"
	}
	return "cirrus"
}

// graphicsDefaults: SPICE without any port listens nowhere.
func (def *definition) graphicsDefaults(g *node) {
	if g.get("type") != "spice" || g.get("autoport") == "yes" || g.has("port") || g.has("tlsPort") {
		return
	}
	g.unset("autoport")
	for _, l := range g.all("listen") {
		if t := l.get("type"); t == "address" || t == "network" {
			g.drop("listen")
			g.unset("listen")
			g.add(elem("listen", "type", "none"))
			return
		}
	}
}

func (def *definition) impliedInputs() {
	if !def.isX86() {
		return
	}
	for _, typ := range []string{"mouse", "keyboard"} {
		if !slices.ContainsFunc(def.devices.all("input"), func(in *node) bool { return in.get("type") == typ && in.get("bus") == "ps2" }) {
			def.devices.add(elem("input", "type", typ, "bus", "ps2"))
		}
	}
}

func (def *definition) impliedVideo() {
	if def.devices.kid("graphics") != nil && def.devices.kid("video") == nil {
		def.devices.add(&node{name: "video", kids: []*node{elem("model", "type", def.defaultVideo())}})
	}
}

// primaryVideo puts the primary card first and fills in what depends on it.
func (def *definition) primaryVideo() error {
	videos := def.devices.all("video")
	if len(videos) == 0 {
		return nil
	}
	primary := -1
	for i, v := range videos {
		if v.kid("model").get("primary") != "yes" {
			continue
		}
		if primary >= 0 {
			return unsupported("Only one primary video device is supported")
		}
		primary = i
	}
	if primary > 0 {
		first := videos[primary]
		videos = slices.Insert(slices.Delete(videos, primary, primary+1), 0, first)
	}
	def.devices.drop("video")
	def.devices.add(videos...)
	for i, v := range videos {
		m := v.kid("model")
		if i == 0 && m.get("type") != "none" {
			m.set("primary", "yes")
		}
		def.videoMemory(m)
	}
	return nil
}

// videoMemory fills in the sizes, in KiB; what a document says is rounded up to a power of two.
func (def *definition) videoMemory(m *node) {
	round := func(name, otherwise string) {
		v, err := strconv.ParseUint(m.get(name), 10, 32)
		if err != nil || v == 0 {
			if otherwise == "" {
				m.unset(name)
			} else {
				m.set(name, otherwise)
			}
			return
		}
		p := uint64(1)
		for p < v {
			p *= 2
		}
		m.set(name, utoa(p))
	}
	switch m.get("type") {
	case "qxl":
		round("ram", "65536")
		round("vram", "65536")
		if v := m.get("vgamem"); v == "" || v == "0" {
			m.set("vgamem", "16384")
		}
		round("vram64", "")
	case "vga", "cirrus", "vmvga", "bochs":
		round("vram", "16384")
	default:
		round("vram", "")
	}
	if m.get("type") != "none" {
		if h := m.get("heads"); h == "" || h == "0" {
			m.set("heads", "1")
		}
	} else {
		m.unset("heads")
	}
}
