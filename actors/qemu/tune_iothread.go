package qemu

import (
	"context"
	"slices"
	"strconv"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/node"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// IO threads: adding, removing, their polling and where they may run.

func ioThreadName(id uint32) string { return "iothread" + strconv.FormatUint(uint64(id), 10) }

// listIOThreads writes the list of ids out, since from now on they are not simply counted.
func listIOThreads(def *libvirtxml.Domain, ids []uint) {
	def.IOThreads = uint(len(ids))
	old := map[uint]libvirtxml.DomainIOThread{}
	if def.IOThreadIDs != nil {
		for _, t := range def.IOThreadIDs.IOThreads {
			old[t.ID] = t
		}
	}
	def.IOThreadIDs = nil
	if len(ids) == 0 {
		return
	}
	def.IOThreadIDs = &libvirtxml.DomainIOThreadIDs{}
	for _, id := range ids {
		t, ok := old[id]
		if !ok {
			t = libvirtxml.DomainIOThread{ID: id}
		}
		def.IOThreadIDs.IOThreads = append(def.IOThreadIDs.IOThreads, t)
	}
}

// runPlug sends the commands of a plug, and takes them back when one fails.
func runPlug(ctx context.Context, mon *qmp.Client, p *command.Plug) error {
	for i, s := range p.Steps {
		if err := mon.Execute(ctx, s.Execute, s.Arguments, nil); err != nil {
			for ; i >= 0; i-- {
				if u := p.Steps[i].Undo; u != nil && i < len(p.Steps)-1 {
					_ = mon.Execute(ctx, u.Execute, u.Arguments, nil)
				}
			}
			return err
		}
	}
	return nil
}

func (d *domain) addIOThread(ctx actor.Context, r *call.Request, a *protocol.DomainAddIOThreadArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainAddIOThread"); err != nil {
		return err
	}
	if a.IOThreadID == 0 {
		return invalidArg("invalid value of 0 for iothread_id")
	}
	id, g := uint(a.IOThreadID), d.groupIfActive()
	return d.change(ctx, r, change{
		flags: a.Flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, _ bool) error {
			if slices.Contains(ioThreadIDs(def), id) {
				return liberr.New(liberr.FromDomain, liberr.InvalidArg, "an IOThread is already using iothread_id '%d'", id)
			}
			return nil
		},
		effect: func(jc context.Context, mon *qmp.Client, def *libvirtxml.Domain) error {
			if err := runPlug(jc, mon, command.IOThreadPlug(&libvirtxml.DomainIOThread{ID: id})); err != nil {
				return err
			}
			return placeIOThread(jc, mon, g, def, id)
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			listIOThreads(def, append(ioThreadIDs(def), id))
			return nil
		},
	})
}

// placeIOThread lets a new thread run where the definition says, and not where the one that made it does.
func placeIOThread(ctx context.Context, mon *qmp.Client, g group, def *libvirtxml.Domain, id uint) error {
	threads, err := guestIOThreads(ctx, mon)
	if err != nil {
		return err
	}
	for _, t := range threads {
		if t.ID != ioThreadName(uint32(id)) {
			continue
		}
		if err := g.add(t.ID, t.ThreadID); err != nil {
			return err
		}
		set := pinSet(def, ioThreadPin(def, id))
		return pinThread(g, t.ID, t.ThreadID, set, node.FormatList(set))
	}
	return nil
}

func (d *domain) delIOThread(ctx actor.Context, r *call.Request, a *protocol.DomainDelIOThreadArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainDelIOThread"); err != nil {
		return err
	}
	if a.IOThreadID == 0 {
		return liberr.Raw(liberr.FromDomain, liberr.InvalidArg, "iothread_id in virDomainDelIOThread must not be zero")
	}
	id := uint(a.IOThreadID)
	return d.change(ctx, r, change{
		flags: a.Flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, _ bool) error {
			if !slices.Contains(ioThreadIDs(def), id) {
				return liberr.New(liberr.FromDomain, liberr.InvalidArg, "cannot find IOThread '%d' in iothreadids list", id)
			}
			return ioThreadFree(def, id)
		},
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			return qmp.ObjectDel(jc, mon, ioThreadName(a.IOThreadID))
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			listIOThreads(def, slices.DeleteFunc(ioThreadIDs(def), func(n uint) bool { return n == id }))
			if t := def.CPUTune; t != nil {
				t.IOThreadPin = slices.DeleteFunc(t.IOThreadPin, func(p libvirtxml.DomainCPUTuneIOThreadPin) bool { return p.IOThread == id })
				dropEmptyTune(def)
			}
			return nil
		},
	})
}

