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
	for _, d := range def.devices.kids {
		if f := byKind[d.name]; f != nil {
			if err := f(d); err != nil {
				return err
			}
		}
	}
	if len(def.devices.all("smartcard")) > 1 {
		return qemuUnsupported("this QEMU binary lacks multiple smartcard support")
	}
	return def.validateVideos()
}

func (def *definition) validateController(c *node) error {
	if c.get("type") == "ide" && !def.isI440FX() {
		return qemuUnsupported("IDE controllers are unsupported for this QEMU binary or machine type")
	}
	return def.validateControllerOptions(c)
}

// validateMasters: companion controllers alone make no USB. libvirt does not look which belongs to which.
func (def *definition) validateMasters() error {
	companions, masters := 0, 0
	for _, c := range def.devices.all("controller") {
		if c.get("type") != "usb" {
			continue
		}
		if c.kid("master") != nil {
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
	for _, g := range def.devices.all("graphics") {
		has[g.get("type")] = true
	}
	for _, d := range def.devices.kids {
		switch d.name {
		case "channel", "serial", "parallel", "console", "redirdev", "smartcard":
			if t := d.get("type"); (t == "spicevmc" || t == "spiceport") && !has["spice"] {
				return qemuUnsupported("chardev '%s' not supported without spice graphics", t)
			}
		case "graphics":
			if d.get("type") == "egl-headless" && len(has) > 1 && !has["vnc"] && !has["spice"] {
				return qemuUnsupported("graphics type 'egl-headless' is only supported with one of: 'vnc', 'spice' graphics types")
			}
			if id := d.kid("audio").get("id"); id != "" && d.get("type") == "dbus" {
				for _, a := range def.devices.all("audio") {
					if a.get("id") == id && a.get("type") != "dbus" {
						return qemuUnsupported("The associated audio is not of 'dbus' kind.")
					}
				}
			}
		case "hostdev":
			if d.get("display") == "on" && len(has) == 0 {
				return qemuUnsupported("graphics device is needed for attribute value 'display=on' in <hostdev>")
			}
		}
	}
	return nil
}

// validateUSB refuses USB devices where USB is switched off, and a controller beside that switch.
func (def *definition) validateUSB() error {
	none, others := 0, 0
	for _, c := range def.devices.all("controller") {
		if c.get("type") != "usb" {
			continue
		}
		if c.get("model") == "none" {
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
		return slices.ContainsFunc(devices, func(d *node) bool { return d.name == name })
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
	if n.get("type") != "user" && (n.kid("ip") != nil || n.kid("route") != nil) {
		return qemuUnsupported("Invalid attempt to set network interface guest-side IP route and/or address info, not supported by QEMU")
	}
	d := n.kid("driver")
	for _, a := range []string{"rx_queue_size", "tx_queue_size"} {
		if v, ok := d.uint(a); ok && v&(v-1) != 0 {
			return qemuUnsupported("%s has to be a power of two", a)
		}
	}
	return def.validateInterfaceOptions(n)
}

// serialAddress says where a serial port of each type sits.
var serialAddress = map[string]string{"isa-serial": "isa", "isa-debug": "isa", "usb-serial": "usb", "pci-serial": "pci", "spapr-vio-serial": "spapr-vio"}

func (def *definition) validateSerial(s *node) error {
	t := s.kid("target")
	if want, a := serialAddress[t.get("type")], s.kid("address"); want != "" && a != nil && a.get("type") != want {
		return unsupported("Target type '%s' requires address type '%s'", t.get("type"), want)
	}
	switch t.get("type") {
	case "spapr-vio-serial", "system-serial", "sclp-serial":
		model := t.kid("model").get("name")
		if t.get("type") == "sclp-serial" && model == "sclp-serial" {
			model = "sclpconsole"
		}
		return qemuUnsupported("Serial device with target type '%s' and target model '%s' not compatible with guest architecture or machine type", t.get("type"), model)
	}
	return nil
}

func (def *definition) validateInput(in *node) error {
	if m := in.get("model"); strings.HasSuffix(m, "transitional") && in.get("type") != "passthrough" {
		return qemuUnsupported("virtio (non-)transitional models are not supported for input type=%s", in.get("type"))
	}
	return nil
}

func (def *definition) validateFilesystem(f *node) error {
	if f.get("type") != "mount" {
		return qemuUnsupported("only supports mount filesystem type")
	}
	virtiofs := f.kid("driver").get("type") == "virtiofs"
	if virtiofs && f.has("accessmode") && f.get("accessmode") != "passthrough" {
		return qemuUnsupported("virtiofs only supports passthrough accessmode")
	}
	if !virtiofs && (f.has("fmode") || f.has("dmode")) && f.get("accessmode") != "mapped" {
		return qemuUnsupported("fmode and dmode must be used with accessmode=mapped")
	}
	if virtiofs && !def.sharedMemory() {
		return qemuUnsupported("'virtiofs' requires shared memory")
	}
	return nil
}

// sharedMemory: other processes can map the guest's memory.
func (def *definition) sharedMemory() bool {
	if def.root.kid("memoryBacking/access").get("mode") == "shared" {
		return true
	}
	return slices.ContainsFunc(def.root.kid("cpu/numa").all("cell"), func(c *node) bool { return c.get("memAccess") == "shared" })
}

func (def *definition) validateGraphics(g *node) error {
	switch typ := g.get("type"); typ {
	case "rdp", "desktop":
		return qemuUnsupported("%s graphics are not supported with this QEMU", typ)
	case "vnc":
		if p := g.get("passwd"); len(p) > 8 {
			return qemuUnsupported("VNC password is %d characters long, only 8 permitted", len(p))
		}
	case "spice":
		if g.has("tlsPort") && !def.env.SPICETLS {
			return qemuUnsupported("spice TLS port set in XML configuration, but TLS is disabled in qemu.conf")
		}
	}
	return nil
}

func (def *definition) validateVideos() error {
	videos := def.devices.all("video")
	for _, v := range videos {
		if v.kid("model").get("type") == "none" && len(videos) > 1 {
			return unsupported("a 'none' video type must be the only video device defined for the domain")
		}
	}
	for i, v := range videos {
		if t := v.kid("model").get("type"); i > 0 && t != "qxl" && t != "virtio" {
			return qemuUnsupported("video type '%s' is only valid as primary video device", t)
		}
	}
	return nil
}

func (def *definition) validateVideo(v *node) error {
	m := v.kid("model")
	switch t := m.get("type"); t {
	case "xen", "vbox", "parallels", "gop":
		return qemuUnsupported("domain configuration does not support video model '%s'", t)
	}
	if h, _ := m.uint("heads"); h > 1 && m.get("type") != "qxl" && m.get("type") != "virtio" {
		return unsupported("video type '%s' doesn't support multiple 'heads'", m.get("type"))
	}
	if t := m.get("type"); m.kid("resolution") != nil && !slices.Contains([]string{"vga", "qxl", "virtio", "bochs"}, t) {
		return xmlError("model resolution is not supported")
	}
	if m.kid("acceleration").has("rendernode") && v.kid("driver").get("name") != "vhostuser" {
		return qemuUnsupported("unsupported rendernode accel attribute without 'vhostuser'")
	}
	if g, ok := m.uint("vgamem"); ok && g&(g-1) != 0 {
		return qemuUnsupported("value for 'vgamem' must be power of two")
	}
	if m.kid("acceleration").get("accel3d") == "yes" && m.get("type") != "virtio" {
		return qemuUnsupported("3d acceleration is supported only with 'virtio' video device")
	}
	return nil
}

func (def *definition) validateWatchdog(w *node) error {
	switch w.get("model") {
	case "diag288":
		return qemuUnsupported("diag288 model of watchdog is allowed for s390 and s390x only")
	case "ib700":
		if w.kid("address") != nil {
			return qemuUnsupported("ib700 model of watchdog does not support configuring the address")
		}
	}
	return nil
}

func (def *definition) validateIOMMU(io *node) error {
	features := def.root.kid("features")
	switch model := io.get("model"); model {
	case "intel":
		if !def.isQ35() {
			return qemuUnsupported("IOMMU device: '%s' is only supported with Q35 machines", model)
		}
		d := io.kid("driver")
		if d.get("intremap") == "on" && features.kid("ioapic").get("driver") != "qemu" {
			return qemuUnsupported("IOMMU interrupt remapping requires split I/O APIC (ioapic driver='qemu')")
		}
		if d.get("eim") == "on" && d.get("intremap") != "on" {
			return qemuUnsupported("IOMMU eim requires interrupt remapping to be enabled")
		}
	case "smmuv3":
		return qemuUnsupported("IOMMU device: '%s' is only supported with ARM Virt machines", model)
	case "virtio":
		if !def.isQ35() {
			return qemuUnsupported("IOMMU device: '%s' is only supported with Q35 and ARM Virt machines", model)
		}
		if features.kid("acpi") == nil {
			return qemuUnsupported("IOMMU device: '%s' requires ACPI", model)
		}
	}
	return nil
}

func (def *definition) validateNVRAMDevice(*node) error {
	return qemuUnsupported("nvram device is only supported for PPC64")
}

func (def *definition) validatePanic(p *node) error {
	switch p.get("model") {
	case "pseries":
		return qemuUnsupported("only pSeries guests support panic device of model 'pseries'")
	case "s390":
		return qemuUnsupported("only S390 guests support panic device of model 's390'")
	}
	return nil
}

func validateShmem(s *node) error {
	model := s.kid("model").get("type")
	if model == "ivshmem-plain" && s.kid("server") != nil {
		return qemuUnsupported("shmem model '%s' is supported only with server option disabled", model)
	}
	if model == "ivshmem" {
		return qemuUnsupported("ivshmem device is not supported with this QEMU binary")
	}
	if model == "ivshmem-doorbell" && s.kid("server") == nil {
		return qemuUnsupported("shmem model '%s' is supported only with server option enabled", model)
	}
	return nil
}

func (def *definition) validateTPM(t *node) error {
	all := def.devices.all("tpm")
	plain := 0
	for _, o := range all {
		if o.get("model") != "tpm-spapr-proxy" {
			plain++
		}
	}
	if plain > 1 {
		return unsupported("only a single TPM non-proxy device is supported")
	}
	model := t.get("model")
	if model == "tpm-crb" && t.kid("backend").get("version") == "1.2" {
		return qemuUnsupported("Unsupported interface '%s' for TPM 1.2", model)
	}
	if len(def.caps.TPM.Models) > 0 && !slices.Contains(def.caps.TPM.Models, model) {
		return qemuUnsupported("The QEMU executable %s does not support TPM model %s", def.caps.Binary, model)
	}
	return nil
}

func validateVSock(v *node) error {
	if cid, ok := v.kid("cid").uint("address"); ok && cid < 3 {
		return unsupported("guest CIDs must be >= 3")
	}
	return nil
}

func (def *definition) validateMemory(m *node) error {
	if model := m.get("model"); model == "virtio-pmem" {
		return nil
	}
	if m.kid("target/node") == nil && def.root.kid("cpu/numa/cell") != nil {
		return qemuUnsupported("target NUMA node needs to be specified for memory device")
	}
	return nil
}
