package domxml

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
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
		for _, d := range def.devices.Kids {
			if a := d.Kid("alias"); a != nil && !validUserAlias(a.Get("name")) {
				d.Remove(a)
			}
		}
	}
	for _, name := range order {
		k := grammar["devices"].kids[name].kind
		for _, d := range def.devices.All(name) {
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
	if b := d.Kid("boot"); b != nil {
		if err := (&rule{attr: "order", required: true, number: "uint+"}).check(b); err != nil {
			return err
		}
	}
	a := d.Kid("address")
	if a == nil {
		return nil
	}
	typ, ok := a.Lookup("type")
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
			if v, ok := a.Lookup(name); ok {
				u, ok := parseUint(v)
				if !ok {
					u, err := strconv.ParseUint(v, 16, 64)
					if err != nil {
						return xmlError("Cannot parse <address> '%s' attribute", name)
					}
					a.Set(name, "0x"+strconv.FormatUint(u, 16))
					continue
				}
				a.Set(name, "0x"+strconv.FormatUint(u, 16))
			}
		}
	case "dimm":
		if v, ok := a.Lookup("slot"); !ok {
			return missingAttr(a, "slot")
		} else if u, ok := parseUint(v); ok {
			a.Set("slot", utoa(u))
		}
		keep(a, "type", "slot", "base")
	case "ccw", "spapr-vio", "virtio-s390", "virtio-mmio", "unassigned":
	default:
		return unsupported("unknown address type '%s'", typ)
	}
	return nil
}

func defaultNumbers(a *node, names ...string) error {
	for _, name := range names {
		a.SetDefault(name, "0")
		v, ok := parseUint(a.Get(name))
		if !ok {
			return xmlError("Invalid value for attribute '%s' in element 'address': '%s'. Expected non-negative integer value", name, a.Get(name))
		}
		a.Set(name, utoa(v))
	}
	keep(a, append(names, "type")...)
	return nil
}