// ioThreadFree refuses to remove a thread that serves a disk or a controller.
func ioThreadFree(def *libvirtxml.Domain, id uint) error {
	for i := range def.Devices.Disks {
		if k := &def.Devices.Disks[i]; k.Driver != nil && k.Driver.IOThread != nil && *k.Driver.IOThread == id {
			return invalidArg("cannot remove IOThread %d since it is being used by disk '%s'", id, diskTarget(k))
		}
	}
	for i := range def.Devices.Controllers {
		if c := &def.Devices.Controllers[i]; c.Driver != nil && c.Driver.IOThread == id {
			return invalidArg("cannot remove IOThread '%d' since it is being used by controller", id)
		}
	}
	return nil
}

func (d *domain) setIOThreadParams(ctx actor.Context, r *call.Request, a *protocol.DomainSetIOThreadParamsArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetIOThreadParams"); err != nil {
		return err
	}
	if a.IOThreadID == 0 {
		return invalidArg("invalid value of 0 for iothread_id")
	}
	if err := checkParams(a.Params, paramSpec{
		virt.DomainIOThreadPollMaxNs: virt.TypedParamUllong, virt.DomainIOThreadPollGrow: virt.TypedParamUint, virt.DomainIOThreadPollShrink: virt.TypedParamUint,
	}); err != nil {
		return err
	}
	const most = 1<<31 - 1
	for _, p := range a.Params {
		if p.Value.Ul > most || p.Value.UI > most {
			return invalidArg("one or more of the values exceed QEMU's limit of %d", most)
		}
	}
	id := uint(a.IOThreadID)
	names := map[string]string{virt.DomainIOThreadPollMaxNs: "poll-max-ns", virt.DomainIOThreadPollGrow: "poll-grow", virt.DomainIOThreadPollShrink: "poll-shrink"}
	return d.change(ctx, r, change{
		flags: a.Flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, live bool) error {
			if !slices.Contains(ioThreadIDs(def), id) {
				return invalidArg("cannot find IOThread '%d' in iothreadids", id)
			}
			if !live {
				return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "configuring persistent polling values is not supported")
			}
			return nil
		},
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			for _, p := range a.Params {
				v := p.Value.Ul
				if p.Value.Type == virt.TypedParamUint {
					v = uint64(p.Value.UI)
				}
				if err := qmp.QOMSet(jc, mon, "/objects/"+ioThreadName(a.IOThreadID), names[p.Field], v); err != nil {
					return err
				}
			}
			return nil
		},
		edit: func(*libvirtxml.Domain, bool) error { return nil },
	})
}

func (d *domain) pinIOThread(ctx actor.Context, r *call.Request, a *protocol.DomainPinIOThreadArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainPinIOThread"); err != nil {
		return err
	}
	cpus := mapCPUs(a.Cpumap)
	if len(cpus) == 0 {
		return invalidArg("Empty iothread cpumap list for pinning")
	}
	id, set := uint(a.IOThreadsID), mapSet(a.Cpumap)
	g := d.groupIfActive()
	return d.change(ctx, r, change{
		flags: a.Flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, live bool) error {
			switch known := slices.Contains(ioThreadIDs(def), id); {
			case known:
				return nil
			case live:
				return invalidArg("iothread %d not found", id)
			}
			return invalidArg("iothreadid %d not found", id)
		},
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			threads, err := guestIOThreads(jc, mon)
			if err != nil {
				return err
			}
			for _, t := range threads {
				if t.ID == ioThreadName(uint32(id)) {
					return pinThread(g, t.ID, t.ThreadID, cpus, set)
				}
			}
			return invalidArg("iothread %d not found", id)
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			t := cpuTune(def)
			for i := range t.IOThreadPin {
				if t.IOThreadPin[i].IOThread == id {
					t.IOThreadPin[i].CPUSet = set
					return nil
				}
			}
			t.IOThreadPin = append(t.IOThreadPin, libvirtxml.DomainCPUTuneIOThreadPin{IOThread: id, CPUSet: set})
			return nil
		},
		after: func(d *domain, ctx actor.Context, aff affect) {
			if aff.live {
				d.tuned(ctx, paramString("cputune.iothreadpin"+strconv.FormatUint(uint64(id), 10), set))
			}
		},
	})
}

// groupIfActive is the guest's control group, or one that nothing is in.
func (d *domain) groupIfActive() group {
	if !d.active() {
		return nil
	}
	return d.group()
}

// pinThread says where a thread may run: to its control group, which the kernel obeys first, and to the
// thread itself.
func pinThread(g group, part string, tid int, cpus []int, set string) error {
	if g != nil && g.exists() {
		if err := g.setCPUs(part, set); err != nil {
			return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "failed to set cpuset.cpus in cgroup for %s", part).WithCause(err)
		}
	}
	var mask unix.CPUSet
	for _, c := range cpus {
		mask.Set(c)
	}
	if err := unix.SchedSetaffinity(tid, &mask); err != nil {
		return liberr.System(liberr.FromNone, err, "cannot set CPU affinity on process %d", tid)
	}
	return nil
}
