package domxml

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checkDevices reads <devices>: first what the tables know, then each kind's own rules, in the order libvirt reads them.
func (def *definition) checkDevices() error {
	byKind := map[string]func(*node) error{
		"disk": def.checkDisk, "controller": def.checkController, "lease": checkLease, "filesystem": checkFilesystem,
		"interface": def.checkInterface, "smartcard": def.checkSmartcard, "serial": def.checkChardev,
		"parallel": def.checkChardev, "console": def.checkChardev, "channel": def.checkChardev, "input": checkInput,
		"tpm": checkTPM, "graphics": def.checkGraphics, "sound": checkSound, "audio": def.checkKnown,
		"video": def.checkVideo, "hostdev": def.checkHostdev, "redirdev": def.checkRedirdev,
		"redirfilter": def.checkKnown, "hub": checkHub, "watchdog": checkWatchdog, "memballoon": def.checkKnown,
		"rng": def.checkRNG, "nvram": def.checkKnown, "panic": checkPanic, "shmem": checkShmem, "memory": def.checkMemoryDevice,
		"iommu": def.checkKnown, "vsock": def.checkKnown,
	}
	order := []string{"controller", "disk", "filesystem", "interface", "smartcard", "parallel", "serial", "console", "channel", "input", "graphics", "sound", "audio", "video", "hostdev", "watchdog", "memballoon", "rng", "tpm", "nvram", "hub", "redirdev", "redirfilter", "panic", "shmem", "memory", "iommu", "vsock", "lease"}
	if def.flags&ParseLive == 0 {
		for _, d := range def.devices.kids {
			if a := d.kid("alias"); a != nil && !validUserAlias(a.get("name")) {
				d.remove(a)
			}
		}
	}
	for _, name := range order {
		k := grammar["devices"].kids[name].kind
		for _, d := range def.devices.all(name) {
			if err := checkInfo(d); err != nil {
				return err
			}
			if name == "disk" || name == "controller" {
				// These word some refusals themselves, before the tables get to see the element.
				if err := byKind[name](d); err != nil {
					return err
				}
				if err := k.check(d); err != nil {
					return err
				}
				continue
			}
			if err := byKind[name](d); err != nil {
				return err
			}
			if err := k.check(d); err != nil {
				return err
			}
		}
	}
	return nil
}

var userAlias = regexp.MustCompile(`^ua-[A-Za-z0-9_.-]+$`)

func validUserAlias(name string) bool { return userAlias.MatchString(name) && len(name) < 64 }

func (def *definition) checkKnown(*node) error { return nil }

// checkInfo reads what every device may have: boot order and address.
func checkInfo(d *node) error {
	if b := d.kid("boot"); b != nil {
		if err := (&rule{attr: "order", required: true, number: "uint+"}).check(b); err != nil {
			return err
		}
	}
	a := d.kid("address")
	if a == nil {
		return nil
	}
	typ, ok := a.lookup("type")
	if !ok {
		return internalError("No type specified for device address")
	}
	switch typ {
	case "pci":
		return checkPCIAddress(d, a)
	case "drive":
		return defaultNumbers(a, "controller", "bus", "target", "unit")
	case "virtio-serial":
		return defaultNumbers(a, "controller", "bus", "port")
	case "ccid":
		return defaultNumbers(a, "controller", "slot")
	case "usb":
		return checkUSBAddress(a)
	case "isa":
		for _, name := range []string{"iobase", "irq"} {
			if v, ok := a.lookup(name); ok {
				u, ok := parseUint(v)
				if !ok {
					u, err := strconv.ParseUint(v, 16, 64)
					if err != nil {
						return xmlError("Cannot parse <address> '%s' attribute", name)
					}
					a.set(name, "0x"+strconv.FormatUint(u, 16))
					continue
				}
				a.set(name, "0x"+strconv.FormatUint(u, 16))
			}
		}
	case "dimm":
		if v, ok := a.lookup("slot"); !ok {
			return missingAttr(a, "slot")
		} else if u, ok := parseUint(v); ok {
			a.set("slot", utoa(u))
		}
		a.keep("type", "slot", "base")
	case "ccw", "spapr-vio", "virtio-s390", "virtio-mmio", "unassigned":
	default:
		return unsupported("unknown address type '%s'", typ)
	}
	return nil
}

// keep drops every other attribute.
func (n *node) keep(names ...string) {
	n.attrs = slices.DeleteFunc(n.attrs, func(a attr) bool { return !slices.Contains(names, a.name) })
}

