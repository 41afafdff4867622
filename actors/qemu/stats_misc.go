package qemu

import (
	"context"
	"fmt"
	"strconv"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func ticks(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n * (1e9 / clockTick)
}

// perfEvents are the counters that can be switched on for a guest, in libvirt's order.
var perfEvents = []string{"cmt", "mbmt", "mbml", "cpu_cycles", "instructions", "cache_references", "cache_misses",
	"branch_instructions", "branch_misses", "bus_cycles", "stalled_cycles_frontend", "stalled_cycles_backend",
	"ref_cpu_cycles", "cpu_clock", "task_clock", "page_faults", "context_switches", "cpu_migrations",
	"page_faults_min", "page_faults_maj", "alignment_faults", "emulation_faults"}

func (d *domain) getPerfEvents(_ actor.Context, _ *call.Request, a *protocol.DomainGetPerfEventsArgs) (*protocol.DomainGetPerfEventsRet, error) {
	if err := call.CheckFlags(a.Flags, readFlags, liberr.FromQemu, "qemuDomainGetPerfEvents"); err != nil {
		return nil, err
	}
	def, live, err := d.one(a.Flags)
	if err != nil {
		return nil, err
	}
	on := map[string]bool{}
	if def.Perf != nil && !live { // no counter of a running guest is ever opened, see setPerfEvents
		for _, e := range def.Perf.Events {
			on[e.Name] = e.Enabled == "yes"
		}
	}
	ret := &protocol.DomainGetPerfEventsRet{}
	for _, name := range perfEvents {
		ret.Params = append(ret.Params, paramBool(name, on[name]))
	}
	return ret, nil
}

// securityLabel: no security driver confines guests, so that their label is empty.
func (d *domain) securityLabel(_ actor.Context, _ *call.Request, _ *protocol.DomainGetSecurityLabelArgs) (*protocol.DomainGetSecurityLabelRet, error) {
	return &protocol.DomainGetSecurityLabelRet{Label: []byte{0}}, nil
}

// securityLabelList adds to that, for a running guest, the user and group of its process, which libvirt
// counts as a label too.
func (d *domain) securityLabelList(ctx actor.Context, r *call.Request, _ *protocol.DomainGetSecurityLabelListArgs) error {
	if !d.active() {
		r.Reply(&protocol.DomainGetSecurityLabelListRet{})
		return nil
	}
	pid := d.run.proc.pid
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		var st unix.Stat_t
		if err := unix.Stat("/proc/"+itoa(pid), &st); err != nil {
			return nil, liberr.System(liberr.FromQemu, err, "unable to get uid and gid for PID %d", pid)
		}
		dac := fmt.Sprintf("+%d:+%d\x00", st.Uid, st.Gid)
		return &protocol.DomainGetSecurityLabelListRet{
			Labels: []protocol.DomainGetSecurityLabelRet{{Label: []byte{0}}, {Label: []byte(dac)}}, Ret: 2,
		}, nil
	})
	return nil
}

func (d *domain) hostname(ctx actor.Context, r *call.Request, a *protocol.DomainGetHostnameArgs) error {
	const lease, agent = virt.DomainGetHostnameLease, virt.DomainGetHostnameAgent
	if err := call.CheckFlags(a.Flags, lease|agent, liberr.FromQemu, "qemuDomainGetHostname"); err != nil {
		return err
	}
	if a.Flags&(lease|agent) == lease|agent {
		return liberr.Raw(liberr.FromQemu, liberr.InvalidArg, "Flags 'VIR_DOMAIN_GET_HOSTNAME_LEASE' and 'VIR_DOMAIN_GET_HOSTNAME_AGENT' are mutually exclusive")
	}
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	if a.Flags&lease == 0 {
		return d.agentHostname(ctx, r)
	}
	drv, name := d.drv, d.name
	d.look(ctx, r, func(jc context.Context) (protocol.Encoder, error) {
		found, err := drv.leases(jc, def)
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			if len(l.hostnames) > 0 {
				return &protocol.DomainGetHostnameRet{Hostname: l.hostnames[0]}, nil
			}
		}
		return nil, liberr.New(liberr.FromQemu, liberr.NoHostname, "no hostname found for domain %s", name)
	})
	return nil
}

// sevGuest tells guests whose memory is encrypted.
func sevGuest(def *libvirtxml.Domain) bool {
	return def.LaunchSecurity != nil && def.LaunchSecurity.SEV != nil
}

func (d *domain) launchSecurityInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetLaunchSecurityInfoArgs) error {
	if err := call.CheckFlags(a.Flags, virt.TypedParamStringOkay, liberr.FromQemu, "qemuDomainGetLaunchSecurityInfo"); err != nil {
		return err
	}
	def, err := d.current().Def()
	if err != nil {
		return err
	}
	if !sevGuest(def) {
		r.Reply(&protocol.DomainGetLaunchSecurityInfoRet{})
		return nil
	}
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		var sev struct {
			APIMajor uint32 `json:"api-major"`
			APIMinor uint32 `json:"api-minor"`
			BuildID  uint32 `json:"build-id"`
			Policy   uint32 `json:"policy"`
		}
		var launch struct {
			Data string `json:"data"`
		}
		if err := mon.Execute(jc, "query-sev-launch-measure", nil, &launch); err != nil {
			return nil, err
		}
		if err := mon.Execute(jc, "query-sev", nil, &sev); err != nil {
			return nil, err
		}
		return &protocol.DomainGetLaunchSecurityInfoRet{Params: []protocol.TypedParam{
			paramString("sev-measurement", launch.Data), paramUInt("sev-api-major", sev.APIMajor), paramUInt("sev-api-minor", sev.APIMinor),
			paramUInt("sev-build-id", sev.BuildID), paramUInt("sev-policy", sev.Policy),
		}}, nil
	})
}

func (d *domain) setLaunchSecurityState(ctx actor.Context, r *call.Request, a *protocol.DomainSetLaunchSecurityStateArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainSetLaunchSecurityState"); err != nil {
		return err
	}
	def, err := d.current().Def()
	if err != nil {
		return err
	}
	if !sevGuest(def) {
		return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "setting a launch secret is only supported in SEV-enabled domains")
	}
	if err := checkParams(a.Params, paramSpec{"sev-secret-header": virt.TypedParamString, "sev-secret": virt.TypedParamString,
		"sev-secret-set-address": virt.TypedParamUllong}); err != nil {
		return err
	}
	if err := d.running(); err != nil {
		return err
	}
	args := map[string]any{}
	for _, p := range a.Params {
		switch p.Field {
		case "sev-secret-header":
			args["packet-header"] = p.Value.S
		case "sev-secret":
			args["secret"] = p.Value.S
		case "sev-secret-set-address":
			args["gpa"] = p.Value.Ul
		}
	}
	if args["packet-header"] == nil || args["secret"] == nil {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "Both secret and the secret header are required")
	}
	if d.life.State != virt.DomainPaused {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain must be in a paused state")
	}
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error {
		return mon.Execute(jc, "sev-inject-launch-secret", args, nil)
	}, nil)
}
