package domxml

import (
	"strconv"

	"virtree/actors/internal/xmltree"
)

// consoles settles the ports of character devices and the pair every hvm guest has: its first serial port is also its
// first console, and the other way round.
func (def *definition) consoles() error {
	def.numberPorts("console")
	def.consoleCompat()
	def.numberPorts("serial")
	def.numberPorts("parallel")
	for _, s := range def.devices.All("serial") {
		serialDefaults(s)
	}
	consoles := def.devices.All("console")
	for i, c := range consoles {
		t := c.Ensure("target")
		if typ := t.Get("type"); typ == "" || typ == "none" {
			t.Set("type", "serial")
		}
		if i > 0 && t.Get("type") == "serial" {
			return unsupported("Only the first console can be a serial port")
		}
	}
	return nil
}

// mirrorConsole makes the first console what the first serial port is, once that has all it will have.
func (def *definition) mirrorConsole() error {
	consoles, serials := def.devices.All("console"), def.devices.All("serial")
	if len(consoles) > 0 && len(serials) > 0 && consoles[0].Kid("target").Get("type") == "serial" {
		mirrorSerial(consoles[0], serials[0])
	}
	return nil
}

// consoleCompat makes the missing half of the pair.
func (def *definition) consoleCompat() {
	consoles, serials := def.devices.All("console"), def.devices.All("serial")
	switch {
	case len(consoles) > 0:
		if typ := consoles[0].Kid("target").Get("type"); typ != "" && typ != "serial" && typ != "none" {
			if len(serials) > 0 && serialConsole(serials[0]) {
				def.devices.InsertBefore(consoles[0], stubConsole())
			}
			return
		}
		if len(serials) > 0 {
			return
		}
		s := consoles[0].Clone()
		s.Name = "serial"
		s.Drop("target")
		s.Add(xmltree.Elem("target"))
		def.devices.Add(s)
	case len(serials) > 0 && serialConsole(serials[0]):
		def.devices.Add(stubConsole())
	}
}

func serialConsole(serial *node) bool {
	switch serial.Kid("target").Get("type") {
	case "", "none", "isa-serial", "spapr-vio-serial", "system-serial", "sclp-serial":
		return true
	}
	return false
}

func stubConsole() *node {
	c := xmltree.Elem("console")
	c.Add(xmltree.Elem("target", "type", "serial"))
	return c
}

// mirrorSerial makes the console what the serial port is.
func mirrorSerial(console, serial *node) {
	target := xmltree.Elem("target", "type", "serial", "port", serial.Kid("target").Get("port"))
	m := serial.Clone()
	console.Attrs = m.Attrs
	console.Kids = m.Kids
	console.Drop("target", "acpi", "boot")
	console.Add(target)
}

// numberPorts gives ports to the devices of one kind that have none: one more than the highest.
func (def *definition) numberPorts(name string) {
	highest := -1
	devices := def.devices.All(name)
	for _, d := range devices {
		if v, err := strconv.Atoi(d.Kid("target").Get("port")); err == nil {
			highest = max(highest, v)
		}
	}
	if name != "serial" {
		highest = -1 // these are numbered one by one as they are read
	}
	for i, d := range devices {
		t := d.Ensure("target")
		switch {
		case name == "console" && def.flags&ParseTrusted == 0:
			t.Set("port", strconv.Itoa(i))
		case t.Has("port"):
			v, _ := strconv.Atoi(t.Get("port"))
			highest = max(highest, v)
		default:
			highest++
			t.Set("port", strconv.Itoa(highest))
		}
	}
}

func serialDefaults(s *node) {
	t := s.Kid("target")
	if t.Get("type") == "" {
		t.Set("type", "isa-serial")
	}
	if t.Kid("model") == nil {
		model := t.Get("type")
		if model == "isa-debug" {
			model = "isa-debugcon"
		}
		t.Add(xmltree.Elem("model", "name", model))
	}
}
