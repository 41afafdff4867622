package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// blockResize serves virDomainBlockResize: the image grows, and the guest is told. Sizes are KiB without the flag that
// says bytes.
func (d *domain) blockResize(ctx actor.Context, r *call.Request, a *protocol.DomainBlockResizeArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainBlockResizeBytes, liberr.FromQemu, "qemuDomainBlockResize"); err != nil {
		return err
	}
	size := a.Size
	if a.Flags&virt.DomainBlockResizeBytes == 0 {
		if size > 1<<54 {
			return liberr.New(liberr.FromQemu, liberr.Overflow, "size must be less than %d", uint64(1)<<54)
		}
		size *= 1024
	}
	if err := d.requireActive(); err != nil {
		return err
	}
	return d.deviceTask(ctx, r, virt.DomainAffectLive, func(j *deviceJob, jc context.Context, _ *kit.Undo) error {
		return j.resize(jc, a.Disk, size)
	})
}

// diskNamed finds a disk by its target or its image.
func diskNamed(def *libvirtxml.Domain, name string) *libvirtxml.DomainDisk {
	if d := diskByTarget(def, name); d != nil {
		return d
	}
	for i := range def.Devices.Disks {
		if d := &def.Devices.Disks[i]; name != "" && diskPath(d) == name {
			return d
		}
	}
	return nil
}

func (j *deviceJob) resize(ctx context.Context, name string, size uint64) error {
	d := diskNamed(j.live, name)
	if d == nil {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "disk '%s' was not found in the domain config", name)
	}
	if d.Source != nil && d.Source.VHostUser != nil {
		return unsupportedOperation("block resize is not supported for vhostuser disk")
	}
	if !hasMedium(d) || d.ReadOnly != nil {
		return unsupportedOperation("can't resize empty or readonly disk '%s'", diskTarget(d))
	}
	if format := driverOf(d).Type; format == "qcow2" || format == "qed" {
		const sector = 512 // these formats count in sectors
		size = (size + sector - 1) / sector * sector
	}
	return qmp.BlockResize(ctx, j.mon, command.FormatNode(d.Source.Index), size)
}
