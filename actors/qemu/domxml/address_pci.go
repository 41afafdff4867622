package domxml

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pciAddresses places every PCI device. A first, dry run finds out how many buses that takes; the new ones become
// controllers, and the second run places everything for good, the new controllers too.
func (def *definition) pciAddresses() error {
	highest := -1
	for _, c := range def.devices.all("controller") {
		if c.get("type") == "pci" {
			v, _ := strconv.Atoi(c.get("index"))
			highest = max(highest, v)
		}
	}
	if highest >= 0 {
		if err := def.planBuses(highest); err != nil {
			return err
		}
	}
	set, err := def.buildSet(false)
	if err != nil {
		return err
	}
	if err := def.placeAll(set, false); err != nil {
		return err
	}
	return def.finishControllers()
}

// planBuses is the dry run.
func (def *definition) planBuses(highest int) error {
	set, err := def.buildSet(true)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(set.buses, func(b *pciBus) bool { return !b.full() }) {
	} else if set.buses[0].model == "pci-root" {
		// Room for one more device to be plugged in later: when that is the last slot, a bridge comes in time.
		if _, err := set.next(pciDevice|hotplug, 0); err != nil {
			return err
		}
	}
	if err := def.placeAll(set, true); err != nil {
		return err
	}
	if highest <= 0 && len(set.buses) > highest+1 && set.buses[0].model == "pcie-root" {
		// A new guest with root ports gets an empty one, for the same reason.
		if _, err := set.next(pcieDevice|hotplug, 0); err != nil {
			return err
		}
	}
	for i := 1; i < len(set.buses); i++ {
		if def.controller("pci", i) == nil {
			def.addController("pci", i, set.buses[i].model)
		}
	}
	return nil
}

// buildSet makes the buses of the existing controllers and reserves what documents and chipsets have fixed.
func (def *definition) buildSet(dryRun bool) (*pciSet, error) {
	set := &pciSet{dryRun: dryRun}
	for i := 0; ; i++ {
		c := def.controller("pci", i)
		if c == nil {
			if i > def.highestPCI() {
				break
			}
			// A hole between the indexes: there has to be a bus, and what it is depends on what it hangs on.
			model := "pci-bridge"
			if def.isQ35() {
				model = "pcie-root-port"
			}
			set.buses = append(set.buses, newBus(model))
			continue
		}
		model := c.get("model")
		if model == "" {
			return nil, internalError("PCI controller model was not set correctly")
		}
		set.buses = append(set.buses, newBus(model))
	}
	if len(set.buses) > 0 {
		if err := def.checkRoot(set.buses[0].model); err != nil {
			return nil, err
		}
	}
	for _, d := range def.pciDevices() {
		p, ok := pciAddressOf(d)
		if !ok {
			continue
		}
		need := def.connects(d) | hotplug
		if err := set.reserve(p, need&^hotplug); err != nil {
			return nil, err
		}
		if g := def.isolation(d); g != 0 {
			set.buses[p.bus].isolation = g
		}
		set.buses[p.bus].isolationLocked = true
	}
	return set, nil
}

func (def *definition) highestPCI() int {
	highest := -1
	for _, c := range def.devices.all("controller") {
		if c.get("type") == "pci" {
			v, _ := strconv.Atoi(c.get("index"))
			highest = max(highest, v)
		}
	}
	return highest
}

func (def *definition) checkRoot(model string) error {
	want := ""
	switch {
	case def.isQ35():
		want = "pcie-root"
	case def.isI440FX():
		want = "pci-root"
	}
	if want != "" && model != want {
		return xmlError("The PCI controller with index='0' must be model='%s' for this machine type, but model='%s' was found instead", want, model)
	}
	return nil
}

// pciDevices are all devices, in the order libvirt walks them when it collects the fixed addresses.
func (def *definition) pciDevices() []*node {
	var out []*node
	for _, name := range []string{"disk", "interface", "sound", "hostdev", "controller", "smartcard", "serial", "parallel", "channel", "console", "input", "filesystem", "watchdog", "memballoon", "rng", "hub", "shmem", "tpm", "panic", "memory", "iommu", "vsock", "video", "redirdev", "graphics"} {
		for i, d := range def.devices.all(name) {
			if name == "console" && i == 0 && d.kid("target").get("type") == "serial" {
				continue // the first serial port once more
			}
			out = append(out, d)
		}
	}
	return out
}

