package domxml

import (
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
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
		if err := def.checkRoot(root.Get("model")); err != nil {
			return err
		}
	}
	if err := def.refuseDuplicates(); err != nil {
		return err
	}
	for _, d := range def.devices.Kids {
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
	for _, c := range def.devices.All("controller") {
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
	if def.devices.Kid("memballoon") == nil {
		def.devices.Add(xmltree.Elem("memballoon", "model", "virtio"))
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
	if def.devices.Kid("audio") != nil {
		return
	}
	graphics := def.devices.All("graphics")
	if len(graphics) == 0 {
		def.devices.Add(xmltree.Elem("audio", "id", "1", "type", "none"))
		return
	}
	// SPICE carries the sound, VNC could: the last of them decides. Other displays leave the guest without a backend.
	backend := ""
	for _, g := range graphics {
		switch g.Get("type") {
		case "spice":
			backend = "spice"
		case "vnc":
			backend = "none"
		}
	}
	if backend != "" {
		def.devices.Add(xmltree.Elem("audio", "id", "1", "type", backend))
	}
}

func (def *definition) refuseDuplicates() error {
	seen := map[string]*node{}
	for _, c := range def.devices.All("controller") {
		key := c.Get("type") + " " + c.Get("index")
		if seen[key] != nil && !(c.Get("type") == "usb" && (c.Kid("master") != nil || seen[key].Kid("master") != nil || strings.HasPrefix(c.Get("model"), "ich9-"))) {
			return xmlError("Multiple '%s' controllers with index '%s'", c.Get("type"), c.Get("index"))
		}
		seen[key] = c
	}
	return nil
}

// deviceDefaults is libvirt's post-parse of one device.
func (def *definition) deviceDefaults(d *node) error {
	switch d.Name {
	case "disk":
		return def.diskDefaults(d)
	case "controller":
		return def.controllerDefaults(d)
	case "interface":
		if m := d.Kid("model"); m.Get("type") != "" && !strings.HasPrefix(m.Get("type"), "virtio") {
			if err := refuseVirtioOptions(d); err != nil {
				return err
			}
		}
		def.interfaceDefaults(d)
	case "video":
		def.videoDefaults(d)
	case "tpm":
		d.SetDefault("model", "tpm-tis")
		if b := d.Kid("backend"); b.Get("type") == "emulator" {
			version := "2.0"
			if d.Get("model") == "tpm-tis" {
				version = "1.2"
			}
			b.SetDefault("version", version)
		}
	case "panic":
		if d.Get("model") == "" {
			d.Set("model", "isa")
		}
	case "graphics":
		def.graphicsDefaults(d)
	case "vsock":
		d.SetDefault("model", "virtio")
		c := d.Ensure("cid")
		if c.Has("address") {
			c.SetDefault("auto", "no")
		} else {
			c.SetDefault("auto", "yes")
		}
		if c.Get("auto") == "yes" && def.flags&ParseLive == 0 {
			c.Unset("address")
		}
	case "audio":
		d.Kids = slices.DeleteFunc(d.Kids, func(k *node) bool { return len(k.Attrs) == 0 && len(k.Kids) == 0 })
	case "rng":
		if d.Kid("driver") != nil && len(d.Kid("driver").Attrs) == 0 {
			d.Drop("driver")
		}
		if b := d.Kid("backend"); b.Get("model") == "random" && b.Text == "" {
			b.Text = "/dev/random"
		}
	}
	return nil
}

func (def *definition) diskDefaults(d *node) error {
	if dev := d.Get("device"); d.Kid("source") == nil && (dev == "cdrom" || dev == "floppy") {
		d.Set("type", "file") // an empty drive is of no type
	}
	if t := d.Kid("iotune"); t != nil {
		t.Kids = slices.DeleteFunc(t.Kids, func(k *node) bool { return k.Text == "0" })
		if len(t.Kids) == 0 {
			d.Remove(t)
		}
	}
	drv := d.Kid("driver")
	if drv == nil {
		drv = xmltree.Elem("driver")
		d.Add(drv)
	}
	drv.SetDefault("name", "qemu")
	if !drv.Has("type") {
		switch d.Get("type") {
		case "dir":
			drv.Set("type", "fat")
		case "volume": // known when the volume is looked up
		case "file":
			if def.flags&ParseLive == 0 || d.Kid("source") != nil { // a running domain's empty drive has none
				drv.Set("type", "raw")
			}
		default:
			drv.Set("type", "raw")
		}
	}
	for _, path := range []string{"encryption", "source/encryption"} {
		if e := d.Kid(path); e != nil {
			e.SetDefault("engine", "qemu")
		}
	}
	return nil
}

func (def *definition) controllerDefaults(c *node) error {
	switch c.Get("type") {
	case "usb":
		if c.Get("model") == "" {
			c.Set("model", "piix3-uhci")
		}
	case "scsi":
		if m := c.Get("model"); m == "" || m == "auto" {
			c.Set("model", def.defaultSCSI())
		}
	case "pci":
		if c.Get("model") == "" && c.Get("index") == "0" {
			if def.isQ35() {
				c.Set("model", "pcie-root")
			} else {
				c.Set("model", "pci-root")
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
	if n.Get("type") == "hostdev" {
		return
	}
	m := n.Kid("model")
	if m == nil || m.Get("type") == "" {
		model := "rtl8139"
		if n.Get("type") == "vdpa" {
			model = "virtio"
		} else if !def.caps.HasDevice("rtl8139") {
			model = "e1000"
			if !def.caps.HasDevice("e1000") {
				model = "virtio"
			}
		}
		n.Drop("model")
		n.Add(xmltree.Elem("model", "type", model))
		m = n.Kid("model")
	}
	if d := n.Kid("driver"); d != nil && !strings.HasPrefix(m.Get("type"), "virtio") {
		n.Remove(d) // only virtio has options
	} else if d != nil {
		d.Kids = slices.DeleteFunc(d.Kids, func(k *node) bool { return len(k.Attrs) == 0 })
		if d.Get("queues") == "0" {
			d.Unset("queues")
		}
		if len(d.Attrs) == 0 && len(d.Kids) == 0 {
			n.Remove(d)
		}
	}
}

func (def *definition) videoDefaults(v *node) {
	if d := v.Kid("driver"); d != nil && len(d.Attrs) == 0 {
		v.Remove(d)
	}
	m := v.Ensure("model")
	if t := m.Get("type"); t == "" || t == "default" {
		m.Set("type", def.defaultVideo())
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
	if g.Get("type") != "spice" || g.Get("autoport") == "yes" || g.Has("port") || g.Has("tlsPort") {
		return
	}
	g.Unset("autoport")
	for _, l := range g.All("listen") {
		if t := l.Get("type"); t == "address" || t == "network" {
			g.Drop("listen")
			g.Unset("listen")
			g.Add(xmltree.Elem("listen", "type", "none"))
			return
		}
	}
}

func (def *definition) impliedInputs() {
	if !def.isX86() {
		return
	}
	for _, typ := range []string{"mouse", "keyboard"} {
		if !slices.ContainsFunc(def.devices.All("input"), func(in *node) bool { return in.Get("type") == typ && in.Get("bus") == "ps2" }) {
			def.devices.Add(xmltree.Elem("input", "type", typ, "bus", "ps2"))
		}
	}
}

func (def *definition) impliedVideo() {
	if def.devices.Kid("graphics") != nil && def.devices.Kid("video") == nil {
		def.devices.Add(&node{Name: "video", Kids: []*node{xmltree.Elem("model", "type", def.defaultVideo())}})
	}
}

// primaryVideo puts the primary card first and fills in what depends on it.
func (def *definition) primaryVideo() error {
	videos := def.devices.All("video")
	if len(videos) == 0 {
		return nil
	}
	primary := -1
	for i, v := range videos {
		if v.Kid("model").Get("primary") != "yes" {
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
	def.devices.Drop("video")
	def.devices.Add(videos...)
	for i, v := range videos {
		m := v.Kid("model")
		if i == 0 && m.Get("type") != "none" {
			m.Set("primary", "yes")
		}
		def.videoMemory(m)
	}
	return nil
}

// videoMemory fills in the sizes, in KiB; what a document says is rounded up to a power of two.
func (def *definition) videoMemory(m *node) {
	round := func(name, otherwise string) {
		v, err := strconv.ParseUint(m.Get(name), 10, 32)
		if err != nil || v == 0 {
			if otherwise == "" {
				m.Unset(name)
			} else {
				m.Set(name, otherwise)
			}
			return
		}
		p := uint64(1)
		for p < v {
			p *= 2
		}
		m.Set(name, utoa(p))
	}
	switch m.Get("type") {
	case "qxl":
		round("ram", "65536")
		round("vram", "65536")
		if v := m.Get("vgamem"); v == "" || v == "0" {
			m.Set("vgamem", "16384")
		}
		round("vram64", "")
	case "vga", "cirrus", "vmvga", "bochs":
		round("vram", "16384")
	default:
		round("vram", "")
	}
	if m.Get("type") != "none" {
		if h := m.Get("heads"); h == "" || h == "0" {
			m.Set("heads", "1")
		}
	} else {
		m.Unset("heads")
	}
}
