package qemu

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// How many virtual CPUs a guest has, and which of them.

func (d *domain) setVCPUs(ctx actor.Context, r *call.Request, a *protocol.DomainSetVCPUsArgs) error {
	return d.countVCPUs(ctx, r, a.Nvcpus, virt.DomainAffectLive)
}

func (d *domain) setVCPUsFlags(ctx actor.Context, r *call.Request, a *protocol.DomainSetVCPUsFlagsArgs) error {
	const allowed = affectFlags | virt.DomainVCPUMaximum | virt.DomainVCPUGuest | virt.DomainVCPUHotpluggable
	if err := call.CheckFlags(a.Flags, allowed, liberr.FromQemu, "qemuDomainSetVcpusFlags"); err != nil {
		return err
	}
	return d.countVCPUs(ctx, r, a.Nvcpus, a.Flags)
}

func (d *domain) countVCPUs(ctx actor.Context, r *call.Request, count, flags uint32) error {
	n := int(count)
	switch {
	case n == 0:
		return liberr.Raw(liberr.FromDomain, liberr.InvalidArg, "nvcpus in virDomainSetVcpusFlags must not be zero")
	case flags&virt.DomainVCPUMaximum != 0 && flags&virt.DomainAffectConfig == 0:
		return liberr.Raw(liberr.FromDomain, liberr.InvalidArg, "Flag 'VIR_DOMAIN_AFFECT_CONFIG' is required by flag 'VIR_DOMAIN_VCPU_MAXIMUM'")
	}
	aff, err := d.targets(flags)
	if err != nil {
		return err
	}
	switch {
	case flags&virt.DomainVCPUGuest != 0:
		return d.noAgent()
	case flags&virt.DomainVCPUMaximum != 0:
		return d.setMaxVCPUs(ctx, r, n)
	}
	explicit := flags&virt.DomainVCPUHotpluggable != 0
	var plug *vcpuPlug
	return d.change(ctx, r, change{
		flags: flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, live bool) error {
			if n > maxVCPUs(def) {
				which := "persistent"
				if live {
					which = "live"
				}
				return invalidArg("requested vcpus is greater than max allowable vcpus for the %s domain: %d > %d", which, n, maxVCPUs(def))
			}
			if live {
				plug = d.vcpuPlug(ctx, wantCount(def, n))
			}
			return nil
		},
		effect: plugEffect(&plug),
		edit: func(def *libvirtxml.Domain, live bool) error {
			if live {
				recordVCPUs(def, plug.now, plug.plugged, true)
				return nil
			}
			want := wantCount(def, n)
			if explicit || def.VCPUs != nil {
				recordVCPUs(def, want, hotpluggable(def, want), false)
				return nil
			}
			setCurrent(def, n)
			return nil
		},
		after: func(d *domain, ctx actor.Context, _ affect) {
			if aff.live {
				plug.apply(d, ctx)
			}
		},
	})
}

// setMaxVCPUs changes the most that the guest may have from its next start on.
func (d *domain) setMaxVCPUs(ctx actor.Context, r *call.Request, n int) error {
	return d.change(ctx, r, change{
		flags: virt.DomainAffectConfig,
		check: func(def *libvirtxml.Domain, _ bool) error {
			if c := def.CPU; c != nil && c.Topology != nil {
				t := c.Topology
				if product := max(t.Sockets, 1) * max(t.Dies, 1) * max(t.Cores, 1) * max(t.Threads, 1); product != n {
					return invalidArg("CPU topology doesn't match the desired vcpu count")
				}
			}
			if c := def.CPU; c != nil && c.Numa != nil {
				for _, cell := range c.Numa.Cell {
					for _, id := range cpuList(cell.CPUs) {
						if id >= n {
							return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "Number of CPUs in <numa> exceeds the desired maximum vcpu count")
						}
					}
				}
			}
			return nil
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			now := min(currentVCPUs(def), n)
			v := libvirtxml.DomainVCPU{Placement: "static"}
			if def.VCPU != nil {
				v = *def.VCPU
			}
			v.Value = uint(n)
			def.VCPU = &v
			if def.VCPUs != nil {
				online := slices.DeleteFunc(onlineVCPUs(def), func(id int) bool { return id >= n })
				recordVCPUs(def, online, hotpluggable(def, online), false)
				return nil
			}
			setCurrent(def, now)
			return nil
		},
	})
}

func setCurrent(def *libvirtxml.Domain, n int) {
	v := libvirtxml.DomainVCPU{Placement: "static", Value: 1}
	if def.VCPU != nil {
		v = *def.VCPU
	}
	v.Current = uint(n)
	if v.Current == v.Value {
		v.Current = 0
	}
	def.VCPU = &v
}

