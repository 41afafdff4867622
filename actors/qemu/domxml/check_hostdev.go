package domxml

import (
	"slices"
	"strings"
)

// checkHostdev reads one <hostdev>.
func (def *definition) checkHostdev(h *node) error {
	mode, ok := h.lookup("mode")
	if !ok {
		h.set("mode", "subsystem")
		mode = "subsystem"
	}
	if mode != "subsystem" && mode != "capabilities" {
		return unsupported("unknown hostdev mode '%s'", mode)
	}
	if mode == "capabilities" {
		return unsupported("hostdev mode 'capabilities' is not supported in %s", "qemu")
	}
	typ, ok := h.lookup("type")
	if !ok {
		return xmlError("missing source address type")
	}
	if !slices.Contains([]string{"usb", "pci", "scsi", "scsi_host", "mdev"}, typ) {
		return unsupported("unknown host device source address type '%s'", typ)
	}
	src := h.kid("source")
	if src == nil && def.flags&ParseTrusted != 0 {
		src = h.ensure("source")
	}
	if src == nil {
		return xmlError("Missing <source> element in hostdev device")
	}
	h.setDefault("managed", "no")
	if m, ok := h.lookup("model"); ok && typ != "mdev" && typ != "scsi_host" && m != "" {
		h.unset("model")
	}
	return checkHostdevSource(h, src, typ)
}

func checkHostdevSource(h, src *node, typ string) error {
	switch typ {
	case "pci":
		if a := src.kid("address"); a != nil {
			if err := checkHostPCI(a); err != nil {
				return err
			}
			a.unset("type", "multifunction")
		} else {
			src.add(elem("address", "domain", "0x0000", "bus", "0x00", "slot", "0x00", "function", "0x0"))
		}
		if src.has("writeFiltering") {
			return unsupported("Write filtering of PCI device configuration space is not supported by qemu")
		}
	case "usb":
		return checkUSBSource(src)
	case "scsi":
		if h.get("sgio") == "unfiltered" {
			return unsupported("unfiltered sgio is no longer supported")
		}
		if src.get("protocol") == "iscsi" {
			if name, ok := src.lookup("name"); ok && !strings.Contains(name, "/") {
				src.set("name", name+"/0") // the LUN
			}
			if a := src.kid("auth"); a != nil {
				return checkAuth(a)
			}
			return nil
		}
		a := src.kid("address")
		if a == nil {
			return xmlError("'address' must be specified for scsi hostdev source")
		}
		for _, name := range []string{"bus", "target", "unit"} {
			if !a.has(name) {
				return xmlError("'bus', 'target', and 'unit' must be specified for scsi hostdev source address")
			}
		}
		a.keep("bus", "target", "unit")
		if src.kid("adapter") == nil {
			return xmlError("'adapter' must be specified for scsi hostdev source")
		}
	case "mdev":
		if !h.has("model") {
			return missingAttr(h, "model")
		}
		if !slices.Contains([]string{"vfio-pci", "vfio-ccw", "vfio-ap"}, h.get("model")) {
			return badValue(h, "model", h.get("model"))
		}
		a := src.kid("address")
		if a == nil {
			return xmlError("Missing <address> element")
		}
		id, ok := a.lookup("uuid")
		if !ok {
			return unsupported("Missing 'uuid' attribute for element <address>")
		}
		if text, ok := parseUUID(id); ok {
			a.set("uuid", text)
		} else {
			return xmlError("Cannot parse uuid attribute of element <address>")
		}
	}
	return nil
}

func checkUSBSource(src *node) error {
	v, p := src.kid("vendor"), src.kid("product")
	for _, n := range []*node{v, p} {
		if n == nil {
			continue
		}
		if err := (&rule{attr: "id", required: true, number: "uint+"}).check(n.clone()); err != nil && n == v {
			return err
		}
		hexAttr(n, "id", "0x%04x")
	}
	if (v == nil) != (p == nil) {
		if v == nil {
			return internalError("missing vendor")
		}
		return internalError("missing product")
	}
	if a := src.kid("address"); a != nil {
		for _, name := range []string{"bus", "device"} {
			u, ok := parseUint(a.get(name))
			if a.has(name) && !ok {
				return xmlError("Invalid value for attribute '%s' in element 'address': '%s'. Expected integer value", name, a.get(name))
			}
			if ok {
				a.set(name, utoa(u))
			}
		}
		a.keep("bus", "device", "port")
	}
	return nil
}
