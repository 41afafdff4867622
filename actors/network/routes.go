package network

import (
	"net"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// driverRoutes is what the branch answers itself. What no table names is not supported.
var driverRoutes = call.NewTable(
	call.Answer(protocol.ConnectNumOfNetworks, (*driver).count),
	call.Answer(protocol.ConnectNumOfDefinedNetworks, (*driver).countDefined),
	call.Answer(protocol.ConnectListNetworks, (*driver).list),
	call.Answer(protocol.ConnectListDefinedNetworks, (*driver).listDefined),
	call.Answer(protocol.ConnectListAllNetworks, (*driver).listAll),
	call.Answer(protocol.NetworkLookupByName, (*driver).lookupByName),
	call.Answer(protocol.NetworkLookupByUUID, (*driver).lookupByUUID),
	call.Later(protocol.NetworkDefineXML, (*driver).defineXML),
	call.Later(protocol.NetworkDefineXMLFlags, (*driver).defineXMLFlags),
	call.Later(protocol.NetworkCreateXML, (*driver).createXML),
	call.Later(protocol.NetworkCreateXMLFlags, (*driver).createXMLFlags),
)

// networkRoutes is what each network answers.
var networkRoutes = call.NewTable(
	call.Later(protocol.NetworkCreate, (*network).start),
	call.Later(protocol.NetworkDestroy, (*network).destroy),
	call.Later(protocol.NetworkUndefine, (*network).undefine),
	call.Later(protocol.NetworkUpdate, (*network).update),
	call.Answer(protocol.NetworkGetXMLDesc, (*network).xmlDesc),
	call.Answer(protocol.NetworkGetBridgeName, (*network).bridgeName),
	call.Answer(protocol.NetworkGetAutostart, (*network).getAutostart),
	call.Later(protocol.NetworkSetAutostart, (*network).setAutostart),
	call.Answer(protocol.NetworkIsActive, (*network).isActive),
	call.Answer(protocol.NetworkIsPersistent, (*network).isPersistent),
	call.Answer(protocol.NetworkGetMetadata, (*network).getMetadata),
	call.Later(protocol.NetworkSetMetadata, (*network).setMetadata),
	call.Later(protocol.NetworkGetDHCPLeases, (*network).leases),

	call.Answer(protocol.NetworkListAllPorts, (*network).listPorts),
	call.Answer(protocol.NetworkPortLookupByUUID, (*network).lookupPort),
	call.Later(protocol.NetworkPortCreateXML, (*network).createPort),
	call.Later(protocol.NetworkPortDelete, (*network).deletePort),
	call.Answer(protocol.NetworkPortGetXMLDesc, (*network).portXML),
	call.Answer(protocol.NetworkPortGetParameters, (*network).portParameters),
	call.Later(protocol.NetworkPortSetParameters, (*network).setPortParameters),
)

// checks is what libvirt refuses of a call before it looks for the network: flags, in the name of its own function.
var checks = map[*protocol.Procedure]func(args []byte) error{}

func init() {
	flags(protocol.NetworkUpdate, "networkUpdate", affectFlags, func(a *protocol.NetworkUpdateArgs) uint32 { return a.Flags })
	flags(protocol.NetworkGetXMLDesc, "networkGetXMLDesc", virt.NetworkXMLInactive, func(a *protocol.NetworkGetXMLDescArgs) uint32 { return a.Flags })
	flags(protocol.NetworkGetMetadata, "networkGetMetadata", affectFlags, func(a *protocol.NetworkGetMetadataArgs) uint32 { return a.Flags })
	flags(protocol.NetworkSetMetadata, "networkSetMetadata", affectFlags, func(a *protocol.NetworkSetMetadataArgs) uint32 { return a.Flags })
	flags(protocol.NetworkListAllPorts, "networkListAllPorts", 0, func(a *protocol.NetworkListAllPortsArgs) uint32 { return a.Flags })
	flags(protocol.NetworkPortCreateXML, "networkPortCreateXML", virt.NetworkPortCreateReclaim|virt.NetworkPortCreateValidate,
		func(a *protocol.NetworkPortCreateXMLArgs) uint32 { return a.Flags })
	flags(protocol.NetworkPortGetParameters, "networkPortGetParameters", 0, func(a *protocol.NetworkPortGetParametersArgs) uint32 { return a.Flags })
	flags(protocol.NetworkPortSetParameters, "networkPortSetParameters", 0, func(a *protocol.NetworkPortSetParametersArgs) uint32 { return a.Flags })
	flags(protocol.NetworkPortGetXMLDesc, "networkPortGetXMLDesc", 0, func(a *protocol.NetworkPortGetXMLDescArgs) uint32 { return a.Flags })
	flags(protocol.NetworkPortDelete, "networkPortDelete", 0, func(a *protocol.NetworkPortDeleteArgs) uint32 { return a.Flags })
	check(protocol.NetworkGetDHCPLeases, func(a *protocol.NetworkGetDHCPLeasesArgs) error {
		if err := call.CheckFlags(a.Flags, 0, from, "networkGetDHCPLeases"); err != nil || a.MAC == nil {
			return err
		}
		if hw, err := net.ParseMAC(*a.MAC); err != nil || len(hw) != 6 {
			return liberr.New(from, liberr.InvalidMAC, "%s", *a.MAC)
		}
		return nil
	})
}

type decodable[A any] interface {
	*A
	protocol.Decodable
}

func check[A, R any, PA decodable[A]](p protocol.Proc[A, R], c func(PA) error) {
	checks[p.Procedure] = func(b []byte) error {
		var a A
		if err := protocol.Unmarshal(b, PA(&a)); err != nil {
			return undecodable(err)
		}
		return c(&a)
	}
}

func flags[A, R any, PA decodable[A]](p protocol.Proc[A, R], fn string, allowed uint32, of func(PA) uint32) {
	check(p, func(a PA) error { return call.CheckFlags(of(a), allowed, from, fn) })
}

func undecodable(err error) error {
	return liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload").WithCause(err)
}

// precheck checks the call and names its network.
func precheck(c *call.Call) (n protocol.Network, err error) {
	if f := checks[c.Proc]; f != nil {
		if err := f(c.Args); err != nil {
			return n, err
		}
	}
	name, ok := c.Proc.PeekName(c.Args)
	uuid, also := c.Proc.PeekUUID(c.Args)
	if !ok || !also {
		return n, undecodable(nil)
	}
	return protocol.Network{Name: name, UUID: uuid}, nil
}
