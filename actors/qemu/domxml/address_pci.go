package domxml

import (
	"slices"
	"strconv"

	"virtree/actors/internal/xmltree"
)

// pciAddresses places every PCI device. A first, dry run finds out how many buses that takes; the new ones become
// controllers, and the second run places everything for good, the new controllers too.
func (def *definition) pciAddresses() error {
	highest := -1
	for _, c := range def.devices.All("controller") {
		if c.Get("type") == "pci" {
			v, _ := strconv.Atoi(c.Get("index"))
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
		if _, err := set.next(pciDevice | hotplug); err != nil {
			return err
		}
	}
	if err := def.placeAll(set, true); err != nil {
		return err
	}
	if highest <= 0 && len(set.buses) > highest+1 && set.buses[0].model == "pcie-root" {
		// A new guest with root ports gets an empty one, for the same reason.
		if _, err := set.next(pcieDevice | hotplug); err != nil {
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
		model := c.Get("model")
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
	}
	return set, nil
}

func (def *definition) highestPCI() int {
	highest := -1
	for _, c := range def.devices.All("controller") {
		if c.Get("type") == "pci" {
			v, _ := strconv.Atoi(c.Get("index"))
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
		for i, d := range def.devices.All(name) {
			if name == "console" && i == 0 && d.Kid("target").Get("type") == "serial" {
				continue // the first serial port once more
			}
			out = append(out, d)
		}
	}
	return out
}

// placeAll gives addresses to all PCI devices without one. In a dry run the devices stay as they are.
func (def *definition) placeAll(set *pciSet, dryRun bool) error {
	p := &placer{def: def, set: set, dryRun: dryRun, planned: map[*node]bool{}}
	if err := p.chipset(); err != nil {
		return err
	}
	return p.slots()
}

// finishControllers fills in what bridges need to know, some of it from their addresses.
func (def *definition) finishControllers() error {
	for _, c := range def.devices.All("controller") {
		if c.Get("type") != "pci" {
			continue
		}
		info := pciModels[c.Get("model")]
		if info.name == "" {
			continue
		}
		if m := c.Kid("model"); m == nil {
			c.Add(xmltree.Elem("model", "name", info.name))
		}
		t := c.Ensure("target")
		a, _ := pciAddressOf(c)
		switch c.Get("model") {
		case "pci-bridge":
			t.SetDefault("chassisNr", c.Get("index"))
		case "pcie-root-port":
			t.SetDefault("chassis", c.Get("index"))
			t.SetDefault("port", utoa(a.slot<<3+a.function))
		case "pcie-switch-downstream-port":
			t.SetDefault("chassis", c.Get("index"))
			t.SetDefault("port", utoa(a.slot))
		case "pci-expander-bus", "pcie-expander-bus":
			if !t.Has("busNr") {
				nr, err := def.newBusNr()
				if err != nil {
					return err
				}
				t.Set("busNr", utoa(nr))
			}
		}
		if t.Empty() {
			c.Remove(t)
		}
	}
	def.markMultifunction()
	return nil
}

// newBusNr picks a number for an expander bus: 2 below the lowest in use, from 254 down.
func (def *definition) newBusNr() (int, error) {
	lowest := 256
	for _, c := range def.devices.All("controller") {
		if v, err := strconv.Atoi(c.Kid("target").Get("busNr")); err == nil {
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
	for _, d := range def.devices.All("controller") {
		if d.Get("type") != "pci" || d.Get("model") != "pcie-root-port" {
			continue
		}
		if a, ok := pciAddressOf(d); ok && a.function == 0 && shared[[2]int{a.bus, a.slot}] {
			d.Kid("address").SetDefault("multifunction", "on")
		}
	}
}
