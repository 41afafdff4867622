package domxml

import "strconv"

// driveAddresses places disks on their controllers by their names, and SCSI host devices behind them.
func (def *definition) driveAddresses() error {
	for _, d := range def.devices.all("disk") {
		if d.kid("address") != nil {
			continue
		}
		if err := placeDisk(d); err != nil {
			return err
		}
	}
	for _, h := range def.devices.all("hostdev") {
		if h.get("type") == "scsi" && h.kid("address") == nil {
			def.placeSCSIHostdev(h)
		}
	}
	return nil
}

func placeDisk(d *node) error {
	t := d.kid("target")
	var controller, bus, unit int
	idx, ok := diskIndex(t.get("dev"))
	if !ok {
		// Only a disk that has an address may be called what it likes.
		return xmlError("Unknown disk name '%s' and no address specified", t.get("dev"))
	}
	switch t.get("bus") {
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
	d.add(driveAddress(controller, bus, unit))
	return nil
}

func driveAddress(controller, bus, unit int) *node {
	return elem("address", "type", "drive", "controller", strconv.Itoa(controller), "bus", strconv.Itoa(bus), "target", "0", "unit", strconv.Itoa(unit))
}

func (def *definition) placeSCSIHostdev(h *node) {
	used := map[[2]string]bool{}
	for _, d := range def.devices.kids {
		if d.name == "disk" && d.kid("target").get("bus") == "scsi" || d.name == "hostdev" && d.get("type") == "scsi" {
			a := d.kid("address")
			used[[2]string{a.get("controller"), a.get("unit")}] = true
		}
	}
	for controller := 0; ; controller++ {
		for unit := range 16 {
			if unit != 7 && !used[[2]string{strconv.Itoa(controller), strconv.Itoa(unit)}] {
				h.add(driveAddress(controller, 0, unit))
				return
			}
		}
	}
}

// impliedControllers adds the controllers that devices sit on, up to the highest number in use.
func (def *definition) impliedControllers() {
	for _, bus := range []string{"scsi", "fdc", "ide", "sata"} {
		highest := -1
		for _, d := range def.devices.all("disk") {
			if d.kid("target").get("bus") == bus && d.kid("address").get("type") == "drive" {
				v, _ := strconv.Atoi(d.kid("address").get("controller"))
				highest = max(highest, v)
			}
		}
		def.controllersUpTo(bus, highest)
	}
	highest := -1
	for _, d := range def.devices.kids {
		if (d.name == "channel" || d.name == "console") && d.kid("target").get("type") == "virtio" {
			v := 0
			if a := d.kid("address"); a.get("type") == "virtio-serial" {
				v, _ = strconv.Atoi(a.get("controller"))
			} else if a != nil {
				continue
			}
			highest = max(highest, v)
		}
	}
	def.controllersUpTo("virtio-serial", highest)
	highest = -1
	for _, s := range def.devices.all("smartcard") {
		v := 0
		if a := s.kid("address"); a.get("type") == "ccid" {
			v, _ = strconv.Atoi(a.get("controller"))
		}
		highest = max(highest, v)
	}
	def.controllersUpTo("ccid", highest)
}

// hostdevControllers adds the SCSI controllers of host devices. libvirt does so while it reads the document, so these
// come before all other implied ones.
func (def *definition) hostdevControllers() {
	highest := -1
	for _, h := range def.devices.all("hostdev") {
		if h.get("type") == "scsi" {
			v, _ := strconv.Atoi(h.kid("address").get("controller"))
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
	for _, s := range def.devices.all("smartcard") {
		if a := s.kid("address"); a.get("type") == "ccid" {
			v, _ := strconv.Atoi(a.get("slot"))
			next = max(next, v+1)
		}
	}
	for _, s := range def.devices.all("smartcard") {
		if s.kid("address") == nil {
			s.add(elem("address", "type", "ccid", "controller", "0", "slot", strconv.Itoa(next)))
			next++
		}
	}
}
