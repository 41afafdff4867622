package qemu

import (
	"errors"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

// Where a plugged device goes in the definition, and what has to be there for it.

// valid refuses what the stored definition would be refused for: it tries the device there, where buses may be added.
func (j *deviceJob) valid(dev *domxml.Device) error {
	def, err := domxml.Clone(j.live)
	if err != nil {
		return err
	}
	def.ID = nil
	one := only(dev)
	if one == nil {
		return nil
	}
	if _, err = domxml.Attach(def, alone(one), j.drv.xmlEnv, false); errors.Is(err, liberr.ConfigUnsupported) || errors.Is(err, liberr.XMLError) {
		return inUse(err)
	}
	return nil
}

// inUse gives an error the code it has where a running guest runs out of ports.
func inUse(err error) error {
	const full = "No free USB ports"
	if errors.Is(err, liberr.XMLError) && strings.HasSuffix(err.Error(), full) {
		return liberr.New(liberr.FromQemu, liberr.InternalError, full)
	}
	return err
}

// place puts a device into the definition, and what it needs: for a disk on a SCSI bus that is not there its controllers.
// It returns all of them, in the order in which they are plugged.
func (j *deviceJob) place(def *libvirtxml.Domain, dev *domxml.Device) ([]*domxml.Device, error) {
	var added []*domxml.Device
	if dev.Kind == "disk" && diskBus(&dev.Disks[0]) == "scsi" {
		for i := uint(0); i <= scsiController(&dev.Disks[0]); i++ {
			c := likeSCSI(def, i)
			if c == nil {
				continue
			}
			more, err := domxml.Attach(def, alone(&piece{kind: "controller", device: c}), j.drv.xmlEnv, true)
			if err != nil {
				return nil, err
			}
			added = append(added, more...)
		}
	}
	more, err := domxml.Attach(def, dev, j.drv.xmlEnv, true)
	if err != nil {
		return nil, inUse(err)
	}
	gatherControllers(def)
	return append(added, more...), nil
}

// scsiController is the controller that a disk goes to: where its address says, else where its name puts it.
func scsiController(d *libvirtxml.DomainDisk) uint {
	if d.Address != nil && d.Address.Drive != nil {
		return value(d.Address.Drive.Controller)
	}
	const width = 7 // disks of a narrow bus, by which libvirt counts them
	return diskNumber(diskTarget(d)) / width
}

// diskNumber counts targets: sda is 0, sdaa is 26.
func diskNumber(target string) uint {
	n := uint(0)
	letters := strings.TrimLeft(target[min(2, len(target)):], "0123456789")
	for _, c := range letters {
		if c < 'a' || c > 'z' {
			break
		}
		n = n*26 + uint(c-'a') + 1
	}
	return max(n, 1) - 1
}

// likeSCSI makes the SCSI controller that a disk misses, of the model that the others have; nil when it is there.
func likeSCSI(def *libvirtxml.Domain, index uint) *libvirtxml.DomainController {
	c := &libvirtxml.DomainController{Type: "scsi", Index: &index}
	for _, o := range def.Devices.Controllers {
		if o.Type != "scsi" {
			continue
		}
		if value(o.Index) == index {
			return nil
		}
		c.Model = o.Model
	}
	return c
}

// gatherControllers sorts the controllers of one type together.
//
// Compat: a controller that comes is put behind those of its type with lower numbers.
func gatherControllers(def *libvirtxml.Domain) {
	var out []libvirtxml.DomainController
	for _, c := range def.Devices.Controllers {
		at := len(out)
		if c.Type == "scsi" {
			for i := len(out) - 1; i >= 0; i-- {
				if out[i].Type == c.Type && value(out[i].Index) < value(c.Index) {
					at = i + 1
					break
				}
			}
		}
		out = slices.Insert(out, at, c)
	}
	def.Devices.Controllers = out
}
