package domxml

import (
	"slices"
	"strconv"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// serialPorts is how many ports a virtio-serial controller has when it does not say; port 0 is for consoles.
const serialPorts = 31

// virtioSerialAddresses gives every virtio channel a controller and a port.
func (def *definition) virtioSerialAddresses() error {
	type port struct{ controller, port int }
	used := map[port]bool{}
	limit := func(controller int) int {
		c := def.controller("virtio-serial", controller)
		if c == nil {
			return 0
		}
		if v, err := strconv.Atoi(c.Get("ports")); err == nil && v > 0 {
			return v
		}
		return serialPorts
	}
	var waiting []*node
	for _, c := range def.devices.All("channel") {
		if c.Kid("target").Get("type") != "virtio" {
			continue
		}
		a := c.Kid("address")
		if a.Get("type") != "virtio-serial" || a.Get("port") == "0" {
			if a == nil || a.Get("type") == "virtio-serial" {
				waiting = append(waiting, c)
			}
			continue
		}
		ctl, _ := strconv.Atoi(a.Get("controller"))
		p, _ := strconv.Atoi(a.Get("port"))
		if limit(ctl) == 0 {
			return xmlError("virtio serial controller %d is missing", ctl)
		}
		if p >= limit(ctl) {
			return xmlError("virtio serial controller %d does not have port %d", ctl, p)
		}
		if used[port{ctl, p}] {
			return liberr.New(liberr.FromDomain, liberr.XMLError, "virtio serial port %d on controller %d is already occupied", p, ctl)
		}
		used[port{ctl, p}] = true
	}
	for _, c := range waiting {
		place := func() port {
			only, fixed := -1, c.Kid("address") != nil
			if fixed {
				only, _ = strconv.Atoi(c.Kid("address").Get("controller"))
			}
			for _, ctl := range def.serialControllers() {
				if fixed && ctl != only {
					continue
				}
				for p := 1; p < limit(ctl); p++ {
					if !used[port{ctl, p}] {
						return port{ctl, p}
					}
				}
			}
			ctl := def.freeControllerIndex("virtio-serial")
			def.addController("virtio-serial", ctl, "")
			return port{ctl, 1}
		}()
		used[place] = true
		c.Drop("address")
		c.Add(xmltree.Elem("address", "type", "virtio-serial", "controller", strconv.Itoa(place.controller), "bus", "0", "port", strconv.Itoa(place.port)))
	}
	return nil
}

func (def *definition) serialControllers() []int {
	var out []int
	for _, c := range def.devices.All("controller") {
		if c.Get("type") == "virtio-serial" {
			v, _ := strconv.Atoi(c.Get("index"))
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// memorySlots numbers the memory modules that sit in slots.
func (def *definition) memorySlots() error {
	used := map[string]bool{}
	var waiting []*node
	for _, m := range def.devices.All("memory") {
		if t := m.Get("model"); t != "dimm" && t != "nvdimm" {
			continue
		}
		a := m.Kid("address")
		if a.Get("type") != "dimm" {
			waiting = append(waiting, m)
			continue
		}
		if used[a.Get("slot")] {
			return liberr.New(liberr.FromDomain, liberr.ConfigUnsupported, "memory device slot '%s' is already being used by another memory device", a.Get("slot"))
		}
		used[a.Get("slot")] = true
	}
	next := 0
	for _, m := range waiting {
		for used[strconv.Itoa(next)] {
			next++
		}
		used[strconv.Itoa(next)] = true
		m.Drop("address")
		m.Add(xmltree.Elem("address", "type", "dimm", "slot", strconv.Itoa(next)))
	}
	return nil
}
