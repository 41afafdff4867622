package domxml

import (
	"slices"
	"strings"
)

// serialChars are what a serial number may be made of on a command line.
const serialChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. +"

func (def *definition) validateDisks() error {
	disks := def.devices.All("disk")
	places := map[string]bool{}
	for i, d := range disks {
		for _, o := range disks[:i] {
			if o.Kid("target").Get("dev") == d.Kid("target").Get("dev") {
				return duplicateTarget(o, d)
			}
		}
		if a := d.Kid("address"); a.Get("type") == "drive" {
			key := d.Kid("target").Get("bus")
			describe(a, &key)
			if places[key] {
				return unsupported("Found duplicate drive address for disk with target name '%s' controller='%s' bus='%s' target='%s' unit='%s'",
					disks[slices.IndexFunc(disks, func(o *node) bool { return sameDrive(o, d) })].Kid("target").Get("dev"), a.Get("controller"), a.Get("bus"), a.Get("target"), a.Get("unit"))
			}
			places[key] = true
		}
	}
	for _, d := range disks {
		if err := def.validateDisk(d); err != nil {
			return err
		}
	}
	return nil
}

func sameDrive(a, b *node) bool {
	x, y := a.Kid("target").Get("bus"), b.Kid("target").Get("bus")
	describe(a.Kid("address"), &x)
	describe(b.Kid("address"), &y)
	return x == y
}

func duplicateTarget(a, b *node) error {
	null := func(s string) string {
		if s == "" {
			return "(null)"
		}
		return s
	}
	return xmlError("target '%s' duplicated for disk sources '%s' and '%s'", b.Kid("target").Get("dev"), null(diskPath(a)), null(diskPath(b)))
}

func (def *definition) validateDisk(d *node) error {
	target, driver := d.Kid("target"), d.Kid("driver")
	dev, bus, device := target.Get("dev"), target.Get("bus"), d.Get("device")
	if diskPath(d) == "" && d.Kid("source") == nil && device != "cdrom" && device != "floppy" {
		return noSource(dev)
	}
	if p := d.Kid("source").Get("startupPolicy"); p != "" && p != "mandatory" && p != "optional" && device != "cdrom" && device != "floppy" {
		return xmlError("disk startupPolicy '%s' is allowed only for cdrom or floppy", p)
	}
	if d.Kid("source/reservations") != nil && device != "lun" {
		return unsupported("<reservations/> allowed only for lun devices")
	}
	if d.Kid("driver/metadata_cache") != nil && driver.Get("type") != "qcow2" {
		return qemuUnsupported("metadata cache max size control is supported only with qcow2 images")
	}
	if target.Has("removable") && bus != "usb" {
		return xmlError("removable is only valid for usb disks")
	}
	if err := def.validateOverrides(d.Kid("source")); err != nil {
		return err
	}
	if t := d.Kid("iotune"); t != nil {
		if err := validateIOTune(t); err != nil {
			return err
		}
	}
	if d.Kid("wwn") != nil && bus != "ide" && bus != "scsi" && bus != "sata" {
		return qemuUnsupported("Only ide and scsi disk support wwn")
	}
	if d.Kid("geometry").Has("trans") && bus != "ide" {
		return qemuUnsupported("CHS translation mode can only be set for 'ide' bus not '%s'", bus)
	}
	if device == "lun" {
		if d.Get("type") != "block" && d.Get("type") != "volume" && !(d.Get("type") == "network" && d.Kid("source").Get("protocol") == "iscsi") {
			return unsupported("disk device='lun' is only valid for block type disk source")
		}
		if bus != "scsi" && bus != "virtio" {
			return unsupported("disk device='lun' is not supported for bus='%s'", bus)
		}
	}
	if s := d.KidText("serial"); strings.Trim(s, serialChars) != "" {
		return internalError("driver serial '%s' contains unsafe characters", s)
	}
	if device == "cdrom" && bus == "virtio" {
		return qemuUnsupported("disk type of '%s' does not support ejectable media", dev)
	}
	if n := driver.Get("name"); n != "qemu" {
		return qemuUnsupported("unsupported driver name '%s' for disk '%s'", n, dev)
	}
	if driver.Get("io") == "native" {
		if c := driver.Get("cache"); c != "none" && c != "directsync" {
			return qemuUnsupported("io='native' needs either no disk cache or directsync cache mode")
		}
	}
	if d.Kid("shareable") != nil && driver.Get("type") != "raw" {
		return qemuUnsupported("shared access for disk '%s' requires use of supported storage format", dev)
	}
	if id, ok := driver.Lookup("iothread"); ok {
		if bus != "virtio" {
			return qemuUnsupported("IOThreads not available for bus %s target %s", bus, dev)
		}
		if !slices.Contains(def.iothreadIDs(), id) {
			return qemuUnsupported("Disk iothread '%s' not defined in iothreadid", id)
		}
	}
	if err := def.validateDiskOptions(d); err != nil {
		return err
	}
	return def.validateDriveAddress(d, bus)
}

func (def *definition) validateDriveAddress(d *node, bus string) error {
	a := d.Kid("address")
	if a.Get("type") != "drive" || bus != "scsi" {
		return nil
	}
	n, _ := uintOf(a, "controller")
	c := def.controller("scsi", int(n))
	model := c.Get("model")
	switch model {
	case "lsilogic":
		if a.Get("target") != "0" {
			return qemuUnsupported("target must be 0 for controller model '%s'", model)
		}
	}
	return nil
}

// validateOverrides: a device can only be labelled otherwise where the domain's labels are applied at all.
func (def *definition) validateOverrides(source *node) error {
	for _, o := range source.All("seclabel") {
		if o.Get("relabel") == "no" {
			continue
		}
		for _, l := range def.root.All("seclabel") {
			if l.Get("model") == o.Get("model") && l.Get("relabel") == "no" {
				return unsupported("label overrides require relabeling to be enabled at the domain level")
			}
		}
	}
	return nil
}

func validateIOTune(t *node) error {
	for _, suffix := range []string{"bytes_sec", "iops_sec", "bytes_sec_max", "iops_sec_max"} {
		if t.Kid("total_"+suffix) != nil && (t.Kid("read_"+suffix) != nil || t.Kid("write_"+suffix) != nil) {
			return xmlError("total and read/write %s cannot be set at the same time", suffix)
		}
	}
	return nil
}
