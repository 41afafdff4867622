package domxml

import (
	"net/netip"
	"slices"

	"virtree/wire/liberr"
)

var chardevTypes = []string{"null", "vc", "pty", "dev", "file", "pipe", "stdio", "udp", "tcp", "unix", "spicevmc", "spiceport", "nmdm", "qemu-vdagent", "dbus"}

var chardevTargets = map[string][]string{
	"serial":   {"none", "isa-serial", "usb-serial", "pci-serial", "spapr-vio-serial", "system-serial", "sclp-serial", "isa-debug"},
	"console":  {"none", "serial", "xen", "uml", "virtio", "lxc", "openvz", "sclp", "sclplm"},
	"channel":  {"none", "guestfwd", "virtio", "xen"},
	"parallel": {"none"},
}

// serialModels says which target type a model of a serial port belongs to, and which model is the type's own.
var serialModels = map[string]string{
	"isa-serial": "isa-serial", "usb-serial": "usb-serial", "pci-serial": "pci-serial", "spapr-vty": "spapr-vio-serial",
	"pl011": "system-serial", "16550a": "system-serial", "sclpconsole": "sclp-serial", "sclplmconsole": "sclp-serial", "isa-debugcon": "isa-debug",
}

// checkChardev reads a serial, parallel, console or channel device.
func (def *definition) checkChardev(c *node) error {
	c.SetDefault("type", "pty")
	if !slices.Contains(chardevTypes, c.Get("type")) {
		return unsupported("unknown type presented to host for character device: %s", c.Get("type"))
	}
	if err := def.checkChardevTarget(c); err != nil {
		return err
	}
	return def.checkChardevSource(c)
}

func (def *definition) checkChardevTarget(c *node) error {
	t := c.Kid("target")
	typ, ok := t.Lookup("type")
	if c.Name == "channel" {
		if t == nil {
			return xmlError("target type must be specified for channel device")
		}
		if !ok {
			return unsupported("unknown target type '%s' specified for character device", "(null)")
		}
	}
	if ok && c.Name != "parallel" && !slices.Contains(chardevTargets[c.Name], typ) {
		return unsupported("unknown target type '%s' specified for character device", typ)
	}
	switch c.Name {
	case "channel":
		return def.checkChannelTarget(t, typ)
	case "serial":
		t = c.Ensure("target")
		if err := def.checkISAPort(c, t, typ); err != nil {
			return err
		}
		if m := t.Kid("model"); m != nil {
			owner, known := serialModels[m.Get("name")]
			if !known {
				return unsupported("unknown target model '%s' specified for character device", m.Get("name"))
			}
			if typ != "" && typ != "none" && owner != typ {
				return unsupported("Target model '%s' requires target type '%s'", m.Get("name"), owner)
			}
		}
		if typ == "none" {
			t.Unset("type")
		}
	case "console":
		t = c.Ensure("target")
		switch typ {
		case "sclp", "sclplm":
			return qemuUnsupported("%sconsole is not supported in this QEMU binary", typ)
		case "xen", "uml", "lxc", "openvz":
			return qemuUnsupported("unsupported console target type %s", typ)
		}
		if typ == "none" {
			t.Unset("type")
		}
	case "parallel":
		t = c.Ensure("target")
		keep(t, "port")
	}
	if p, ok := t.Lookup("port"); ok {
		v, ok := parseUint(p)
		if !ok {
			return xmlError("Invalid port number: %s", p)
		}
		t.Set("port", utoa(v))
	}
	return nil
}

// checkISAPort: a PC has four serial ports, and libvirt looks as soon as a document calls its port one of them.
func (def *definition) checkISAPort(c, t *node, typ string) error {
	if typ != "isa-serial" || def.flags&ParseTrusted != 0 {
		return nil
	}
	if !t.Has("port") {
		next := 0
		for _, o := range def.devices.All("serial") {
			if o == c {
				break
			}
			if v, ok := uintOf(o.Kid("target"), "port"); ok {
				next = max(next, int(v)+1)
			}
		}
		t.Set("port", utoa(next))
	}
	if v, ok := uintOf(t, "port"); ok && v >= 4 {
		return internalError("Maximum supported number of ISA serial ports is '4'")
	}
	for _, o := range def.devices.All("serial") {
		if o == c {
			break
		}
		if ot := o.Kid("target"); ot.Get("type") == "isa-serial" && ot.Get("port") == t.Get("port") {
			return internalError("target port '%s' already allocated", t.Get("port"))
		}
	}
	return nil
}