// wantCount is which virtual CPUs are plugged in when there shall be n: the lowest missing ones come, and
// the highest ones that can go.
func wantCount(def *libvirtxml.Domain, n int) []int {
	online := onlineVCPUs(def)
	for id := 0; len(online) < n && id < maxVCPUs(def); id++ {
		if !slices.Contains(online, id) {
			online = append(online, id)
		}
	}
	slices.Sort(online)
	return online[:min(n, len(online))]
}

// hotpluggable tells which virtual CPUs of a definition can come and go.
func hotpluggable(def *libvirtxml.Domain, online []int) map[int]bool {
	can := map[int]bool{}
	for id := range maxVCPUs(def) {
		can[id] = !slices.Contains(online, id)
	}
	if def.VCPUs != nil {
		for i, v := range def.VCPUs.VCPU {
			id := i
			if v.Id != nil {
				id = int(*v.Id)
			}
			can[id] = v.Hotpluggable == "yes"
		}
	}
	return can
}

// recordVCPUs writes down which virtual CPUs are plugged in, one by one.
func recordVCPUs(def *libvirtxml.Domain, online []int, can map[int]bool, live bool) {
	order := plugOrder(def, online, live)
	list := &libvirtxml.DomainVCPUs{}
	for id := range maxVCPUs(def) {
		u := uint(id)
		v := libvirtxml.DomainVCPUsVCPU{Id: &u, Enabled: "no", Hotpluggable: "yes"}
		if slices.Contains(online, id) {
			v.Enabled, v.Order = "yes", order[id]
			if !can[id] {
				v.Hotpluggable = "no"
			}
		}
		list.VCPU = append(list.VCPU, v)
	}
	def.VCPUs = list
	setCurrent(def, len(online))
}

// plugOrder numbers the virtual CPUs of a running guest as they came, which a stored definition only keeps.
func plugOrder(def *libvirtxml.Domain, online []int, live bool) map[int]*uint {
	order, last := map[int]*uint{}, uint(0)
	if def.VCPUs != nil {
		for _, v := range def.VCPUs.VCPU {
			if v.Id != nil && v.Order != nil && slices.Contains(online, int(*v.Id)) {
				order[int(*v.Id)], last = v.Order, max(last, *v.Order)
			}
		}
	}
	if !live {
		return order
	}
	for _, id := range online {
		if order[id] == nil {
			last++
			n := last
			order[id] = &n
		}
	}
	return order
}

// setVCPU plugs single virtual CPUs in or out.
func (d *domain) setVCPU(ctx actor.Context, r *call.Request, a *protocol.DomainSetVCPUArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetVcpu"); err != nil {
		return err
	}
	if a.State != 0 && a.State != 1 {
		return invalidArg("unsupported state value '%d'", a.State)
	}
	ids, err := parseSet(a.Cpumap)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return invalidArg("no vcpus selected for modification")
	}
	slices.Sort(ids)
	on := a.State == 1
	want := func(def *libvirtxml.Domain) []int {
		online := slices.DeleteFunc(onlineVCPUs(def), func(id int) bool { return slices.Contains(ids, id) })
		if on {
			online = append(online, ids...)
		}
		slices.Sort(online)
		return online
	}
	var plug *vcpuPlug
	return d.change(ctx, r, change{
		flags: a.Flags, needsMonitor: true,
		check: func(def *libvirtxml.Domain, live bool) error {
			for _, id := range ids {
				switch {
				case id >= maxVCPUs(def) && live:
					return invalidArg("vcpu '%d' is not present in live config", id)
				case id >= maxVCPUs(def):
					return invalidArg("vcpu %d is not present in persistent config", id)
				case id == 0:
					return invalidArg("vCPU '0' can't be modified")
				}
			}
			can := hotpluggable(def, onlineVCPUs(def))
			for _, id := range onlineVCPUs(def) {
				if !live && id > ids[0] && !slices.Contains(ids, id) && !can[id] {
					return invalidArg("vcpu '%d' can't be modified as it is followed by non-hotpluggable online vcpus", ids[0])
				}
			}
			if live {
				plug = d.vcpuPlug(ctx, want(def))
			}
			return nil
		},
		effect: plugEffect(&plug),
		edit: func(def *libvirtxml.Domain, live bool) error {
			if live {
				recordVCPUs(def, plug.now, plug.plugged, true)
				return nil
			}
			online := want(def)
			can := hotpluggable(def, onlineVCPUs(def))
			for _, id := range ids {
				can[id] = true
			}
			recordVCPUs(def, online, can, false)
			return nil
		},
		after: func(d *domain, ctx actor.Context, aff affect) {
			if aff.live {
				plug.apply(d, ctx)
			}
		},
	})
}
