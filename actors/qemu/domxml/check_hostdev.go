package domxml

import (
	"slices"
	"strings"

	"virtree/actors/internal/xmltree"
)

// checkHostdev reads one <hostdev>.
func (def *definition) checkHostdev(h *node) error {
	mode, ok := h.Lookup("mode")
	if !ok {
		h.Set("mode", "subsystem")
		mode = "subsystem"
	}
	if mode != "subsystem" && mode != "capabilities" {
		return unsupported("unknown hostdev mode '%s'", mode)
	}
	if mode == "capabilities" {
		return unsupported("hostdev mode 'capabilities' is not supported in %s", "qemu")
	}
	typ, ok := h.Lookup("type")
	if !ok {
		return xmlError("missing source address type")
	}
	if !slices.Contains([]string{"usb", "pci", "scsi", "scsi_host", "mdev"}, typ) {
		return unsupported("unknown host device source address type '%s'", typ)
	}
	src := h.Kid("source")
	if src == nil && def.flags&ParseTrusted != 0 {
		src = h.Ensure("source")
	}
	if src == nil {
		return xmlError("Missing <source> element in hostdev device")
	}
	h.SetDefault("managed", "no")
	if m, ok := h.Lookup("model"); ok && typ != "mdev" && typ != "scsi_host" && m != "" {
		h.Unset("model")
	}
	return checkHostdevSource(h, src, typ)
}

func checkHostdevSource(h, src *node, typ string) error {
	switch typ {
	case "pci":
		if a := src.Kid("address"); a != nil {
			if err := checkHostPCI(a); err != nil {
				return err
			}
			a.Unset("type", "multifunction")
		} else {
			src.Add(xmltree.Elem("address", "domain", "0x0000", "bus", "0x00", "slot", "0x00", "function", "0x0"))
		}
		if src.Has("writeFiltering") {
			return unsupported("Write filtering of PCI device configuration space is not supported by qemu")
		}
	case "usb":
		return checkUSBSource(src)
	case "scsi":
		if h.Get("sgio") == "unfiltered" {
			return unsupported("unfiltered sgio is no longer supported")
		}
		if src.Get("protocol") == "iscsi" {
			if name, ok := src.Lookup("name"); ok && !strings.Contains(name, "/") {
				src.Set("name", name+"/0") // the LUN
			}
			if a := src.Kid("auth"); a != nil {
				return checkAuth(a)
			}
			return nil
		}
		a := src.Kid("address")
		if a == nil {
			return xmlError("'address' must be specified for scsi hostdev source")
		}
		for _, name := range []string{"bus", "target", "unit"} {
			if !a.Has(name) {
				return xmlError("'bus', 'target', and 'unit' must be specified for scsi hostdev source address")
			}
		}
		keep(a, "bus", "target", "unit")
		if src.Kid("adapter") == nil {
			return xmlError("'adapter' must be specified for scsi hostdev source")
		}
	case "mdev":
		if !h.Has("model") {
			return missingAttr(h, "model")
		}
		if !slices.Contains([]string{"vfio-pci", "vfio-ccw", "vfio-ap"}, h.Get("model")) {
			return badValue(h, "model", h.Get("model"))
		}
		a := src.Kid("address")
		if a == nil {
			return xmlError("Missing <address> element")
		}
		id, ok := a.Lookup("uuid")
		if !ok {
			return unsupported("Missing 'uuid' attribute for element <address>")
		}
		if text, ok := parseUUID(id); ok {
			a.Set("uuid", text)
		} else {
			return xmlError("Cannot parse uuid attribute of element <address>")
		}
	}
	return nil
}

func checkUSBSource(src *node) error {
	v, p := src.Kid("vendor"), src.Kid("product")
	for _, n := range []*node{v, p} {
		if n == nil {
			continue
		}
		if err := (&rule{attr: "id", required: true, number: "uint+"}).check(n.Clone()); err != nil && n == v {
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
	if a := src.Kid("address"); a != nil {
		for _, name := range []string{"bus", "device"} {
			u, ok := parseUint(a.Get(name))
			if a.Has(name) && !ok {
				return xmlError("Invalid value for attribute '%s' in element 'address': '%s'. Expected integer value", name, a.Get(name))
			}
			if ok {
				a.Set(name, utoa(u))
			}
		}
		keep(a, "bus", "device", "port")
	}
	return nil
}
