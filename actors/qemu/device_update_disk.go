package qemu

import (
	"context"
	"reflect"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
)

// updateDisk changes the medium of a removable drive, or what else of a disk can change while it is in use: its
// startup policy and its part in snapshots.
func (j *deviceJob) updateDisk(ctx context.Context, undo *kit.Undo, want *libvirtxml.DomainDisk, force bool) error {
	old := diskByTarget(j.live, diskTarget(want))
	if old == nil {
		return liberr.New(liberr.FromQemu, liberr.InternalError, "disk '%s' not found", diskTarget(want))
	}
	if field := fixedField(old, want); field != "" {
		return unsupportedOperation("cannot modify field '%s' of the disk", field)
	}
	if !sameMedium(old, want) {
		if want.Device != "cdrom" && want.Device != "floppy" {
			return unsupportedConfig("disk source can be changed only in removable drives")
		}
		if err := j.changeMedium(ctx, undo, old, want, force); err != nil {
			return err
		}
	}
	def := j.now
	if def == nil {
		var err error
		if def, err = domxml.Clone(j.live); err != nil {
			return err
		}
	}
	d := diskByTarget(def, diskTarget(want))
	if d.Source != nil && want.Source != nil {
		d.Source.StartupPolicy = want.Source.StartupPolicy
	}
	d.Snapshot = want.Snapshot
	j.now = def
	return nil
}

// sameMedium: both have the same source.
func sameMedium(a, b *libvirtxml.DomainDisk) bool {
	if !hasMedium(a) || !hasMedium(b) {
		return hasMedium(a) == hasMedium(b)
	}
	x, y := *a.Source, *b.Source
	switch {
	case x.File != nil && y.File != nil:
		return x.File.File == y.File.File
	case x.Block != nil && y.Block != nil:
		return x.Block.Dev == y.Block.Dev
	case x.Network != nil && y.Network != nil:
		return x.Network.Protocol == y.Network.Protocol && x.Network.Name == y.Network.Name && reflect.DeepEqual(x.Network.Hosts, y.Network.Hosts)
	case x.Volume != nil && y.Volume != nil:
		return x.Volume.Pool == y.Volume.Pool && x.Volume.Volume == y.Volume.Volume
	}
	return false
}

// field is one property of a disk that cannot change while it is in use. get gives nil where a document leaves it open.
type field struct {
	name string
	get  func(d *libvirtxml.DomainDisk) any
	soft bool // what the document leaves open stays as it is
}

func driverOf(d *libvirtxml.DomainDisk) *libvirtxml.DomainDiskDriver {
	if d.Driver == nil {
		return &libvirtxml.DomainDiskDriver{}
	}
	return d.Driver
}

func tuneOf(d *libvirtxml.DomainDisk) *libvirtxml.DomainDiskIOTune {
	if d.IOTune == nil {
		return &libvirtxml.DomainDiskIOTune{}
	}
	return d.IOTune
}

