package domxml

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var diskFormats = []string{"raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "luks", "ploop", "fat", "vhd", "cow", "qcow", "qcow2", "qed", "vmdk"}

func (def *definition) checkDisk(d *node) error {
	d.setDefault("type", "file")
	d.setDefault("device", "disk")
	if err := grammar["disk"].check(withoutKids(d)); err != nil {
		return err
	}
	if err := def.checkDiskSource(d); err != nil {
		return err
	}
	target := d.kid("target")
	if target == nil || target.get("dev") == "" {
		return noTarget(diskPath(d))
	}
	if err := grammar["disktarget"].check(target); err != nil {
		return err
	}
	if target.get("bus") == "" || target.get("bus") == "none" {
		target.set("bus", defaultBus(d, target.get("dev")))
	}
	if err := checkDiskDriver(d); err != nil {
		return err
	}
	return checkDiskDetails(d, target)
}

// diskPath names the disk's source in messages.
func diskPath(d *node) string {
	s := d.kid("source")
	for _, a := range []string{"file", "dev", "dir", "name", "volume", "path"} {
		if v := s.get(a); v != "" {
			return v
		}
	}
	return ""
}

// defaultBus guesses the bus from the device's name, as old documents want it.
func defaultBus(d *node, dev string) string {
	switch {
	case d.get("device") == "floppy":
		return "fdc"
	case strings.HasPrefix(dev, "hd"):
		return "ide"
	case strings.HasPrefix(dev, "sd"):
		return "scsi"
	case strings.HasPrefix(dev, "vd"):
		return "virtio"
	case strings.HasPrefix(dev, "xvd"):
		return "xen"
	case strings.HasPrefix(dev, "ubd"):
		return "uml"
	}
	return "ide"
}

func (def *definition) checkDiskSource(d *node) error {
	def.readResolved(d)
	if s := d.kid("source"); s != nil {
		if err := checkStorageSource(d, s); err != nil {
			return err
		}
		if def.flags&ParseLive == 0 {
			s.unset("index")
		}
		if s.get("startupPolicy") != "" && !slices.Contains([]string{"default", "mandatory", "requisite", "optional"}, s.get("startupPolicy")) {
			return badValue(s, "startupPolicy", s.get("startupPolicy"))
		}
		if s.get("startupPolicy") == "default" {
			s.unset("startupPolicy")
		}
		if s.empty() {
			d.remove(s)
		}
	}
	if b := d.kid("backingStore"); b != nil {
		if err := def.checkBackingStore(b); err != nil {
			return err
		}
		if def.flags&ParseLive == 0 && b.empty() {
			b.open = false
		}
	}
	if def.flags&ParseLive == 0 {
		d.drop("mirror")
	}
	if a := d.kid("auth"); a != nil {
		if err := checkAuth(a); err != nil {
			return err
		}
	}
	if e := d.kid("encryption"); e != nil {
		return checkEncryption(e)
	}
	return nil
}

func (def *definition) checkBackingStore(b *node) error {
	if b.empty() {
		return nil
	}
	b.setDefault("type", "file")
	def.readResolved(b)
	if def.flags&ParseLive == 0 {
		b.unset("index")
	}
	f := b.kid("format")
	if f.get("type") == "" {
		return xmlError("missing backing store format")
	}
	if !slices.Contains(diskFormats, f.get("type")) {
		return unsupported("unknown driver format value '%s'", f.get("type"))
	}
	s := b.kid("source")
	if s == nil {
		return xmlError("missing disk backing store source")
	}
	if err := checkStorageSource(b, s); err != nil {
		return err
	}
	if next := b.kid("backingStore"); next != nil {
		return def.checkBackingStore(next)
	}
	return nil
}

var networkProtocols = map[string]string{ // and the port that is spelled out
	"nbd": "10809", "rbd": "", "sheepdog": "7000", "gluster": "24007", "iscsi": "3260", "http": "80", "https": "443", "ftp": "21", "ftps": "990",
	"tftp": "69", "ssh": "22", "vxhs": "9999", "nfs": "",
}

// checkStorageSource reads <source> of the type its owner names.
func checkStorageSource(owner, s *node) error {
	typ := owner.get("type")
	common := []string{"startupPolicy", "index"}
	reconnect := false
	switch typ {
	case "file":
		s.keep(append(common, "file")...)
	case "block":
		s.keep(append(common, "dev")...)
	case "dir":
		s.keep(append(common, "dir")...)
	case "network":
		if err := checkNetworkSource(s); err != nil {
			return err
		}
		s.keep(append(common, "protocol", "name", "query", "tls", "tlsHostname")...)
	case "volume":
		if s.get("pool") == "" || s.get("volume") == "" {
			if len(s.attrs) > 0 {
				return xmlError("Missing required attribute '%s' in element 'source'", map[bool]string{true: "pool", false: "volume"}[s.get("pool") == ""])
			}
		}
		s.keep(append(common, "pool", "volume", "mode")...)
	case "nvme":
		if s.get("type") != "pci" {
			return xmlError("unsupported source type '%s'", s.get("type"))
		}
		if !s.has("namespace") {
			return missingAttr(s, "namespace")
		}
		a := s.kid("address")
		if a == nil {
			return xmlError("NVMe disk source is missing address")
		}
		if err := checkHostPCI(a); err != nil {
			return err
		}
		s.setDefault("managed", "yes")
	case "vhostuser":
		reconnect = true
		if s.get("type") != "unix" {
			return badValue(s, "type", s.get("type"))
		}
		s.keep("type", "path")
	}
	if !reconnect {
		s.drop("reconnect")
	}
	for _, e := range []string{"auth", "encryption"} {
		if k := s.kid(e); k != nil {
			f := checkAuth
			if e == "encryption" {
				f = checkEncryption
			}
			if err := f(k); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkNetworkSource(s *node) error {
	protocol, ok := s.lookup("protocol")
	if !ok {
		return missingAttr(s, "protocol")
	}
	port, known := networkProtocols[protocol]
	if !known {
		return badValue(s, "protocol", protocol)
	}
	if s.get("name") == "" && protocol != "nbd" {
		return xmlError("missing name for disk source")
	}
	if v, ok := s.lookup("tls"); ok && v != "yes" && v != "no" {
		return badValue(s, "tls", v)
	}
	for _, h := range s.all("host") {
		transport, ok := h.lookup("transport")
		if ok && transport != "tcp" && transport != "unix" && transport != "rdma" {
			return badValue(h, "transport", transport)
		}
		if transport == "unix" {
			if !h.has("socket") {
				return xmlError("missing socket for unix transport")
			}
			continue
		}
		if !h.has("name") {
			return xmlError("missing name for host")
		}
		if port != "" {
			h.setDefault("port", port)
		}
		if transport == "tcp" {
			h.unset("transport")
		}
	}
	if v := s.kid("ssl"); v != nil && v.get("verify") != "yes" && v.get("verify") != "no" {
		return badValue(v, "verify", v.get("verify"))
	}
	return nil
}

func checkAuth(a *node) error {
	if a.get("username") == "" {
		return xmlError("missing username for auth")
	}
	s := a.kid("secret")
	if s == nil {
		return xmlError("missing <secret> element in auth")
	}
	return checkSecretRef(s)
}

func checkSecretRef(s *node) error {
	id, hasID := s.lookup("uuid")
	if !hasID && !s.has("usage") {
		return xmlError("missing secret uuid or usage attribute")
	}
	if hasID {
		if s.has("usage") {
			return xmlError("either secret uuid or usage expected")
		}
		text, ok := parseUUID(id)
		if !ok {
			return xmlError("invalid secret uuid '%s'", id)
		}
		s.set("uuid", text)
	}
	return nil
}

func checkEncryption(e *node) error {
	format := e.get("format")
	if !slices.Contains([]string{"default", "qcow", "luks", "luks2", "luks-any"}, format) {
		return unsupported("unknown volume encryption format type %s", format)
	}
	if v, ok := e.lookup("engine"); ok && v != "qemu" && v != "librbd" {
		return unsupported("unknown volume encryption engine type %s", v)
	}
	for _, s := range e.all("secret") {
		if s.get("type") != "passphrase" {
			return xmlError("unknown volume encryption secret type %s", s.get("type"))
		}
		if err := checkSecretRef(s); err != nil {
			return err
		}
	}
	return nil
}

func checkDiskDriver(d *node) error {
	drv := d.kid("driver")
	if drv == nil {
		return nil
	}
	if err := grammar["diskdriver"].check(drv); err != nil {
		return err
	}
	if f, ok := drv.lookup("type"); ok && f != "aio" && !slices.Contains(diskFormats, f) {
		return unsupported("unknown driver format value '%s'", f)
	}
	for attr, def := range map[string]string{"cache": "default", "error_policy": "default", "rerror_policy": "default"} {
		if drv.get(attr) == def {
			drv.unset(attr)
		}
	}
	if m := drv.kid("metadata_cache/max_size"); m != nil {
		v, err := kib(m, "./metadata_cache/max_size")
		if err != nil {
			return err
		}
		m.set("unit", "bytes")
		m.text = utoa(v * 1024)
	}
	return nil
}

func checkDiskDetails(d, target *node) error {
	if d.get("sgio") == "default" {
		d.unset("sgio")
	}
	for _, k := range []string{"serial", "wwn", "vendor", "product"} {
		if d.kid(k) != nil && d.kidText(k) == "" {
			d.drop(k)
		}
	}
	if w := d.kid("wwn"); w != nil && !validWWN(w.text) {
		return internalError("Malformed wwn: %s", w.text)
	}
	if v := d.kidText("vendor"); len(v) > 8 {
		return unsupported("disk vendor is more than 8 characters")
	} else if !printable(v) {
		return xmlError("disk vendor is not printable string")
	}
	if v := d.kidText("product"); len(v) > 16 {
		return unsupported("disk product is more than 16 characters")
	} else if !printable(v) {
		return xmlError("disk product is not printable string")
	}
	if g := d.kid("geometry"); g != nil {
		if v, ok := g.lookup("trans"); ok && !slices.Contains([]string{"default", "none", "auto", "lba"}, v) {
			return badValue(g, "trans", v)
		}
		if g.get("trans") == "default" {
			g.unset("trans")
		}
	}
	if target.get("tray") == "closed" {
		target.unset("tray")
	}
	if d.get("device") != "cdrom" && d.get("device") != "floppy" {
		target.unset("tray")
	}
	if d.get("device") == "cdrom" && d.kid("readonly") == nil {
		d.add(elem("readonly"))
	}
	for _, k := range d.kid("iotune").elements() {
		if _, err := strconv.ParseUint(k.text, 10, 64); err != nil && k.name != "group_name" {
			return xmlError("disk iotune field '%s' must be an integer", k.name)
		}
	}
	if g := d.kid("geometry"); g != nil {
		for _, a := range []string{"cyls", "heads", "secs"} {
			if !g.has(a) {
				d.remove(g) // incomplete, so none
				break
			}
		}
	}
	switch device, bus := d.get("device"), target.get("bus"); {
	case device == "floppy" && bus != "fdc":
		return internalError("Invalid bus type '%s' for floppy disk", bus)
	case device != "floppy" && bus == "fdc":
		return internalError("Invalid bus type '%s' for disk", bus)
	}
	if d.get("snapshot") == "no" && d.kid("readonly") != nil {
		d.unset("snapshot")
	}
	if d.get("type") == "vhostuser" {
		d.set("snapshot", "no")
	}
	return nil
}

func validWWN(s string) bool {
	s = strings.TrimPrefix(s, "0x")
	return len(s) == 16 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

// diskIndex turns a device's name into its place on the bus: vda is 0, sdaa is 26. False for a name that has none.
func diskIndex(dev string) (int, bool) {
	for _, prefix := range []string{"fd", "hd", "vd", "sd", "xvd", "ubd"} {
		rest, ok := strings.CutPrefix(dev, prefix)
		if !ok {
			continue
		}
		rest = strings.TrimRight(rest, "0123456789")
		if rest == "" || len(rest) > 5 {
			return 0, false
		}
		idx := 0
		for _, c := range rest {
			if c < 'a' || c > 'z' {
				return 0, false
			}
			idx = idx*26 + int(c-'a') + 1
		}
		return idx - 1, true
	}
	return 0, false
}

// checkHostPCI reads the address of a device of the host.
func checkHostPCI(a *node) error {
	for _, name := range []string{"domain", "bus", "slot", "function"} {
		v, ok := parseUint(a.get(name))
		if a.has(name) && !ok {
			return xmlError("Invalid value for attribute '%s' in element 'address': '%s'. Expected non-negative integer value", name, a.get(name))
		}
		width := 2
		switch name {
		case "domain":
			width = 4
		case "function":
			width = 1
		}
		a.set(name, fmt.Sprintf("0x%0*x", width, v))
	}
	a.keep("type", "domain", "bus", "slot", "function", "multifunction")
	return nil
}
