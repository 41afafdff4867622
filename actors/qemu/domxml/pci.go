package domxml

import (
	"fmt"
	"strconv"
)

// pciAddress is a place on a guest's PCI buses.
type pciAddress struct{ domain, bus, slot, function int }

func (p pciAddress) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%d", p.domain, p.bus, p.slot, p.function)
}

// put writes the address into an <address> element.
func (p pciAddress) put(a *node) {
	a.Set("type", "pci")
	a.Set("domain", fmt.Sprintf("0x%04x", p.domain))
	a.Set("bus", fmt.Sprintf("0x%02x", p.bus))
	a.Set("slot", fmt.Sprintf("0x%02x", p.slot))
	a.Set("function", fmt.Sprintf("0x%x", p.function))
}

// pciAddressOf reads a device's address, false when it has none on PCI.
func pciAddressOf(d *node) (p pciAddress, ok bool) {
	a := d.Kid("address")
	if a.Get("type") != "pci" {
		return p, false
	}
	for _, f := range []struct {
		name string
		to   *int
	}{{"domain", &p.domain}, {"bus", &p.bus}, {"slot", &p.slot}, {"function", &p.function}} {
		v, _ := strconv.ParseUint(a.Get(f.name), 0, 32)
		*f.to = int(v)
	}
	return p, true
}

// connect says what a bus takes, or what a device needs: virDomainPCIConnectFlags.
type connect uint

const (
	pciDevice connect = 1 << iota
	pcieDevice
	pcieRootPort
	switchUpstream
	switchDownstream
	dmiToPCIBridge
	pciExpander
	pcieExpander
	pciBridge
	pcieToPCIBridge

	hotplug   // the slot can be plugged into while the guest runs; the device would like to be
	aggregate // may share its slot with others of its kind

	// unknownSlot is for devices that are on PCI with nobody knowing how: no bus takes them.
	unknownSlot

	connectTypes = pciDevice | pcieDevice | pcieRootPort | switchUpstream | switchDownstream | dmiToPCIBridge | pciExpander | pcieExpander | pciBridge | pcieToPCIBridge
)

// pciModel is what is known about one model of PCI controller.
type pciModel struct {
	name             string  // QEMU's device, libvirt's <model name>
	connects         connect // what it plugs into
	takes            connect // what plugs into it
	minSlot, maxSlot int
}

var pciModels = map[string]pciModel{
	"pci-root":                    {takes: hotplug | pciDevice | pciBridge | pciExpander, minSlot: 1, maxSlot: 31},
	"pci-bridge":                  {name: "pci-bridge", connects: pciBridge, takes: hotplug | pciDevice | pciBridge, minSlot: 1, maxSlot: 31},
	"pci-expander-bus":            {name: "pxb", connects: pciExpander, takes: pciDevice | pciBridge, minSlot: 0, maxSlot: 31},
	"pcie-root":                   {takes: pciDevice | pcieDevice | pcieRootPort | dmiToPCIBridge | pcieExpander, minSlot: 1, maxSlot: 31},
	"dmi-to-pci-bridge":           {name: "i82801b11-bridge", connects: dmiToPCIBridge, takes: pciDevice | pciBridge, minSlot: 0, maxSlot: 31},
	"pcie-to-pci-bridge":          {name: "pcie-pci-bridge", connects: pcieToPCIBridge, takes: hotplug | pciDevice | pciBridge, minSlot: 1, maxSlot: 31},
	"pcie-root-port":              {name: "pcie-root-port", connects: pcieRootPort | aggregate, takes: hotplug | pcieDevice | switchUpstream | pcieToPCIBridge, minSlot: 0, maxSlot: 0},
	"pcie-switch-upstream-port":   {name: "x3130-upstream", connects: switchUpstream, takes: switchDownstream, minSlot: 0, maxSlot: 31},
	"pcie-switch-downstream-port": {name: "xio3130-downstream", connects: switchDownstream, takes: hotplug | pcieDevice | switchUpstream | pcieToPCIBridge, minSlot: 0, maxSlot: 0},
	"pcie-expander-bus":           {name: "pxb-pcie", connects: pcieExpander, takes: pcieRootPort | dmiToPCIBridge, minSlot: 0, maxSlot: 31},
}

// pciBus is one bus while addresses are handed out.
type pciBus struct {
	model string
	pciModel
	slots [32]struct {
		functions byte // one bit each
		aggregate bool // taken by a device that shares
	}
}

// full says that no slot is left free.
func (b *pciBus) full() bool {
	for i := b.minSlot; i <= b.maxSlot; i++ {
		if b.slots[i].functions == 0 {
			return false
		}
	}
	return true
}