func defaultNumbers(a *node, names ...string) error {
	for _, name := range names {
		a.setDefault(name, "0")
		v, ok := parseUint(a.get(name))
		if !ok {
			return xmlError("Invalid value for attribute '%s' in element 'address': '%s'. Expected non-negative integer value", name, a.get(name))
		}
		a.set(name, utoa(v))
	}
	a.keep(append(names, "type")...)
	return nil
}

func checkPCIAddress(d, a *node) error {
	var v [4]uint64
	for i, name := range []string{"domain", "bus", "slot", "function"} {
		text, ok := a.lookup(name)
		if !ok {
			continue
		}
		u, ok := parseUint(text)
		if !ok || u > 1<<32-1 {
			return xmlError("Invalid value for attribute '%s' in element 'address': '%s'. Expected non-negative integer value", name, text)
		}
		v[i] = u
	}
	switch {
	case v[0] > 0xffff:
		return xmlError("Invalid PCI address domain='0x%x', must be <= 0xFFFF", v[0])
	case v[1] > 0xff:
		return xmlError("Invalid PCI address bus='0x%x', must be <= 0xFF", v[1])
	case v[2] > 0x1f:
		return xmlError("Invalid PCI address slot='0x%x', must be <= 0x1F", v[2])
	case v[3] > 7:
		return xmlError("Invalid PCI address function=0x%x, must be <= 7", v[3])
	}
	multi := a.get("multifunction")
	if multi != "" && multi != "on" && multi != "off" {
		return badValue(a, "multifunction", multi)
	}
	if v[0]|v[1]|v[2] == 0 && a.kid("zpci") == nil {
		// All zero is how documents say "somewhere": the host bridge sits there.
		d.remove(a)
		return nil
	}
	p := pciAddress{domain: int(v[0]), bus: int(v[1]), slot: int(v[2]), function: int(v[3])}
	a.keep("type", "multifunction")
	p.put(a)
	return nil
}

var usbPort = regexp.MustCompile(`^[0-9]+(\.[0-9]+){0,3}$`)

func checkUSBAddress(a *node) error {
	a.keep("type", "bus", "port")
	if p, ok := a.lookup("port"); ok && !usbPort.MatchString(p) {
		return internalError("Cannot parse <address> 'port' attribute")
	}
	if b, ok := a.lookup("bus"); ok {
		v, ok := parseUint(b)
		if !ok {
			return xmlError("Invalid value for attribute 'bus' in element 'address': '%s'. Expected non-negative integer value", b)
		}
		a.set("bus", utoa(v))
	} else {
		a.set("bus", "0")
	}
	return nil
}

func checkLease(l *node) error {
	if l.kidText("lockspace") == "" {
		return xmlError("Missing 'lockspace' element for lease")
	}
	if l.kidText("key") == "" {
		return xmlError("Missing 'key' element for lease")
	}
	t := l.kid("target")
	if t == nil || t.get("path") == "" {
		return missingAttr(elem("target"), "path")
	}
	if t.get("offset") == "0" {
		t.unset("offset")
	}
	return nil
}

func checkHub(h *node) error {
	typ, ok := h.lookup("type")
	if !ok {
		return internalError("missing hub device type")
	}
	if typ != "usb" {
		return unsupported("unknown hub device type '%s'", typ)
	}
	return nil
}

func checkWatchdog(w *node) error {
	model, ok := w.lookup("model")
	if !ok {
		return internalError("watchdog must contain model name")
	}
	if !slices.Contains([]string{"i6300esb", "ib700", "diag288"}, model) {
		return unsupported("unknown watchdog model '%s'", model)
	}
	w.setDefault("action", "reset")
	if !slices.Contains([]string{"reset", "shutdown", "poweroff", "pause", "dump", "none", "inject-nmi"}, w.get("action")) {
		return unsupported("unknown watchdog action '%s'", w.get("action"))
	}
	return nil
}

func checkPanic(p *node) error {
	model, ok := p.lookup("model")
	if ok && !slices.Contains([]string{"default", "isa", "pseries", "hyperv", "s390"}, model) {
		return unsupported("unknown panic model '%s'", model)
	}
	if model == "default" {
		p.unset("model")
	}
	return nil
}

