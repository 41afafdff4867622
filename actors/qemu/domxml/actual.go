package domxml

import (
	"slices"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/xmltree"
)

// What a network made of an interface, its actual type, has an element of its own in status files and in trees:
//
//	<interface type='network'> <source network='lan' portid='…'/> <actual type='direct'> <source dev='eth0' mode='vepa'/> </actual>
//
// In the struct both stand side by side: Source.Network, and with it the bridge it names, or Source.Bridge, Direct or
// Hostdev. A client sees the actual one in the place of the other (showActual).

// actualParts are the elements that come from the network's port while the guest runs.
var actualParts = []string{"vlan", "virtualport", "bandwidth", "port"}

// addActual puts what the struct says of the networks' doing into the tree made of it.
func addActual(root *node, d *libvirtxml.Domain) error {
	if d.Devices == nil {
		return nil
	}
	for i, n := range root.Kid("devices").All("interface") {
		if i >= len(d.Devices.Interfaces) {
			break
		}
		if err := actualOf(n, &d.Devices.Interfaces[i]); err != nil {
			return err
		}
	}
	return nil
}

func actualOf(n *node, nic *libvirtxml.DomainInterface) error {
	s := nic.Source
	if s == nil || s.Network == nil {
		return nil
	}
	only := &libvirtxml.DomainInterface{Source: &libvirtxml.DomainInterfaceSource{}}
	typ := ""
	switch {
	case s.Bridge != nil:
		typ, only.Source.Bridge = "bridge", s.Bridge
	case s.Direct != nil:
		typ, only.Source.Direct = "direct", s.Direct
	case s.Hostdev != nil:
		typ, only.Source.Hostdev = "hostdev", s.Hostdev
	case s.Network.Bridge != "":
		n.Kid("source").Unset("bridge")
		n.InsertBefore(nil, actualNode("network", xmltree.Elem("source", "bridge", s.Network.Bridge)))
		return nil
	default:
		return nil
	}
	made, err := encode(only)
	if err != nil {
		return err
	}
	a := actualNode(typ, made.Kid("source"))
	if typ == "hostdev" && nic.Managed != "" {
		a.Set("managed", nic.Managed)
		n.Unset("managed")
	}
	n.Add(a)
	return nil
}

func actualNode(typ string, source *node) *node {
	a := xmltree.Elem("actual", "type", typ)
	if source != nil {
		a.Add(source)
	}
	return a
}

// takeActual brings the tree's actual types into the struct made of it.
func takeActual(root *node, d *libvirtxml.Domain) error {
	if d.Devices == nil {
		return nil
	}
	for i, n := range root.Kid("devices").All("interface") {
		a := n.Kid("actual")
		if a == nil || i >= len(d.Devices.Interfaces) {
			continue
		}
		nic := &d.Devices.Interfaces[i]
		if nic.Source == nil || nic.Source.Network == nil {
			continue
		}
		typ, source := a.Get("type"), a.Kid("source")
		if typ == "network" {
			nic.Source.Network.Bridge = source.Get("bridge")
			continue
		}
		alone := xmltree.Elem("interface", "type", typ)
		if source != nil {
			alone.Add(source)
		}
		var made libvirtxml.DomainInterface
		if err := decode(alone, &made); err != nil {
			return err
		}
		nic.Source.Bridge, nic.Source.Direct, nic.Source.Hostdev = made.Source.Bridge, made.Source.Direct, made.Source.Hostdev
		if typ == "hostdev" {
			nic.Managed = a.Get("managed")
		}
	}
	return nil
}

// readActual checks the element of a status file. Other documents cannot bring it.
func (def *definition) readActual(n *node) {
	a := n.Kid("actual")
	if a == nil {
		return
	}
	if def.flags&ParseLive == 0 || n.Get("type") != "network" || !slices.Contains([]string{"network", "bridge", "direct", "hostdev"}, a.Get("type")) {
		n.Remove(a)
		return
	}
	for _, name := range actualParts {
		if k := a.Kid(name); k != nil {
			a.Remove(k)
			n.Drop(name)
			n.Add(k)
		}
	}
	grammar["interface"].arrange(n)
}

// keepActual is the form of status files: what the port gave stands in the element.
func keepActual(n *node) {
	a := n.Kid("actual")
	if a == nil {
		return
	}
	for _, name := range actualParts {
		if k := n.Kid(name); k != nil {
			n.Remove(k)
			a.Add(k)
		}
	}
	grammar["interface"].arrange(n)
}

// showActual is the form clients see: the interface as if it had been of its actual type all along.
func showActual(n *node) {
	a := n.Kid("actual")
	if a == nil {
		return
	}
	n.Remove(a)
	n.Set("type", a.Get("type"))
	source := a.Kid("source")
	if a.Get("type") == "hostdev" {
		if m := a.Get("managed"); m != "" {
			n.Set("managed", m)
		}
		n.Drop("source")
		if source != nil {
			n.Add(source)
		}
	} else if own := n.Ensure("source"); source != nil {
		for _, at := range source.Attrs {
			own.Set(at.Name, at.Value)
		}
	}
	grammar["interface"].arrange(n)
}

// hideActual is the form of the definition: as if it did not run.
func hideActual(n *node) {
	n.Drop("actual")
	if n.Get("type") == "network" {
		n.Kid("source").Unset("portid")
	}
}
