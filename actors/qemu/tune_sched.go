package qemu

import (
	"context"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// schedulerParams are the parameters of the "posix" scheduler in libvirt's order: the shares of the whole
// guest, then period and quota of its parts.
var schedulerParams = []string{
	virt.DomainSchedulerCPUShares,
	virt.DomainSchedulerVCPUPeriod, virt.DomainSchedulerVCPUQuota,
	virt.DomainSchedulerEmulatorPeriod, virt.DomainSchedulerEmulatorQuota,
	virt.DomainSchedulerGlobalPeriod, virt.DomainSchedulerGlobalQuota,
	virt.DomainSchedulerIOThreadPeriod, virt.DomainSchedulerIOThreadQuota,
}

func isQuota(name string) bool { return strings.HasSuffix(name, "_quota") }

// schedulerSpec is the same as a specification.
func schedulerSpec() paramSpec {
	spec := paramSpec{}
	for _, n := range schedulerParams {
		spec[n] = virt.TypedParamUllong
		if isQuota(n) {
			spec[n] = virt.TypedParamLlong
		}
	}
	return spec
}

func (d *domain) schedulerType(_ actor.Context, _ *call.Request, _ *protocol.DomainGetSchedulerTypeArgs) (*protocol.DomainGetSchedulerTypeRet, error) {
	return &protocol.DomainGetSchedulerTypeRet{Type: "posix", Nparams: int32(len(schedulerParams))}, nil
}

func (d *domain) schedulerParameters(ctx actor.Context, r *call.Request, a *protocol.DomainGetSchedulerParametersArgs) error {
	return d.readScheduler(ctx, r, a.Nparams, 0, func(p []protocol.TypedParam) protocol.Encoder {
		return &protocol.DomainGetSchedulerParametersRet{Params: p}
	})
}

func (d *domain) schedulerParametersFlags(ctx actor.Context, r *call.Request, a *protocol.DomainGetSchedulerParametersFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, readFlags, liberr.FromQemu, "qemuDomainGetSchedulerParametersFlags"); err != nil {
		return err
	}
	return d.readScheduler(ctx, r, a.Nparams, a.Flags, func(p []protocol.TypedParam) protocol.Encoder {
		return &protocol.DomainGetSchedulerParametersFlagsRet{Params: p}
	})
}

func (d *domain) readScheduler(ctx actor.Context, r *call.Request, n int32, flags uint32, ret func([]protocol.TypedParam) protocol.Encoder) error {
	if n > protocol.RemoteDomainSchedulerParametersMax || n < 0 {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "nparams too large")
	}
	def, live, err := d.one(flags)
	if err != nil {
		return err
	}
	cut := func(p []protocol.TypedParam) protocol.Encoder { return ret(p[:min(int(n), len(p))]) }
	if !live {
		r.Reply(cut(configuredScheduler(def)))
		return nil
	}
	g, vcpus, threads := d.group(), onlineVCPUs(def), ioThreadIDs(def)
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		p, err := groupScheduler(g, vcpus, threads)
		if err != nil {
			return nil, err
		}
		return cut(p), nil
	})
	return nil
}

// configuredScheduler reads the parameters out of a definition, 0 for what it does not say.
func configuredScheduler(def *libvirtxml.Domain) []protocol.TypedParam {
	t := def.CPUTune
	if t == nil {
		t = &libvirtxml.DomainCPUTune{}
	}
	shares := uint64(0)
	if t.Shares != nil {
		shares = uint64(t.Shares.Value)
	}
	out := []protocol.TypedParam{paramULLong(virt.DomainSchedulerCPUShares, shares)}
	for _, name := range schedulerParams[1:] {
		if isQuota(name) {
			v := int64(0)
			if q := *quotaField(t, name); q != nil {
				v = q.Value
			}
			out = append(out, paramLLong(name, v))
			continue
		}
		v := uint64(0)
		if p := *periodField(t, name); p != nil {
			v = p.Value
		}
		out = append(out, paramULLong(name, v))
	}
	return out
}

// groupScheduler reads them from the guest's control group; a guest without IO threads has those of the whole
// group in their place.
func groupScheduler(g group, vcpus []int, threads []uint) ([]protocol.TypedParam, error) {
	shares, err := g.shares()
	if err != nil {
		return nil, err
	}
	out := []protocol.TypedParam{paramULLong(virt.DomainSchedulerCPUShares, shares)}
	parts := []string{"", "emulator", "", ""}
	if len(vcpus) > 0 {
		parts[0] = "vcpu" + itoa(vcpus[0])
	}
	if len(threads) > 0 {
		parts[3] = "iothread" + strconv.FormatUint(uint64(threads[0]), 10)
	}
	for i, part := range parts {
		period, quota, err := g.bandwidth(part)
		if err != nil {
			return nil, err
		}
		out = append(out, paramULLong(schedulerParams[1+2*i], period), paramLLong(schedulerParams[2+2*i], quota))
	}
	return out, nil
}

func periodField(t *libvirtxml.DomainCPUTune, name string) **libvirtxml.DomainCPUTunePeriod {
	switch name {
	case virt.DomainSchedulerEmulatorPeriod:
		return &t.EmulatorPeriod
	case virt.DomainSchedulerGlobalPeriod:
		return &t.GlobalPeriod
	case virt.DomainSchedulerIOThreadPeriod:
		return &t.IOThreadPeriod
	}
	return &t.Period
}