// conventionalNICs are the models libvirt knows to be plain PCI devices.
var conventionalNICs = []string{"netfront", "rtl8139", "e1000", "vmxnet2", "vmxnet3", "Am79C970A", "Am79C973", "82540EM", "82545EM", "82543GC", "lan9118", "scm91c111", "vlance", "smc91c111"}

// connects says what kind of slot a device needs, 0 when it is no PCI device.
func (def *definition) connects(d *node) connect {
	virtio := connect(pciDevice)
	pcie := connect(pciDevice)
	if def.isQ35() {
		pcie = pcieDevice
		virtio = pcieDevice
	}
	modern := func(model string) connect {
		if strings.HasSuffix(model, "-transitional") && !strings.HasSuffix(model, "non-transitional") {
			return pciDevice
		}
		return virtio
	}
	switch d.name {
	case "controller":
		switch d.get("type") {
		case "pci":
			return pciModels[d.get("model")].connects
		case "usb":
			switch d.get("model") {
			case "nec-xhci", "qemu-xhci":
				return pcie
			case "none":
				return 0
			}
			return pciDevice
		case "scsi":
			switch m := d.get("model"); m {
			case "virtio-scsi", "virtio-non-transitional":
				return virtio
			case "virtio-transitional":
				return pciDevice
			}
			return pciDevice
		case "virtio-serial":
			return modern(d.get("model"))
		case "ide", "sata":
			return pciDevice
		}
		return 0
	case "filesystem":
		return modern(d.get("model"))
	case "interface":
		if d.get("type") == "hostdev" {
			return def.assigned(d, pcie)
		}
		m := d.kid("model").get("type")
		switch {
		case m == "e1000e":
			return pcie
		case m == "usb-net" || m == "spapr-vlan":
			return 0
		case slices.Contains(conventionalNICs, m):
			return pciDevice
		}
		// A model libvirt does not know is taken for a modern one.
		return modern(m)
	case "sound":
		switch d.get("model") {
		case "sb16", "pcspk", "usb":
			return 0
		case "ich7":
			return unknownSlot
		}
		return pciDevice
	case "disk":
		if d.kid("target").get("bus") != "virtio" {
			return 0
		}
		return modern(d.get("model"))
	case "hostdev":
		switch d.get("type") {
		case "pci":
			return def.assigned(d, pcie)
		case "mdev":
			if d.get("model") != "vfio-pci" {
				return 0
			}
			return pcie
		case "scsi_host":
			return modern(d.get("model"))
		}
		return 0
	case "memballoon":
		switch m := d.get("model"); m {
		case "none":
			return 0
		case "xen":
			return unknownSlot
		default:
			return modern(m)
		}
	case "rng":
		return modern(d.get("model"))
	case "vsock":
		return modern(d.get("model"))
	case "watchdog":
		if d.get("model") == "i6300esb" {
			return pciDevice
		}
		return 0
	case "video":
		switch d.kid("model").get("type") {
		case "virtio":
			return virtio
		case "bochs":
			return pcie
		case "ramfb", "none":
			return 0
		}
		return pciDevice
	case "input":
		if d.get("bus") == "virtio" {
			return modern(d.get("model"))
		}
		return 0
	case "shmem":
		return pciDevice
	case "serial":
		if d.kid("target").get("type") == "pci-serial" {
			return pciDevice
		}
		return 0
	case "memory":
		switch d.get("model") {
		case "virtio-pmem", "virtio-mem":
			return pcie
		}
		return 0
	case "iommu":
		if d.get("model") == "virtio" {
			return pcie
		}
		return 0
	}
	return 0
}

// assigned says where a device of the host goes: where it would sit on a board.
func (def *definition) assigned(d *node, pcie connect) connect {
	if pcie == pciDevice {
		return pcie
	}
	address := d.kid("source/address")
	if address == nil {
		return pcie
	}
	host := elem("device")
	a := address.clone()
	a.set("type", "pci")
	host.add(a)
	if p, ok := pciAddressOf(host); ok && !def.env.pciExpress(p.String()) {
		return pciDevice
	}
	return pcie
}

