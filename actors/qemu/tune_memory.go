package qemu

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

var memorySpec = paramSpec{
	virt.DomainMemoryHardLimit: virt.TypedParamUllong, virt.DomainMemorySoftLimit: virt.TypedParamUllong, virt.DomainMemorySwapHardLimit: virt.TypedParamUllong,
}

// limitField is where a definition keeps a limit.
func limitField(t *libvirtxml.DomainMemoryTune, name string) **libvirtxml.DomainMemoryTuneLimit {
	switch name {
	case virt.DomainMemorySoftLimit:
		return &t.SoftLimit
	case virt.DomainMemorySwapHardLimit:
		return &t.SwapHardLimit
	}
	return &t.HardLimit
}

// configuredLimits reads the limits out of a definition.
func configuredLimits(def *libvirtxml.Domain) memoryLimits {
	read := func(name string) uint64 {
		if def.MemoryTune == nil {
			return memoryUnlimited
		}
		l := *limitField(def.MemoryTune, name)
		if l == nil {
			return memoryUnlimited
		}
		return min(memoryKiB(uint(l.Value), l.Unit), memoryUnlimited)
	}
	return memoryLimits{read(virt.DomainMemoryHardLimit), read(virt.DomainMemorySoftLimit), read(virt.DomainMemorySwapHardLimit)}
}

func (d *domain) memoryParameters(ctx actor.Context, r *call.Request, a *protocol.DomainGetMemoryParametersArgs) error {
	if err := call.CheckFlags(a.Flags, readFlags, liberr.FromQemu, "qemuDomainGetMemoryParameters"); err != nil {
		return err
	}
	if a.Nparams > protocol.RemoteDomainMemoryParametersMax || a.Nparams < 0 {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	def, live, err := d.one(a.Flags)
	if err != nil {
		return err
	}
	answer := func(l memoryLimits) protocol.Encoder {
		ret := &protocol.DomainGetMemoryParametersRet{}
		ret.Params, ret.Nparams = counted([]protocol.TypedParam{
			paramULLong(virt.DomainMemoryHardLimit, l.hard), paramULLong(virt.DomainMemorySoftLimit, l.soft), paramULLong(virt.DomainMemorySwapHardLimit, l.swap),
		}, a.Nparams)
		return ret
	}
	if !live {
		r.Reply(answer(configuredLimits(def)))
		return nil
	}
	g := d.group()
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		l, err := g.memory()
		return answer(l), err
	})
	return nil
}

func (d *domain) setMemoryParameters(ctx actor.Context, r *call.Request, a *protocol.DomainSetMemoryParametersArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetMemoryParameters"); err != nil {
		return err
	}
	if err := checkParams(a.Params, memorySpec); err != nil {
		return err
	}
	given := map[string]uint64{}
	for _, p := range a.Params {
		given[p.Field] = p.Value.Ul
	}
	var w groupWork
	return d.change(ctx, r, change{
		flags: a.Flags,
		check: func(def *libvirtxml.Domain, live bool) error {
			if live {
				w = d.groupWork(ctx)
			}
			l := configuredLimits(def)
			hard, swap := l.hard, l.swap
			if v, ok := given[virt.DomainMemoryHardLimit]; ok {
				hard = v
			}
			if v, ok := given[virt.DomainMemorySwapHardLimit]; ok {
				swap = v
			}
			if min(hard, memoryUnlimited) > min(swap, memoryUnlimited) {
				return liberr.New(liberr.FromDomain, liberr.InvalidArg, "memory hard_limit tunable value must be lower than or equal to swap_hard_limit")
			}
			return nil
		},
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			if err := w.ensure(jc, mon); err != nil {
				return err
			}
			now, err := w.g.memory()
			if err != nil {
				return err
			}
			// The kernel never lets the limit with swap be below the one without: raise the former first.
			order := []string{virt.DomainMemoryHardLimit, virt.DomainMemorySwapHardLimit, virt.DomainMemorySoftLimit}
			if swap, ok := given[virt.DomainMemorySwapHardLimit]; ok && swap > now.swap {
				order[0], order[1] = order[1], order[0]
			}
			for _, name := range order {
				if v, ok := given[name]; ok {
					if err := w.g.setMemory(name, v); err != nil {
						return err
					}
				}
			}
			return nil
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			if def.MemoryTune == nil {
				def.MemoryTune = &libvirtxml.DomainMemoryTune{}
			}
			t := def.MemoryTune
			for name, v := range given {
				*limitField(t, name) = nil
				if v < memoryUnlimited {
					*limitField(t, name) = &libvirtxml.DomainMemoryTuneLimit{Value: v, Unit: "KiB"}
				}
			}
			if t.HardLimit == nil && t.SoftLimit == nil && t.SwapHardLimit == nil && t.MinGuarantee == nil {
				def.MemoryTune = nil
			}
			return nil
		},
	})
}