func quotaField(t *libvirtxml.DomainCPUTune, name string) **libvirtxml.DomainCPUTuneQuota {
	switch name {
	case virt.DomainSchedulerEmulatorQuota:
		return &t.EmulatorQuota
	case virt.DomainSchedulerGlobalQuota:
		return &t.GlobalQuota
	case virt.DomainSchedulerIOThreadQuota:
		return &t.IOThreadQuota
	}
	return &t.Quota
}

func (d *domain) setSchedulerParameters(ctx actor.Context, r *call.Request, a *protocol.DomainSetSchedulerParametersArgs) error {
	return d.writeScheduler(ctx, r, a.Params, 0)
}

func (d *domain) setSchedulerParametersFlags(ctx actor.Context, r *call.Request, a *protocol.DomainSetSchedulerParametersFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainSetSchedulerParametersFlags"); err != nil {
		return err
	}
	return d.writeScheduler(ctx, r, a.Params, a.Flags)
}

func (d *domain) writeScheduler(ctx actor.Context, r *call.Request, params []protocol.TypedParam, flags uint32) error {
	if err := checkParams(params, schedulerSpec()); err != nil {
		return err
	}
	for _, p := range params {
		if err := checkBandwidth(p); err != nil {
			return err
		}
	}
	var w groupWork
	var threads []uint
	return d.change(ctx, r, change{
		flags: flags,
		check: func(def *libvirtxml.Domain, live bool) error {
			if live {
				w, threads = d.groupWork(ctx), ioThreadIDs(def)
			}
			return nil
		},
		effect: func(jc context.Context, mon *qmp.Client, _ *libvirtxml.Domain) error {
			if err := w.ensure(jc, mon); err != nil {
				return err
			}
			for _, p := range params {
				if err := applyScheduler(w.g, p, w.vcpus, threads); err != nil {
					return err
				}
			}
			return nil
		},
		edit: func(def *libvirtxml.Domain, _ bool) error {
			t := cpuTune(def)
			for _, p := range params {
				switch {
				case p.Field == virt.DomainSchedulerCPUShares:
					t.Shares = &libvirtxml.DomainCPUTuneShares{Value: uint(p.Value.Ul)}
				case isQuota(p.Field):
					*quotaField(t, p.Field) = &libvirtxml.DomainCPUTuneQuota{Value: p.Value.L}
				default:
					*periodField(t, p.Field) = &libvirtxml.DomainCPUTunePeriod{Value: p.Value.Ul}
				}
			}
			dropEmptyTune(def)
			return nil
		},
		after: func(d *domain, ctx actor.Context, aff affect) {
			if !aff.live {
				return
			}
			told := make([]protocol.TypedParam, len(params))
			for i, p := range params {
				told[i] = protocol.TypedParam{Field: "cputune." + p.Field, Value: p.Value}
			}
			d.tuned(ctx, told...)
		},
	})
}

// checkBandwidth applies the kernel's bounds, of which libvirt tells by name; a negative quota means none
// and 0 leaves things as they are.
func checkBandwidth(p protocol.TypedParam) error {
	const periodMin, periodMax, quotaMin, quotaMax = 1000, 1000000, 1000, 17592186044415
	switch {
	case p.Field == virt.DomainSchedulerCPUShares:
	case isQuota(p.Field):
		if v := p.Value.L; v > 0 && (v < quotaMin || v > quotaMax) {
			return outOfRange(p.Field, quotaMin, quotaMax)
		}
	default:
		if v := p.Value.Ul; v > 0 && (v < periodMin || v > periodMax) {
			return outOfRange(p.Field, periodMin, periodMax)
		}
	}
	return nil
}

func outOfRange(name string, low, high int64) error {
	return invalidArg("value of '%s' is out of range [%d, %d]", name, low, high)
}

// applyScheduler makes one parameter true of the guest's control group.
func applyScheduler(g group, p protocol.TypedParam, vcpus []int, threads []uint) error {
	var parts []string
	switch {
	case p.Field == virt.DomainSchedulerCPUShares:
		return g.setShares(p.Value.Ul)
	case strings.HasPrefix(p.Field, "vcpu_"):
		for _, v := range vcpus {
			parts = append(parts, "vcpu"+itoa(v))
		}
	case strings.HasPrefix(p.Field, "emulator_"):
		parts = []string{"emulator"}
	case strings.HasPrefix(p.Field, "iothread_"):
		for _, t := range threads {
			parts = append(parts, "iothread"+strconv.FormatUint(uint64(t), 10))
		}
	default:
		parts = []string{""}
	}
	for _, part := range parts {
		period, quota := p.Value.Ul, int64(0)
		if isQuota(p.Field) {
			period, quota = 0, p.Value.L
		}
		if err := g.setBandwidth(part, period, quota); err != nil {
			return err
		}
	}
	return nil
}

// groupWork is what a job needs to put a guest into its control group.
type groupWork struct {
	g     group
	pid   int
	parts map[string]int
	vcpus []int
}

func (d *domain) groupWork(ctx actor.Context) groupWork {
	w := groupWork{g: d.group(), pid: d.run.proc.pid, parts: d.parts()}
	for _, v := range d.onlineThreads() {
		w.vcpus = append(w.vcpus, v.id)
	}
	if !w.g.exists() {
		d.removeGroupLater(ctx, w.g)
	}
	return w
}

// ensure places the guest, with the threads that only QEMU knows.
func (w groupWork) ensure(ctx context.Context, mon *qmp.Client) error {
	if mon != nil && !w.g.exists() {
		threads, err := guestIOThreads(ctx, mon)
		if err != nil {
			return err
		}
		for _, t := range threads {
			w.parts[t.ID] = t.ThreadID
		}
	}
	return ensureGroup(w.g, w.pid, w.parts)
}