// isolation is the group of a device that must not share its bus; only POWER guests have such.
func (def *definition) isolation(*node) int { return 0 }

// placeAll gives addresses to all PCI devices without one. In a dry run the devices stay as they are.
func (def *definition) placeAll(set *pciSet, dryRun bool) error {
	p := &placer{def: def, set: set, dryRun: dryRun, planned: map[*node]bool{}}
	if err := p.chipset(); err != nil {
		return err
	}
	return p.slots()
}

// placer is one run over the devices.
type placer struct {
	def     *definition
	set     *pciSet
	dryRun  bool
	planned map[*node]bool // placed in a dry run
}

func (p *placer) wants(d *node) bool {
	return d.kid("address") == nil && !p.planned[d]
}

func (p *placer) put(d *node, a pciAddress) {
	p.planned[d] = true
	if p.dryRun {
		return
	}
	n := elem("address")
	a.put(n)
	d.add(n)
}

// next places a device wherever there is room.
func (p *placer) next(d *node) error {
	need := p.def.connects(d)
	if need == 0 || !p.wants(d) {
		return nil
	}
	a, err := p.set.next(need|p.hotplug(d), p.def.isolation(d))
	if err != nil {
		return err
	}
	p.put(d, a)
	return nil
}

// hotplug: bridges and root ports are part of the board; all else should be where it can be unplugged, where there is
// such a place.
func (p *placer) hotplug(d *node) connect {
	if d.name == "controller" && d.get("type") == "pci" {
		return 0
	}
	if d.name == "iommu" {
		return 0
	}
	return hotplug
}

