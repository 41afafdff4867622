package qemu

import (
	"context"
	"path/filepath"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/agent"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// agentPort is the guest agent's channel of a definition; nil when there is none.
func agentPort(def *libvirtxml.Domain) *libvirtxml.DomainChannel {
	for i := range def.Devices.Channels {
		c := &def.Devices.Channels[i]
		if c.Target != nil && c.Target.VirtIO != nil && c.Target.VirtIO.Name == agentChannel {
			return c
		}
	}
	return nil
}

// agentConnected tells whether the guest agent has its channel open.
func (d *domain) agentConnected() bool {
	def, err := d.live.Def()
	if err != nil {
		return false
	}
	c := agentPort(def)
	return c != nil && c.Target.VirtIO.State == "connected"
}

// agentClient is the way to the guest agent, or libvirt's reason why there is none.
func (d *domain) agentClient() (*agent.Client, error) {
	if d.life.State != virt.DomainRunning {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is not running")
	}
	def, err := d.live.Def()
	if err != nil {
		return nil, err
	}
	port := agentPort(def)
	if port == nil {
		return nil, liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "QEMU guest agent is not configured")
	}
	if port.Target.VirtIO.State != "connected" {
		return nil, liberr.New(liberr.FromQemu, liberr.AgentUnresponsive, "QEMU guest agent is not connected")
	}
	if d.run.agent == nil {
		path := ""
		if port.Source != nil && port.Source.UNIX != nil {
			path = port.Source.UNIX.Path
		}
		if path == "" {
			short := command.ShortName(int(d.run.id), d.name)
			path = filepath.Join(d.drv.env.Paths.DriverLib("qemu"), "channel", "target", "domain-"+short, agentChannel)
		}
		d.run.agent = agent.New(path)
	}
	return d.run.agent, nil
}

// agentHears passes on to commands of the agent what they wait for.
func (d *domain) agentHears(event string) {
	if d.run != nil && d.run.agent != nil {
		d.run.agent.Event(event)
	}
}

// agentLeft drops the connection to an agent that closed its channel, or came anew.
func (d *domain) agentLeft() {
	if d.run != nil && d.run.agent != nil {
		d.run.agent.Reset()
	}
}

// agentAsk is what a command to the agent is made of.
type agentAsk struct {
	// run speaks with the agent, outside of Receive. timeout is that of the domain's commands.
	run func(ctx context.Context, ag *agent.Client, timeout int) (any, error)
	// answer makes the result; nil for procedures without one.
	answer func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error)
	failed func(d *domain, ctx actor.Context, err error) error
}

// askAgent runs commands of the guest agent as a job beside those of the monitor. Whether there is an agent is looked
// at when the job's turn comes, as libvirt does.
func (d *domain) askAgent(ctx actor.Context, r *call.Request, ask agentAsk) error {
	if err := d.running(); err != nil {
		return err
	}
	ag, err := d.agentClient()
	if err != nil {
		return err
	}
	timeout := d.agentTimeout()
	d.start(ctx, &task{
		kind: jobAgent, req: r,
		run: func(jc context.Context, _ *kit.Undo) (any, error) { return ask.run(jc, ag, timeout) },
		apply: func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
			if ask.answer == nil {
				return nil, nil
			}
			return ask.answer(d, ctx, out)
		},
		failed: ask.failed,
	})
	return nil
}

// agentTimeout is what DomainAgentSetResponseTimeout has set, in the agent's terms.
func (d *domain) agentTimeout() int {
	if d.agentWait == nil {
		return agent.Block
	}
	return int(*d.agentWait)
}

// agentShutdown asks the agent to shut the guest down or to reboot it. With fallback a failure presses the power
// button instead. done says that the request is taken care of.
func (d *domain) agentShutdown(ctx actor.Context, r *call.Request, reboot, fallback bool) (done bool, err error) {
	ag, err := d.agentClient()
	if err != nil {
		if fallback {
			return false, nil
		}
		return false, err
	}
	mode := "powerdown"
	if reboot {
		mode = "reboot"
	}
	d.run.rebooting = false // the guest does it itself
	t := &task{
		kind: jobAgent, req: r,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			return nil, ag.Execute(jc, agent.Command{
				Name: "guest-shutdown", Args: map[string]string{"mode": mode}, Timeout: shutdownWait,
				Events: []string{"SHUTDOWN", "RESET"},
			}, nil)
		},
	}
	if fallback {
		t.failed = func(d *domain, ctx actor.Context, err error) error {
			if !d.active() {
				r.Reply(nil) // it went down by itself
				return errStillOpen
			}
			if err := d.pressButton(ctx, r, reboot); err != nil {
				return err
			}
			return errStillOpen
		}
	}
	d.start(ctx, t)
	return true, nil
}

// shutdownWait is libvirt's VIR_DOMAIN_QEMU_AGENT_COMMAND_SHUTDOWN, in seconds.
const shutdownWait = 60
