package network

import (
	"net"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

const from = liberr.FromNetwork

// driver is the branch actor. It has no state but its subscribers.
type driver struct {
	env *branch.Env
	bus branch.Bus
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer {
	return func() actor.Actor { return &driver{env: env} }
}

// Receive serves calls and subscriptions.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *call.Call:
		routes.Serve(d, ctx, m, from)
	default:
		kit.Unhandled(ctx, m)
	}
}

// listFlags are the filters of virConnectListAllNetworks.
const listFlags = virt.ConnectListNetworksInactive | virt.ConnectListNetworksActive |
	virt.ConnectListNetworksPersistent | virt.ConnectListNetworksTransient |
	virt.ConnectListNetworksAutostart | virt.ConnectListNetworksNoAutostart

func (d *driver) listAll(_ actor.Context, _ *call.Request, a *protocol.ConnectListAllNetworksArgs) (*protocol.ConnectListAllNetworksRet, error) {
	return &protocol.ConnectListAllNetworksRet{}, call.CheckFlags(a.Flags, listFlags, from, "networkConnectListAllNetworks")
}

func (d *driver) list(_ actor.Context, _ *call.Request, a *protocol.ConnectListNetworksArgs) (*protocol.ConnectListNetworksRet, error) {
	return &protocol.ConnectListNetworksRet{}, checkMax(a.Maxnames)
}

func (d *driver) listDefined(_ actor.Context, _ *call.Request, a *protocol.ConnectListDefinedNetworksArgs) (*protocol.ConnectListDefinedNetworksRet, error) {
	return &protocol.ConnectListDefinedNetworksRet{}, checkMax(a.Maxnames)
}

// checkMax refuses what the daemon's own argument check refuses before the driver sees the call.
func checkMax(n int32) error {
	switch {
	case n < 0:
		return liberr.Raw(liberr.FromRPC, liberr.RPC, "maxnames must be non-negative")
	case n > protocol.RemoteNetworkListMax:
		return liberr.Raw(liberr.FromRPC, liberr.RPC, "maxnames > REMOTE_NETWORK_LIST_MAX")
	}
	return nil
}

func (d *driver) lookupByName(_ actor.Context, _ *call.Request, a *protocol.NetworkLookupByNameArgs) (*protocol.NetworkLookupByNameRet, error) {
	return nil, liberr.New(from, liberr.NoNetwork, "no network with matching name '%s'", a.Name)
}

func (d *driver) lookupByUUID(_ actor.Context, _ *call.Request, a *protocol.NetworkLookupByUUIDArgs) (*protocol.NetworkLookupByUUIDRet, error) {
	return nil, liberr.New(from, liberr.NoNetwork, "no network with matching uuid '%s'", a.UUID)
}

// leases checks the address to filter by before it looks for the network, as libvirt does.
func (d *driver) leases(_ actor.Context, _ *call.Request, a *protocol.NetworkGetDHCPLeasesArgs) (*protocol.NetworkGetDHCPLeasesRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "networkGetDHCPLeases"); err != nil {
		return nil, err
	}
	if a.MAC != nil {
		if hw, err := net.ParseMAC(*a.MAC); err != nil || len(hw) != 6 {
			return nil, liberr.New(from, liberr.InvalidMAC, "%s", *a.MAC)
		}
	}
	return nil, missing(a.Net)
}

// missing is the answer to a call on a network that is not there.
func missing(n protocol.Network) error {
	return liberr.New(from, liberr.NoNetwork, "no network with matching uuid '%s' (%s)", n.UUID, n.Name)
}