// slots places everything the chipset has no fixed place for.
func (p *placer) slots() error {
	each := func(name string, want func(*node) bool) error {
		for _, d := range p.def.devices.all(name) {
			if want == nil || want(d) {
				if err := p.next(d); err != nil {
					return err
				}
			}
		}
		return nil
	}
	isPCI := func(c *node) bool { return c.get("type") == "pci" }
	steps := []struct {
		name string
		want func(*node) bool
	}{
		{"controller", func(c *node) bool { return isPCI(c) && c.get("index") != "0" }},
		{"filesystem", nil},
		{"interface", func(n *node) bool { return n.get("type") != "hostdev" }},
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
	for _, c := range p.def.devices.all("controller") {
		switch c.get("type") {
		case "pci", "fdc", "ccid", "isa":
			continue
		case "ide":
			if c.get("index") == "0" && p.def.isI440FX() {
				continue
			}
		}
		if c.get("type") == "usb" && strings.HasPrefix(c.get("model"), "ich9-") && p.wants(c) {
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
	for _, o := range p.def.devices.all("controller") {
		if o == c || o.get("type") != "usb" || o.get("index") != c.get("index") || !strings.HasPrefix(o.get("model"), "ich9-") {
			continue
		}
		if a, ok := p.placeOf(o); ok {
			return p.beside(c, a)
		}
	}
	a, err := p.set.next(pciDevice|hotplug, 0)
	if err != nil {
		return err
	}
	// The slot was found with function 0; move to the part's own function.
	p.set.buses[a.bus].slots[a.slot].functions = 0
	return p.beside(c, a)
}

func (p *placer) putUSB(c *node, a pciAddress) {
	p.planned[c] = true
	n := elem("address")
	a.put(n)
	if a.function == 0 {
		n.set("multifunction", "on")
	}
	if p.dryRun {
		c.attrs = append(c.attrs, attr{plannedAttr, fmt.Sprintf("%d.%d", a.bus, a.slot)})
		return
	}
	c.unset(plannedAttr)
	c.add(n)
}

// plannedAttr remembers within a dry run where a part went; the grammar drops it from whatever is left.
const plannedAttr = "#planned"

func (p *placer) placeOf(c *node) (pciAddress, bool) {
	if v, ok := c.lookup(plannedAttr); ok && p.dryRun {
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
	for _, c := range p.def.devices.all("controller") {
		typ, idx := c.get("type"), c.get("index")
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
		case typ == "usb" && idx == "0" && c.get("model") == "piix3-uhci":
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
	for _, c := range p.def.devices.all("controller") {
		typ, idx := c.get("type"), c.get("index")
		switch {
		case typ == "sata" && idx == "0":
			if _, ok := pciAddressOf(c); ok || !p.wants(c) {
				continue
			}
			if err := p.set.take(pciAddress{slot: 0x1f, function: 2}, 0); err != nil {
				return err
			}
			p.put(c, pciAddress{slot: 0x1f, function: 2})
		case typ == "usb" && c.get("model") == "ich9-uhci1" && c.kid("address") == nil:
			if err := p.q35EHCI(c); err != nil {
				return err
			}
		case typ == "pci" && c.get("model") == "dmi-to-pci-bridge" && p.wants(c):
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
	for _, s := range p.def.devices.all("sound") {
		if s.get("model") != "ich9" || !p.wants(s) {
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
	for _, o := range p.def.devices.all("controller") {
		if o.get("type") == "usb" && o.get("index") == c.get("index") && o != c {
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
	a.function = ich9Function[c.get("model")]
	if err := p.set.take(a, 0); err != nil {
		return err
	}
	p.putUSB(c, a)
	return nil
}

// primaryVideo puts the first card where firmware looks for it.
func (p *placer) primaryVideo(at pciAddress) error {
	v := p.def.devices.kid("video")
	if v == nil || p.def.connects(v) == 0 || !p.wants(v) {
		return nil
	}
	if p.set.taken(at) {
		a, err := p.set.next(pciDevice|p.boardOnly(), 0)
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

// finishControllers fills in what bridges need to know, some of it from their addresses.
func (def *definition) finishControllers() error {
	for _, c := range def.devices.all("controller") {
		if c.get("type") != "pci" {
			continue
		}
		info := pciModels[c.get("model")]
		if info.name == "" {
			continue
		}
		if m := c.kid("model"); m == nil {
			c.add(elem("model", "name", info.name))
		}
		t := c.ensure("target")
		a, _ := pciAddressOf(c)
		switch c.get("model") {
		case "pci-bridge":
			t.setDefault("chassisNr", c.get("index"))
		case "pcie-root-port":
			t.setDefault("chassis", c.get("index"))
			t.setDefault("port", utoa(a.slot<<3+a.function))
		case "pcie-switch-downstream-port":
			t.setDefault("chassis", c.get("index"))
			t.setDefault("port", utoa(a.slot))
		case "pci-expander-bus", "pcie-expander-bus":
			if !t.has("busNr") {
				nr, err := def.newBusNr()
				if err != nil {
					return err
				}
				t.set("busNr", utoa(nr))
			}
		}
		if t.empty() {
			c.remove(t)
		}
	}
	def.markMultifunction()
	return nil
}

// newBusNr picks a number for an expander bus: 2 below the lowest in use, from 254 down.
func (def *definition) newBusNr() (int, error) {
	lowest := 256
	for _, c := range def.devices.all("controller") {
		if v, err := strconv.Atoi(c.kid("target").get("busNr")); err == nil {
			lowest = min(lowest, v)
		}
	}
	if lowest <= 2 {
		return 0, internalError("No free busNr lower than current lowest busNr is available to auto-assign to bus. Must be manually assigned")
	}
	return lowest - 2, nil
}

// markMultifunction sets the flag on function 0 of every slot that root ports share.
func (def *definition) markMultifunction() {
	shared := map[[2]int]bool{}
	for _, d := range def.pciDevices() {
		if a, ok := pciAddressOf(d); ok && a.function > 0 {
			shared[[2]int{a.bus, a.slot}] = true
		}
	}
	for _, d := range def.devices.all("controller") {
		if d.get("type") != "pci" || d.get("model") != "pcie-root-port" {
			continue
		}
		if a, ok := pciAddressOf(d); ok && a.function == 0 && shared[[2]int{a.bus, a.slot}] {
			d.kid("address").setDefault("multifunction", "on")
		}
	}
}
