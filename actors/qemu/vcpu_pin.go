package qemu

import (
	"context"
	"os"
	"slices"
	"strconv"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Where virtual CPUs and the emulator may run.

func (d *domain) pinVCPU(ctx actor.Context, r *call.Request, a *protocol.DomainPinVCPUArgs) error {
	return d.pinOne(ctx, r, int(a.VCPU), a.Cpumap, virt.DomainAffectLive)
}

func (d *domain) pinVCPUFlags(ctx actor.Context, r *call.Request, a *protocol.DomainPinVCPUFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainPinVcpuFlags"); err != nil {
		return err
	}
	return d.pinOne(ctx, r, int(a.VCPU), a.Cpumap, a.Flags)
}

func (d *domain) pinOne(ctx actor.Context, r *call.Request, id int, cpumap []byte, flags uint32) error {
	cpus, set := mapCPUs(cpumap), mapSet(cpumap)
	if _, err := d.targets(flags); err != nil {
		return err
	}
	tid := -1
	if d.active() {
		for _, v := range d.onlineThreads() {
			if v.id == id {
				tid = v.tid
			}
		}
	}
	g := d.groupIfActive()
	return d.change(ctx, r, change{
		flags: flags,
		check: func(def *libvirtxml.Domain, live bool) error {
			switch {
			case live && id >= maxVCPUs(def):
				return invalidArg("vcpu %d is out of range of live cpu count %d", id, maxVCPUs(def))
			case id >= maxVCPUs(def):
				return invalidArg("vcpu %d is out of range of persistent cpu count %d", id, currentVCPUs(def))
			case len(cpus) == 0:
				return invalidArg("Empty cpu list for pinning")
			}
			return nil
		},
		effect: func(context.Context, *qmp.Client, *libvirtxml.Domain) error {
			if tid < 0 {
				return nil // not plugged in: it is pinned when it is
			}
			return pinThread(g, "vcpu"+itoa(id), tid, cpus, set)
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			t := cpuTune(def)
			for i := range t.VCPUPin {
				if int(t.VCPUPin[i].VCPU) == id {
					t.VCPUPin[i].CPUSet = set
					return nil
				}
			}
			t.VCPUPin = append(t.VCPUPin, libvirtxml.DomainCPUTuneVCPUPin{VCPU: uint(id), CPUSet: set})
			slices.SortFunc(t.VCPUPin, func(a, b libvirtxml.DomainCPUTuneVCPUPin) int { return int(a.VCPU) - int(b.VCPU) })
			return nil
		},
		after: func(d *domain, ctx actor.Context, aff affect) {
			if aff.live {
				d.tuned(ctx, paramString("cputune.vcpupin"+itoa(id), set))
			}
		},
	})
}

// pinEmulator says where all threads of the guest's process run that are neither virtual CPUs nor IO
// threads.
func (d *domain) pinEmulator(ctx actor.Context, r *call.Request, a *protocol.DomainPinEmulatorArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainPinEmulator"); err != nil {
		return err
	}
	cpus, set := mapCPUs(a.Cpumap), mapSet(a.Cpumap)
	if _, err := d.targets(a.Flags); err != nil {
		return err
	}
	if len(cpus) == 0 {
		return invalidArg("Empty cpu list for pinning")
	}
	pid, others := 0, map[int]bool{}
	if d.active() {
		pid = d.run.proc.pid
		for _, v := range d.onlineThreads() {
			others[v.tid] = true
		}
	}
	g := d.groupIfActive()
	return d.change(ctx, r, change{
		flags: a.Flags,
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			if mon != nil {
				threads, err := guestIOThreads(jc, mon)
				if err != nil {
					return err
				}
				for _, t := range threads {
					others[t.ThreadID] = true
				}
			}
			return pinRest(g, pid, others, cpus, set)
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			cpuTune(def).EmulatorPin = &libvirtxml.DomainCPUTuneEmulatorPin{CPUSet: set}
			return nil
		},
		after: func(d *domain, ctx actor.Context, aff affect) {
			if aff.live {
				d.tuned(ctx, paramString("cputune.emulatorpin", set))
			}
		},
	})
}

// pinRest pins all threads of a process but some.
func pinRest(g group, pid int, but map[int]bool, cpus []int, set string) error {
	tasks, err := os.ReadDir("/proc/" + itoa(pid) + "/task")
	if err != nil {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "cannot list the threads of process %d", pid).WithCause(err)
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil || but[tid] {
			continue
		}
		if err := pinThread(g, "emulator", tid, cpus, set); err != nil && disk.Exists("/proc/"+itoa(pid)+"/task/"+t.Name()) {
			return err
		}
	}
	return nil
}
