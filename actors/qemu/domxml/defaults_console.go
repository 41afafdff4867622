package domxml

import "strconv"

// consoles settles the ports of character devices and the pair every hvm guest has: its first serial port is also its
// first console, and the other way round.
func (def *definition) consoles() error {
	def.numberPorts("console")
	def.consoleCompat()
	def.numberPorts("serial")
	def.numberPorts("parallel")
	for _, s := range def.devices.all("serial") {
		serialDefaults(s)
	}
	consoles := def.devices.all("console")
	for i, c := range consoles {
		t := c.ensure("target")
		if typ := t.get("type"); typ == "" || typ == "none" {
			t.set("type", "serial")
		}
		if i > 0 && t.get("type") == "serial" {
			return unsupported("Only the first console can be a serial port")
		}
	}
	return nil
}

// mirrorConsole makes the first console what the first serial port is, once that has all it will have.
func (def *definition) mirrorConsole() error {
	consoles, serials := def.devices.all("console"), def.devices.all("serial")
	if len(consoles) > 0 && len(serials) > 0 && consoles[0].kid("target").get("type") == "serial" {
		mirrorSerial(consoles[0], serials[0])
	}
	return nil
}

// consoleCompat makes the missing half of the pair.
func (def *definition) consoleCompat() {
	consoles, serials := def.devices.all("console"), def.devices.all("serial")
	switch {
	case len(consoles) > 0:
		if typ := consoles[0].kid("target").get("type"); typ != "" && typ != "serial" && typ != "none" {
			if len(serials) > 0 && serialConsole(serials[0]) {
				def.devices.insertBefore(consoles[0], stubConsole())
			}
			return
		}
		if len(serials) > 0 {
			return
		}
		s := consoles[0].clone()
		s.name = "serial"
		s.drop("target")
		s.add(elem("target"))
		def.devices.add(s)
	case len(serials) > 0 && serialConsole(serials[0]):
		def.devices.add(stubConsole())
	}
}

func serialConsole(serial *node) bool {
	switch serial.kid("target").get("type") {
	case "", "none", "isa-serial", "spapr-vio-serial", "system-serial", "sclp-serial":
		return true
	}
	return false
}

func stubConsole() *node {
	c := elem("console")
	c.add(elem("target", "type", "serial"))
	return c
}

// mirrorSerial makes the console what the serial port is.
func mirrorSerial(console, serial *node) {
	target := elem("target", "type", "serial", "port", serial.kid("target").get("port"))
	m := serial.clone()
	console.attrs = m.attrs
	console.kids = m.kids
	console.drop("target", "acpi", "boot")
	console.add(target)
}

// numberPorts gives ports to the devices of one kind that have none: one more than the highest.
func (def *definition) numberPorts(name string) {
	highest := -1
	devices := def.devices.all(name)
	for _, d := range devices {
		if v, err := strconv.Atoi(d.kid("target").get("port")); err == nil {
			highest = max(highest, v)
		}
	}
	if name != "serial" {
		highest = -1 // these are numbered one by one as they are read
	}
	for i, d := range devices {
		t := d.ensure("target")
		switch {
		case name == "console" && def.flags&ParseTrusted == 0:
			t.set("port", strconv.Itoa(i))
		case t.has("port"):
			v, _ := strconv.Atoi(t.get("port"))
			highest = max(highest, v)
		default:
			highest++
			t.set("port", strconv.Itoa(highest))
		}
	}
}

func serialDefaults(s *node) {
	t := s.kid("target")
	if t.get("type") == "" {
		t.set("type", "isa-serial")
	}
	if t.kid("model") == nil {
		model := t.get("type")
		if model == "isa-debug" {
			model = "isa-debugcon"
		}
		t.add(elem("model", "name", model))
	}
}
