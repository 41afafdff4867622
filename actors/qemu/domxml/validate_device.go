package domxml

import (
	"slices"
	"strings"
)

// validateDevices checks every device against the driver and the binary.
func (def *definition) validateDevices() error {
	byKind := map[string]func(*node) error{
		"controller": def.validateController, "interface": def.validateInterface, "serial": def.validateSerial, "input": def.validateInput,
		"filesystem": def.validateFilesystem, "graphics": def.validateGraphics, "video": def.validateVideo, "watchdog": def.validateWatchdog,
		"iommu": def.validateIOMMU, "nvram": def.validateNVRAMDevice, "panic": def.validatePanic, "shmem": validateShmem, "tpm": def.validateTPM,
		"vsock": validateVSock, "memory": def.validateMemory,
	}
	for _, d := range def.devices.Kids {
		if f := byKind[d.Name]; f != nil {
			if err := f(d); err != nil {
				return err
			}
		}
	}
	if len(def.devices.All("smartcard")) > 1 {
		return qemuUnsupported("this QEMU binary lacks multiple smartcard support")
	}
	return def.validateVideos()
}

func (def *definition) validateController(c *node) error {
	if c.Get("type") == "ide" && !def.isI440FX() {
		return qemuUnsupported("IDE controllers are unsupported for this QEMU binary or machine type")
	}
	return def.validateControllerOptions(c)
}

// validateMasters: companion controllers alone make no USB. libvirt does not look which belongs to which.
func (def *definition) validateMasters() error {
	companions, masters := 0, 0
	for _, c := range def.devices.All("controller") {
		if c.Get("type") != "usb" {
			continue
		}
		if c.Kid("master") != nil {
			companions++
		} else {
			masters++
		}
	}
	if companions > 0 && masters == 0 {
		return xmlDetail("No master USB controller specified")
	}
	return nil
}

// validateSpice: some things need a SPICE display to exist.
func (def *definition) validateSpice() error {
	has := map[string]bool{}
	for _, g := range def.devices.All("graphics") {
		has[g.Get("type")] = true
	}
	for _, d := range def.devices.Kids {
		switch d.Name {
		case "channel", "serial", "parallel", "console", "redirdev", "smartcard":
			if t := d.Get("type"); (t == "spicevmc" || t == "spiceport") && !has["spice"] {
				return qemuUnsupported("chardev '%s' not supported without spice graphics", t)
			}
		case "graphics":
			if d.Get("type") == "egl-headless" && len(has) > 1 && !has["vnc"] && !has["spice"] {
				return qemuUnsupported("graphics type 'egl-headless' is only supported with one of: 'vnc', 'spice' graphics types")
			}
			if id := d.Kid("audio").Get("id"); id != "" && d.Get("type") == "dbus" {
				for _, a := range def.devices.All("audio") {
					if a.Get("id") == id && a.Get("type") != "dbus" {
						return qemuUnsupported("The associated audio is not of 'dbus' kind.")
					}
				}
			}
		case "hostdev":
			if d.Get("display") == "on" && len(has) == 0 {
				return qemuUnsupported("graphics device is needed for attribute value 'display=on' in <hostdev>")
			}
		}
	}
	return nil
}

// validateUSB refuses USB devices where USB is switched off, and a controller beside that switch.
func (def *definition) validateUSB() error {
	none, others := 0, 0
	for _, c := range def.devices.All("controller") {
		if c.Get("type") != "usb" {
			continue
		}
		if c.Get("model") == "none" {
			none++
		} else {
			others++
		}
	}
	switch {
	case none == 0:
		return nil
	case none > 1:
		return xmlDetail("Can't add another USB controller: USB is disabled for this domain")
	case others > 0:
		return xmlDetail("Can't add another USB controller: USB is disabled for this domain")
	}
	devices := def.usbDevices(true)
	has := func(name string) bool {
		return slices.ContainsFunc(devices, func(d *node) bool { return d.Name == name })
	}
	switch {
	case has("input"):
		return unsupported("Can't add USB input device. USB bus is disabled")
	case has("hostdev"):
		return unsupported("Can't add host USB device: USB is disabled in this host")
	case len(devices) > 0:
		return unsupported("USB is disabled for this domain, but USB devices are present in the domain XML")
	}
	return nil
}