// find returns a free slot for a device, or a free function for one that shares.
func (b *pciBus) find(need connect) (slot, function int, ok bool) {
	if b.takes&need&connectTypes == 0 || need&hotplug != 0 && b.takes&hotplug == 0 {
		return 0, 0, false
	}
	for s := b.minSlot; s <= b.maxSlot; s++ {
		if b.slots[s].functions == 0 {
			return s, 0, true
		}
		if need&aggregate == 0 || !b.slots[s].aggregate {
			continue
		}
		for f := range 8 {
			if b.slots[s].functions&(1<<f) == 0 {
				return s, f, true
			}
		}
	}
	return 0, 0, false
}

// pciSet is all buses of a guest. In a dry run it grows as needed; afterwards the new buses become controllers.
type pciSet struct {
	buses  []*pciBus
	dryRun bool
}

func newBus(model string) *pciBus { return &pciBus{model: model, pciModel: pciModels[model]} }

// reserve takes the exact address a document asks for.
func (s *pciSet) reserve(p pciAddress, need connect) error {
	if len(s.buses) == 0 {
		return xmlError("No PCI buses available")
	}
	if p.domain != 0 {
		return xmlError("Invalid PCI address %s. Only PCI domain 0 is available", p)
	}
	if p.bus >= len(s.buses) {
		if !s.dryRun {
			return xmlError("Invalid PCI address %s. Only PCI buses up to %d are available", p, len(s.buses)-1)
		}
		if err := s.growTo(p.bus, need); err != nil {
			return err
		}
	}
	b := s.buses[p.bus]
	if p.slot < b.minSlot {
		return xmlError("Invalid PCI address %s. slot must be >= %d", p, b.minSlot)
	}
	if p.slot > b.maxSlot {
		return xmlError("Invalid PCI address %s. slot must be <= %d", p, b.maxSlot)
	}
	if need != 0 && b.takes&need&connectTypes == 0 && !conventional(b.takes, need) {
		return xmlError("PCI address %s requires %s", p, misfit(need))
	}
	return s.take(p, need)
}

// conventional: where a user insists, PCI and PCI Express devices may sit in each other's slots.
func conventional(takes, need connect) bool {
	return need&(pciDevice|pcieDevice) != 0 && takes&(pciDevice|pcieDevice) != 0
}

func misfit(need connect) string {
	switch {
	case need&pciDevice != 0:
		return "standard PCI device slot"
	case need&pcieDevice != 0:
		return "PCI Express device slot"
	}
	return "a different kind of slot"
}

func (s *pciSet) take(p pciAddress, need connect) error {
	slot := &s.buses[p.bus].slots[p.slot]
	if slot.functions&(1<<p.function) != 0 {
		return xmlError("Attempted double use of PCI Address %s", p)
	}
	if slot.functions == 0 {
		slot.aggregate = need&aggregate != 0
	} else if need&aggregate == 0 {
		slot.aggregate = false
	}
	slot.functions |= 1 << p.function
	return nil
}

// taken says whether anything sits in the slot.
func (s *pciSet) taken(p pciAddress) bool {
	return p.bus < len(s.buses) && s.buses[p.bus].slots[p.slot].functions != 0
}

// next finds and takes the first place that fits.
func (s *pciSet) next(need connect) (pciAddress, error) {
	if len(s.buses) == 0 {
		return pciAddress{}, xmlError("No PCI buses available")
	}
	for {
		for i, b := range s.buses {
			if slot, f, ok := b.find(need); ok {
				p := pciAddress{bus: i, slot: slot, function: f}
				return p, s.take(p, need)
			}
		}
		if !s.dryRun {
			return pciAddress{}, internalError("No more available PCI slots")
		}
		if err := s.growTo(len(s.buses), need); err != nil {
			return pciAddress{}, err
		}
	}
}

// growTo adds buses up to the one asked for, of a model that takes the device.
func (s *pciSet) growTo(bus int, need connect) error {
	if bus > 255 {
		return internalError("too many PCI buses")
	}
	var model string
	switch {
	case need&(pciDevice|pciBridge) != 0:
		model = "pci-bridge"
		if !s.takesBridges() {
			// The first conventional bus below PCI Express sits on a bridge, and that in a root port.
			port := newBus("pcie-root-port")
			port.slots[0].functions = 0xff // the bridge sits in it
			s.buses = append(s.buses, port, newBus("pcie-to-pci-bridge"))
		}
	case need&(pcieDevice|switchUpstream|pcieToPCIBridge) != 0:
		model = "pcie-root-port"
	default:
		return internalError("Cannot automatically add a new PCI bus for a device with connect flags %.2x", uint(0))
	}
	for len(s.buses) <= bus {
		s.buses = append(s.buses, newBus(model))
	}
	return nil
}

func (s *pciSet) takesBridges() bool {
	for _, b := range s.buses {
		if b.takes&pciBridge != 0 {
			return true
		}
	}
	return false
}
