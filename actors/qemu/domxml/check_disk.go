package domxml

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
)

var diskFormats = []string{"raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "luks", "ploop", "fat", "vhd", "cow", "qcow", "qcow2", "qed", "vmdk"}

func (def *definition) checkDisk(d *node) error {
	d.SetDefault("type", "file")
	d.SetDefault("device", "disk")
	if err := grammar["disk"].check(withoutKids(d)); err != nil {
		return err
	}
	if err := def.checkDiskSource(d); err != nil {
		return err
	}
	target := d.Kid("target")
	if target == nil || target.Get("dev") == "" {
		return noTarget(diskPath(d))
	}
	if err := grammar["disktarget"].check(target); err != nil {
		return err
	}
	if target.Get("bus") == "" || target.Get("bus") == "none" {
		target.Set("bus", defaultBus(d, target.Get("dev")))
	}
	if err := checkDiskDriver(d); err != nil {
		return err
	}
	return checkDiskDetails(d, target)
}

// diskPath names the disk's source in messages.
func diskPath(d *node) string {
	s := d.Kid("source")
	for _, a := range []string{"file", "dev", "dir", "name", "volume", "path"} {
		if v := s.Get(a); v != "" {
			return v
		}
	}
	return ""
}

// defaultBus guesses the bus from the device's name, as old documents want it.
func defaultBus(d *node, dev string) string {
	switch {
	case d.Get("device") == "floppy":
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
	if s := d.Kid("source"); s != nil {
		if err := checkStorageSource(d, s); err != nil {
			return err
		}
		if def.flags&ParseLive == 0 {
			s.Unset("index")
		}
		if s.Get("startupPolicy") != "" && !slices.Contains([]string{"default", "mandatory", "requisite", "optional"}, s.Get("startupPolicy")) {
			return badValue(s, "startupPolicy", s.Get("startupPolicy"))
		}
		if s.Get("startupPolicy") == "default" {
			s.Unset("startupPolicy")
		}
		if s.Empty() {
			d.Remove(s)
		}
	}
	if b := d.Kid("backingStore"); b != nil {
		if err := def.checkBackingStore(b); err != nil {
			return err
		}
		if def.flags&ParseLive == 0 && b.Empty() {
			b.Open = false
		}
	}
	if def.flags&ParseLive == 0 {
		d.Drop("mirror")
	}
	if a := d.Kid("auth"); a != nil {
		if err := checkAuth(a); err != nil {
			return err
		}
	}
	if e := d.Kid("encryption"); e != nil {
		return checkEncryption(e)
	}
	return nil
}

func (def *definition) checkBackingStore(b *node) error {
	if b.Empty() {
		return nil
	}
	b.SetDefault("type", "file")
	def.readResolved(b)
	if def.flags&ParseLive == 0 {
		b.Unset("index")
	}
	f := b.Kid("format")
	if f.Get("type") == "" {
		return xmlError("missing backing store format")
	}
	if !slices.Contains(diskFormats, f.Get("type")) {
		return unsupported("unknown driver format value '%s'", f.Get("type"))
	}
	s := b.Kid("source")
	if s == nil {
		return xmlError("missing disk backing store source")
	}
	if err := checkStorageSource(b, s); err != nil {
		return err
	}
	if next := b.Kid("backingStore"); next != nil {
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
	typ := owner.Get("type")
	common := []string{"startupPolicy", "index"}
	reconnect := false
	switch typ {
	case "file":
		keep(s, append(common, "file")...)
	case "block":
		keep(s, append(common, "dev")...)
	case "dir":
		keep(s, append(common, "dir")...)
	case "network":
		if err := checkNetworkSource(s); err != nil {
			return err
		}
		keep(s, append(common, "protocol", "name", "query", "tls", "tlsHostname")...)
	case "volume":
		if s.Get("pool") == "" || s.Get("volume") == "" {
			if len(s.Attrs) > 0 {
				return xmlError("Missing required attribute '%s' in element 'source'", map[bool]string{true: "pool", false: "volume"}[s.Get("pool") == ""])
			}
		}
		keep(s, append(common, "pool", "volume", "mode")...)
	case "nvme":
		if s.Get("type") != "pci" {
			return xmlError("unsupported source type '%s'", s.Get("type"))
		}
		if !s.Has("namespace") {
			return missingAttr(s, "namespace")
		}
		a := s.Kid("address")
		if a == nil {
			return xmlError("NVMe disk source is missing address")
		}
		if err := checkHostPCI(a); err != nil {
			return err
		}
		s.SetDefault("managed", "yes")
	case "vhostuser":
		reconnect = true
		if s.Get("type") != "unix" {
			return badValue(s, "type", s.Get("type"))
		}
		keep(s, "type", "path")
	}
	if !reconnect {
		s.Drop("reconnect")
	}
	for _, e := range []string{"auth", "encryption"} {
		if k := s.Kid(e); k != nil {
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
	protocol, ok := s.Lookup("protocol")
	if !ok {
		return missingAttr(s, "protocol")
	}
	port, known := networkProtocols[protocol]
	if !known {
		return badValue(s, "protocol", protocol)
	}
	if s.Get("name") == "" && protocol != "nbd" {
		return xmlError("missing name for disk source")
	}
	if v, ok := s.Lookup("tls"); ok && v != "yes" && v != "no" {
		return badValue(s, "tls", v)
	}
	for _, h := range s.All("host") {
		transport, ok := h.Lookup("transport")
		if ok && transport != "tcp" && transport != "unix" && transport != "rdma" {
			return badValue(h, "transport", transport)
		}
		if transport == "unix" {
			if !h.Has("socket") {
				return xmlError("missing socket for unix transport")
			}
			continue
		}
		if !h.Has("name") {
			return xmlError("missing name for host")
		}
		if port != "" {
			h.SetDefault("port", port)
		}
		if transport == "tcp" {
			h.Unset("transport")
		}
	}
	if v := s.Kid("ssl"); v != nil && v.Get("verify") != "yes" && v.Get("verify") != "no" {
		return badValue(v, "verify", v.Get("verify"))
	}
	return nil
}

func checkAuth(a *node) error {
	if a.Get("username") == "" {
		return xmlError("missing username for auth")
	}
	s := a.Kid("secret")
	if s == nil {
		return xmlError("missing <secret> element in auth")
	}
	return checkSecretRef(s)
}

func checkSecretRef(s *node) error {
	id, hasID := s.Lookup("uuid")
	if !hasID && !s.Has("usage") {
		return xmlError("missing secret uuid or usage attribute")
	}
	if hasID {
		if s.Has("usage") {
			return xmlError("either secret uuid or usage expected")
		}
		text, ok := parseUUID(id)
		if !ok {
			return xmlError("invalid secret uuid '%s'", id)
		}
		s.Set("uuid", text)
	}
	return nil
}

func checkEncryption(e *node) error {
	format := e.Get("format")
	if !slices.Contains([]string{"default", "qcow", "luks", "luks2", "luks-any"}, format) {
		return unsupported("unknown volume encryption format type %s", format)
	}
	if v, ok := e.Lookup("engine"); ok && v != "qemu" && v != "librbd" {
		return unsupported("unknown volume encryption engine type %s", v)
	}
	for _, s := range e.All("secret") {
		if s.Get("type") != "passphrase" {
			return xmlError("unknown volume encryption secret type %s", s.Get("type"))
		}
		if err := checkSecretRef(s); err != nil {
			return err
		}
	}
	return nil
}

func checkDiskDriver(d *node) error {
	drv := d.Kid("driver")
	if drv == nil {
		return nil
	}
	if err := grammar["diskdriver"].check(drv); err != nil {
		return err
	}
	if f, ok := drv.Lookup("type"); ok && f != "aio" && !slices.Contains(diskFormats, f) {
		return unsupported("unknown driver format value '%s'", f)
	}
	for attr, def := range map[string]string{"cache": "default", "error_policy": "default", "rerror_policy": "default"} {
		if drv.Get(attr) == def {
			drv.Unset(attr)
		}
	}
	if m := drv.Kid("metadata_cache/max_size"); m != nil {
		v, err := kib(m, "./metadata_cache/max_size")
		if err != nil {
			return err
		}
		m.Set("unit", "bytes")
		m.Text = utoa(v * 1024)
	}
	return nil
}

func checkDiskDetails(d, target *node) error {
	if d.Get("sgio") == "default" {
		d.Unset("sgio")
	}
	for _, k := range []string{"serial", "wwn", "vendor", "product"} {
		if d.Kid(k) != nil && d.KidText(k) == "" {
			d.Drop(k)
		}
	}
	if w := d.Kid("wwn"); w != nil && !validWWN(w.Text) {
		return internalError("Malformed wwn: %s", w.Text)
	}
	if v := d.KidText("vendor"); len(v) > 8 {
		return unsupported("disk vendor is more than 8 characters")
	} else if !printable(v) {
		return xmlError("disk vendor is not printable string")
	}
	if v := d.KidText("product"); len(v) > 16 {
		return unsupported("disk product is more than 16 characters")
	} else if !printable(v) {
		return xmlError("disk product is not printable string")
	}
	if g := d.Kid("geometry"); g != nil {
		if v, ok := g.Lookup("trans"); ok && !slices.Contains([]string{"default", "none", "auto", "lba"}, v) {
			return badValue(g, "trans", v)
		}
		if g.Get("trans") == "default" {
			g.Unset("trans")
		}
	}
	if target.Get("tray") == "closed" {
		target.Unset("tray")
	}
	if d.Get("device") != "cdrom" && d.Get("device") != "floppy" {
		target.Unset("tray")
	}
	if d.Get("device") == "cdrom" && d.Kid("readonly") == nil {
		d.Add(xmltree.Elem("readonly"))
	}
	for _, k := range elements(d.Kid("iotune")) {
		if _, err := strconv.ParseUint(k.Text, 10, 64); err != nil && k.Name != "group_name" {
			return xmlError("disk iotune field '%s' must be an integer", k.Name)
		}
	}
	if g := d.Kid("geometry"); g != nil {
		for _, a := range []string{"cyls", "heads", "secs"} {
			if !g.Has(a) {
				d.Remove(g) // incomplete, so none
				break
			}
		}
	}
	switch device, bus := d.Get("device"), target.Get("bus"); {
	case device == "floppy" && bus != "fdc":
		return internalError("Invalid bus type '%s' for floppy disk", bus)
	case device != "floppy" && bus == "fdc":
		return internalError("Invalid bus type '%s' for disk", bus)
	}
	if d.Get("snapshot") == "no" && d.Kid("readonly") != nil {
		d.Unset("snapshot")
	}
	if d.Get("type") == "vhostuser" {
		d.Set("snapshot", "no")
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
		v, ok := parseUint(a.Get(name))
		if a.Has(name) && !ok {
			return xmlError("Invalid value for attribute '%s' in element 'address': '%s'. Expected non-negative integer value", name, a.Get(name))
		}
		width := 2
		switch name {
		case "domain":
			width = 4
		case "function":
			width = 1
		}
		a.Set(name, fmt.Sprintf("0x%0*x", width, v))
	}
	keep(a, "type", "domain", "bus", "slot", "function", "multifunction")
	return nil
}
