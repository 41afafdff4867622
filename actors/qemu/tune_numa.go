package qemu

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/node"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// numaModes are the words for virDomainNumatuneMemMode, by number.
var numaModes = []string{"strict", "preferred", "interleave", "restrictive"}

const (
	numaMode    = "numa_mode"
	numaNodeset = "numa_nodeset"
)

func numaTune(def *libvirtxml.Domain) (mode int32, nodeset string) {
	if def.NUMATune == nil || def.NUMATune.Memory == nil {
		return 0, ""
	}
	return int32(max(slices.Index(numaModes, def.NUMATune.Memory.Mode), 0)), def.NUMATune.Memory.Nodeset
}

func (d *domain) numaParameters(_ actor.Context, _ *call.Request, a *protocol.DomainGetNUMAParametersArgs) (*protocol.DomainGetNUMAParametersRet, error) {
	if err := call.CheckFlags(a.Flags, readFlags, liberr.FromQemu, "qemuDomainGetNumaParameters"); err != nil {
		return nil, err
	}
	if a.Nparams > protocol.RemoteDomainNUMAParametersMax || a.Nparams < 0 {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	def, _, err := d.one(a.Flags)
	if err != nil {
		return nil, err
	}
	mode, nodeset := numaTune(def)
	ret := &protocol.DomainGetNUMAParametersRet{}
	ret.Params, ret.Nparams = counted([]protocol.TypedParam{paramInt(numaMode, mode), paramString(numaNodeset, nodeset)}, a.Nparams)
	return ret, nil
}

// parseSet reads a set of CPUs or nodes as clients write it.
func parseSet(s string) ([]int, error) {
	bad := func() error { return liberr.New(liberr.FromNone, liberr.InvalidArg, "Failed to parse bitmap '%s'", s) }
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "^")
		low, high, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(low, 10, 14)
		if err != nil {
			return nil, bad()
		}
		if isRange {
			if b, err := strconv.ParseUint(high, 10, 14); err != nil || b < a {
				return nil, bad()
			}
		}
	}
	return cpuList(s), nil
}

func (d *domain) setNUMAParameters(ctx actor.Context, r *call.Request, a *protocol.DomainSetNUMAParametersArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetNumaParameters"); err != nil {
		return err
	}
	if err := checkParams(a.Params, paramSpec{numaMode: virt.TypedParamInt, numaNodeset: virt.TypedParamString}); err != nil {
		return err
	}
	mode, nodeset, haveNodes := int32(-1), "", false
	for _, p := range a.Params {
		switch p.Field {
		case numaMode:
			if mode = p.Value.I; mode < 0 || int(mode) >= len(numaModes) {
				return invalidArg("unsupported numatune mode: '%d'", mode)
			}
		case numaNodeset:
			nodes, err := parseSet(p.Value.S)
			if err != nil {
				return err
			}
			if len(nodes) == 0 {
				return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "Invalid nodeset of 'numatune': %s", p.Value.S)
			}
			slices.Sort(nodes)
			nodeset, haveNodes = node.FormatList(nodes), true
		}
	}
	var w groupWork
	return d.change(ctx, r, change{
		flags: a.Flags,
		check: func(def *libvirtxml.Domain, live bool) error {
			now, _ := numaTune(def)
			set := def.NUMATune != nil && def.NUMATune.Memory != nil
			switch {
			case !live:
			case set && mode >= 0 && mode != now:
				return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "can't change numatune mode for running domain")
			case set && haveNodes && now != virt.DomainNumatuneMemRestrictive:
				return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "change of nodeset for running domain requires restrictive numa mode")
			default:
				w = d.groupWork(ctx)
			}
			return nil
		},
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			if !haveNodes {
				return nil
			}
			if err := w.ensure(jc, mon); err != nil {
				return err
			}
			return w.g.setMems(nodeset)
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			if def.NUMATune == nil {
				def.NUMATune = &libvirtxml.DomainNUMATune{}
			}
			m := libvirtxml.DomainNUMATuneMemory{Mode: "strict"}
			if def.NUMATune.Memory != nil {
				m = *def.NUMATune.Memory
			}
			if mode >= 0 {
				m.Mode = numaModes[mode]
			}
			if haveNodes {
				m.Nodeset, m.Placement = nodeset, ""
			}
			if m.Nodeset == "" && m.Placement != "auto" {
				return liberr.New(liberr.FromDomain, liberr.ConfigUnsupported, "nodeset for NUMA memory tuning must be set if 'placement' is 'static'")
			}
			def.NUMATune.Memory = &m
			return nil
		},
	})
}
