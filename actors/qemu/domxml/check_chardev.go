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
	c.setDefault("type", "pty")
	if !slices.Contains(chardevTypes, c.get("type")) {
		return unsupported("unknown type presented to host for character device: %s", c.get("type"))
	}
	if err := def.checkChardevTarget(c); err != nil {
		return err
	}
	return def.checkChardevSource(c)
}

func (def *definition) checkChardevTarget(c *node) error {
	t := c.kid("target")
	typ, ok := t.lookup("type")
	if c.name == "channel" {
		if t == nil {
			return xmlError("target type must be specified for channel device")
		}
		if !ok {
			return unsupported("unknown target type '%s' specified for character device", "(null)")
		}
	}
	if ok && c.name != "parallel" && !slices.Contains(chardevTargets[c.name], typ) {
		return unsupported("unknown target type '%s' specified for character device", typ)
	}
	switch c.name {
	case "channel":
		return def.checkChannelTarget(t, typ)
	case "serial":
		t = c.ensure("target")
		if err := def.checkISAPort(c, t, typ); err != nil {
			return err
		}
		if m := t.kid("model"); m != nil {
			owner, known := serialModels[m.get("name")]
			if !known {
				return unsupported("unknown target model '%s' specified for character device", m.get("name"))
			}
			if typ != "" && typ != "none" && owner != typ {
				return unsupported("Target model '%s' requires target type '%s'", m.get("name"), owner)
			}
		}
		if typ == "none" {
			t.unset("type")
		}
	case "console":
		t = c.ensure("target")
		switch typ {
		case "sclp", "sclplm":
			return qemuUnsupported("%sconsole is not supported in this QEMU binary", typ)
		case "xen", "uml", "lxc", "openvz":
			return qemuUnsupported("unsupported console target type %s", typ)
		}
		if typ == "none" {
			t.unset("type")
		}
	case "parallel":
		t = c.ensure("target")
		t.keep("port")
	}
	if p, ok := t.lookup("port"); ok {
		v, ok := parseUint(p)
		if !ok {
			return xmlError("Invalid port number: %s", p)
		}
		t.set("port", utoa(v))
	}
	return nil
}

// checkISAPort: a PC has four serial ports, and libvirt looks as soon as a document calls its port one of them.
func (def *definition) checkISAPort(c, t *node, typ string) error {
	if typ != "isa-serial" || def.flags&ParseTrusted != 0 {
		return nil
	}
	if !t.has("port") {
		next := 0
		for _, o := range def.devices.all("serial") {
			if o == c {
				break
			}
			if v, ok := o.kid("target").uint("port"); ok {
				next = max(next, int(v)+1)
			}
		}
		t.set("port", utoa(next))
	}
	if v, ok := t.uint("port"); ok && v >= 4 {
		return internalError("Maximum supported number of ISA serial ports is '4'")
	}
	for _, o := range def.devices.all("serial") {
		if o == c {
			break
		}
		if ot := o.kid("target"); ot.get("type") == "isa-serial" && ot.get("port") == t.get("port") {
			return internalError("target port '%s' already allocated", t.get("port"))
		}
	}
	return nil
}

func (def *definition) checkChannelTarget(t *node, typ string) error {
	switch typ {
	case "guestfwd":
		if !t.has("address") {
			return xmlError("guestfwd channel does not define a target address")
		}
		if a, err := netip.ParseAddr(t.get("address")); err != nil {
			return liberr.New(liberr.FromDomain, liberr.SystemError, "Cannot parse socket address '%s': Name or service not known", t.get("address"))
		} else if !a.Is4() {
			return unsupported("guestfwd channel only supports IPv4 addresses")
		}
		if !t.has("port") {
			return xmlError("guestfwd channel does not define a target port")
		}
		if _, ok := parseUint(t.get("port")); !ok {
			return xmlError("Invalid port number: %s", t.get("port"))
		}
	default:
		t.unset("port", "address")
	}
	if def.flags&ParseLive == 0 {
		t.unset("state")
	}
	return nil
}

// checkChardevSource reads the host side of a character device; the device's type is that of the source.
func (def *definition) checkChardevSource(c *node) error {
	typ := c.get("type")
	sources := c.all("source")
	var first *node
	if len(sources) > 0 {
		first = sources[0]
	}
	if err := def.trimSources(c, typ, sources); err != nil {
		return err
	}
	if l := c.kid("log"); l != nil && !l.has("file") {
		c.remove(l)
	}
	if typ != "tcp" {
		c.drop("protocol")
	}
	switch typ {
	case "file", "dev", "pipe":
		if first.get("path") == "" {
			return internalError("Missing source path attribute for char device")
		}
	case "unix":
		if first.get("path") == "" && c.name != "channel" {
			return internalError("Missing source path attribute for char device")
		}
	case "spiceport":
		if first.get("channel") == "" {
			return unsupported("Missing source channel attribute for char device")
		}
	case "tcp":
		return checkTCP(c, first)
	case "nmdm":
		if first.get("master") == "" {
			return internalError("Missing master path attribute for nmdm device")
		}
	}
	return nil
}

func checkTCP(c, s *node) error {
	if !s.has("host") && s.get("mode") != "bind" {
		return internalError("Missing source host attribute for char device")
	}
	if !s.has("service") {
		return internalError("Missing source service attribute for char device")
	}
	p := c.ensure("protocol")
	p.setDefault("type", "raw")
	if !slices.Contains([]string{"raw", "telnet", "telnets", "tls"}, p.get("type")) {
		return unsupported("Unknown protocol '%s'", p.get("type"))
	}
	return nil
}

// trimSources keeps of every <source> what the type knows.
func (def *definition) trimSources(c *node, typ string, sources []*node) error {
	for i, s := range sources {
		if m, ok := s.lookup("mode"); ok && (typ == "tcp" || typ == "unix" || typ == "udp") {
			if m != "bind" && m != "connect" {
				return badValue(s, "mode", m)
			}
		}
		if typ != "udp" && i > 0 {
			c.remove(s)
			continue
		}
		switch typ {
		case "file":
			s.keep("path", "append")
			if v, ok := s.lookup("append"); ok && v != "on" && v != "off" {
				return badValue(s, "append", v)
			}
		case "dev", "pipe":
			s.keep("path")
		case "pty":
			s.keep("path")
			if def.flags&ParseLive == 0 {
				s.unset("path")
			}
		case "unix":
			s.setDefault("mode", "connect")
			s.keep("mode", "path")
		case "tcp":
			s.setDefault("mode", "connect")
			s.keep("mode", "host", "service", "tls")
		case "udp":
			s.setDefault("mode", "connect")
			s.keep("mode", "host", "service")
		case "spiceport", "dbus":
			s.keep("channel")
		case "nmdm":
			s.keep("master", "slave")
		default:
			s.keep()
		}
		for _, l := range s.all("seclabel") {
			if l.kid("label") != nil {
				l.setDefault("relabel", "yes")
			}
		}
		if typ != "qemu-vdagent" {
			s.drop("clipboard", "mouse")
		}
		if typ != "unix" && typ != "tcp" {
			s.drop("reconnect")
		}
		if r := s.kid("reconnect"); r != nil {
			if s.get("mode") != "connect" {
				s.remove(r)
			} else if r.get("enabled") != "yes" {
				r.unset("timeout")
			}
		}
		if s.empty() || typ == "unix" && s.get("path") == "" {
			c.remove(s)
		}
	}
	if def.flags&ParseLive == 0 {
		c.unset("tty")
	}
	return nil
}
