package qemu

import (
	"context"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// setPerfEvents switches counters on and off. In a running guest none can be switched on: the definition
// is where they are kept for hosts whose daemons open them.
func (d *domain) setPerfEvents(ctx actor.Context, r *call.Request, a *protocol.DomainSetPerfEventsArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetPerfEvents"); err != nil {
		return err
	}
	spec := paramSpec{}
	for _, name := range perfEvents {
		spec[name] = virt.TypedParamBoolean
	}
	if err := checkParams(a.Params, spec); err != nil {
		return err
	}
	return d.change(ctx, r, change{
		flags: a.Flags,
		effect: func(context.Context, *qmp.Client, *libvirtxml.Domain) error {
			for _, p := range a.Params {
				if p.Value.B != 0 {
					return liberr.New(liberr.FromPerf, liberr.ArgumentUnsupported, "unable to enable host cpu perf event for %s", p.Field)
				}
			}
			return nil
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			if def.Perf == nil {
				def.Perf = &libvirtxml.DomainPerf{}
			}
			for _, p := range a.Params {
				word := "no"
				if p.Value.B != 0 {
					word = "yes"
				}
				event := libvirtxml.DomainPerfEvent{Name: p.Field, Enabled: word}
				i := slices.IndexFunc(def.Perf.Events, func(e libvirtxml.DomainPerfEvent) bool { return e.Name == p.Field })
				if i >= 0 {
					def.Perf.Events[i] = event
				} else {
					def.Perf.Events = append(def.Perf.Events, event)
				}
			}
			slices.SortStableFunc(def.Perf.Events, func(a, b libvirtxml.DomainPerfEvent) int {
				return slices.Index(perfEvents, a.Name) - slices.Index(perfEvents, b.Name)
			})
			return nil
		},
	})
}