func checkShmem(s *node) error {
	if !s.has("name") {
		return xmlError("shmem element must contain 'name' attribute")
	}
	m := s.kid("model")
	if m == nil {
		m = elem("model", "type", "ivshmem")
		s.add(m)
	}
	if !slices.Contains([]string{"ivshmem", "ivshmem-plain", "ivshmem-doorbell"}, m.get("type")) {
		return badValue(m, "type", m.get("type"))
	}
	if m.get("type") == "ivshmem-plain" && s.kid("size") == nil {
		s.add(elem("size", "unit", "M"))
		s.kid("size").text = "4"
	}
	if size := s.kid("size"); size != nil {
		v, err := kib(size, "./size[1]")
		if err != nil {
			return err
		}
		size.set("unit", "M")
		size.text = utoa(v / 1024)
	}
	if s.kid("msi") != nil && s.kid("msi").get("enabled") == "no" {
		s.drop("msi")
	} else if msi := s.kid("msi"); msi != nil {
		msi.unset("enabled")
		msi.setDefault("ioeventfd", "on")
	}
	if srv := s.kid("server"); srv != nil && srv.get("path") == "" {
		srv.unset("path")
	}
	return nil
}

func (def *definition) checkMemoryDevice(m *node) error {
	if err := grammar["memorydev"].check(withoutKids(m)); err != nil {
		return err
	}
	if m.get("access") == "default" {
		m.unset("access")
	}
	target := m.kid("target")
	if target == nil {
		return xmlError("missing <target> element for <memory> device")
	}
	for _, path := range []string{"size", "label/size", "block", "requested", "current"} {
		if err := normalizeKiB(target.kid(path), "./"+path+"[1]"); err != nil {
			return err
		}
	}
	if def.flags&ParseLive == 0 {
		target.drop("current")
	}
	if src := m.kid("source"); src != nil {
		for _, path := range []string{"pagesize", "alignsize"} {
			if err := normalizeKiB(src.kid(path), "./"+path+"[1]"); err != nil {
				return err
			}
		}
		if n := src.kid("nodemask"); n != nil {
			b, err := parseBitmap(n.text)
			if err != nil {
				return err
			}
			n.text = b.String()
		}
		if len(src.kids) == 0 {
			m.remove(src)
		}
	}
	return nil
}

func checkFilesystem(f *node) error {
	f.setDefault("type", "mount")
	if err := grammar["filesystem"].check(withoutKids(f)); err != nil {
		return err
	}
	if f.kid("driver").get("type") != "virtiofs" || f.kid("source").get("socket") == "" {
		f.setDefault("accessmode", "passthrough")
	}
	if f.get("multidevs") == "default" {
		f.unset("multidevs")
	}
	for _, name := range []string{"fmode", "dmode"} {
		if v, ok := f.lookup(name); ok {
			mode, err := strconv.ParseUint(v, 8, 32)
			if err != nil || mode > 0o777 {
				return xmlError("invalid %s: '%s'", name, v)
			}
			f.set(name, fmt.Sprintf("%04o", mode))
		}
	}
	if d := f.kid("driver"); d != nil {
		if err := grammar["fsdriver"].check(d); err != nil {
			return err
		}
		if d.get("wrpolicy") == "default" {
			d.unset("wrpolicy")
		}
	}
	src, target := f.kid("source"), f.kid("target")
	where := ""
	if src != nil && len(src.attrs) > 0 {
		where = src.attrs[0].value
	}
	if where == "" && f.get("type") != "ram" && f.get("type") != "volume" {
		return noSource(target.get("dir"))
	}
	if target == nil || target.get("dir") == "" {
		return noTarget(where)
	}
	if f.get("type") == "mount" {
		if d := f.ensure("driver"); !d.has("type") {
			d.set("type", "path")
			if len(d.attrs) == 1 {
				f.remove(d)
			}
		}
	}
	return nil
}

func (def *definition) checkRedirdev(r *node) error {
	r.setDefault("bus", "usb")
	if r.get("bus") != "usb" {
		return unsupported("unknown redirdev bus '%s'", r.get("bus"))
	}
	typ, ok := r.lookup("type")
	if !ok {
		return internalError("missing type in redirdev")
	}
	if !slices.Contains(chardevTypes, typ) {
		return unsupported("unknown redirdev character device type '%s'", typ)
	}
	return def.checkChardevSource(r)
}

