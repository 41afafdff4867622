package qemu

import (
	"context"
	"encoding/base64"
	"math"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/agent"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// What the guest agent is told to do.

// agentCommand serves virDomainQemuAgentCommand: the client's own words.
func (d *domain) agentCommand(ctx actor.Context, r *call.Request, a *protocol.QemuDomainAgentCommandArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainAgentCommand"); err != nil {
		return err
	}
	cmd, timeout := a.Cmd, int(a.Timeout)
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, _ int) (any, error) {
			if err := checkAgentTimeout(timeout); err != nil {
				return nil, err
			}
			return ag.Raw(jc, cmd, timeout)
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			text := out.(string)
			return &protocol.QemuDomainAgentCommandRet{Result: &text}, nil
		},
	})
}

func checkAgentTimeout(timeout int) error {
	if timeout < virt.DomainQemuAgentCommandMin {
		return liberr.New(liberr.FromQemu, liberr.InvalidArg, "guest agent timeout '%d' is less than the minimum '%d'", timeout, virt.DomainQemuAgentCommandMin)
	}
	return nil
}

// agentSetTimeout serves virDomainAgentSetResponseTimeout. Without an agent the value waits for one.
func (d *domain) agentSetTimeout(ctx actor.Context, _ *call.Request, a *protocol.DomainAgentSetResponseTimeoutArgs) (*protocol.DomainAgentSetResponseTimeoutRet, error) {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainAgentSetResponseTimeout"); err != nil {
		return nil, err
	}
	if a.Timeout < virt.DomainAgentResponseTimeoutBlock {
		return nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "guest agent timeout '%d' is less than the minimum '%d'", a.Timeout, virt.DomainAgentResponseTimeoutBlock)
	}
	value := a.Timeout
	d.agentWait = &value
	d.saveStatus(ctx)
	return &protocol.DomainAgentSetResponseTimeoutRet{}, nil
}

func (d *domain) fsFreeze(ctx actor.Context, r *call.Request, a *protocol.DomainFsfreezeArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainFSFreeze"); err != nil {
		return err
	}
	points := a.Mountpoints
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			return freeze(jc, ag, timeout, points)
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return &protocol.DomainFsfreezeRet{Filesystems: out.(int32)}, nil
		},
	})
}

// freeze stops writes to the guest's file systems, or to some; it returns how many stand still.
func freeze(ctx context.Context, ag *agent.Client, timeout int, points []string) (n int32, err error) {
	cmd := agent.Command{Name: "guest-fsfreeze-freeze", Timeout: timeout}
	if len(points) > 0 {
		cmd.Name, cmd.Args = "guest-fsfreeze-freeze-list", map[string]any{"mountpoints": points}
	}
	return n, ag.Execute(ctx, cmd, &n)
}

func thaw(ctx context.Context, ag *agent.Client, timeout int) (n int32, err error) {
	return n, ag.Execute(ctx, agent.Command{Name: "guest-fsfreeze-thaw", Timeout: timeout}, &n)
}

// fsThaw serves virDomainFSThaw. Mount points are accepted and mean nothing, as in libvirt.
func (d *domain) fsThaw(ctx actor.Context, r *call.Request, a *protocol.DomainFsthawArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainFSThaw"); err != nil {
		return err
	}
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) { return thaw(jc, ag, timeout) },
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return &protocol.DomainFsthawRet{Filesystems: out.(int32)}, nil
		},
	})
}

func (d *domain) fsTrim(ctx actor.Context, r *call.Request, a *protocol.DomainFstrimArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainFSTrim"); err != nil {
		return err
	}
	if a.MountPoint != nil {
		return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "Specifying mount point is not supported for now")
	}
	minimum := a.Minimum
	return d.tellAgent(ctx, r, func(int) agent.Command {
		return agent.Command{Name: "guest-fstrim", Args: map[string]any{"minimum": minimum}}
	})
}

// tellAgent runs one command whose answer does not matter.
func (d *domain) tellAgent(ctx actor.Context, r *call.Request, command func(timeout int) agent.Command) error {
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			cmd := command(timeout)
			if cmd.Timeout == 0 {
				cmd.Timeout = timeout
			}
			return nil, ag.Execute(jc, cmd, nil)
		},
	})
}

