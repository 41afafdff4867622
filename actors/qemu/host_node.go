package qemu

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/node"
	"virtree/actors/qemu/caps"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// What the host is and has. All of it reads procfs and sysfs, and so runs as a job.

func (dr *driver) nodeCPUStats(ctx actor.Context, r *call.Request, a *protocol.NodeGetCPUStatsArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromNone, "virHostCPUGetStats"); err != nil {
		return err
	}
	cpu, want := int(a.CpuNum), int(a.Nparams)
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		if want == 0 { // the number is the same for all CPUs, also for those that are not there
			return &protocol.NodeGetCPUStatsRet{Nparams: nodeCPUParams}, nil
		}
		stats, err := node.Host().CPUStats(cpu)
		if err != nil {
			return nil, err
		}
		ret := &protocol.NodeGetCPUStatsRet{}
		if want != len(stats) {
			return nil, liberr.Raw(liberr.FromNone, liberr.InvalidArg, "nparams in virHostCPUGetStatsLinux must be equal to "+itoa(len(stats)))
		}
		for _, s := range stats {
			ret.Params = append(ret.Params, protocol.NodeGetCPUStatsEntry{Field: s.Name, Value: s.Value})
		}
		return ret, nil
	})
	return nil
}

// nodeCPUParams is how many figures there are of a CPU: kernel, user, idle, iowait.
const nodeCPUParams = 4

func (dr *driver) nodeMemoryStats(ctx actor.Context, r *call.Request, a *protocol.NodeGetMemoryStatsArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromNone, "virHostMemGetStats"); err != nil {
		return err
	}
	cell, want := int(a.CellNum), int(a.Nparams)
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		stats, err := node.Host().MemoryStats(cell)
		if err != nil {
			return nil, err
		}
		ret := &protocol.NodeGetMemoryStatsRet{Nparams: int32(len(stats))}
		if want == 0 {
			return ret, nil
		}
		if want != len(stats) {
			return nil, liberr.Raw(liberr.FromNone, liberr.InvalidArg, "nparams in virHostMemGetStatsLinux must be "+itoa(len(stats)))
		}
		for _, s := range stats {
			ret.Params = append(ret.Params, protocol.NodeGetMemoryStatsEntry{Field: s.Name, Value: s.Value})
		}
		ret.Nparams = 0
		return ret, nil
	})
	return nil
}

func (dr *driver) nodeCellsFreeMemory(ctx actor.Context, r *call.Request, a *protocol.NodeGetCellsFreeMemoryArgs) error {
	if a.Maxcells > protocol.RemoteNodeMaxCells {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "maxCells too large")
	}
	start, count := int(a.StartCell), int(a.Maxcells)
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		cells, err := node.Host().CellsFreeMemory(start, count)
		return &protocol.NodeGetCellsFreeMemoryRet{Cells: cells}, err
	})
	return nil
}

func (dr *driver) nodeFreeMemory(ctx actor.Context, r *call.Request, _ *protocol.Void) error {
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		return &protocol.NodeGetFreeMemoryRet{FreeMem: node.Host().FreeMemory()}, nil
	})
	return nil
}

func (dr *driver) nodeCPUMap(ctx actor.Context, r *call.Request, a *protocol.NodeGetCPUMapArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromNone, "virHostCPUGetMap"); err != nil {
		return err
	}
	needMap, needOnline := a.NeedMap != 0, a.NeedOnline != 0
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		present, online, count := node.Host().CPUMap()
		ret := &protocol.NodeGetCPUMapRet{Ret: int32(present)}
		if needMap {
			set := make([]int, 0, len(online))
			for cpu, on := range online {
				if on {
					set = append(set, cpu)
				}
			}
			ret.Cpumap = cpuMap(set, mapLen(len(online)))
		}
		if needOnline {
			ret.Online = count
		}
		return ret, nil
	})
	return nil
}

func (dr *driver) nodeMemoryParameters(ctx actor.Context, r *call.Request, a *protocol.NodeGetMemoryParametersArgs) error {
	if err := call.CheckFlags(a.Flags, virt.TypedParamStringOkay, liberr.FromNone, "virHostMemGetParameters"); err != nil {
		return err
	}
	if a.Nparams > protocol.RemoteNodeMemoryParametersMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	want := int(a.Nparams)
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		if want == 0 {
			return &protocol.NodeGetMemoryParametersRet{Nparams: nodeMemoryParams}, nil
		}
		ret := &protocol.NodeGetMemoryParametersRet{}
		for _, p := range node.Host().MemoryParams() {
			if p.Wide {
				ret.Params = append(ret.Params, paramULLong(p.Name, p.Value))
			} else {
				ret.Params = append(ret.Params, paramUInt(p.Name, uint32(p.Value)))
			}
		}
		ret.Params = ret.Params[:min(want, len(ret.Params))]
		return ret, nil
	})
	return nil
}

// nodeMemoryParams is how many parameters libvirt knows, whatever the kernel has.
const nodeMemoryParams = 8

