package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/caps"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// hostCPURoutes: which CPUs the host and its hypervisors can give to guests.
var hostCPURoutes = []call.Route[*driver]{
	call.Later(protocol.ConnectCompareCPU, (*driver).compareCPU),
	call.Later(protocol.ConnectCompareHypervisorCPU, (*driver).compareHypervisorCPU),
	call.Later(protocol.ConnectBaselineCPU, (*driver).baselineCPU),
	call.Later(protocol.ConnectBaselineHypervisorCPU, (*driver).baselineHypervisorCPU),
	call.Later(protocol.ConnectGetCPUModelNames, (*driver).cpuModelNames),
}

const (
	compareFlags  = virt.ConnectCompareCPUFailIncompatible | virt.ConnectCompareCPUValidateXML
	baselineFlags = virt.ConnectBaselineCPUExpandFeatures | virt.ConnectBaselineCPUMigratable
)

func (dr *driver) compareCPU(ctx actor.Context, r *call.Request, a *protocol.ConnectCompareCPUArgs) error {
	if err := call.CheckFlags(a.Flags, compareFlags, liberr.FromQemu, "qemuConnectCompareCPU"); err != nil {
		return err
	}
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		how, err := caps.CompareCPU(a.XML, a.Flags&virt.ConnectCompareCPUFailIncompatible != 0)
		return &protocol.ConnectCompareCPURet{Result: int32(how)}, err
	})
	return nil
}

func (dr *driver) compareHypervisorCPU(ctx actor.Context, r *call.Request, a *protocol.ConnectCompareHypervisorCPUArgs) error {
	if err := call.CheckFlags(a.Flags, compareFlags, liberr.FromQemu, "qemuConnectCompareHypervisorCPU"); err != nil {
		return err
	}
	q := caps.DomainCapsQuery{Emulator: text(a.Emulator), Arch: text(a.Arch), Machine: text(a.Machine), VirtType: text(a.Virttype)}
	finder := dr.shared.caps
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		t, err := finder.Resolve(jc, q)
		if err != nil {
			return nil, err
		}
		how, err := caps.CompareHypervisorCPU(t, a.XmlCPU, a.Flags&virt.ConnectCompareCPUFailIncompatible != 0)
		return &protocol.ConnectCompareHypervisorCPURet{Result: int32(how)}, err
	})
	return nil
}

func (dr *driver) baselineCPU(ctx actor.Context, r *call.Request, a *protocol.ConnectBaselineCPUArgs) error {
	if err := call.CheckFlags(a.Flags, baselineFlags, liberr.FromQemu, "qemuConnectBaselineCPU"); err != nil {
		return err
	}
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		cpu, err := caps.Baseline(a.XmlCPUs, a.Flags&virt.ConnectBaselineCPUExpandFeatures != 0, a.Flags&virt.ConnectBaselineCPUMigratable != 0)
		return &protocol.ConnectBaselineCPURet{CPU: cpu}, err
	})
	return nil
}

func (dr *driver) baselineHypervisorCPU(ctx actor.Context, r *call.Request, a *protocol.ConnectBaselineHypervisorCPUArgs) error {
	if err := call.CheckFlags(a.Flags, baselineFlags, liberr.FromQemu, "qemuConnectBaselineHypervisorCPU"); err != nil {
		return err
	}
	q := caps.DomainCapsQuery{Emulator: text(a.Emulator), Arch: text(a.Arch), Machine: text(a.Machine), VirtType: text(a.Virttype)}
	finder := dr.shared.caps
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		t, err := finder.Resolve(jc, q)
		if err != nil {
			return nil, err
		}
		cpu, err := caps.BaselineHypervisor(t, a.XmlCPUs, a.Flags&virt.ConnectBaselineCPUExpandFeatures != 0, a.Flags&virt.ConnectBaselineCPUMigratable != 0)
		return &protocol.ConnectBaselineHypervisorCPURet{CPU: cpu}, err
	})
	return nil
}

func (dr *driver) cpuModelNames(ctx actor.Context, r *call.Request, a *protocol.ConnectGetCPUModelNamesArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuConnectGetCPUModelNames"); err != nil {
		return err
	}
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		if !caps.ValidArch(a.Arch) {
			return nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "cannot find architecture %s", a.Arch)
		}
		names, err := caps.CPUModelNames(a.Arch)
		ret := &protocol.ConnectGetCPUModelNamesRet{Ret: int32(len(names))}
		if a.NeedResults != 0 {
			ret.Models = names
		}
		return ret, err
	})
	return nil
}
