package domxml

import (
	"strconv"

	"virtree/actors/internal/xmltree"
)

// driveAddresses places disks on their controllers by their names, and SCSI host devices behind them.
func (def *definition) driveAddresses() error {
	for _, d := range def.devices.All("disk") {
		if d.Kid("address") != nil {
			continue
		}
		if err := placeDisk(d); err != nil {
			return err
		}
	}
	for _, h := range def.devices.All("hostdev") {
		if h.Get("type") == "scsi" && h.Kid("address") == nil {
			def.placeSCSIHostdev(h)
		}
	}
	return nil
}

func placeDisk(d *node) error {
	t := d.Kid("target")
	var controller, bus, unit int
	idx, ok := diskIndex(t.Get("dev"))
	if !ok {
		// Only a disk that has an address may be called what it likes.
		return xmlError("Unknown disk name '%s' and no address specified", t.Get("dev"))
	}
	switch t.Get("bus") {
	case "scsi":
		// A narrow bus, whatever the controller could take: seven units beside the adapter.
		controller, unit = idx/7, idx%7
	case "ide":
		controller, bus, unit = idx/4, idx%4/2, idx%2
	case "sata":
		controller, unit = idx/6, idx%6
	case "fdc":
		controller, unit = idx/2, idx%2
	default:
		return nil
	}
	d.Add(driveAddress(controller, bus, unit))
	return nil
}

func driveAddress(controller, bus, unit int) *node {
	return xmltree.Elem("address", "type", "drive", "controller", strconv.Itoa(controller), "bus", strconv.Itoa(bus), "target", "0", "unit", strconv.Itoa(unit))
}

func (def *definition) placeSCSIHostdev(h *node) {
	used := map[[2]string]bool{}
	for _, d := range def.devices.Kids {
		if d.Name == "disk" && d.Kid("target").Get("bus") == "scsi" || d.Name == "hostdev" && d.Get("type") == "scsi" {
			a := d.Kid("address")
			used[[2]string{a.Get("controller"), a.Get("unit")}] = true
		}
	}
	for controller := 0; ; controller++ {
		for unit := range 16 {
			if unit != 7 && !used[[2]string{strconv.Itoa(controller), strconv.Itoa(unit)}] {
				h.Add(driveAddress(controller, 0, unit))
				return
			}
		}
	}
}

// impliedControllers adds the controllers that devices sit on, up to the highest number in use.
func (def *definition) impliedControllers() {
	for _, bus := range []string{"scsi", "fdc", "ide", "sata"} {
		highest := -1
		for _, d := range def.devices.All("disk") {
			if d.Kid("target").Get("bus") == bus && d.Kid("address").Get("type") == "drive" {
				v, _ := strconv.Atoi(d.Kid("address").Get("controller"))
				highest = max(highest, v)
			}
		}
		def.controllersUpTo(bus, highest)
	}
	highest := -1
	for _, d := range def.devices.Kids {
		if (d.Name == "channel" || d.Name == "console") && d.Kid("target").Get("type") == "virtio" {
			v := 0
			if a := d.Kid("address"); a.Get("type") == "virtio-serial" {
				v, _ = strconv.Atoi(a.Get("controller"))
			} else if a != nil {
				continue
			}
			highest = max(highest, v)
		}
	}
	def.controllersUpTo("virtio-serial", highest)
	highest = -1
	for _, s := range def.devices.All("smartcard") {
		v := 0
		if a := s.Kid("address"); a.Get("type") == "ccid" {
			v, _ = strconv.Atoi(a.Get("controller"))
		}
		highest = max(highest, v)
	}
	def.controllersUpTo("ccid", highest)
}

// hostdevControllers adds the SCSI controllers of host devices. libvirt does so while it reads the document, so these
// come before all other implied ones.
func (def *definition) hostdevControllers() {
	highest := -1
	for _, h := range def.devices.All("hostdev") {
		if h.Get("type") == "scsi" {
			v, _ := strconv.Atoi(h.Kid("address").Get("controller"))
			highest = max(highest, v)
		}
	}
	def.controllersUpTo("scsi", highest)
}

// controllersUpTo makes sure of the controllers 0 to highest.
func (def *definition) controllersUpTo(typ string, highest int) {
	for i := 0; i <= highest; i++ {
		if def.controller(typ, i) == nil {
			def.addController(typ, i, "")
		}
	}
}

func (def *definition) ccidAddresses() {
	next := 0
	for _, s := range def.devices.All("smartcard") {
		if a := s.Kid("address"); a.Get("type") == "ccid" {
			v, _ := strconv.Atoi(a.Get("slot"))
			next = max(next, v+1)
		}
	}
	for _, s := range def.devices.All("smartcard") {
		if s.Kid("address") == nil {
			s.Add(xmltree.Elem("address", "type", "ccid", "controller", "0", "slot", strconv.Itoa(next)))
			next++
		}
	}
}
