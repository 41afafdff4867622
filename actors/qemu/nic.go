package qemu

import (
	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// What an interface is. Its kind is the type attribute of its definition. An interface of kind network is something else
// in the end, its actual kind: what its network gave it, which stands beside Source.Network while the guest runs.

// nicKind is the type attribute of an interface.
func nicKind(n *libvirtxml.DomainInterface) string {
	s := n.Source
	switch {
	case s == nil:
		return "ethernet"
	case s.User != nil:
		return "user"
	case s.Ethernet != nil:
		return "ethernet"
	case s.VHostUser != nil:
		return "vhostuser"
	case s.Server != nil:
		return "server"
	case s.Client != nil:
		return "client"
	case s.MCast != nil:
		return "mcast"
	case s.Network != nil:
		return "network"
	}
	return hostKind(s)
}

// actualKind is nicKind, with what the network made of an interface of its own.
func actualKind(n *libvirtxml.DomainInterface) string {
	if s := n.Source; s != nil && s.Network != nil && (s.Bridge != nil || s.Direct != nil || s.Hostdev != nil) {
		return hostKind(s)
	}
	return nicKind(n)
}

func hostKind(s *libvirtxml.DomainInterfaceSource) string {
	switch {
	case s.Bridge != nil:
		return "bridge"
	case s.Internal != nil:
		return "internal"
	case s.Direct != nil:
		return "direct"
	case s.Hostdev != nil:
		return "hostdev"
	case s.UDP != nil:
		return "udp"
	case s.VDPA != nil:
		return "vdpa"
	}
	return "ethernet"
}

// bridgeOf is the bridge that an interface's tap is on; "" for one that is on none.
func bridgeOf(n *libvirtxml.DomainInterface) string {
	switch s := n.Source; {
	case s == nil:
		return ""
	case s.Bridge != nil:
		return s.Bridge.Bridge
	case s.Network != nil:
		return s.Network.Bridge
	}
	return ""
}

// directOf is the device that a macvtap is on, and how.
func directOf(n *libvirtxml.DomainInterface) (dev, mode string) {
	if n.Source == nil || n.Source.Direct == nil {
		return "", ""
	}
	if mode = n.Source.Direct.Mode; mode == "" {
		mode = "vepa"
	}
	return n.Source.Direct.Dev, mode
}

// virtualPort is the type of an interface's virtual port; "" when it has none.
func virtualPort(n *libvirtxml.DomainInterface) string {
	if n.VirtualPort == nil || n.VirtualPort.Params == nil {
		return ""
	}
	switch p := n.VirtualPort.Params; {
	case p.VEPA8021QBG != nil:
		return "802.1Qbg"
	case p.VNTag8011QBH != nil:
		return "802.1Qbh"
	case p.OpenVSwitch != nil:
		return "openvswitch"
	case p.MidoNet != nil:
		return "midonet"
	}
	return ""
}

func isolated(n *libvirtxml.DomainInterface) bool {
	return n.PortOptions != nil && n.PortOptions.Isolated == "yes"
}

// managed tells whether the interface's device on the host is ours to make and to remove.
func managed(n *libvirtxml.DomainInterface) bool { return n.Target == nil || n.Target.Managed != "no" }

// actualFits refuses what the actual kind of an interface cannot have. Before a network has decided, it cannot be told.
func actualFits(n *libvirtxml.DomainInterface) error {
	kind, port, mac := actualKind(n), virtualPort(n), nicMAC(n)
	tap := kind == "network" || kind == "bridge" || kind == "ethernet"
	refuse := func(format string, args ...any) error {
		return liberr.New(liberr.FromDomain, liberr.ConfigUnsupported, "interface %s - "+format, append([]any{mac}, args...)...)
	}
	if _, mode := directOf(n); n.VLan != nil && len(n.VLan.Tags) > 0 && kind != "hostdev" && mode != "passthrough" && port != "openvswitch" {
		return refuse("vlan tag not supported for this connection type")
	}
	if n.Teaming != nil && n.Teaming.Type == "transient" && kind != "hostdev" {
		return refuse("teaming transient device must be type='hostdev', not '%s'", kind)
	}
	if n.Bandwidth != nil && kind == "hostdev" {
		return refuse("bandwidth settings are not supported for hostdev interfaces")
	}
	if isolated(n) && kind != "network" && kind != "bridge" {
		return refuse("<port isolated='yes'/> is not supported for network interfaces with type='%s'", kind)
	}
	if isolated(n) && port != "" {
		return refuse("<port isolated='yes'/> is not supported for network interfaces with virtualport type='%s'", port)
	}
	refuse = func(format string, args ...any) error {
		return unsupportedConfig("interface %s - "+format, append([]any{mac}, args...)...)
	}
	if nicDriver(n).Queues > 0 && !tap && kind != "direct" && kind != "vhostuser" && kind != "vdpa" {
		return refuse("multiqueue is not supported for network interfaces of type %s", kind)
	}
	if n.FilterRef != nil && !tap {
		return refuse("filterref is not supported for network interfaces of type %s", kind)
	}
	if n.FilterRef != nil && port != "" {
		return refuse("filterref is not supported for network interfaces with virtualport type %s", port)
	}
	if n.Backend != nil && n.Backend.Tap != "" && !tap {
		return refuse("custom tap device path is not supported for network interfaces of type %s", kind)
	}
	return nil
}
