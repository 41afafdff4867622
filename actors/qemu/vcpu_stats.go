package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/node"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// usage is the CPU time of a guest in nanoseconds: all of it, and its shares in user and kernel mode.
type usage struct{ total, user, system uint64 }

// cpuStats serves virDomainGetCPUStats: of all CPUs together, or of each.
func (d *domain) cpuStats(ctx actor.Context, r *call.Request, a *protocol.DomainGetCPUStatsArgs) error {
	if err := call.CheckFlags(a.Flags, virt.TypedParamStringOkay, liberr.FromQemu, "qemuDomainGetCPUStats"); err != nil {
		return err
	}
	if a.Nparams > protocol.RemoteNodeCPUStatsMax || a.Ncpus > protocol.RemoteDomainGetCPUStatsNcpusMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	if err := d.running(); err != nil {
		return err
	}
	g, pid := d.group(), d.run.proc.pid
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		if a.StartCPU == -1 {
			return totalStats(pid, a.Nparams)
		}
		return perCPUStats(g, a)
	})
	return nil
}

func totalStats(pid int, nparams uint32) (protocol.Encoder, error) {
	if nparams == 0 {
		return &protocol.DomainGetCPUStatsRet{Nparams: 3}, nil
	}
	u, err := processUsage(itoa(pid))
	if err != nil {
		return nil, liberr.New(liberr.FromNone, liberr.OperationFailed, "unable to get cpu account").WithCause(err)
	}
	params := []protocol.TypedParam{
		paramULLong(virt.DomainCPUStatsCputime, u.total), paramULLong(virt.DomainCPUStatsUsertime, u.user), paramULLong(virt.DomainCPUStatsSystemtime, u.system),
	}
	params = params[:min(int(nparams), len(params))]
	return &protocol.DomainGetCPUStatsRet{Params: params, Nparams: int32(len(params))}, nil
}

func perCPUStats(g group, a *protocol.DomainGetCPUStatsArgs) (protocol.Encoder, error) {
	present := node.Host().PresentCPUs()
	cpus := 0
	if len(present) > 0 {
		cpus = present[len(present)-1] + 1
	}
	if a.Ncpus == 0 {
		return &protocol.DomainGetCPUStatsRet{Nparams: int32(cpus)}, nil
	}
	if a.Nparams == 0 {
		return &protocol.DomainGetCPUStatsRet{Nparams: 2}, nil
	}
	if int(a.StartCPU) >= cpus || a.StartCPU < 0 {
		return nil, liberr.New(liberr.FromNone, liberr.InvalidArg, "start_cpu %d larger than maximum of %d", a.StartCPU, cpus-1)
	}
	times, err := g.perCPU()
	if err != nil {
		return nil, err
	}
	ret := &protocol.DomainGetCPUStatsRet{Nparams: 1}
	for cpu := int(a.StartCPU); cpu < min(int(a.StartCPU)+int(a.Ncpus), cpus); cpu++ {
		t := uint64(0)
		if cpu < len(times) {
			t = times[cpu]
		}
		ret.Params = append(ret.Params, paramULLong(virt.DomainCPUStatsCputime, t))
	}
	return ret, nil
}

// processUsage reads the time of a process by its name in procfs. It is not the control group's time, which
// begins anew when a guest is put into one.
func processUsage(pid string) (usage, error) {
	f, err := procStat("/proc/" + pid + "/stat")
	if err != nil {
		return usage{}, err
	}
	user, system := ticks(f[11]), ticks(f[12])
	return usage{user + system, user, system}, nil
}