func (d *domain) setUserPassword(ctx actor.Context, r *call.Request, a *protocol.DomainSetUserPasswordArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainPasswordEncrypted, liberr.FromQemu, "qemuDomainSetUserPassword"); err != nil {
		return err
	}
	type args struct {
		Crypted  bool   `json:"crypted"`
		Username string `json:"username"`
		Password string `json:"password"`
	}
	v := args{Crypted: a.Flags&virt.DomainPasswordEncrypted != 0}
	if a.User != nil {
		v.Username = *a.User
	}
	if a.Password != nil {
		v.Password = base64.StdEncoding.EncodeToString([]byte(*a.Password))
	}
	return d.tellAgent(ctx, r, func(int) agent.Command { return agent.Command{Name: "guest-set-user-password", Args: v} })
}

func (d *domain) getTime(ctx actor.Context, r *call.Request, a *protocol.DomainGetTimeArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetTime"); err != nil {
		return err
	}
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			var ns uint64
			err := ag.Execute(jc, agent.Command{Name: "guest-get-time", Timeout: timeout}, &ns)
			return ns, err
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			ns := out.(uint64)
			return &protocol.DomainGetTimeRet{Seconds: int64(ns / 1e9), Nseconds: uint32(ns % 1e9)}, nil
		},
	})
}

// setTime serves virDomainSetTime. The missed ticks of the guest's clock are forgotten then, or it would run fast until
// it had caught up with what it was told already.
func (d *domain) setTime(ctx actor.Context, r *call.Request, a *protocol.DomainSetTimeArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainTimeSync, liberr.FromQemu, "qemuDomainSetTime"); err != nil {
		return err
	}
	if err := d.running(); err != nil {
		return err
	}
	mon, err := d.monitor()
	if err != nil {
		return err
	}
	cmd := agent.Command{Name: "guest-set-time"}
	if a.Flags&virt.DomainTimeSync == 0 {
		if a.Seconds > math.MaxInt64/1_000_000_000 {
			return liberr.New(liberr.FromQemu, liberr.InvalidArg, "Time '%d' is too big for guest agent", a.Seconds)
		}
		cmd.Args = map[string]any{"time": a.Seconds*1e9 + int64(a.Nseconds)}
	}
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			cmd.Timeout = timeout
			return nil, ag.Execute(jc, cmd, nil)
		},
		answer: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			if err := d.running(); err != nil {
				return nil, err
			}
			d.start(ctx, &task{kind: jobModify, req: r, run: func(jc context.Context, _ *kit.Undo) (any, error) {
				return nil, qmp.RTCResetReinjection(jc, mon)
			}})
			return nil, errStillOpen
		},
	})
}

// pmSuspend serves virDomainPMSuspendForDuration.
func (d *domain) pmSuspend(ctx actor.Context, r *call.Request, a *protocol.DomainPMSuspendForDurationArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainPMSuspendForDuration"); err != nil {
		return err
	}
	if a.Duration != 0 {
		return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "Duration not supported. Use 0 for now")
	}
	names := map[uint32]string{virt.NodeSuspendTargetMem: "guest-suspend-ram", virt.NodeSuspendTargetDisk: "guest-suspend-disk", virt.NodeSuspendTargetHybrid: "guest-suspend-hybrid"}
	name, ok := names[a.Target]
	if !ok {
		return liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "Unknown suspend target: %d", a.Target)
	}
	def, err := d.liveDef()
	if err != nil {
		return err
	}
	mon, err := d.monitor()
	if err != nil {
		return err
	}
	target := a.Target
	d.start(ctx, &task{
		kind: jobQuery, req: r, limit: monitorTimeout,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			m, err := qmp.QueryCurrentMachine(jc, mon)
			return m.WakeupSuspendSupport, err
		},
		apply: func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
			if !out.(bool) {
				return nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "Domain does not have suspend support")
			}
			if pm := def.PM; pm != nil {
				if pm.SuspendToMem != nil && pm.SuspendToMem.Enabled == "no" && target != virt.NodeSuspendTargetDisk {
					return nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "S3 state is disabled for this domain")
				}
				if pm.SuspendToDisk != nil && pm.SuspendToDisk.Enabled == "no" && target != virt.NodeSuspendTargetMem {
					return nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "S4 state is disabled for this domain")
				}
			}
			err := d.tellAgent(ctx, r, func(int) agent.Command {
				return agent.Command{Name: name, Events: []string{"SUSPEND", "SUSPEND_DISK"}}
			})
			if err != nil {
				return nil, err
			}
			return nil, errStillOpen
		},
	})
	return nil
}
