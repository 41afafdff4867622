package qemu

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// A device leaves a running guest when the guest lets go of it, which may be never:
//
//	device_del ──▶ asked ── DEVICE_DELETED ──▶ gone: backends freed, definition changed, DEVICE_REMOVED
//	                 │  └── DEVICE_UNPLUG_GUEST_ERROR ──▶ refused: it stays, DEVICE_REMOVAL_FAILED
//	                 └ after patience the call is answered; whenever the guest lets go, a task of its own finishes
//
// A job that waits hears of it through its news; what nobody waits for starts that task.

// comings is what a run knows of devices that come and go. It belongs to Receive.
type comings struct {
	nextNode uint       // number of the next image; 0: not counted yet
	job      *deviceJob // that is under way
}

// unplugNews is what QEMU says of a device that was asked to leave.
type unplugNews struct {
	alias   string
	refused bool
}

// newsLimit bounds what a job may leave unread; it reads only while it waits, and loses nothing by it, since
// what it did not finish is finished after it.
const newsLimit = 64

// unplugEvent hears that a device has left, or will not.
func (d *domain) unplugEvent(ctx actor.Context, ev qmp.Event) {
	switch ev.Name {
	case "DEVICE_DELETED":
		var data qmp.DeviceDeletedData
		if ev.Decode(&data) == nil && data.Device != "" {
			d.deviceLeft(ctx, data.Device)
		}
	case "DEVICE_UNPLUG_GUEST_ERROR":
		var data qmp.UnplugErrorData
		if ev.Decode(&data) == nil && data.Device != "" {
			d.deviceStays(ctx, data.Device)
		}
	case "ACPI_DEVICE_OST":
		// ACPI's way for a guest to say that it cannot give back a module: an ejection (source 3), failed (status 1).
		var data qmp.ACPIOSTData
		if ev.Decode(&data) == nil && data.Info.SlotType == "DIMM" && data.Info.Source == 3 && data.Info.Status == 1 && data.Info.Device != "" {
			d.deviceStays(ctx, data.Info.Device)
		}
	}
}

func (d *domain) deviceLeft(ctx actor.Context, alias string) {
	if j := d.run.devices.job; j != nil {
		j.heard = append(j.heard, alias)
		j.tell(unplugNews{alias: alias})
		return
	}
	d.finishRemoval(ctx, alias)
}

func (d *domain) deviceStays(ctx actor.Context, alias string) {
	if j := d.run.devices.job; j != nil {
		j.tell(unplugNews{alias: alias, refused: true})
	}
	d.publish(ctx, virt.DomainEventIDDeviceRemovalFailed, tail{&protocol.DomainEventCallbackDeviceRemovalFailedMsg{Dom: d.ref(), DevAlias: alias}})
}

// finishRemoval does what is left to do for a device that went while nobody waited for it.
func (d *domain) finishRemoval(ctx actor.Context, alias string) {
	if def, err := d.live.Def(); err != nil || findAlias(def.Devices, alias) == nil {
		return // not one of the definition's: a virtual CPU, or what a failed plug took back
	}
	_ = d.deviceTask(ctx, nil, virt.DomainAffectLive, func(j *deviceJob, jc context.Context, _ *kit.Undo) error {
		if p := findAlias(j.live.Devices, alias); p != nil {
			return j.removed(jc, p)
		}
		return nil
	})
}

// firstNode is the first image number that a guest's definition leaves free.
//
// Compat: an empty drive has used one up, as when the guest started.
func firstNode(def *libvirtxml.Domain) uint {
	next, highest := uint(1), uint(0)
	for i := range def.Devices.Disks {
		d := &def.Devices.Disks[i]
		next++
		if d.Source != nil {
			highest = max(highest, d.Source.Index)
		}
		for b := d.BackingStore; b != nil && b.Source != nil; b = b.BackingStore {
			next++
			highest = max(highest, b.Index, b.Source.Index)
		}
		if d.Mirror != nil && d.Mirror.Source != nil {
			highest = max(highest, d.Mirror.Source.Index)
		}
	}
	return max(next, highest+1)
}

// renewLive makes now, which a job made from base, the live definition, with what events have changed meanwhile.
func (d *domain) renewLive(ctx actor.Context, base, now *document) {
	if d.live != base {
		before, err1 := base.Def()
		current, err2 := d.live.Def()
		made, err3 := now.Clone()
		if err1 == nil && err2 == nil && err3 == nil {
			carryOver(made, before, current)
			now = newDocument(made, &d.drv.xmlEnv)
		}
	}
	d.live = now
	d.saveStatus(ctx)
}

// turnOf gives the definitions that a change is about as they are when its turn has come: an earlier job may have changed
// them since the call came, or ended the guest.
func (d *domain) turnOf(aff affect) (live, config *document, err error) {
	if aff.live {
		if err := d.requireActive(); err != nil {
			return nil, nil, err
		}
		live = d.live
	}
	if aff.config {
		if d.config == nil {
			return nil, nil, invalidOperation("transient domains do not have any persistent config")
		}
		config = d.config
	}
	for _, doc := range []*document{live, config} {
		if doc != nil {
			if _, err := doc.Def(); err != nil { // made here: a job may not change the document
				return nil, nil, err
			}
		}
	}
	return live, config, nil
}

// carryOver brings what QEMU's events changed in the definition while a job worked on a copy of it into that copy.
func carryOver(to, before, now *libvirtxml.Domain) {
	if !sameMemory(before.CurrentMemory, now.CurrentMemory) {
		to.CurrentMemory = now.CurrentMemory
	}
	for i := range to.Devices.Disks {
		t := &to.Devices.Disks[i]
		for _, n := range now.Devices.Disks {
			if t.Alias != nil && n.Alias != nil && t.Alias.Name == n.Alias.Name && t.Target != nil && n.Target != nil {
				t.Target.Tray = n.Target.Tray
			}
		}
	}
	for i := range to.Devices.Channels {
		t := &to.Devices.Channels[i]
		if t.Alias == nil || t.Target == nil || t.Target.VirtIO == nil {
			continue
		}
		for _, n := range now.Devices.Channels {
			if n.Alias != nil && n.Alias.Name == t.Alias.Name && n.Target != nil && n.Target.VirtIO != nil {
				t.Target.VirtIO.State = n.Target.VirtIO.State
			}
		}
	}
}

func sameMemory(a, b *libvirtxml.DomainCurrentMemory) bool {
	if a == nil || b == nil {
		return a == b
	}
	return memoryKiB(a.Value, a.Unit) == memoryKiB(b.Value, b.Unit)
}

// takeNodes numbers the images of a disk that is new to the guest.
func (j *deviceJob) takeNodes(d *libvirtxml.DomainDisk) {
	j.nextNode = command.AssignDiskNodes(d, j.nextNode)
}

// dropNames takes names out of a list.
func dropNames(list, names []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(names, s) })
}
