package assign

import (
	"encoding/binary"
	"os"
	"path/filepath"

	"virtree/wire/liberr"
)

// Of the configuration space of a PCI device.
const (
	configStatus  = 0x06 // bit 4: there is a list of capabilities
	configHeader  = 0x0e // the type of the header; 0 is an endpoint
	configCapList = 0x34

	capPM      = 0x01
	capExpress = 0x10
	capAF      = 0x13

	expressDevCap = 4       // from the capability's place
	expressFLR    = 1 << 28 // it can reset one function
	afCap         = 3
	afFLR         = 1 << 1
	pmControl     = 4
	pmNoSoftReset = 1 << 3 // it keeps its state on the way through D3
)

// capability is where one stands, 0 when there is none.
func capability(c []byte, id byte) int {
	if len(c) < 64 || c[configStatus]&0x10 == 0 {
		return 0
	}
	at := int(c[configCapList]) &^ 3
	for range 48 { // as many as fit: a list that bites its own tail ends too
		if at < 64 || at+8 > len(c) {
			return 0
		}
		if c[at] == id {
			return at
		}
		at = int(c[at+1]) &^ 3
	}
	return 0
}

// reset does what libvirt's reset does, by the kernel's means: nothing where a guest's start resets the function anyway, and
// else through the file that resets the device, if it alone can be reset by its power states or nobody else is on its bus.
func (h Host) reset(address string) error {
	dir := h.dir(address)
	if h.driver(address) == stub {
		return nil // it resets by itself
	}
	c, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil || len(c) < 64 {
		return liberr.System(liberr.FromNone, err, "Failed to open config space file '%s'", filepath.Join(dir, "config"))
	}
	if c[configHeader]&0x7f != 0 {
		return liberr.New(liberr.FromNone, liberr.InternalError, "Invalid attempt to reset PCI device %s. Only PCI endpoint devices can be reset", address)
	}
	if at := capability(c, capExpress); at != 0 && binary.LittleEndian.Uint32(c[at+expressDevCap:])&expressFLR != 0 {
		return nil
	}
	if at := capability(c, capAF); at != 0 && c[at+afCap]&afFLR != 0 {
		return nil
	}
	if exists(filepath.Join(dir, "physfn")) { // a virtual function can, whether it says so or not
		return nil
	}
	pm := capability(c, capPM)
	why := "no FLR, PM reset or bus reset available"
	possible := pm != 0 && binary.LittleEndian.Uint32(c[pm+pmControl:])&pmNoSoftReset == 0
	if !possible && busOf(address) != "00" {
		other, err := h.busInUse(address)
		switch {
		case err != nil:
			return err
		case other == "":
			possible = true
		default:
			why = liberr.New(liberr.FromNone, liberr.InternalError, "Active %s devices on bus with %s, not doing bus reset", other, address).Message
		}
	}
	if possible {
		err := put(filepath.Join(dir, "reset"), "1")
		if err == nil {
			return nil
		}
		return liberr.New(liberr.FromNone, liberr.InternalError, "Unable to reset PCI device %s: %s", address, why).WithCause(err)
	}
	return liberr.New(liberr.FromNone, liberr.InternalError, "Unable to reset PCI device %s: %s", address, why)
}

// busOf is the bus in an address: 0000:06:12.5.
func busOf(address string) string {
	if len(address) < 7 {
		return "00"
	}
	return address[len(address)-7 : len(address)-5]
}

// busInUse is another device on the same bus that is not detached; "" when there is none.
func (h Host) busInUse(address string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(h.Sys, "bus/pci/devices"))
	if err != nil {
		return "", liberr.System(liberr.FromNone, err, "cannot open directory '%s'", filepath.Join(h.Sys, "bus/pci/devices"))
	}
	prefix := address[:max(len(address)-4, 0)] // the domain and the bus
	for _, e := range entries {
		a := e.Name()
		if a == address || len(a) != len(address) || a[:len(prefix)] != prefix {
			continue
		}
		if r, err := h.load(a); err != nil {
			return "", err
		} else if r == nil || r.Owner != nil {
			return a, nil
		}
	}
	return "", nil
}
