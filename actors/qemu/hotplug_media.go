package qemu

import (
	"context"
	"time"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
)

// changeMedium puts another medium, or none, into a removable drive:
//
//	open the new images ─ open the tray ─ take the old medium out ─ put the new one in ─ close the tray ─ close the old images
//
// Until the tray is closed every step can be taken back. force opens a tray that the guest has locked; else such a
// guest is asked, and the call fails.
func (j *deviceJob) changeMedium(ctx context.Context, undo *kit.Undo, old, want *libvirtxml.DomainDisk, force bool) error {
	if err := checkImage(want); err != nil {
		return err
	}
	if hasMedium(want) && want.Source.File != nil {
		if err := followChain(want); err != nil {
			return err
		}
	}
	def, err := domxml.Clone(j.live)
	if err != nil {
		return err
	}
	drive := diskByTarget(def, diskTarget(old))
	drive.Source, drive.BackingStore = want.Source, want.BackingStore
	if drive.Source == nil {
		drive.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{}}
	}
	drive.Source.Index = 0
	if hasMedium(drive) {
		if drive.Driver != nil && want.Driver != nil {
			drive.Driver.Type = want.Driver.Type
		}
		j.takeNodes(drive)
	} else {
		drive.BackingStore = nil
		drive.Source.Index = j.nextNode // Compat: an empty drive has a number too, and shows it
		j.nextNode++
	}
	c, err := j.drv.caps.Get(ctx, def.Devices.Emulator)
	if err != nil {
		return err
	}
	host := j.hostSide(def)
	if hasMedium(drive) {
		if err := j.drv.holdDisk(ctx, j.uuid, undo, drive); err != nil {
			return err
		}
		if err := lendFiles(undo, host.user, def, libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{*drive}}); err != nil {
			return err
		}
	}
	rt := host.rt
	rt.NextNode = j.nextNode
	insert, err := command.InsertMedium(def, c, rt, drive)
	if err != nil {
		return err
	}
	if err := j.exchange(ctx, undo, old, insert, force); err != nil {
		return err
	}
	if q := command.Throttle(drive); q != nil && hasMedium(drive) {
		if err := j.mon.Execute(ctx, q.Execute, q.Arguments, nil); err != nil {
			return err
		}
	}
	returnFiles(host.user, j.live, &piece{kind: "disk", device: old})
	j.drv.releaseDisk(ctx, j.uuid, old)
	j.now = def
	return nil
}

// exchange runs the commands of a change.
func (j *deviceJob) exchange(ctx context.Context, undo *kit.Undo, old *libvirtxml.DomainDisk, insert *command.Plug, force bool) error {
	run := func(q command.QMP, back *command.QMP) error {
		if err := j.mon.Execute(ctx, q.Execute, q.Arguments, nil); err != nil {
			return err
		}
		if back != nil {
			undo.Add(back.Execute, func(ctx context.Context) error {
				if back.Execute == "blockdev-insert-medium" {
					_ = j.reopen(ctx, old) // it says by itself when the tray is closed
				}
				return j.mon.Execute(ctx, back.Execute, back.Arguments, nil)
			})
		}
		return nil
	}
	last := len(insert.Steps)
	for last > 0 && insert.Steps[last-1].Execute != "blockdev-add" {
		last--
	}
	for _, s := range insert.Steps[:last] {
		if err := run(s.QMP, s.Undo); err != nil {
			return err
		}
	}
	open, after := command.EjectMedium(j.live, old, force)
	for _, q := range open {
		if err := run(q, putBack(q, old)); err != nil {
			return err
		}
	}
	for _, s := range insert.Steps[last:] {
		err := run(s.QMP, s.Undo)
		if err != nil && s.Execute == "blockdev-insert-medium" {
			// A guest that resets its drive closes the tray under our hands.
			if err = j.reopen(ctx, old); err == nil {
				err = run(s.QMP, s.Undo)
			}
		}
		if err != nil {
			return err
		}
	}
	for _, q := range after {
		if err := j.mon.Execute(ctx, q.Execute, q.Arguments, nil); err != nil {
			j.drv.env.Log.Warn().Err(err).Str("domain", j.name).Msg("cannot close the images of the old medium")
		}
	}
	return nil
}

// reopen opens the tray of a drive again.
func (j *deviceJob) reopen(ctx context.Context, d *libvirtxml.DomainDisk) error {
	return qmp.BlockdevOpenTray(ctx, j.mon, diskAlias(d), true)
}

// putBack is what undoes a step of the ejection.
func putBack(q command.QMP, old *libvirtxml.DomainDisk) *command.QMP {
	id := command.Prop{Name: "id", Value: old.Alias.Name}
	switch q.Execute {
	case "blockdev-open-tray":
		if old.Target != nil && old.Target.Tray == "open" {
			return nil
		}
		return &command.QMP{Execute: "blockdev-close-tray", Arguments: command.Props{id}}
	case "blockdev-remove-medium":
		if !hasMedium(old) {
			return nil
		}
		node := command.Prop{Name: "node-name", Value: command.FormatNode(old.Source.Index)}
		return &command.QMP{Execute: "blockdev-insert-medium", Arguments: command.Props{id, node}}
	}
	return nil
}

// hasMedium tells whether there is something in a drive.
func hasMedium(d *libvirtxml.DomainDisk) bool {
	s := d.Source
	switch {
	case s == nil:
		return false
	case s.File != nil:
		return s.File.File != ""
	case s.Block != nil:
		return s.Block.Dev != ""
	}
	return s.Network != nil || s.Volume != nil || s.Dir != nil || s.NVME != nil || s.VHostUser != nil || s.VHostVDPA != nil
}

// expiry is when a display's password ends, in seconds of the epoch as QEMU wants it; now for a time that cannot be
// read.
func expiry(text string) string {
	t, err := time.Parse("2006-01-02T15:04:05", text)
	if err != nil {
		return "now"
	}
	return itoa(int(t.Unix()))
}
