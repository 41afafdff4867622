package caps

import (
	"context"
	"errors"
	"strings"

	"virtree/actors/qemu/qmp"
)

// probeCPUs fills CPUs and HostCPU for the accelerator that the binary runs with.
func probeCPUs(ctx context.Context, q qmp.Executor, _ *qmp.Greeting, c *Caps) error {
	_, kvm, err := qmp.QueryKVM(ctx, q)
	if err != nil && !qmp.IsClass(err, qmp.ClassCommandNotFound) {
		return err
	}
	accel, best := "tcg", "max"
	if kvm {
		accel, best = "kvm", "host"
	}
	c.CPUs, c.HostCPU = map[string][]CPUModel{}, map[string]*CPUExpansion{}
	list, err := qmp.QueryCPUDefinitions(ctx, q)
	if qmp.IsClass(err, qmp.ClassCommandNotFound) || qmp.IsClass(err, qmp.ClassGeneric) {
		return nil // an architecture without models to choose from
	}
	if err != nil {
		return err
	}
	for _, d := range list {
		m := CPUModel{Name: d.Name, Type: d.Type, Usable: UsableUnknown, Deprecated: d.Deprecated, Static: d.Static, AliasOf: d.AliasOf}
		if d.Unavailable != nil {
			m.Blockers = *d.Unavailable
			m.Usable = UsableYes
			if len(m.Blockers) > 0 {
				m.Usable = UsableNo
			}
		}
		c.CPUs[accel] = append(c.CPUs[accel], m)
	}
	return probeHostCPU(ctx, q, c, accel, best)
}

// probeHostCPU spells out the best CPU of the accelerator, twice: as it is, and with what does not survive migration.
func probeHostCPU(ctx context.Context, q qmp.Executor, c *Caps, accel, best string) error {
	expand := func(kind string, props map[string]any) (qmp.CPUModelInfo, bool, error) {
		m, err := qmp.QueryCPUModelExpansion(ctx, q, kind, qmp.CPUModelInfo{Name: best, Props: props})
		var refused *qmp.Error
		if errors.As(err, &refused) {
			return m, false, nil
		}
		return m, err == nil, err
	}
	kind := "static" // down to a base model; only x86 and s390 have one
	migratable, ok, err := expand(kind, nil)
	if err == nil && !ok {
		kind = "full"
		migratable, ok, err = expand(kind, nil)
	}
	if err != nil || !ok {
		return err
	}
	host := &CPUExpansion{Name: migratable.Name, Props: migratable.Props}
	c.HostCPU[accel] = host
	all, ok, err := expand(kind, map[string]any{"migratable": false})
	if err != nil || !ok {
		return err // refused: models of this architecture have no such switch
	}
	host.Props = all.Props
	host.Migratable = make(map[string]bool)
	for name, v := range all.Props {
		if on, is := v.(bool); is && on {
			still, _ := migratable.Props[name].(bool)
			host.Migratable[name] = still
		}
	}
	if accel == "kvm" {
		return probeHyperV(ctx, q, c, best)
	}
	return nil
}

// probeHyperV asks which of Microsoft's enlightenments KVM can offer.
func probeHyperV(ctx context.Context, q qmp.Executor, c *Caps, best string) error {
	m, err := qmp.QueryCPUModelExpansion(ctx, q, "full", qmp.CPUModelInfo{
		Name: best, Props: map[string]any{"hv-passthrough": true, "migratable": false}})
	var refused *qmp.Error
	if errors.As(err, &refused) {
		return nil
	}
	if err != nil {
		return err
	}
	c.HV = Props{}
	for name, v := range m.Props {
		if !strings.HasPrefix(name, "hv-") {
			continue
		}
		if on, is := v.(bool); !is || on {
			c.HV[strings.TrimPrefix(name, "hv-")] = true
		}
	}
	return nil
}
