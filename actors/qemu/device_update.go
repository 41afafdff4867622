package qemu

import (
	"context"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
)

// update serves virDomainUpdateDeviceFlags.
func (j *deviceJob) update(ctx context.Context, undo *kit.Undo, xml string, force bool) error {
	if j.config != nil {
		dev, err := j.parse(xml, j.config)
		if err != nil {
			return err
		}
		def, err := j.editConfig()
		if err != nil {
			return err
		}
		if _, _, err = domxml.Update(def, dev); err != nil {
			return err
		}
		j.edited = def
	}
	if j.live == nil {
		return nil
	}
	dev, err := j.parse(xml, j.live)
	if err != nil {
		return err
	}
	if err := bootFits(j.live, dev); err != nil {
		return err
	}
	switch dev.Kind {
	case "disk":
		return j.updateDisk(ctx, undo, &dev.Disks[0], force)
	case "interface":
		return j.updateNIC(ctx, undo, dev)
	case "graphics":
		return j.updateDisplay(ctx, &dev.Graphics[0])
	case "memory":
		return j.updateMemory(ctx, &dev.Memorydevs[0])
	}
	return unsupportedConfig("live update of device '%s' is not supported", dev.Kind)
}

// updateMemory changes how much of a virtio-mem module the guest is to have.
func (j *deviceJob) updateMemory(ctx context.Context, m *libvirtxml.DomainMemorydev) error {
	alias := "(null)"
	if m.Alias != nil {
		alias = m.Alias.Name
	}
	def, err := domxml.Clone(j.live)
	if err != nil {
		return err
	}
	var old *libvirtxml.DomainMemorydev
	for i := range def.Devices.Memorydevs {
		o := &def.Devices.Memorydevs[i]
		if m.Alias != nil && o.Alias != nil && o.Alias.Name == m.Alias.Name {
			old = o
		}
	}
	if old == nil {
		return unsupportedConfig("memory '%s' not found", alias)
	}
	if old.Model != m.Model {
		return unsupportedConfig("cannot modify memory model from '%s' to '%s'", old.Model, m.Model)
	}
	if m.Model != "virtio-mem" {
		return unsupportedConfig("cannot modify memory of model '%s'", m.Model)
	}
	a, b := old.Target, m.Target
	if a == nil || b == nil || a.Size == nil || b.Size == nil || b.Requested == nil {
		return liberr.New(liberr.FromDomain, liberr.XMLError, "missing element 'requested' of virtio-mem")
	}
	if was, is := memoryKiB(a.Size.Value, a.Size.Unit), memoryKiB(b.Size.Value, b.Size.Unit); was != is {
		return unsupportedConfig("cannot modify memory size from '%d' to '%d'", was, is)
	}
	if a.Node != nil && b.Node != nil && a.Node.Value != b.Node.Value {
		return unsupportedConfig("cannot modify memory targetNode from '%d' to '%d'", a.Node.Value, b.Node.Value)
	}
	bytes := memoryKiB(b.Requested.Value, b.Requested.Unit) << 10
	if err := setProperty(ctx, j.mon, old.Alias.Name, "requested-size", bytes); err != nil {
		return err
	}
	a.Requested = b.Requested
	j.now = def
	return nil
}