// fixedFields are in the order in which libvirt looks at them: the first that differs is the one it names.
var fixedFields = []field{
	{name: "device", get: func(d *libvirtxml.DomainDisk) any { return d.Device }},
	{name: "bus", get: func(d *libvirtxml.DomainDisk) any { return diskBus(d) }},
	{name: "target", get: func(d *libvirtxml.DomainDisk) any { return diskTarget(d) }},
	{name: "geometry", get: func(d *libvirtxml.DomainDisk) any { return deref(d.Geometry) }},
	{name: "blockio", get: func(d *libvirtxml.DomainDisk) any { return deref(d.BlockIO) }},
	{name: "blkdeviotune total_bytes_sec", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).TotalBytesSec }, soft: true},
	{name: "blkdeviotune read_bytes_sec", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).ReadBytesSec }, soft: true},
	{name: "blkdeviotune write_bytes_sec", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).WriteBytesSec }, soft: true},
	{name: "blkdeviotune total_iops_sec", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).TotalIopsSec }, soft: true},
	{name: "blkdeviotune read_iops_sec", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).ReadIopsSec }, soft: true},
	{name: "blkdeviotune write_iops_sec", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).WriteIopsSec }, soft: true},
	{name: "blkdeviotune total_bytes_sec_max", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).TotalBytesSecMax }, soft: true},
	{name: "blkdeviotune read_bytes_sec_max", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).ReadBytesSecMax }, soft: true},
	{name: "blkdeviotune write_bytes_sec_max", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).WriteBytesSecMax }, soft: true},
	{name: "blkdeviotune total_iops_sec_max", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).TotalIopsSecMax }, soft: true},
	{name: "blkdeviotune read_iops_sec_max", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).ReadIopsSecMax }, soft: true},
	{name: "blkdeviotune write_iops_sec_max", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).WriteIopsSecMax }, soft: true},
	{name: "blkdeviotune size_iops_sec", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).SizeIopsSec }, soft: true},
	{name: "blkdeviotune group name", get: func(d *libvirtxml.DomainDisk) any { return tuneOf(d).GroupName }, soft: true},
	{name: "serial", get: func(d *libvirtxml.DomainDisk) any { return d.Serial }, soft: true},
	{name: "wwn", get: func(d *libvirtxml.DomainDisk) any { return d.WWN }, soft: true},
	{name: "vendor", get: func(d *libvirtxml.DomainDisk) any { return d.Vendor }, soft: true},
	{name: "product", get: func(d *libvirtxml.DomainDisk) any { return d.Product }, soft: true},
	{name: "cache", get: func(d *libvirtxml.DomainDisk) any { return cacheOf(driverOf(d).Cache) }, soft: true},
	{name: "error_policy", get: func(d *libvirtxml.DomainDisk) any { return driverOf(d).ErrorPolicy }, soft: true},
	{name: "rerror_policy", get: func(d *libvirtxml.DomainDisk) any { return driverOf(d).RErrorPolicy }, soft: true},
	{name: "io", get: func(d *libvirtxml.DomainDisk) any { return driverOf(d).IO }, soft: true},
	{name: "ioeventfd", get: func(d *libvirtxml.DomainDisk) any { return driverOf(d).IOEventFD }, soft: true},
	{name: "event_idx", get: func(d *libvirtxml.DomainDisk) any { return driverOf(d).EventIDX }, soft: true},
	{name: "copy_on_read", get: func(d *libvirtxml.DomainDisk) any { return driverOf(d).CopyOnRead }, soft: true},
	{name: "discard", get: func(d *libvirtxml.DomainDisk) any { return driverOf(d).Discard }, soft: true},
	{name: "iothread", get: func(d *libvirtxml.DomainDisk) any { return deref(driverOf(d).IOThread) }, soft: true},
	{name: "detect_zeroes", get: func(d *libvirtxml.DomainDisk) any { return driverOf(d).DetectZeros }, soft: true},
	{name: "queues", get: func(d *libvirtxml.DomainDisk) any { return deref(driverOf(d).Queues) }, soft: true},
	{name: "boot", get: func(d *libvirtxml.DomainDisk) any { return deref(d.Boot) }, soft: true},
	{name: "rawio", get: func(d *libvirtxml.DomainDisk) any { return d.RawIO }},
	{name: "sgio", get: func(d *libvirtxml.DomainDisk) any { return d.SGIO }, soft: true},
	{name: "address", get: func(d *libvirtxml.DomainDisk) any { return placeOf(d.Address) }, soft: true},
	{name: "alias", get: func(d *libvirtxml.DomainDisk) any { return userAlias(d.Alias) }, soft: true},
	{name: "readonly", get: func(d *libvirtxml.DomainDisk) any { return d.ReadOnly != nil }},
	{name: "shareable", get: func(d *libvirtxml.DomainDisk) any { return d.Shareable != nil }},
	{name: "transient", get: func(d *libvirtxml.DomainDisk) any { return d.Transient != nil }},
}

// deref is the value behind a pointer; nil when there is none.
func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func cacheOf(s string) string {
	if s == "default" {
		return ""
	}
	return s
}

// placeOf is an address in a form that can be compared.
func placeOf(a *libvirtxml.DomainAddress) any {
	switch {
	case a == nil:
		return nil
	case a.PCI != nil:
		return pciText(a.PCI)
	case a.Drive != nil:
		return [4]uint{value(a.Drive.Controller), value(a.Drive.Bus), value(a.Drive.Target), value(a.Drive.Unit)}
	case a.USB != nil:
		return itoa(int(value(a.USB.Bus))) + ":" + a.USB.Port
	}
	return nil
}

func userAlias(a *libvirtxml.DomainAlias) string {
	if a == nil || !isUserAlias(a.Name) {
		return ""
	}
	return a.Name
}

// fixedField names the first property that is to change and cannot.
func fixedField(old, want *libvirtxml.DomainDisk) string {
	for _, f := range fixedFields {
		a, b := f.get(old), f.get(want)
		if f.soft && (b == nil || reflect.ValueOf(b).IsZero()) {
			continue
		}
		if !reflect.DeepEqual(a, b) {
			return f.name
		}
	}
	return ""
}

// setProperty writes a property of one of the guest's devices.
func setProperty(ctx context.Context, mon *qmp.Client, alias, name string, v any) error {
	return qmp.QOMSet(ctx, mon, "/machine/peripheral/"+alias, name, v)
}
