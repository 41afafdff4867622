package qemu

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
)

// agentConnected tells whether the guest agent has its channel open.
func (d *domain) agentConnected() bool {
	def, err := d.live.Def()
	if err != nil {
		return false
	}
	for _, c := range def.Devices.Channels {
		if c.Target != nil && c.Target.VirtIO != nil && c.Target.VirtIO.Name == agentChannel {
			return c.Target.VirtIO.State == "connected"
		}
	}
	return false
}

// agentShutdown asks the agent to shut the guest down. It reports false when the power button is to be
// pressed instead, which the caller allows with fallback.
func (d *domain) agentShutdown(_ actor.Context, _ *call.Request, _ bool, fallback bool) (done bool, err error) {
	if fallback {
		return false, nil
	}
	def, derr := d.live.Def()
	if derr != nil {
		return false, derr
	}
	if !agentState(def) {
		return false, liberr.New(liberr.FromQemu, liberr.ArgumentUnsupported, "QEMU guest agent is not configured")
	}
	return false, liberr.New(liberr.FromQemu, liberr.AgentUnresponsive, "QEMU guest agent is not connected")
}
