package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/internal/node"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/virt"
)

// What a definition says of scheduling, memory, block I/O and CPUs is made true of a guest before it runs.

// tune does so for a guest that is starting and does not run yet. A guest of which nothing is said stays out
// of control groups.
func (p *launchPlan) tune(ctx context.Context, mon *qmp.Client, pid int, vcpus []int, undo *kit.Undo) error {
	threads, err := guestIOThreads(ctx, mon)
	if err != nil {
		return err
	}
	g := newGroup(command.ShortName(int(p.id), p.name), p.drv.env.Paths.Root, pid)
	if wantsGroup(p.def) {
		parts := map[string]int{}
		for i, id := range onlineVCPUs(p.def) {
			if i < len(vcpus) {
				parts["vcpu"+itoa(id)] = vcpus[i]
			}
		}
		for _, t := range threads {
			parts[t.ID] = t.ThreadID
		}
		undo.Add("remove the control group", func(context.Context) error { return g.remove() })
		if err := ensureGroup(g, pid, parts); err != nil {
			return err
		}
		if err := groupTuning(g, p.def); err != nil {
			return err
		}
	}
	return pinAll(g, p.def, pid, vcpus, threads)
}

// guardGroup has the control group of a guest removed when its process ends.
func (d *domain) guardGroup(ctx actor.Context) {
	if g := d.group(); g.exists() {
		d.removeGroupLater(ctx, g)
	}
}

// wantsGroup tells definitions with limits that only a control group can set.
func wantsGroup(def *libvirtxml.Domain) bool {
	for _, p := range configuredScheduler(def) {
		if p.Value.Ul != 0 || p.Value.L != 0 {
			return true
		}
	}
	mode, nodes := numaTune(def)
	return def.BlockIOTune != nil || configuredLimits(def) != memoryLimits{memoryUnlimited, memoryUnlimited, memoryUnlimited} ||
		nodes != "" && restrictsNodes(mode)
}

// restrictsNodes tells modes in which the guest's memory must be on the nodes.
func restrictsNodes(mode int32) bool {
	return mode == virt.DomainNumatuneMemStrict || mode == virt.DomainNumatuneMemRestrictive
}

// groupTuning sets the limits of the definition.
func groupTuning(g group, def *libvirtxml.Domain) error {
	vcpus, threads := onlineVCPUs(def), ioThreadIDs(def)
	for _, p := range configuredScheduler(def) {
		if p.Value.Ul == 0 && p.Value.L == 0 {
			continue
		}
		if err := applyScheduler(g, p, vcpus, threads); err != nil {
			return err
		}
	}
	l := configuredLimits(def)
	for _, m := range []struct {
		name  string
		limit uint64
	}{{virt.DomainMemoryHardLimit, l.hard}, {virt.DomainMemorySoftLimit, l.soft}, {virt.DomainMemorySwapHardLimit, l.swap}} {
		if m.limit < memoryUnlimited {
			if err := g.setMemory(m.name, m.limit); err != nil {
				return err
			}
		}
	}
	if mode, nodes := numaTune(def); nodes != "" && restrictsNodes(mode) {
		if err := g.setMems(nodes); err != nil {
			return err
		}
	}
	return groupBlocks(g, def.BlockIOTune)
}

func groupBlocks(g group, t *libvirtxml.DomainBlockIOTune) error {
	if t == nil {
		return nil
	}
	if t.Weight != 0 {
		if err := g.setWeight(t.Weight); err != nil {
			return err
		}
	}
	for i := range t.Device {
		for _, name := range blkioDeviceParams {
			if v := *blkioField(&t.Device[i], name); v != 0 {
				if err := g.setDevice(name, t.Device[i].Path, uint64(v)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pinAll lets each thread run where the definition says.
func pinAll(g group, def *libvirtxml.Domain, pid int, vcpus []int, threads []qmp.IOThread) error {
	all := def.VCPU != nil && def.VCPU.CPUSet != ""
	others := map[int]bool{}
	pin := func(part string, tid int, own string) error {
		others[tid] = true
		if own == "" && !all {
			return nil
		}
		set := pinSet(def, own)
		return pinThread(g, part, tid, set, node.FormatList(set))
	}
	for i, id := range onlineVCPUs(def) {
		if i >= len(vcpus) {
			break
		}
		if err := pin("vcpu"+itoa(id), vcpus[i], vcpuPin(def, id)); err != nil {
			return err
		}
	}
	for _, t := range threads {
		n, _ := ioThreadNumber(t.ID)
		if err := pin(t.ID, t.ThreadID, ioThreadPin(def, uint(n))); err != nil {
			return err
		}
	}
	own := emulatorPin(def)
	if own == "" && !all {
		return nil
	}
	set := pinSet(def, own)
	return pinRest(g, pid, others, set, node.FormatList(set))
}