func (def *definition) validateInterface(n *node) error {
	if n.Get("type") != "user" && (n.Kid("ip") != nil || n.Kid("route") != nil) {
		return qemuUnsupported("Invalid attempt to set network interface guest-side IP route and/or address info, not supported by QEMU")
	}
	d := n.Kid("driver")
	for _, a := range []string{"rx_queue_size", "tx_queue_size"} {
		if v, ok := uintOf(d, a); ok && v&(v-1) != 0 {
			return qemuUnsupported("%s has to be a power of two", a)
		}
	}
	return def.validateInterfaceOptions(n)
}

// serialAddress says where a serial port of each type sits.
var serialAddress = map[string]string{"isa-serial": "isa", "isa-debug": "isa", "usb-serial": "usb", "pci-serial": "pci", "spapr-vio-serial": "spapr-vio"}

func (def *definition) validateSerial(s *node) error {
	t := s.Kid("target")
	if want, a := serialAddress[t.Get("type")], s.Kid("address"); want != "" && a != nil && a.Get("type") != want {
		return unsupported("Target type '%s' requires address type '%s'", t.Get("type"), want)
	}
	switch t.Get("type") {
	case "spapr-vio-serial", "system-serial", "sclp-serial":
		model := t.Kid("model").Get("name")
		if t.Get("type") == "sclp-serial" && model == "sclp-serial" {
			model = "sclpconsole"
		}
		return qemuUnsupported("Serial device with target type '%s' and target model '%s' not compatible with guest architecture or machine type", t.Get("type"), model)
	}
	return nil
}

func (def *definition) validateInput(in *node) error {
	if m := in.Get("model"); strings.HasSuffix(m, "transitional") && in.Get("type") != "passthrough" {
		return qemuUnsupported("virtio (non-)transitional models are not supported for input type=%s", in.Get("type"))
	}
	return nil
}

func (def *definition) validateFilesystem(f *node) error {
	if f.Get("type") != "mount" {
		return qemuUnsupported("only supports mount filesystem type")
	}
	virtiofs := f.Kid("driver").Get("type") == "virtiofs"
	if virtiofs && f.Has("accessmode") && f.Get("accessmode") != "passthrough" {
		return qemuUnsupported("virtiofs only supports passthrough accessmode")
	}
	if !virtiofs && (f.Has("fmode") || f.Has("dmode")) && f.Get("accessmode") != "mapped" {
		return qemuUnsupported("fmode and dmode must be used with accessmode=mapped")
	}
	if virtiofs && !def.sharedMemory() {
		return qemuUnsupported("'virtiofs' requires shared memory")
	}
	return nil
}

// sharedMemory: other processes can map the guest's memory.
func (def *definition) sharedMemory() bool {
	if def.root.Kid("memoryBacking/access").Get("mode") == "shared" {
		return true
	}
	return slices.ContainsFunc(def.root.Kid("cpu/numa").All("cell"), func(c *node) bool { return c.Get("memAccess") == "shared" })
}

func (def *definition) validateGraphics(g *node) error {
	switch typ := g.Get("type"); typ {
	case "rdp", "desktop":
		return qemuUnsupported("%s graphics are not supported with this QEMU", typ)
	case "vnc":
		if p := g.Get("passwd"); len(p) > 8 {
			return qemuUnsupported("VNC password is %d characters long, only 8 permitted", len(p))
		}
	case "spice":
		if g.Has("tlsPort") && !def.env.SPICETLS {
			return qemuUnsupported("spice TLS port set in XML configuration, but TLS is disabled in qemu.conf")
		}
	}
	return nil
}

func (def *definition) validateVideos() error {
	videos := def.devices.All("video")
	for _, v := range videos {
		if v.Kid("model").Get("type") == "none" && len(videos) > 1 {
			return unsupported("a 'none' video type must be the only video device defined for the domain")
		}
	}
	for i, v := range videos {
		if t := v.Kid("model").Get("type"); i > 0 && t != "qxl" && t != "virtio" {
			return qemuUnsupported("video type '%s' is only valid as primary video device", t)
		}
	}
	return nil
}

