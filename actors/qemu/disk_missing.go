package qemu

import (
	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/domxml"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// missingDisk is a disk that a guest started without, or whose drive it found empty, because its source was not there.
type missingDisk struct {
	alias  string
	path   *string // nil for a volume
	reason int32
}

// mayBeMissing tells whether a guest starts without this disk, or without what is in the drive. A guest that goes on from a
// saved state needs the disks that it had, and not their media.
func (p *launchPlan) mayBeMissing(d *libvirtxml.DomainDisk) bool {
	if d.Source == nil {
		return false
	}
	switch d.Source.StartupPolicy {
	case "optional":
		return p.from == nil || removable(d)
	case "requisite":
		return p.from != nil
	}
	return false
}

func removable(d *libvirtxml.DomainDisk) bool { return d.Device == "cdrom" || d.Device == "floppy" }

// leaveOut takes out a disk whose source is missing: as a whole, or what is in the drive. It keeps the names that all disks
// have by their places.
func (p *launchPlan) leaveOut(i int) error {
	if p.def.Devices.Disks[i].Alias == nil {
		if err := domxml.AssignAliases(p.def); err != nil {
			return err
		}
	}
	d := &p.def.Devices.Disks[i]
	m := missingDisk{reason: virt.DomainEventDiskChangeMissingOnStart}
	if d.Alias != nil {
		m.alias = d.Alias.Name
	}
	if path := diskPath(d); path != "" {
		m.path = &path
	}
	if removable(d) {
		d.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{}}
		if d.Driver != nil {
			d.Driver.Type = ""
		}
	} else {
		m.reason = virt.DomainEventDiskDropMissingOnStart
		p.def.Devices.Disks = append(p.def.Devices.Disks[:i:i], p.def.Devices.Disks[i+1:]...)
	}
	p.missing = append(p.missing, m)
	return nil
}

// tellMissing has clients hear of what the guest was started without, whatever became of the start.
func (d *domain) tellMissing(ctx actor.Context, p *launchPlan) {
	for _, m := range p.missing {
		d.publish(ctx, virt.DomainEventIDDiskChange, &protocol.DomainEventDiskChangeMsg{Dom: d.ref(), OldSrcPath: m.path, DevAlias: m.alias, Reason: m.reason})
	}
	p.missing = nil
}
