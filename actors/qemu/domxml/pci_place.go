package domxml

import (
	"fmt"
	"strings"

	"virtree/actors/internal/xmltree"
)

// placer is one run over the devices.
type placer struct {
	def     *definition
	set     *pciSet
	dryRun  bool
	planned map[*node]bool // placed in a dry run
}

func (p *placer) wants(d *node) bool {
	return d.Kid("address") == nil && !p.planned[d]
}

func (p *placer) put(d *node, a pciAddress) {
	p.planned[d] = true
	if p.dryRun {
		return
	}
	n := xmltree.Elem("address")
	a.put(n)
	d.Add(n)
}

// next places a device wherever there is room.
func (p *placer) next(d *node) error {
	need := p.def.connects(d)
	if need == 0 || !p.wants(d) {
		return nil
	}
	a, err := p.set.next(need | p.hotplug(d))
	if err != nil {
		return noSlot(d, err)
	}
	p.put(d, a)
	return nil
}

// hotplug: bridges and root ports are part of the board; all else should be where it can be unplugged, where there is
// such a place.
func (p *placer) hotplug(d *node) connect {
	if d.Name == "controller" && d.Get("type") == "pci" {
		return 0
	}
	if d.Name == "iommu" {
		return 0
	}
	return hotplug
}

// slots places everything the chipset has no fixed place for.
func (p *placer) slots() error {
	each := func(name string, want func(*node) bool) error {
		for _, d := range p.def.devices.All(name) {
			if want == nil || want(d) {
				if err := p.next(d); err != nil {
					return err
				}
			}
		}
		return nil
	}
	isPCI := func(c *node) bool { return c.Get("type") == "pci" }
	steps := []struct {
		name string
		want func(*node) bool
	}{
		{"controller", func(c *node) bool { return isPCI(c) && c.Get("index") != "0" }},
		{"filesystem", nil},
		{"interface", func(n *node) bool { return n.Get("type") != "hostdev" }},
		{"sound", nil},
		{"controller", nil},
		{"disk", nil},
		{"interface", nil}, // assigned from the host
		{"hostdev", nil},
		{"memballoon", nil},
		{"rng", nil},
		{"watchdog", nil},
		{"video", nil},
		{"shmem", nil},
		{"input", nil},
		{"serial", nil},
		{"iommu", nil},
		{"vsock", nil},
		{"memory", nil},
	}
	for i, s := range steps {
		if i == 4 {
			if err := p.controllers(); err != nil {
				return err
			}
			continue
		}
		if err := each(s.name, s.want); err != nil {
			return err
		}
	}
	return nil
}

// controllers places the ones that are no PCI bridges. The functions of one EHCI controller share a slot.
func (p *placer) controllers() error {
	for _, c := range p.def.devices.All("controller") {
		switch c.Get("type") {
		case "pci", "fdc", "ccid", "isa":
			continue
		case "ide":
			if c.Get("index") == "0" && p.def.isI440FX() {
				continue
			}
		}
		if c.Get("type") == "usb" && strings.HasPrefix(c.Get("model"), "ich9-") && p.wants(c) {
			if err := p.ich9(c); err != nil {
				return err
			}
			continue
		}
		if err := p.next(c); err != nil {
			return err
		}
	}
	return nil
}

// ich9Function is where each part of an ICH9 USB controller sits within its slot.
var ich9Function = map[string]int{"ich9-ehci1": 7, "ich9-uhci1": 0, "ich9-uhci2": 1, "ich9-uhci3": 2}

// ich9 puts a part beside the other parts with the same index, or opens a slot for them.
func (p *placer) ich9(c *node) error {
	for _, o := range p.def.devices.All("controller") {
		if o == c || o.Get("type") != "usb" || o.Get("index") != c.Get("index") || !strings.HasPrefix(o.Get("model"), "ich9-") {
			continue
		}
		if a, ok := p.placeOf(o); ok {
			return p.beside(c, a)
		}
	}
	a, err := p.set.next(pciDevice | hotplug)
	if err != nil {
		return err
	}
	// The slot was found with function 0; move to the part's own function.
	p.set.buses[a.bus].slots[a.slot].functions = 0
	return p.beside(c, a)
}

func (p *placer) putUSB(c *node, a pciAddress) {
	p.planned[c] = true
	n := xmltree.Elem("address")
	a.put(n)
	if a.function == 0 {
		n.Set("multifunction", "on")
	}
	if p.dryRun {
		c.Attrs = append(c.Attrs, attr{Name: plannedAttr, Value: fmt.Sprintf("%d.%d", a.bus, a.slot)})
		return
	}
	c.Unset(plannedAttr)
	c.Add(n)
}

// plannedAttr remembers within a dry run where a part went; the grammar drops it from whatever is left.
const plannedAttr = "#planned"

func (p *placer) placeOf(c *node) (pciAddress, bool) {
	if v, ok := c.Lookup(plannedAttr); ok && p.dryRun {
		var a pciAddress
		if _, err := fmt.Sscanf(v, "%d.%d", &a.bus, &a.slot); err == nil {
			return a, true
		}
	}
	return pciAddressOf(c)
}

// chipset places what the board itself has, and keeps its places free.
func (p *placer) chipset() error {
	switch {
	case len(p.set.buses) == 0:
		return nil
	case p.def.isQ35():
		return p.q35()
	case p.def.isI440FX():
		return p.i440fx()
	}
	return nil
}

