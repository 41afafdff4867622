package qemu

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// A NIC on a network is a port of that network: the network driver decides what it is plugged into, keeps the
// account of who is on it, and is told when the NIC goes.

// networkNIC asks the network for a port and connects the NIC to what the port says.
func (p *launchPlan) networkNIC(ctx context.Context, n *libvirtxml.DomainInterface, undo *kit.Undo) (command.NIC, error) {
	src := n.Source.Network
	net, err := p.drv.network(ctx, src.Network)
	if err != nil {
		return command.NIC{}, err
	}
	id := uuid.NewString()
	port, err := p.drv.createPort(ctx, net, p.portOf(id, n, nil), 0)
	if err != nil {
		return command.NIC{}, err
	}
	undo.Add("delete the network port", func(ctx context.Context) error { return p.drv.deletePort(ctx, net, id) })
	src.PortID = id
	switch plug := port.Plug; {
	case plug == nil:
		return command.NIC{}, liberr.New(liberr.FromQemu, liberr.InternalError, "network '%s' gave no plug for the port", src.Network)
	case plug.Network != nil:
		src.Bridge = plug.Network.Bridge
		return p.tap(n, plug.Network.Bridge, undo)
	case plug.Bridge != nil:
		src.Bridge = plug.Bridge.Bridge
		return p.tap(n, plug.Bridge.Bridge, undo)
	case plug.Direct != nil:
		return p.macvtap(n, &libvirtxml.DomainInterfaceSourceDirect{Dev: plug.Direct.Dev, Mode: plug.Direct.Mode}, undo)
	}
	return command.NIC{}, liberr.New(liberr.FromQemu, liberr.ConfigUnsupported, "network '%s' gives host devices to its guests, which is not supported", src.Network)
}

// portOf is the document of a NIC's port. plug is what a port that is claimed again was plugged into.
func (p *launchPlan) portOf(id string, n *libvirtxml.DomainInterface, plug *libvirtxml.NetworkPortPlug) *libvirtxml.NetworkPort {
	return portDocument(id, p.name, p.uuid.String(), n, plug)
}

func portDocument(id, name, owner string, n *libvirtxml.DomainInterface, plug *libvirtxml.NetworkPortPlug) *libvirtxml.NetworkPort {
	port := &libvirtxml.NetworkPort{
		UUID: id, Owner: &libvirtxml.NetworkPortOwner{Name: name, UUID: owner}, Group: n.Source.Network.PortGroup, Plug: plug,
	}
	if n.MAC != nil {
		port.MAC = &libvirtxml.NetworkPortMAC{Address: n.MAC.Address}
	}
	return port
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

// portPatience bounds how long the end of a guest waits for a network driver that is away.
const portPatience = 5 * time.Second

// releasePort gives a NIC's port back. A network that is gone took its ports along.
func (s *shared) releasePort(n *libvirtxml.DomainInterface) {
	if n.Source == nil || n.Source.Network == nil || n.Source.Network.PortID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), portPatience)
	defer cancel()
	net, err := s.network(ctx, n.Source.Network.Network)
	if err == nil {
		err = s.deletePort(ctx, net, n.Source.Network.PortID)
	}
	if err != nil && !errors.Is(err, liberr.NoNetwork) && !errors.Is(err, liberr.NoNetworkPort) {
		s.env.Log.Warn().Err(err).Str("network", n.Source.Network.Network).Msg("cannot give a network port back")
	}
}

// reclaimPorts tells the networks of an adopted guest which ports are its own, in case they have forgotten.
func (s *shared) reclaimPorts(ctx context.Context, def *libvirtxml.Domain) {
	for i := range def.Devices.Interfaces {
		n := &def.Devices.Interfaces[i]
		if n.Source == nil || n.Source.Network == nil || n.Source.Network.PortID == "" || n.Source.Network.Bridge == "" {
			continue
		}
		net, err := s.network(ctx, n.Source.Network.Network)
		if err != nil {
			continue // it is away; it reads its own ports from disk
		}
		_, err = s.ask(ctx, "network", protocol.NetworkPortLookupByUUID.Procedure, &protocol.NetworkPortLookupByUUIDArgs{
			Network: net, UUID: parseUUID(n.Source.Network.PortID),
		})
		if !errors.Is(err, liberr.NoNetworkPort) {
			continue
		}
		plug := &libvirtxml.NetworkPortPlug{Network: &libvirtxml.NetworkPortPlugNetwork{Bridge: n.Source.Network.Bridge}}
		if _, err := s.createPort(ctx, net, portDocument(n.Source.Network.PortID, def.Name, def.UUID, n, plug), virt.NetworkPortCreateReclaim); err != nil {
			s.env.Log.Warn().Err(err).Str("domain", def.Name).Str("network", n.Source.Network.Network).Msg("cannot claim a network port again")
		}
	}
}
