package qemu

import (
	"context"
	"encoding/xml"
	"errors"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// A NIC on a network is a port of that network: the network driver decides what it is plugged into, keeps the
// account of who is on it, and is told when the NIC goes.

// claimPorts gets the ports of all the guest's NICs, before any of them is connected.
func (p *launchPlan) claimPorts(ctx context.Context, undo *kit.Undo) error {
	for i := range p.def.Devices.Interfaces {
		if err := p.claimPort(ctx, &p.def.Devices.Interfaces[i], undo); err != nil {
			return err
		}
	}
	return nil
}

// claimPort asks the NIC's network for a port and makes of the NIC what the port says. One that is on no network
// stays as it is.
func (p *launchPlan) claimPort(ctx context.Context, n *libvirtxml.DomainInterface, undo *kit.Undo) error {
	if n.Source == nil || n.Source.Network == nil {
		return actualFits(n)
	}
	net, err := p.drv.network(ctx, n.Source.Network.Network)
	if err != nil {
		return err
	}
	id := uuid.NewString()
	doc, err := portDocument(id, p.name, p.uuid.String(), n)
	if err != nil {
		return err
	}
	undo.Add("delete the network port", func(ctx context.Context) error {
		if err := p.drv.deletePort(ctx, net, id); !errors.Is(err, liberr.NoNetworkPort) {
			return err
		}
		return nil
	})
	port, err := p.drv.createPort(ctx, net, doc, 0)
	if err != nil {
		return err
	}
	if err := adoptPort(n, port); err != nil {
		return err
	}
	return actualFits(n)
}

// adoptPort makes of a NIC what its port says.
func adoptPort(n *libvirtxml.DomainInterface, port *libvirtxml.NetworkPort) error {
	s := n.Source
	s.Network.PortID, s.Network.Bridge = port.UUID, ""
	s.Bridge, s.Direct, s.Hostdev = nil, nil, nil
	switch plug := port.Plug; {
	case plug == nil:
		return liberr.New(liberr.FromQemu, liberr.InternalError, "network '%s' gave no plug for the port", s.Network.Network)
	case plug.Network != nil:
		s.Network.Bridge = plug.Network.Bridge
	case plug.Bridge != nil:
		s.Bridge = &libvirtxml.DomainInterfaceSourceBridge{Bridge: plug.Bridge.Bridge}
	case plug.Direct != nil:
		s.Direct = &libvirtxml.DomainInterfaceSourceDirect{Dev: plug.Direct.Dev, Mode: plug.Direct.Mode}
	case plug.HostDevPCI != nil:
		a := plug.HostDevPCI.Address
		s.Hostdev = &libvirtxml.DomainInterfaceSourceHostdev{PCI: &libvirtxml.DomainHostdevSubsysPCISource{
			Address: &libvirtxml.DomainAddressPCI{Domain: a.Domain, Bus: a.Bus, Slot: a.Slot, Function: a.Function},
		}}
		n.Managed = plug.HostDevPCI.Managed
	}
	n.Bandwidth, n.VLan, n.VirtualPort, n.PortOptions = nil, nil, nil, nil
	if port.Bandwidth != nil {
		n.Bandwidth = &libvirtxml.DomainInterfaceBandwidth{}
		if err := recast(port.Bandwidth, n.Bandwidth); err != nil {
			return err
		}
	}
	if port.VLAN != nil {
		n.VLan = &libvirtxml.DomainInterfaceVLan{}
		if err := recast(port.VLAN, n.VLan); err != nil {
			return err
		}
	}
	if port.VirtualPort != nil {
		n.VirtualPort = &libvirtxml.DomainInterfaceVirtualPort{}
		if err := recast(port.VirtualPort, n.VirtualPort); err != nil {
			return err
		}
	}
	if port.PortOptions != nil {
		n.PortOptions = &libvirtxml.DomainInterfacePortOptions{Isolated: port.PortOptions.Isolated}
	}
	if port.RXFilters != nil {
		n.TrustGuestRXFilters = port.RXFilters.TrustGuest
	}
	return nil
}

// portDocument describes the port that a NIC is to have.
func portDocument(id, name, owner string, n *libvirtxml.DomainInterface) (*libvirtxml.NetworkPort, error) {
	port := &libvirtxml.NetworkPort{
		UUID: id, Owner: &libvirtxml.NetworkPortOwner{Name: name, UUID: owner}, Group: n.Source.Network.PortGroup,
	}
	if n.MAC != nil {
		port.MAC = &libvirtxml.NetworkPortMAC{Address: n.MAC.Address}
	}
	if n.TrustGuestRXFilters != "" {
		port.RXFilters = &libvirtxml.NetworkPortRXFilters{TrustGuest: n.TrustGuestRXFilters}
	}
	if n.Bandwidth != nil {
		port.Bandwidth = &libvirtxml.NetworkBandwidth{}
		if err := recast(n.Bandwidth, port.Bandwidth); err != nil {
			return nil, err
		}
	}
	if n.VLan != nil {
		port.VLAN = &libvirtxml.NetworkPortVLAN{}
		if err := recast(n.VLan, port.VLAN); err != nil {
			return nil, err
		}
	}
	if n.VirtualPort != nil {
		port.VirtualPort = &libvirtxml.NetworkVirtualPort{}
		if err := recast(n.VirtualPort, port.VirtualPort); err != nil {
			return nil, err
		}
	}
	if n.PortOptions != nil {
		port.PortOptions = &libvirtxml.NetworkPortPortOptions{Isolated: n.PortOptions.Isolated}
	}
	return port, nil
}

// recast copies between types that libvirtxml has for one element in different documents.
func recast(from, to any) error {
	text, err := xml.Marshal(from)
	if err != nil {
		return err
	}
	return xml.Unmarshal(text, to)
}

// plugOf is what a NIC that runs is plugged into.
func plugOf(n *libvirtxml.DomainInterface) *libvirtxml.NetworkPortPlug {
	switch s := n.Source; {
	case s.Bridge != nil:
		return &libvirtxml.NetworkPortPlug{Bridge: &libvirtxml.NetworkPortPlugBridge{Bridge: s.Bridge.Bridge}}
	case s.Direct != nil:
		return &libvirtxml.NetworkPortPlug{Direct: &libvirtxml.NetworkPortPlugDirect{Dev: s.Direct.Dev, Mode: s.Direct.Mode}}
	case s.Hostdev != nil && s.Hostdev.PCI != nil && s.Hostdev.PCI.Address != nil:
		a := s.Hostdev.PCI.Address
		return &libvirtxml.NetworkPortPlug{HostDevPCI: &libvirtxml.NetworkPortPlugHostDevPCI{
			Managed: n.Managed,
			Address: &libvirtxml.NetworkPortPlugHostDevPCIAddress{Domain: a.Domain, Bus: a.Bus, Slot: a.Slot, Function: a.Function},
		}}
	case s.Network.Bridge != "":
		return &libvirtxml.NetworkPortPlug{Network: &libvirtxml.NetworkPortPlugNetwork{Bridge: s.Network.Bridge}}
	}
	return nil
}

// network looks a network up by its name.
func (s *shared) network(ctx context.Context, name string) (protocol.Network, error) {
	r, err := s.ask(ctx, "network", protocol.NetworkLookupByName.Procedure, &protocol.NetworkLookupByNameArgs{Name: name})
	if err != nil {
		return protocol.Network{}, err
	}
	var ret protocol.NetworkLookupByNameRet
	if err := protocol.Unmarshal(r.Ret, &ret); err != nil {
		return protocol.Network{}, err
	}
	return ret.Net, nil
}

// createPort makes a port, and reads what the network made of it.
func (s *shared) createPort(ctx context.Context, net protocol.Network, port *libvirtxml.NetworkPort, flags uint32) (*libvirtxml.NetworkPort, error) {
	doc, err := port.Marshal()
	if err != nil {
		return nil, err
	}
	if _, err := s.ask(ctx, "network", protocol.NetworkPortCreateXML.Procedure, &protocol.NetworkPortCreateXMLArgs{Network: net, XML: doc, Flags: flags}); err != nil {
		return nil, err
	}
	r, err := s.ask(ctx, "network", protocol.NetworkPortGetXMLDesc.Procedure, &protocol.NetworkPortGetXMLDescArgs{
		Port: protocol.NetworkPort{Net: net, UUID: parseUUID(port.UUID)},
	})
	if err != nil {
		return nil, err
	}
	var ret protocol.NetworkPortGetXMLDescRet
	if err := protocol.Unmarshal(r.Ret, &ret); err != nil {
		return nil, err
	}
	made := &libvirtxml.NetworkPort{}
	return made, made.Unmarshal(ret.XML)
}

func (s *shared) deletePort(ctx context.Context, net protocol.Network, id string) error {
	_, err := s.ask(ctx, "network", protocol.NetworkPortDelete.Procedure, &protocol.NetworkPortDeleteArgs{
		Port: protocol.NetworkPort{Net: net, UUID: parseUUID(id)},
	})
	return err
}

// releasePort gives a NIC's port back. A network that is gone took its ports along.
func (s *shared) releasePort(n *libvirtxml.DomainInterface) {
	if n.Source == nil || n.Source.Network == nil || n.Source.Network.PortID == "" {
		return
	}
	name, id := n.Source.Network.Network, n.Source.Network.PortID
	s.giveBack("port "+id+" of network "+name, func(ctx context.Context) error {
		net, err := s.network(ctx, name)
		if err == nil {
			err = s.deletePort(ctx, net, id)
		}
		if errors.Is(err, liberr.NoNetwork) || errors.Is(err, liberr.NoNetworkPort) || errors.Is(err, liberr.OperationInvalid) {
			return nil
		}
		return err
	})
}

// reclaimPort tells the network of an adopted guest that a port is the guest's, in case it has forgotten.
func (s *shared) reclaimPort(ctx context.Context, def *libvirtxml.Domain, n *libvirtxml.DomainInterface) error {
	plug := plugOf(n)
	if plug == nil {
		return nil
	}
	net, err := s.network(ctx, n.Source.Network.Network)
	if err != nil {
		return err
	}
	_, err = s.ask(ctx, "network", protocol.NetworkPortLookupByUUID.Procedure, &protocol.NetworkPortLookupByUUIDArgs{
		Network: net, UUID: parseUUID(n.Source.Network.PortID),
	})
	if !errors.Is(err, liberr.NoNetworkPort) {
		return err
	}
	doc, err := portDocument(n.Source.Network.PortID, def.Name, def.UUID, n)
	if err != nil {
		return err
	}
	doc.Plug = plug
	_, err = s.createPort(ctx, net, doc, virt.NetworkPortCreateReclaim)
	return err
}