// reserve keeps a place free that no device of the document has.
func (p *placer) reserve(slot, function int) error {
	a := pciAddress{slot: slot, function: function}
	if p.set.buses[0].slots[slot].functions&(1<<function) != 0 {
		return nil
	}
	return p.set.take(a, 0)
}

func (p *placer) i440fx() error {
	for _, c := range p.def.devices.All("controller") {
		typ, idx := c.Get("type"), c.Get("index")
		switch {
		case typ == "ide" && idx == "0":
			if a, ok := pciAddressOf(c); ok {
				if a != (pciAddress{slot: 1, function: 1}) {
					return xmlError("Primary IDE controller must have PCI address 0:0:1.1")
				}
			} else if p.wants(c) {
				if err := p.set.take(pciAddress{slot: 1, function: 1}, 0); err != nil {
					return err
				}
				p.put(c, pciAddress{slot: 1, function: 1})
			}
		case typ == "usb" && idx == "0" && c.Get("model") == "piix3-uhci":
			if a, ok := pciAddressOf(c); ok {
				if a != (pciAddress{slot: 1, function: 2}) {
					return xmlError("PIIX3 USB controller at index 0 must have PCI address 0:0:1.2")
				}
			} else if p.wants(c) {
				if err := p.set.take(pciAddress{slot: 1, function: 2}, 0); err != nil {
					return err
				}
				p.put(c, pciAddress{slot: 1, function: 2})
			}
		}
	}
	for f := range 8 {
		if err := p.reserve(1, f); err != nil {
			return err
		}
	}
	return p.primaryVideo(pciAddress{slot: 2})
}

func (p *placer) q35() error {
	for _, c := range p.def.devices.All("controller") {
		typ, idx := c.Get("type"), c.Get("index")
		switch {
		case typ == "sata" && idx == "0":
			if _, ok := pciAddressOf(c); ok || !p.wants(c) {
				continue
			}
			if err := p.set.take(pciAddress{slot: 0x1f, function: 2}, 0); err != nil {
				return err
			}
			p.put(c, pciAddress{slot: 0x1f, function: 2})
		case typ == "usb" && c.Get("model") == "ich9-uhci1" && c.Kid("address") == nil:
			if err := p.q35EHCI(c); err != nil {
				return err
			}
		case typ == "pci" && c.Get("model") == "dmi-to-pci-bridge" && p.wants(c):
			if a := (pciAddress{slot: 0x1e}); !p.set.taken(a) {
				if err := p.set.take(a, 0); err != nil {
					return err
				}
				p.put(c, a)
			}
		}
	}
	for _, f := range []int{0, 3} {
		if err := p.reserve(0x1f, f); err != nil {
			return err
		}
	}
	if err := p.primaryVideo(pciAddress{slot: 1}); err != nil {
		return err
	}
	for _, s := range p.def.devices.All("sound") {
		if s.Get("model") != "ich9" || !p.wants(s) {
			continue
		}
		if a := (pciAddress{slot: 0x1b}); !p.set.taken(a) {
			if err := p.set.take(a, 0); err != nil {
				return err
			}
			p.put(s, a)
		}
		break
	}
	return nil
}

// q35EHCI: the first two USB2 controllers sit where the real chipset has them. Their first UHCI part decides; the others
// join it later.
func (p *placer) q35EHCI(c *node) error {
	if p.planned[c] {
		return nil
	}
	// Other parts that already have a place decide; a slot with strangers in it is not taken.
	for _, o := range p.def.devices.All("controller") {
		if o.Get("type") == "usb" && o.Get("index") == c.Get("index") && o != c {
			if a, ok := p.placeOf(o); ok {
				return p.beside(c, a)
			}
		}
	}
	for _, slot := range []int{0x1d, 0x1a} {
		if a := (pciAddress{slot: slot}); !p.set.taken(a) {
			return p.beside(c, a)
		}
	}
	return nil
}

// beside puts a part of an ICH9 USB controller into the slot of a.
func (p *placer) beside(c *node, a pciAddress) error {
	a.function = ich9Function[c.Get("model")]
	if err := p.set.take(a, 0); err != nil {
		return err
	}
	p.putUSB(c, a)
	return nil
}

// primaryVideo puts the first card where firmware looks for it.
func (p *placer) primaryVideo(at pciAddress) error {
	v := p.def.devices.Kid("video")
	if v == nil || p.def.connects(v) == 0 || !p.wants(v) {
		return nil
	}
	if p.set.taken(at) {
		a, err := p.set.next(pciDevice | p.boardOnly())
		if err != nil {
			return err
		}
		p.put(v, a)
		return nil
	}
	if err := p.set.take(at, 0); err != nil {
		return err
	}
	p.put(v, at)
	return nil
}

func (p *placer) boardOnly() connect {
	if p.def.isQ35() {
		return 0
	}
	return hotplug
}

// noSlot words the failure for PCI controllers in a way that says what to do.
func noSlot(d *node, err error) error {
	if d.Name != "controller" || d.Get("type") != "pci" {
		return err
	}
	switch m := d.Get("model"); m {
	case "pci-expander-bus":
		return unsupported("%s controllers are only supported on 440fx-based machinetypes", m)
	case "pcie-expander-bus":
		return unsupported("%s controllers are only supported on q35-based machinetypes", m)
	case "pci-bridge", "pcie-to-pci-bridge", "pcie-switch-upstream-port":
		return err
	default:
		return internalError("a PCI slot is needed to connect a PCI controller model='%s', but none is available, and it cannot be automatically added", m)
	}
}
