package qemu

import (
	"context"
	"encoding/xml"
	"errors"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// The packets of a NIC with a filter are filtered where they enter the host, at its tap. The filter driver is told by a
// binding, which names the tap, and makes the rules before it answers; the guest does not run before that.

// bindFilter makes the binding of a NIC that is connected.
func (p *launchPlan) bindFilter(ctx context.Context, n *libvirtxml.DomainInterface, undo *kit.Undo) error {
	if n.FilterRef == nil {
		return nil
	}
	if err := p.drv.createBinding(ctx, p.name, p.uuid.String(), n); err != nil {
		return err
	}
	gone := *n
	undo.Add("delete the filter binding of "+hostLink(n), func(ctx context.Context) error {
		if err := p.drv.deleteBinding(ctx, &gone); !errors.Is(err, liberr.NoNwfilterBinding) {
			return err
		}
		return nil
	})
	return nil
}

// bindingDocument describes the binding of a NIC.
func bindingDocument(name, owner string, n *libvirtxml.DomainInterface) (string, error) {
	b := struct {
		XMLName xml.Name `xml:"filterbinding"`
		Owner   struct {
			Name string `xml:"name"`
			UUID string `xml:"uuid"`
		} `xml:"owner"`
		PortDev struct {
			Name string `xml:"name,attr"`
		} `xml:"portdev"`
		MAC struct {
			Address string `xml:"address,attr"`
		} `xml:"mac"`
		Filter libvirtxml.DomainInterfaceFilterRef `xml:"filterref"`
	}{Filter: *n.FilterRef}
	b.Owner.Name, b.Owner.UUID, b.PortDev.Name, b.MAC.Address = name, owner, hostLink(n), nicMAC(n)
	text, err := xml.MarshalIndent(b, "", "  ")
	return string(text), err
}

func (s *shared) createBinding(ctx context.Context, name, owner string, n *libvirtxml.DomainInterface) error {
	doc, err := bindingDocument(name, owner, n)
	if err != nil {
		return err
	}
	_, err = s.ask(ctx, "nwfilter", protocol.NwfilterBindingCreateXML.Procedure, &protocol.NwfilterBindingCreateXMLArgs{XML: doc})
	return err
}

func (s *shared) deleteBinding(ctx context.Context, n *libvirtxml.DomainInterface) error {
	_, err := s.ask(ctx, "nwfilter", protocol.NwfilterBindingDelete.Procedure, &protocol.NwfilterBindingDeleteArgs{
		Nwfilter: protocol.NwfilterBinding{Portdev: hostLink(n), Filtername: n.FilterRef.Filter},
	})
	return err
}

// releaseFilter deletes the binding of a NIC that goes.
func (s *shared) releaseFilter(n *libvirtxml.DomainInterface) {
	if n.FilterRef == nil || hostLink(n) == "" {
		return
	}
	gone, late := *n, false
	s.giveBack("filter binding of "+hostLink(n), func(ctx context.Context) error {
		if late && linkExists(hostLink(&gone)) {
			return nil // the name is another guest's by now, and so is the binding
		}
		late = true
		if err := s.deleteBinding(ctx, &gone); !errors.Is(err, liberr.NoNwfilterBinding) {
			return err
		}
		return nil
	})
}

// rebindFilter makes the binding of an adopted guest's NIC again if the filter driver does not have it any more.
func (s *shared) rebindFilter(ctx context.Context, def *libvirtxml.Domain, n *libvirtxml.DomainInterface) error {
	_, err := s.ask(ctx, "nwfilter", protocol.NwfilterBindingLookupByPortDev.Procedure, &protocol.NwfilterBindingLookupByPortDevArgs{Name: hostLink(n)})
	if errors.Is(err, liberr.NoNwfilterBinding) {
		err = s.createBinding(ctx, def.Name, def.UUID, n)
	}
	return err
}

// changeFilter gives a running NIC another filter, or other values for its variables, or none. now is the NIC as it is to
// be.
func (j *deviceJob) changeFilter(ctx context.Context, undo *kit.Undo, old, now *libvirtxml.DomainInterface) error {
	switch kind := actualKind(now); kind {
	case "ethernet", "bridge", "network":
	default:
		return unsupportedOperation("filters not supported on interfaces of type %s", kind)
	}
	owner := j.uuid.String()
	if old.FilterRef != nil {
		j.drv.releaseFilter(old)
	}
	before := *old
	undo.Add("the filter of "+hostLink(old), func(ctx context.Context) error {
		if now.FilterRef != nil {
			_ = j.drv.deleteBinding(ctx, now)
		}
		if before.FilterRef == nil {
			return nil
		}
		return j.drv.createBinding(ctx, j.name, owner, &before)
	})
	if now.FilterRef == nil {
		return nil
	}
	if err := j.drv.createBinding(ctx, j.name, owner, now); err != nil {
		return failedOperation("failed to add new filter rules to '%s' - attempting to restore old rules", hostLink(old)).(*liberr.Error).WithCause(err)
	}
	return nil
}