func (dr *driver) nodeSetMemoryParameters(ctx actor.Context, r *call.Request, a *protocol.NodeSetMemoryParametersArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromNone, "virHostMemSetParameters"); err != nil {
		return err
	}
	if err := checkParams(a.Params, paramSpec{
		"shm_pages_to_scan": virt.TypedParamUint, "shm_sleep_millisecs": virt.TypedParamUint, "shm_merge_across_nodes": virt.TypedParamUint,
	}); err != nil {
		return err
	}
	params := make([]node.MemoryParam, len(a.Params))
	for i, p := range a.Params {
		params[i] = node.MemoryParam{Name: p.Field, Value: uint64(p.Value.UI)}
	}
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		return &protocol.Void{}, node.Host().SetMemoryParams(params)
	})
	return nil
}

func (dr *driver) nodeFreePages(ctx actor.Context, r *call.Request, a *protocol.NodeGetFreePagesArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuNodeGetFreePages"); err != nil {
		return err
	}
	if uint64(a.CellCount)*uint64(len(a.Pages)) > protocol.RemoteNodeMaxCells {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "the result won't fit into REMOTE_NODE_MAX_CELLS")
	}
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		counts, err := node.Host().FreePages(a.Pages, int(a.StartCell), uint(a.CellCount))
		return &protocol.NodeGetFreePagesRet{Counts: counts}, err
	})
	return nil
}

func (dr *driver) nodeAllocPages(ctx actor.Context, r *call.Request, a *protocol.NodeAllocPagesArgs) error {
	if err := call.CheckFlags(a.Flags, virt.NodeAllocPagesSet, liberr.FromQemu, "qemuNodeAllocPages"); err != nil {
		return err
	}
	if len(a.PageSizes) != len(a.PageCounts) {
		return liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload")
	}
	dr.answer(ctx, r, func(context.Context) (protocol.Encoder, error) {
		n, err := node.Host().AllocPages(a.PageSizes, a.PageCounts, int(a.StartCell), uint(a.CellCount), a.Flags&virt.NodeAllocPagesSet != 0)
		return &protocol.NodeAllocPagesRet{Ret: int32(n)}, err
	})
	return nil
}

func (dr *driver) nodeSuspend(ctx actor.Context, r *call.Request, a *protocol.NodeSuspendForDurationArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromNone, "virNodeSuspend"); err != nil {
		return err
	}
	target, seconds := node.SuspendTarget(a.Target), a.Duration
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		return &protocol.Void{}, node.Host().Suspend(jc, target, seconds)
	})
	return nil
}

// nodeSecurityModel: guests are confined by none of the security drivers, which libvirt calls "none".
func (dr *driver) nodeSecurityModel(actor.Context, *call.Request, *protocol.Void) (*protocol.NodeGetSecurityModelRet, error) {
	return &protocol.NodeGetSecurityModelRet{Model: []byte("none\x00"), Doi: []byte("0\x00")}, nil
}

// sysinfoTimeout bounds dmidecode, which reads a table that is in memory.
const sysinfoTimeout = 20 * time.Second

func (dr *driver) sysinfo(ctx actor.Context, r *call.Request, a *protocol.ConnectGetSysinfoArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuConnectGetSysinfo"); err != nil {
		return err
	}
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		jc, cancel := context.WithTimeout(jc, sysinfoTimeout)
		defer cancel()
		doc, ok := readSysinfo(jc)
		if !ok {
			return nil, liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "Host SMBIOS information is not available")
		}
		return &protocol.ConnectGetSysinfoRet{Sysinfo: doc}, nil
	})
	return nil
}

func (dr *driver) nodeSEVInfo(ctx actor.Context, r *call.Request, a *protocol.NodeGetSEVInfoArgs) error {
	if err := call.CheckFlags(a.Flags, virt.TypedParamStringOkay, liberr.FromQemu, "qemuNodeGetSEVInfo"); err != nil {
		return err
	}
	finder := dr.shared.caps // clients send any number of parameters here, and get all of them
	dr.answer(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		c, err := finder.ForArch(jc, caps.HostArch())
		if err != nil {
			return nil, err
		}
		if c.SEV == nil {
			return nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "QEMU does not support SEV guest")
		}
		params := []protocol.TypedParam{
			paramString("pdh", c.SEV.PDH), paramString("cert-chain", c.SEV.CertChain),
			paramUInt("cbitpos", c.SEV.CBitPos), paramUInt("reduced-phys-bits", c.SEV.ReducedPhysBits),
			paramUInt("max-guests", c.SEV.MaxGuests), paramUInt("max-es-guests", c.SEV.MaxESGuests),
		}
		if c.SEV.CPU0ID != "" {
			params = append(params, paramString("cpu0-id", c.SEV.CPU0ID))
		}
		return &protocol.NodeGetSEVInfoRet{Params: params, Nparams: int32(len(params))}, nil
	})
	return nil
}
