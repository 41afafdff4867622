package domxml

import (
	"slices"

	"libvirt.org/go/libvirtxml"
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
	for i, n := range root.kid("devices").all("interface") {
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
		n.kid("source").unset("bridge")
		n.insertBefore(nil, actualNode("network", elem("source", "bridge", s.Network.Bridge)))
		return nil
	default:
		return nil
	}
	made, err := encode(only)
	if err != nil {
		return err
	}
	a := actualNode(typ, made.kid("source"))
	if typ == "hostdev" && nic.Managed != "" {
		a.set("managed", nic.Managed)
		n.unset("managed")
	}
	n.add(a)
	return nil
}

func actualNode(typ string, source *node) *node {
	a := elem("actual", "type", typ)
	if source != nil {
		a.add(source)
	}
	return a
}

// takeActual brings the tree's actual types into the struct made of it.
func takeActual(root *node, d *libvirtxml.Domain) error {
	if d.Devices == nil {
		return nil
	}
	for i, n := range root.kid("devices").all("interface") {
		a := n.kid("actual")
		if a == nil || i >= len(d.Devices.Interfaces) {
			continue
		}
		nic := &d.Devices.Interfaces[i]
		if nic.Source == nil || nic.Source.Network == nil {
			continue
		}
		typ, source := a.get("type"), a.kid("source")
		if typ == "network" {
			nic.Source.Network.Bridge = source.get("bridge")
			continue
		}
		alone := elem("interface", "type", typ)
		if source != nil {
			alone.add(source)
		}
		var made libvirtxml.DomainInterface
		if err := decode(alone, &made); err != nil {
			return err
		}
		nic.Source.Bridge, nic.Source.Direct, nic.Source.Hostdev = made.Source.Bridge, made.Source.Direct, made.Source.Hostdev
		if typ == "hostdev" {
			nic.Managed = a.get("managed")
		}
	}
	return nil
}

// readActual checks the element of a status file. Other documents cannot bring it.
func (def *definition) readActual(n *node) {
	a := n.kid("actual")
	if a == nil {
		return
	}
	if def.flags&ParseLive == 0 || n.get("type") != "network" || !slices.Contains([]string{"network", "bridge", "direct", "hostdev"}, a.get("type")) {
		n.remove(a)
		return
	}
	for _, name := range actualParts {
		if k := a.kid(name); k != nil {
			a.remove(k)
			n.drop(name)
			n.add(k)
		}
	}
	grammar["interface"].arrange(n)
}

// keepActual is the form of status files: what the port gave stands in the element.
func keepActual(n *node) {
	a := n.kid("actual")
	if a == nil {
		return
	}
	for _, name := range actualParts {
		if k := n.kid(name); k != nil {
			n.remove(k)
			a.add(k)
		}
	}
	grammar["interface"].arrange(n)
}

// showActual is the form clients see: the interface as if it had been of its actual type all along.
func showActual(n *node) {
	a := n.kid("actual")
	if a == nil {
		return
	}
	n.remove(a)
	n.set("type", a.get("type"))
	source := a.kid("source")
	if a.get("type") == "hostdev" {
		if m := a.get("managed"); m != "" {
			n.set("managed", m)
		}
		n.drop("source")
		if source != nil {
			n.add(source)
		}
	} else if own := n.ensure("source"); source != nil {
		for _, at := range source.attrs {
			own.set(at.name, at.value)
		}
	}
	grammar["interface"].arrange(n)
}

// hideActual is the form of the definition: as if it did not run.
func hideActual(n *node) {
	n.drop("actual")
	if n.get("type") == "network" {
		n.kid("source").unset("portid")
	}
}
