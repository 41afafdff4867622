package qemu

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/qemu/agent"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// What the guest agent knows.

// agentHostname serves virDomainGetHostname with the agent as its source.
func (d *domain) agentHostname(ctx actor.Context, r *call.Request) error {
	name := d.name
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			return guestHostname(jc, ag, timeout, false)
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			host := out.(string)
			if host == "" {
				return nil, liberr.New(liberr.FromQemu, liberr.NoHostname, "no hostname found for domain %s", name)
			}
			return &protocol.DomainGetHostnameRet{Hostname: host}, nil
		},
		failed: func(_ *domain, _ actor.Context, err error) error {
			// Compat: libvirt takes an agent that does not answer for one that has no such command.
			var e *liberr.Error
			if errors.As(err, &e) && (e.Code == liberr.AgentUnresponsive || e.Code == liberr.AgentCommandTimeout) {
				return liberr.New(liberr.FromQemu, liberr.NoHostname, "no hostname found for domain %s", name)
			}
			return err
		},
	})
}

func guestHostname(ctx context.Context, ag *agent.Client, timeout int, optional bool) (string, error) {
	var ret struct {
		Name *string `json:"host-name"`
	}
	if err := ag.Execute(ctx, agent.Command{Name: "guest-get-host-name", Timeout: timeout, Optional: optional}, &ret); err != nil {
		return "", err
	}
	if ret.Name == nil {
		return "", malformed("host-name")
	}
	return *ret.Name, nil
}

func malformed(what string) error {
	return liberr.New(liberr.FromQemu, liberr.InternalError, "'%s' missing in reply of the guest agent", what)
}

// agentAddresses serves virDomainInterfaceAddresses with the agent as its source.
func (d *domain) agentAddresses(ctx actor.Context, r *call.Request) error {
	return d.askAgent(ctx, r, agentAsk{
		run: func(jc context.Context, ag *agent.Client, timeout int) (any, error) {
			return guestInterfaces(jc, ag, timeout, false)
		},
		answer: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return &protocol.DomainInterfaceAddressesRet{Ifaces: out.([]protocol.DomainInterface)}, nil
		},
	})
}

// guestInterfaces lists the guest's interfaces. Aliases of one ("eth0:1") are addresses of it.
func guestInterfaces(ctx context.Context, ag *agent.Client, timeout int, optional bool) ([]protocol.DomainInterface, error) {
	var list []struct {
		Name   string `json:"name"`
		HWAddr string `json:"hardware-address"`
		IPs    []struct {
			Type    string `json:"ip-address-type"`
			Address string `json:"ip-address"`
			Prefix  uint32 `json:"prefix"`
		} `json:"ip-addresses"`
	}
	if err := ag.Execute(ctx, agent.Command{Name: "guest-network-get-interfaces", Timeout: timeout, Optional: optional}, &list); err != nil {
		return nil, err
	}
	var out []protocol.DomainInterface
	for _, n := range list {
		if n.Name == "" {
			return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "qemu agent didn't provide 'name' field")
		}
		name, _, _ := strings.Cut(n.Name, ":")
		at := slices.IndexFunc(out, func(o protocol.DomainInterface) bool { return o.Name == name })
		if at < 0 {
			out = append(out, protocol.DomainInterface{Name: name})
			at = len(out) - 1
			if n.HWAddr != "" {
				hw := n.HWAddr
				out[at].Hwaddr = &hw
			}
		}
		for _, ip := range n.IPs {
			a := protocol.DomainIPAddr{Addr: ip.Address, Prefix: ip.Prefix}
			switch ip.Type {
			case "ipv4":
				a.Type = virt.IPAddrTypeIPv4
			case "ipv6":
				a.Type = virt.IPAddrTypeIPv6
			default:
				return nil, liberr.New(liberr.FromQemu, liberr.InternalError, "unknown ip address type '%s'", ip.Type)
			}
			out[at].Addrs = append(out[at].Addrs, a)
		}
	}
	return out, nil
}
