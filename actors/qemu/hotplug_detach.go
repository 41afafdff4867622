package qemu

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// detach serves virDomainDetachDeviceFlags.
func (j *deviceJob) detach(ctx context.Context, xml string) error {
	if j.config != nil {
		dev, err := j.parse(xml, j.config)
		if err != nil {
			return err
		}
		def, err := j.editConfig()
		if err != nil {
			return err
		}
		if j.live != nil && pathless(dev) {
			return invalidArg("device not present in domain configuration")
		}
		if _, err := domxml.Detach(def, dev); err != nil {
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
	if dev.Kind == "lease" {
		return j.dropLease(ctx, dev)
	}
	one, err := j.detachTarget(dev)
	if err != nil {
		return err
	}
	return j.plugOut(ctx, one, true)
}

// pathless: a channel whose document leaves its socket to us.
//
// Compat: such a document matches the stored channel, but no running one, whose socket has a path by then.
func pathless(dev *domxml.Device) bool {
	if dev.Kind != "channel" {
		return false
	}
	s := dev.Channels[0].Source
	return s != nil && s.UNIX != nil && s.UNIX.Path == ""
}

// detachAlias serves virDomainDetachDeviceAlias, which only asks: the event tells when the device is gone.
func (j *deviceJob) detachAlias(ctx context.Context, alias string) error {
	missing := liberr.New(liberr.FromDomain, liberr.InternalError, "no device found with alias %s", alias)
	if j.config != nil {
		def, err := j.editConfig()
		if err != nil {
			return err
		}
		one := findAlias(def.Devices, alias)
		if one == nil {
			return missing
		}
		if _, err := domxml.Detach(def, alone(one)); err != nil {
			return err
		}
		j.edited = def
	}
	if j.live == nil {
		return nil
	}
	one := findAlias(j.live.Devices, alias)
	if one == nil {
		return missing
	}
	if err := detachable(one); err != nil {
		return err
	}
	return j.plugOut(ctx, one, false)
}

// dropLease ends a lease, which QEMU knows nothing of.
func (j *deviceJob) dropLease(ctx context.Context, dev *domxml.Device) error {
	want := dev.Leases[0]
	def, err := domxml.Clone(j.live)
	if err != nil {
		return err
	}
	left := without(def.Devices.Leases, func(l *libvirtxml.DomainLease) bool { return l.Key == want.Key && l.Lockspace == want.Lockspace })
	if len(left) == len(def.Devices.Leases) {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "Lease %s in lockspace %s does not exist", want.Key, want.Lockspace)
	}
	for i := range j.live.Devices.Leases {
		if l := &j.live.Devices.Leases[i]; l.Key == want.Key && l.Lockspace == want.Lockspace {
			j.releaseLease(ctx, l)
		}
	}
	def.Devices.Leases = left
	j.now = def
	return nil
}

// unplugPatience is how long a call waits for a guest to let go of a device.
const unplugPatience = 5 * time.Second

// plugOut asks the guest to let go of a device and, with wait, waits for it a while. A guest that takes longer, or
// has no one who answers, is no failure: the device goes when the guest lets it.
func (j *deviceJob) plugOut(ctx context.Context, one *piece, wait bool) error {
	alias := one.name()
	if alias == "" {
		return liberr.New(liberr.FromQemu, liberr.InternalError, "Cannot detach %s device with no alias", one.kind)
	}
	if err := j.separable(one); err != nil {
		return err
	}
	if c := guestForward(one); c != nil {
		if err := qmp.NetdevDel(ctx, j.mon, alias); err != nil {
			return err
		}
		return j.removed(ctx, one)
	}
	if err := qmp.DeviceDel(ctx, j.mon, alias); qmp.IsClass(err, qmp.ClassDeviceNotFound) {
		return j.removed(ctx, one) // it went before it was asked
	} else if err != nil {
		return err
	}
	if !wait {
		return nil
	}
	patience := time.NewTimer(unplugPatience)
	defer patience.Stop()
	for {
		select {
		case n := <-j.news:
			switch {
			case n.alias != alias:
			case n.refused:
				return failedOperation("unplug of device was rejected by the guest")
			default:
				return j.removed(ctx, one)
			}
		case <-patience.C:
			return nil
		case <-j.mon.Done():
			return qmp.ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// guestForward is a channel that is no device but a rule of the guest's user network.
func guestForward(one *piece) *libvirtxml.DomainChannel {
	if c, ok := one.device.(*libvirtxml.DomainChannel); ok && c.Target != nil && c.Target.GuestFWD != nil {
		return c
	}
	return nil
}

// removed frees what served a device that the guest has let go of, and takes it out of the definition. What cannot be
// freed is logged and left: the device is gone all the same.
func (j *deviceJob) removed(ctx context.Context, one *piece) error {
	alias := one.name()
	j.done = append(j.done, alias)
	c, err := j.drv.caps.Get(ctx, j.live.Devices.Emulator)
	if err != nil {
		return err
	}
	rt := j.hostSide(j.live).rt
	rt.NextNode = j.nextNode
	rt.NICs[alias] = standIn(one)
	if plug, err := command.DevicePlug(j.live, c, rt, one.device); err == nil {
		_, after := plug.Unplug()
		for _, q := range after {
			if q.Execute == "remove-fd" {
				continue // its number was chosen when it was plugged; QEMU drops it with its user
			}
			if q.Execute == "chardev-remove" && one.kind == "redirdev" {
				continue // QEMU drops it with the device
			}
			if err := j.mon.Execute(ctx, q.Execute, q.Arguments, nil); err != nil {
				j.drv.env.Log.Warn().Err(err).Str("domain", j.name).Str("device", alias).Msg("cannot free what served a removed device")
			}
		}
	}
	j.afterRemoval(ctx, one)
	def := j.now
	if def == nil {
		if def, err = domxml.Clone(j.live); err != nil {
			return err
		}
	}
	if one.kind == "memory" {
		if _, err := domxml.Detach(def, alone(one)); err != nil {
			return err
		}
		if err := j.currentMemory(ctx, def); err != nil {
			return err
		}
	} else {
		dropAlias(def.Devices, alias)
	}
	j.now = def
	j.events = append(j.events, func(d *domain, ctx actor.Context) { d.deviceRemoved(ctx, alias) })
	return nil
}

// afterRemoval cleans the host up behind a device.
func (j *deviceJob) afterRemoval(ctx context.Context, one *piece) {
	returnFiles(guestOf(j.drv, j.live), j.live, one)
	switch d := one.device.(type) {
	case *libvirtxml.DomainDisk:
		j.drv.releaseDisk(ctx, j.uuid, d)
	case *libvirtxml.DomainInterface:
		j.drv.releaseNIC(d)
	case *libvirtxml.DomainHostdev:
		j.drv.returnHostdevs(j.name, []libvirtxml.DomainHostdev{*d})
	}
}

func (d *domain) deviceRemoved(ctx actor.Context, alias string) {
	d.publish(ctx, virt.DomainEventIDDeviceRemoved, &protocol.DomainEventDeviceRemovedMsg{Dom: d.ref(), DevAlias: alias})
}