func (def *definition) validateVideo(v *node) error {
	m := v.Kid("model")
	switch t := m.Get("type"); t {
	case "xen", "vbox", "parallels", "gop":
		return qemuUnsupported("domain configuration does not support video model '%s'", t)
	}
	if h, _ := uintOf(m, "heads"); h > 1 && m.Get("type") != "qxl" && m.Get("type") != "virtio" {
		return unsupported("video type '%s' doesn't support multiple 'heads'", m.Get("type"))
	}
	if t := m.Get("type"); m.Kid("resolution") != nil && !slices.Contains([]string{"vga", "qxl", "virtio", "bochs"}, t) {
		return xmlError("model resolution is not supported")
	}
	if m.Kid("acceleration").Has("rendernode") && v.Kid("driver").Get("name") != "vhostuser" {
		return qemuUnsupported("unsupported rendernode accel attribute without 'vhostuser'")
	}
	if g, ok := uintOf(m, "vgamem"); ok && g&(g-1) != 0 {
		return qemuUnsupported("value for 'vgamem' must be power of two")
	}
	if m.Kid("acceleration").Get("accel3d") == "yes" && m.Get("type") != "virtio" {
		return qemuUnsupported("3d acceleration is supported only with 'virtio' video device")
	}
	return nil
}

func (def *definition) validateWatchdog(w *node) error {
	switch w.Get("model") {
	case "diag288":
		return qemuUnsupported("diag288 model of watchdog is allowed for s390 and s390x only")
	case "ib700":
		if w.Kid("address") != nil {
			return qemuUnsupported("ib700 model of watchdog does not support configuring the address")
		}
	}
	return nil
}

func (def *definition) validateIOMMU(io *node) error {
	features := def.root.Kid("features")
	switch model := io.Get("model"); model {
	case "intel":
		if !def.isQ35() {
			return qemuUnsupported("IOMMU device: '%s' is only supported with Q35 machines", model)
		}
		d := io.Kid("driver")
		if d.Get("intremap") == "on" && features.Kid("ioapic").Get("driver") != "qemu" {
			return qemuUnsupported("IOMMU interrupt remapping requires split I/O APIC (ioapic driver='qemu')")
		}
		if d.Get("eim") == "on" && d.Get("intremap") != "on" {
			return qemuUnsupported("IOMMU eim requires interrupt remapping to be enabled")
		}
	case "smmuv3":
		return qemuUnsupported("IOMMU device: '%s' is only supported with ARM Virt machines", model)
	case "virtio":
		if !def.isQ35() {
			return qemuUnsupported("IOMMU device: '%s' is only supported with Q35 and ARM Virt machines", model)
		}
		if features.Kid("acpi") == nil {
			return qemuUnsupported("IOMMU device: '%s' requires ACPI", model)
		}
	}
	return nil
}

func (def *definition) validateNVRAMDevice(*node) error {
	return qemuUnsupported("nvram device is only supported for PPC64")
}

func (def *definition) validatePanic(p *node) error {
	switch p.Get("model") {
	case "pseries":
		return qemuUnsupported("only pSeries guests support panic device of model 'pseries'")
	case "s390":
		return qemuUnsupported("only S390 guests support panic device of model 's390'")
	}
	return nil
}

func validateShmem(s *node) error {
	model := s.Kid("model").Get("type")
	if model == "ivshmem-plain" && s.Kid("server") != nil {
		return qemuUnsupported("shmem model '%s' is supported only with server option disabled", model)
	}
	if model == "ivshmem" {
		return qemuUnsupported("ivshmem device is not supported with this QEMU binary")
	}
	if model == "ivshmem-doorbell" && s.Kid("server") == nil {
		return qemuUnsupported("shmem model '%s' is supported only with server option enabled", model)
	}
	return nil
}

func (def *definition) validateTPM(t *node) error {
	all := def.devices.All("tpm")
	plain := 0
	for _, o := range all {
		if o.Get("model") != "tpm-spapr-proxy" {
			plain++
		}
	}
	if plain > 1 {
		return unsupported("only a single TPM non-proxy device is supported")
	}
	model := t.Get("model")
	if model == "tpm-crb" && t.Kid("backend").Get("version") == "1.2" {
		return qemuUnsupported("Unsupported interface '%s' for TPM 1.2", model)
	}
	if len(def.caps.TPM.Models) > 0 && !slices.Contains(def.caps.TPM.Models, model) {
		return qemuUnsupported("The QEMU executable %s does not support TPM model %s", def.caps.Binary, model)
	}
	return nil
}

func validateVSock(v *node) error {
	if cid, ok := uintOf(v.Kid("cid"), "address"); ok && cid < 3 {
		return unsupported("guest CIDs must be >= 3")
	}
	return nil
}

func (def *definition) validateMemory(m *node) error {
	if model := m.Get("model"); model == "virtio-pmem" {
		return nil
	}
	if m.Kid("target/node") == nil && def.root.Kid("cpu/numa/cell") != nil {
		return qemuUnsupported("target NUMA node needs to be specified for memory device")
	}
	return nil
}