func checkPCIAddress(d, a *node) error {
	var v [4]uint64
	for i, name := range []string{"domain", "bus", "slot", "function"} {
		text, ok := a.Lookup(name)
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
	multi := a.Get("multifunction")
	if multi != "" && multi != "on" && multi != "off" {
		return badValue(a, "multifunction", multi)
	}
	if v[0]|v[1]|v[2] == 0 && a.Kid("zpci") == nil {
		// All zero is how documents say "somewhere": the host bridge sits there.
		d.Remove(a)
		return nil
	}
	p := pciAddress{domain: int(v[0]), bus: int(v[1]), slot: int(v[2]), function: int(v[3])}
	keep(a, "type", "multifunction")
	p.put(a)
	return nil
}

var usbPort = regexp.MustCompile(`^[0-9]+(\.[0-9]+){0,3}$`)

func checkUSBAddress(a *node) error {
	keep(a, "type", "bus", "port")
	if p, ok := a.Lookup("port"); ok && !usbPort.MatchString(p) {
		return internalError("Cannot parse <address> 'port' attribute")
	}
	if b, ok := a.Lookup("bus"); ok {
		v, ok := parseUint(b)
		if !ok {
			return xmlError("Invalid value for attribute 'bus' in element 'address': '%s'. Expected non-negative integer value", b)
		}
		a.Set("bus", utoa(v))
	} else {
		a.Set("bus", "0")
	}
	return nil
}

func checkLease(l *node) error {
	if l.KidText("lockspace") == "" {
		return xmlError("Missing 'lockspace' element for lease")
	}
	if l.KidText("key") == "" {
		return xmlError("Missing 'key' element for lease")
	}
	t := l.Kid("target")
	if t == nil || t.Get("path") == "" {
		return missingAttr(xmltree.Elem("target"), "path")
	}
	if t.Get("offset") == "0" {
		t.Unset("offset")
	}
	return nil
}

func checkHub(h *node) error {
	typ, ok := h.Lookup("type")
	if !ok {
		return internalError("missing hub device type")
	}
	if typ != "usb" {
		return unsupported("unknown hub device type '%s'", typ)
	}
	return nil
}

func checkWatchdog(w *node) error {
	model, ok := w.Lookup("model")
	if !ok {
		return internalError("watchdog must contain model name")
	}
	if !slices.Contains([]string{"i6300esb", "ib700", "diag288"}, model) {
		return unsupported("unknown watchdog model '%s'", model)
	}
	w.SetDefault("action", "reset")
	if !slices.Contains([]string{"reset", "shutdown", "poweroff", "pause", "dump", "none", "inject-nmi"}, w.Get("action")) {
		return unsupported("unknown watchdog action '%s'", w.Get("action"))
	}
	return nil
}

func checkPanic(p *node) error {
	model, ok := p.Lookup("model")
	if ok && !slices.Contains([]string{"default", "isa", "pseries", "hyperv", "s390"}, model) {
		return unsupported("unknown panic model '%s'", model)
	}
	if model == "default" {
		p.Unset("model")
	}
	return nil
}

func checkShmem(s *node) error {
	if !s.Has("name") {
		return xmlError("shmem element must contain 'name' attribute")
	}
	m := s.Kid("model")
	if m == nil {
		m = xmltree.Elem("model", "type", "ivshmem")
		s.Add(m)
	}
	if !slices.Contains([]string{"ivshmem", "ivshmem-plain", "ivshmem-doorbell"}, m.Get("type")) {
		return badValue(m, "type", m.Get("type"))
	}
	if m.Get("type") == "ivshmem-plain" && s.Kid("size") == nil {
		s.Add(xmltree.Elem("size", "unit", "M"))
		s.Kid("size").Text = "4"
	}
	if size := s.Kid("size"); size != nil {
		v, err := kib(size, "./size[1]")
		if err != nil {
			return err
		}
		size.Set("unit", "M")
		size.Text = utoa(v / 1024)
	}
	if s.Kid("msi") != nil && s.Kid("msi").Get("enabled") == "no" {
		s.Drop("msi")
	} else if msi := s.Kid("msi"); msi != nil {
		msi.Unset("enabled")
		msi.SetDefault("ioeventfd", "on")
	}
	if srv := s.Kid("server"); srv != nil && srv.Get("path") == "" {
		srv.Unset("path")
	}
	return nil
}

func (def *definition) checkMemoryDevice(m *node) error {
	if err := grammar["memorydev"].check(withoutKids(m)); err != nil {
		return err
	}
	if m.Get("access") == "default" {
		m.Unset("access")
	}
	target := m.Kid("target")
	if target == nil {
		return xmlError("missing <target> element for <memory> device")
	}
	for _, path := range []string{"size", "label/size", "block", "requested", "current"} {
		if err := normalizeKiB(target.Kid(path), "./"+path+"[1]"); err != nil {
			return err
		}
	}
	if def.flags&ParseLive == 0 {
		target.Drop("current")
	}
	if src := m.Kid("source"); src != nil {
		for _, path := range []string{"pagesize", "alignsize"} {
			if err := normalizeKiB(src.Kid(path), "./"+path+"[1]"); err != nil {
				return err
			}
		}
		if n := src.Kid("nodemask"); n != nil {
			b, err := parseBitmap(n.Text)
			if err != nil {
				return err
			}
			n.Text = b.String()
		}
		if len(src.Kids) == 0 {
			m.Remove(src)
		}
	}
	return nil
}

func checkFilesystem(f *node) error {
	f.SetDefault("type", "mount")
	if err := grammar["filesystem"].check(withoutKids(f)); err != nil {
		return err
	}
	if f.Kid("driver").Get("type") != "virtiofs" || f.Kid("source").Get("socket") == "" {
		f.SetDefault("accessmode", "passthrough")
	}
	if f.Get("multidevs") == "default" {
		f.Unset("multidevs")
	}
	for _, name := range []string{"fmode", "dmode"} {
		if v, ok := f.Lookup(name); ok {
			mode, err := strconv.ParseUint(v, 8, 32)
			if err != nil || mode > 0o777 {
				return xmlError("invalid %s: '%s'", name, v)
			}
			f.Set(name, fmt.Sprintf("%04o", mode))
		}
	}
	if d := f.Kid("driver"); d != nil {
		if err := grammar["fsdriver"].check(d); err != nil {
			return err
		}
		if d.Get("wrpolicy") == "default" {
			d.Unset("wrpolicy")
		}
	}
	src, target := f.Kid("source"), f.Kid("target")
	where := ""
	if src != nil && len(src.Attrs) > 0 {
		where = src.Attrs[0].Value
	}
	if where == "" && f.Get("type") != "ram" && f.Get("type") != "volume" {
		return noSource(target.Get("dir"))
	}
	if target == nil || target.Get("dir") == "" {
		return noTarget(where)
	}
	if f.Get("type") == "mount" {
		if d := f.Ensure("driver"); !d.Has("type") {
			d.Set("type", "path")
			if len(d.Attrs) == 1 {
				f.Remove(d)
			}
		}
	}
	return nil
}

func (def *definition) checkRedirdev(r *node) error {
	r.SetDefault("bus", "usb")
	if r.Get("bus") != "usb" {
		return unsupported("unknown redirdev bus '%s'", r.Get("bus"))
	}
	typ, ok := r.Lookup("type")
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
	switch s.Get("mode") {
	case "host":
		s.Unset("type")
		s.Drop("certificate", "database", "source", "protocol")
	case "host-certificates":
		s.Unset("type")
		s.Drop("source", "protocol")
		if len(s.All("certificate")) != 3 {
			return xmlError("host-certificates mode needs exactly three certificates")
		}
		if d := s.Kid("database"); d != nil && !strings.HasPrefix(d.Text, "/") {
			return xmlError("expecting absolute path: %s", d.Text)
		}
	case "passthrough":
		s.Drop("certificate", "database")
		if !s.Has("type") {
			return xmlError("passthrough mode requires a character device type attribute")
		}
		if !slices.Contains(chardevTypes, s.Get("type")) {
			return unsupported("unknown type presented to host for character device: %s", s.Get("type"))
		}
		return def.checkChardevSource(s)
	}
	return nil
}

func (def *definition) checkRNG(r *node) error {
	model := r.Get("model")
	if !slices.Contains([]string{"virtio", "virtio-transitional", "virtio-non-transitional"}, model) {
		return unsupported("unknown RNG model '%s'", model)
	}
	b := r.Kid("backend")
	if b == nil {
		return xmlError("only one RNG backend is supported")
	}
	switch b.Get("model") {
	case "random":
		b.Drop("source", "protocol")
		b.Unset("type")
	case "egd":
		b.Text = ""
		typ, ok := b.Lookup("type")
		if !ok {
			return xmlError("missing EGD backend type")
		}
		if !slices.Contains(chardevTypes, typ) {
			return unsupported("unknown backend type '%s' for egd", typ)
		}
		return def.checkChardevSource(b)
	case "builtin":
		b.Text = ""
		b.Kids = nil
		b.Unset("type")
	default:
		return unsupported("unknown RNG backend model '%s'", b.Get("model"))
	}
	if rate := r.Kid("rate"); rate != nil {
		if rate.Get("bytes") == "0" {
			r.Remove(rate)
		} else if rate.Get("period") == "0" {
			rate.Unset("period")
		}
	}
	return nil
}

func checkTPM(t *node) error {
	if err := grammar["tpm"].check(withoutKids(t)); err != nil {
		return err
	}
	b := t.Kid("backend")
	if b == nil {
		return xmlError("missing TPM device backend")
	}
	if err := grammar["tpmbackend"].check(withoutKids(b)); err != nil {
		return err
	}
	if b.Get("type") != "external" {
		b.Drop("source")
	}
	switch b.Get("type") {
	case "passthrough":
		d := b.Ensure("device")
		d.SetDefault("path", "/dev/tpm0")
		b.Drop("encryption", "active_pcr_banks")
		b.Unset("version", "persistent_state")
	case "emulator":
		b.Drop("device")
		if e := b.Kid("encryption"); e != nil {
			text, ok := parseUUID(e.Get("secret"))
			if !ok {
				return internalError("Unable to parse secret uuid '%s'", e.Get("secret"))
			}
			e.Set("secret", text)
		}
		if p := b.Kid("active_pcr_banks"); p != nil && len(p.Kids) == 0 {
			b.Remove(p)
		}
		if b.Get("persistent_state") == "no" {
			b.Unset("persistent_state")
		}
	}
	return nil
}

func checkInput(in *node) error {
	typ := in.Get("type")
	if !slices.Contains([]string{"mouse", "tablet", "keyboard", "passthrough", "evdev"}, typ) {
		return unsupported("unknown input device type '%s'", typ)
	}
	if typ == "evdev" {
		in.Unset("bus")
		return nil
	}
	bus, ok := in.Lookup("bus")
	if ok && !slices.Contains([]string{"ps2", "usb", "xen", "parallels", "virtio", "none"}, bus) {
		return unsupported("unknown input bus type '%s'", bus)
	}
	if m, ok := in.Lookup("model"); ok && !slices.Contains([]string{"virtio", "virtio-transitional", "virtio-non-transitional"}, m) {
		return badValue(in, "model", m)
	}
	if bus == "" {
		if typ == "mouse" || typ == "keyboard" {
			bus = "ps2"
		} else {
			bus = "usb"
		}
		in.Set("bus", bus)
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
	for _, c := range s.All("codec") {
		if t := c.Get("type"); t != "duplex" && t != "micro" && t != "output" {
			return unsupported("unknown codec type '%s'", t)
		}
	}
	if m := s.Get("model"); m != "ich6" && m != "ich9" {
		s.Drop("codec")
	}
	return nil
}