func (def *definition) checkChannelTarget(t *node, typ string) error {
	switch typ {
	case "guestfwd":
		if !t.Has("address") {
			return xmlError("guestfwd channel does not define a target address")
		}
		if a, err := netip.ParseAddr(t.Get("address")); err != nil {
			return liberr.New(liberr.FromDomain, liberr.SystemError, "Cannot parse socket address '%s': Name or service not known", t.Get("address"))
		} else if !a.Is4() {
			return unsupported("guestfwd channel only supports IPv4 addresses")
		}
		if !t.Has("port") {
			return xmlError("guestfwd channel does not define a target port")
		}
		if _, ok := parseUint(t.Get("port")); !ok {
			return xmlError("Invalid port number: %s", t.Get("port"))
		}
	default:
		t.Unset("port", "address")
	}
	if def.flags&ParseLive == 0 {
		t.Unset("state")
	}
	return nil
}

// checkChardevSource reads the host side of a character device; the device's type is that of the source.
func (def *definition) checkChardevSource(c *node) error {
	typ := c.Get("type")
	sources := c.All("source")
	var first *node
	if len(sources) > 0 {
		first = sources[0]
	}
	if err := def.trimSources(c, typ, sources); err != nil {
		return err
	}
	if l := c.Kid("log"); l != nil && !l.Has("file") {
		c.Remove(l)
	}
	if typ != "tcp" {
		c.Drop("protocol")
	}
	switch typ {
	case "file", "dev", "pipe":
		if first.Get("path") == "" {
			return internalError("Missing source path attribute for char device")
		}
	case "unix":
		if first.Get("path") == "" && c.Name != "channel" {
			return internalError("Missing source path attribute for char device")
		}
	case "spiceport":
		if first.Get("channel") == "" {
			return unsupported("Missing source channel attribute for char device")
		}
	case "tcp":
		return checkTCP(c, first)
	case "nmdm":
		if first.Get("master") == "" {
			return internalError("Missing master path attribute for nmdm device")
		}
	}
	return nil
}

func checkTCP(c, s *node) error {
	if !s.Has("host") && s.Get("mode") != "bind" {
		return internalError("Missing source host attribute for char device")
	}
	if !s.Has("service") {
		return internalError("Missing source service attribute for char device")
	}
	p := c.Ensure("protocol")
	p.SetDefault("type", "raw")
	if !slices.Contains([]string{"raw", "telnet", "telnets", "tls"}, p.Get("type")) {
		return unsupported("Unknown protocol '%s'", p.Get("type"))
	}
	return nil
}

// trimSources keeps of every <source> what the type knows.
func (def *definition) trimSources(c *node, typ string, sources []*node) error {
	for i, s := range sources {
		if m, ok := s.Lookup("mode"); ok && (typ == "tcp" || typ == "unix" || typ == "udp") {
			if m != "bind" && m != "connect" {
				return badValue(s, "mode", m)
			}
		}
		if typ != "udp" && i > 0 {
			c.Remove(s)
			continue
		}
		switch typ {
		case "file":
			keep(s, "path", "append")
			if v, ok := s.Lookup("append"); ok && v != "on" && v != "off" {
				return badValue(s, "append", v)
			}
		case "dev", "pipe":
			keep(s, "path")
		case "pty":
			keep(s, "path")
			if def.flags&ParseLive == 0 {
				s.Unset("path")
			}
		case "unix":
			s.SetDefault("mode", "connect")
			keep(s, "mode", "path")
		case "tcp":
			s.SetDefault("mode", "connect")
			keep(s, "mode", "host", "service", "tls")
		case "udp":
			s.SetDefault("mode", "connect")
			keep(s, "mode", "host", "service")
		case "spiceport", "dbus":
			keep(s, "channel")
		case "nmdm":
			keep(s, "master", "slave")
		default:
			keep(s)
		}
		for _, l := range s.All("seclabel") {
			if l.Kid("label") != nil {
				l.SetDefault("relabel", "yes")
			}
		}
		if typ != "qemu-vdagent" {
			s.Drop("clipboard", "mouse")
		}
		if typ != "unix" && typ != "tcp" {
			s.Drop("reconnect")
		}
		if r := s.Kid("reconnect"); r != nil {
			if s.Get("mode") != "connect" {
				s.Remove(r)
			} else if r.Get("enabled") != "yes" {
				r.Unset("timeout")
			}
		}
		if s.Empty() || typ == "unix" && s.Get("path") == "" {
			c.Remove(s)
		}
	}
	if def.flags&ParseLive == 0 {
		c.Unset("tty")
	}
	return nil
}
