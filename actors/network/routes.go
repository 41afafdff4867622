package network

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// routes is the driver's table of contents. What it does not name is not supported.
var routes = call.NewTable(
	call.Answer(protocol.ConnectNumOfNetworks, none[protocol.Void, protocol.ConnectNumOfNetworksRet]),
	call.Answer(protocol.ConnectNumOfDefinedNetworks, none[protocol.Void, protocol.ConnectNumOfDefinedNetworksRet]),
	call.Answer(protocol.ConnectListNetworks, (*driver).list),
	call.Answer(protocol.ConnectListDefinedNetworks, (*driver).listDefined),
	call.Answer(protocol.ConnectListAllNetworks, (*driver).listAll),
	call.Answer(protocol.NetworkLookupByName, (*driver).lookupByName),
	call.Answer(protocol.NetworkLookupByUUID, (*driver).lookupByUUID),
	call.Answer(protocol.NetworkGetDHCPLeases, (*driver).leases),

	on(protocol.NetworkCreate, "", 0, func(a *protocol.NetworkCreateArgs) (protocol.Network, uint32) { return a.Net, 0 }),
	on(protocol.NetworkDestroy, "", 0, func(a *protocol.NetworkDestroyArgs) (protocol.Network, uint32) { return a.Net, 0 }),
	on(protocol.NetworkUndefine, "", 0, func(a *protocol.NetworkUndefineArgs) (protocol.Network, uint32) { return a.Net, 0 }),
	on(protocol.NetworkUpdate, "networkUpdate", virt.NetworkUpdateAffectLive|virt.NetworkUpdateAffectConfig,
		func(a *protocol.NetworkUpdateArgs) (protocol.Network, uint32) { return a.Net, a.Flags }),
	on(protocol.NetworkGetXMLDesc, "networkGetXMLDesc", virt.NetworkXMLInactive,
		func(a *protocol.NetworkGetXMLDescArgs) (protocol.Network, uint32) { return a.Net, a.Flags }),
	on(protocol.NetworkGetBridgeName, "", 0, func(a *protocol.NetworkGetBridgeNameArgs) (protocol.Network, uint32) { return a.Net, 0 }),
	on(protocol.NetworkGetAutostart, "", 0, func(a *protocol.NetworkGetAutostartArgs) (protocol.Network, uint32) { return a.Net, 0 }),
	on(protocol.NetworkSetAutostart, "", 0, func(a *protocol.NetworkSetAutostartArgs) (protocol.Network, uint32) { return a.Net, 0 }),
	on(protocol.NetworkIsActive, "", 0, func(a *protocol.NetworkIsActiveArgs) (protocol.Network, uint32) { return a.Net, 0 }),
	on(protocol.NetworkIsPersistent, "", 0, func(a *protocol.NetworkIsPersistentArgs) (protocol.Network, uint32) { return a.Net, 0 }),

	on(protocol.NetworkListAllPorts, "networkListAllPorts", 0,
		func(a *protocol.NetworkListAllPortsArgs) (protocol.Network, uint32) { return a.Network, a.Flags }),
	on(protocol.NetworkPortLookupByUUID, "", 0, func(a *protocol.NetworkPortLookupByUUIDArgs) (protocol.Network, uint32) { return a.Network, 0 }),
	on(protocol.NetworkPortCreateXML, "networkPortCreateXML", virt.NetworkPortCreateReclaim|virt.NetworkPortCreateValidate,
		func(a *protocol.NetworkPortCreateXMLArgs) (protocol.Network, uint32) { return a.Network, a.Flags }),
	on(protocol.NetworkPortGetParameters, "networkPortGetParameters", 0,
		func(a *protocol.NetworkPortGetParametersArgs) (protocol.Network, uint32) { return a.Port.Net, a.Flags }),
	on(protocol.NetworkPortSetParameters, "networkPortSetParameters", 0,
		func(a *protocol.NetworkPortSetParametersArgs) (protocol.Network, uint32) { return a.Port.Net, a.Flags }),
	on(protocol.NetworkPortGetXMLDesc, "networkPortGetXMLDesc", 0,
		func(a *protocol.NetworkPortGetXMLDescArgs) (protocol.Network, uint32) { return a.Port.Net, a.Flags }),
	on(protocol.NetworkPortDelete, "networkPortDelete", 0,
		func(a *protocol.NetworkPortDeleteArgs) (protocol.Network, uint32) { return a.Port.Net, a.Flags }),
)

// none answers with a zero result: no networks.
func none[A, R any](*driver, actor.Context, *call.Request, *A) (*R, error) { return new(R), nil }

type decodable[A any] interface {
	*A
	protocol.Decodable
}

type encodable[R any] interface {
	*R
	protocol.Encoder
}

// on routes a procedure on one network: its flags are checked in the name of libvirt's function fn, then the network is
// looked for.
func on[A, R any, PA decodable[A], PR encodable[R]](p protocol.Proc[A, R], fn string, allowed uint32, object func(PA) (protocol.Network, uint32)) call.Route[*driver] {
	return call.Answer(p, func(_ *driver, _ actor.Context, _ *call.Request, a PA) (PR, error) {
		n, flags := object(a)
		if err := call.CheckFlags(flags, allowed, from, fn); err != nil {
			return nil, err
		}
		return nil, missing(n)
	})
}
