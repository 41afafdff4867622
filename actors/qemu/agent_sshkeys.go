package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/agent"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (d *domain) sshKeys(ctx actor.Context, r *call.Request, a *protocol.DomainAuthorizedSSHKeysGetArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainAuthorizedSSHKeysGet"); err != nil {
		return err
	}
	user := a.User
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			var ret struct {
				Keys []string `json:"keys"`
			}
			err := ag.Execute(jc, agent.Command{Name: "guest-ssh-get-authorized-keys", Args: map[string]any{"username": user}, Timeout: timeout}, &ret)
			return ret.Keys, err
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return &protocol.DomainAuthorizedSSHKeysGetRet{Keys: out.([]string)}, nil
		},
	})
}

func (d *domain) setSSHKeys(ctx actor.Context, r *call.Request, a *protocol.DomainAuthorizedSSHKeysSetArgs) error {
	const more, less = virt.DomainAuthorizedSSHKeysSetAppend, virt.DomainAuthorizedSSHKeysSetRemove
	if err := call.CheckFlags(a.Flags, more|less, liberr.FromQemu, "qemuDomainAuthorizedSSHKeysSet"); err != nil {
		return err
	}
	type args struct {
		User  string   `json:"username"`
		Keys  []string `json:"keys"`
		Reset *bool    `json:"reset,omitempty"`
	}
	v := args{User: a.User, Keys: append([]string{}, a.Keys...)}
	name := "guest-ssh-remove-authorized-keys"
	if a.Flags&less == 0 {
		reset := a.Flags&more == 0
		v.Reset, name = &reset, "guest-ssh-add-authorized-keys"
	}
	return d.tellAgent(ctx, r, func(int) agent.Command { return agent.Command{Name: name, Args: v} })
}

const guestInfoTypes = virt.DomainGuestInfoUsers | virt.DomainGuestInfoOS | virt.DomainGuestInfoTimezone | virt.DomainGuestInfoHostname |
	virt.DomainGuestInfoFilesystem | virt.DomainGuestInfoDisks | virt.DomainGuestInfoInterfaces