func (d *domain) setMemory(ctx actor.Context, r *call.Request, a *protocol.DomainSetMemoryArgs) error {
	return d.resize(ctx, r, a.Memory, virt.DomainAffectLive)
}

func (d *domain) setMaxMemory(ctx actor.Context, r *call.Request, a *protocol.DomainSetMaxMemoryArgs) error {
	return d.resize(ctx, r, a.Memory, virt.DomainMemMaximum)
}

func (d *domain) setMemoryFlags(ctx actor.Context, r *call.Request, a *protocol.DomainSetMemoryFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags|virt.DomainMemMaximum, liberr.FromQemu, "qemuDomainSetMemoryFlags"); err != nil {
		return err
	}
	return d.resize(ctx, r, a.Memory, a.Flags)
}

// resize sets how much memory the guest has now, or may have at most; kib counts its memory devices too.
func (d *domain) resize(ctx actor.Context, r *call.Request, kib uint64, flags uint32) error {
	if kib == 0 {
		return liberr.Raw(liberr.FromDomain, liberr.InvalidArg, "memory in virDomainSetMemoryFlags must not be zero")
	}
	if flags&virt.DomainMemMaximum != 0 {
		return d.setMaximum(ctx, r, kib, flags)
	}
	return d.change(ctx, r, change{
		flags: flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, _ bool) error {
			if kib > maxMemory(def) {
				return invalidArg("cannot set memory higher than max memory")
			}
			return nil
		},
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			err := qmp.Balloon(jc, mon, kib<<10)
			if qmp.IsClass(err, qmp.ClassDeviceNotActive) || qmp.IsClass(err, qmp.ClassKVMMissingCap) {
				return liberr.New(liberr.FromQemu, liberr.OperationInvalid,
					"Unable to change memory of active domain without the balloon device and guest OS balloon driver").WithCause(err)
			}
			return err
		},
		edit: func(def *libvirtxml.Domain, live bool) error {
			if !live { // the live definition follows the balloon, which tells when the guest has moved it
				def.CurrentMemory = &libvirtxml.DomainCurrentMemory{Value: uint(kib), Unit: "KiB"}
			}
			return nil
		},
	})
}

func (d *domain) setMaximum(ctx actor.Context, r *call.Request, kib uint64, flags uint32) error {
	return d.change(ctx, r, change{
		flags: flags,
		check: func(def *libvirtxml.Domain, live bool) error {
			switch {
			case live:
				return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot resize the maximum memory on an active domain")
			case def.CPU != nil && def.CPU.Numa != nil && len(def.CPU.Numa.Cell) > 0:
				return invalidArg("initial memory size of a domain with NUMA nodes cannot be modified with this API")
			case def.MaximumMemory != nil && memoryKiB(def.MaximumMemory.Value, def.MaximumMemory.Unit) < kib:
				return invalidArg("cannot set initial memory size greater than the maximum memory size")
			}
			return nil
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			dump := ""
			if def.Memory != nil {
				dump = def.Memory.DumpCore
			}
			def.Memory = &libvirtxml.DomainMemory{Value: uint(kib), Unit: "KiB", DumpCore: dump}
			if c := def.CurrentMemory; c != nil && memoryKiB(c.Value, c.Unit) > kib {
				def.CurrentMemory = &libvirtxml.DomainCurrentMemory{Value: uint(kib), Unit: "KiB"}
			}
			return nil
		},
	})
}

// setMemoryStatsPeriod sets how often the balloon asks the guest about its memory; 0 is never.
func (d *domain) setMemoryStatsPeriod(ctx actor.Context, r *call.Request, a *protocol.DomainSetMemoryStatsPeriodArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetMemoryStatsPeriod"); err != nil {
		return err
	}
	if a.Period < 0 {
		return liberr.Raw(liberr.FromDomain, liberr.InvalidArg, "period in virDomainSetMemoryStatsPeriod must be zero or greater")
	}
	return d.change(ctx, r, change{
		flags: a.Flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, _ bool) error {
			if !hasBalloon(def) {
				return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "Memory balloon model must be virtio to set the collection period")
			}
			return nil
		},
		effect: func(jc context.Context, mon *qmp.Client, def *libvirtxml.Domain) error {
			err := qmp.SetBalloonPeriod(jc, mon, "/machine/peripheral/"+balloonAlias(def), int(a.Period))
			var refused *qmp.Error
			if errors.As(err, &refused) {
				return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "unable to set balloon driver collection period").WithCause(err)
			}
			return err
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			b := *def.Devices.MemBalloon
			b.Stats = nil
			if a.Period > 0 {
				b.Stats = &libvirtxml.DomainMemBalloonStats{Period: uint(a.Period)}
			}
			def.Devices.MemBalloon = &b
			return nil
		},
	})
}
