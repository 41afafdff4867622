package domxml

import (
	"slices"
	"strconv"
)

var controllerModels = map[string][]string{
	"ide":           {"piix3", "piix4", "ich6"},
	"scsi":          {"auto", "buslogic", "lsilogic", "lsisas1068", "vmpvscsi", "ibmvscsi", "virtio-scsi", "lsisas1078", "virtio-transitional", "virtio-non-transitional", "ncr53c90", "dc390", "am53c974"},
	"virtio-serial": {"virtio", "virtio-transitional", "virtio-non-transitional"},
	"usb":           {"piix3-uhci", "piix4-uhci", "ehci", "ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3", "vt82c686b-uhci", "pci-ohci", "nec-xhci", "qusb1", "qusb2", "qemu-xhci", "none"},
	"pci":           {"pci-root", "pcie-root", "pci-bridge", "dmi-to-pci-bridge", "pcie-to-pci-bridge", "pcie-root-port", "pcie-switch-upstream-port", "pcie-switch-downstream-port", "pci-expander-bus", "pcie-expander-bus"},
}

// checkController reads one <controller>. Its index may still be missing afterwards.
func (def *definition) checkController(c *node) error {
	c.SetDefault("type", "ide")
	if err := grammar["controller"].check(withoutKids(c)); err != nil {
		return err
	}
	typ := c.Get("type")
	if m, ok := c.Lookup("model"); ok && !slices.Contains(controllerModels[typ], m) {
		return unsupported("Unknown model type '%s'", m)
	}
	if v, ok := c.Lookup("index"); ok {
		if i, err := strconv.ParseInt(cNumber(v), 0, 32); err == nil {
			if i < 0 {
				return xmlError("Invalid value for attribute 'index' in element 'controller': '%s'. Expected non-negative value", v)
			}
			c.Set("index", utoa(i))
		}
	}
	if typ != "virtio-serial" {
		c.Unset("vectors")
	}
	if typ != "virtio-serial" && typ != "usb" {
		c.Unset("ports")
	}
	if typ != "usb" {
		c.Drop("master")
	}
	if typ != "pci" {
		c.Drop("model", "target", "pcihole64")
	} else if err := def.checkPCIController(c); err != nil {
		return err
	}
	if d := c.Kid("driver"); d != nil && len(d.Attrs) == 0 {
		c.Remove(d)
	}
	return nil
}

func (def *definition) checkPCIController(c *node) error {
	model := c.Get("model")
	switch model {
	case "pci-root", "pcie-root":
		if c.Has("index") && c.Get("index") != "0" {
			return xmlError("pci-root and pcie-root controllers should have index 0")
		}
		if c.Kid("address") != nil {
			return xmlError("pci-root and pcie-root controllers should not have an address")
		}
		if h := c.Kid("pcihole64"); h != nil {
			if err := normalizeKiB(h, "./pcihole64[1]"); err != nil {
				return err
			}
		}
	default:
		c.Drop("pcihole64")
	}
	t := c.Kid("target")
	if t == nil {
		return nil
	}
	for _, name := range []string{"chassisNr", "chassis", "port", "busNr", "index"} {
		if v, ok := t.Lookup(name); ok {
			u, ok := parseUint(v)
			if !ok {
				return xmlError("Invalid value for attribute '%s' in element 'target': '%s'. Expected integer value", name, v)
			}
			if u > 255 && name != "index" {
				what := name
				return unsupported("PCI controller %s '%d' out of range - must be 0-255", what, u)
			}
			t.Set(name, utoa(u))
		}
	}
	if v, ok := t.Lookup("hotplug"); ok && v != "on" && v != "off" {
		return badValue(t, "hotplug", v)
	}
	if n := t.Kid("node"); n != nil {
		if _, ok := parseUint(n.Text); !ok {
			return xmlError("Invalid NUMA node in target")
		}
	}
	return nil
}