func (def *definition) checkSmartcard(s *node) error {
	if err := grammar["smartcard"].check(withoutKids(s)); err != nil {
		return err
	}
	switch s.get("mode") {
	case "host":
		s.unset("type")
		s.drop("certificate", "database", "source", "protocol")
	case "host-certificates":
		s.unset("type")
		s.drop("source", "protocol")
		if len(s.all("certificate")) != 3 {
			return xmlError("host-certificates mode needs exactly three certificates")
		}
		if d := s.kid("database"); d != nil && !strings.HasPrefix(d.text, "/") {
			return xmlError("expecting absolute path: %s", d.text)
		}
	case "passthrough":
		s.drop("certificate", "database")
		if !s.has("type") {
			return xmlError("passthrough mode requires a character device type attribute")
		}
		if !slices.Contains(chardevTypes, s.get("type")) {
			return unsupported("unknown type presented to host for character device: %s", s.get("type"))
		}
		return def.checkChardevSource(s)
	}
	return nil
}

func (def *definition) checkRNG(r *node) error {
	model := r.get("model")
	if !slices.Contains([]string{"virtio", "virtio-transitional", "virtio-non-transitional"}, model) {
		return unsupported("unknown RNG model '%s'", model)
	}
	b := r.kid("backend")
	if b == nil {
		return xmlError("only one RNG backend is supported")
	}
	switch b.get("model") {
	case "random":
		b.drop("source", "protocol")
		b.unset("type")
	case "egd":
		b.text = ""
		typ, ok := b.lookup("type")
		if !ok {
			return xmlError("missing EGD backend type")
		}
		if !slices.Contains(chardevTypes, typ) {
			return unsupported("unknown backend type '%s' for egd", typ)
		}
		return def.checkChardevSource(b)
	case "builtin":
		b.text = ""
		b.kids = nil
		b.unset("type")
	default:
		return unsupported("unknown RNG backend model '%s'", b.get("model"))
	}
	if rate := r.kid("rate"); rate != nil {
		if rate.get("bytes") == "0" {
			r.remove(rate)
		} else if rate.get("period") == "0" {
			rate.unset("period")
		}
	}
	return nil
}

func checkTPM(t *node) error {
	if err := grammar["tpm"].check(withoutKids(t)); err != nil {
		return err
	}
	b := t.kid("backend")
	if b == nil {
		return xmlError("missing TPM device backend")
	}
	if err := grammar["tpmbackend"].check(withoutKids(b)); err != nil {
		return err
	}
	if b.get("type") != "external" {
		b.drop("source")
	}
	switch b.get("type") {
	case "passthrough":
		d := b.ensure("device")
		d.setDefault("path", "/dev/tpm0")
		b.drop("encryption", "active_pcr_banks")
		b.unset("version", "persistent_state")
	case "emulator":
		b.drop("device")
		if e := b.kid("encryption"); e != nil {
			text, ok := parseUUID(e.get("secret"))
			if !ok {
				return internalError("Unable to parse secret uuid '%s'", e.get("secret"))
			}
			e.set("secret", text)
		}
		if p := b.kid("active_pcr_banks"); p != nil && len(p.kids) == 0 {
			b.remove(p)
		}
		if b.get("persistent_state") == "no" {
			b.unset("persistent_state")
		}
	}
	return nil
}

func checkInput(in *node) error {
	typ := in.get("type")
	if !slices.Contains([]string{"mouse", "tablet", "keyboard", "passthrough", "evdev"}, typ) {
		return unsupported("unknown input device type '%s'", typ)
	}
	if typ == "evdev" {
		in.unset("bus")
		return nil
	}
	bus, ok := in.lookup("bus")
	if ok && !slices.Contains([]string{"ps2", "usb", "xen", "parallels", "virtio", "none"}, bus) {
		return unsupported("unknown input bus type '%s'", bus)
	}
	if m, ok := in.lookup("model"); ok && !slices.Contains([]string{"virtio", "virtio-transitional", "virtio-non-transitional"}, m) {
		return badValue(in, "model", m)
	}
	if bus == "" {
		if typ == "mouse" || typ == "keyboard" {
			bus = "ps2"
		} else {
			bus = "usb"
		}
		in.set("bus", bus)
	}
	switch {
	case bus == "ps2" && typ != "mouse" && typ != "keyboard":
		return internalError("ps2 bus does not support %s input device", typ)
	case bus == "xen" || bus == "parallels":
		return internalError("unsupported input bus %s", bus)
	}
	return nil
}

// checkSound reads one <sound>. Only HDA cards have codecs.
func checkSound(s *node) error {
	for _, c := range s.all("codec") {
		if t := c.get("type"); t != "duplex" && t != "micro" && t != "output" {
			return unsupported("unknown codec type '%s'", t)
		}
	}
	if m := s.get("model"); m != "ich6" && m != "ich9" {
		s.drop("codec")
	}
	return nil
}
