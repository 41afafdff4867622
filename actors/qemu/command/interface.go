package command

import (
	"libvirt.org/go/libvirtxml"
)

func (b *builder) interfaces() error {
	return each(b.dev.Interfaces, func(n *libvirtxml.DomainInterface) error { return b.nic(n) })
}

func nicModel(n *libvirtxml.DomainInterface) string {
	if n.Model == nil {
		return ""
	}
	return n.Model.Type
}

func nicDriver(n *libvirtxml.DomainInterface) *libvirtxml.DomainInterfaceDriver {
	if n.Driver == nil {
		return &libvirtxml.DomainInterfaceDriver{}
	}
	return n.Driver
}

// virtioNIC says whether a model is one of the virtio family.
func virtioNIC(model string) bool {
	switch model {
	case "virtio", "virtio-transitional", "virtio-non-transitional":
		return true
	}
	return false
}

// WantsVHost says whether the kernel may carry a NIC's packets, so that the caller should open /dev/vhost-net for it;
// required is set when the definition insists.
func WantsVHost(def *libvirtxml.Domain, n *libvirtxml.DomainInterface) (wanted, required bool) {
	name := nicDriver(n).Name
	if def.Type != "kvm" || name == "qemu" || !virtioNIC(nicModel(n)) {
		return false, false
	}
	s := n.Source
	if s == nil || s.User != nil || s.VHostUser != nil || s.Server != nil || s.Client != nil || s.MCast != nil ||
		s.UDP != nil || s.VDPA != nil || s.Hostdev != nil {
		return false, false
	}
	return true, name == "vhost"
}

// Queues is how many descriptors of each kind a NIC needs.
func Queues(n *libvirtxml.DomainInterface) int {
	if q := nicDriver(n).Queues; q > 1 && virtioNIC(nicModel(n)) {
		return int(q)
	}
	return 1
}

// nic adds the host's end of a network device and the device. A passed through function is a host device instead.
func (b *builder) nic(n *libvirtxml.DomainInterface) error {
	if n.Source != nil && n.Source.Hostdev != nil {
		return b.nicHostdev(n)
	}
	if err := b.nicBackend(n); err != nil {
		return err
	}
	p, err := b.nicDevice(n)
	if err != nil {
		return err
	}
	// Compat: a model nobody knows is left to QEMU, whose answer the client then sees.
	b.addDevice(p)
	return nil
}

func (b *builder) nicDevice(n *libvirtxml.DomainInterface) (Props, error) {
	alias, model := aliasOf(n.Alias), nicModel(n)
	p := Props{{"driver", model}}
	if virtioNIC(model) {
		var err error
		if p, err = b.virtioNICProps(n); err != nil {
			return nil, err
		}
	} else if model == "netfront" || model == "" {
		return nil, unsupported("network interface model '%s' is not supported by QEMU", model)
	}
	if n.MTU != nil && virtioNIC(model) {
		p.count("host_mtu", n.MTU.Size)
	}
	if n.Teaming != nil && n.Teaming.Type == "persistent" {
		p.Set("failover", true)
	}
	p.Set("netdev", "host"+alias)
	p.Set("id", alias)
	if n.MAC != nil {
		p.Set("mac", n.MAC.Address)
	}
	bootIndex(&p, n.Boot, take(&b.boot.network))
	if n.Boot != nil {
		p.text("loadparm", n.Boot.LoadParm)
	}
	if err := b.at(&p, n.Address, n.ACPI); err != nil {
		return nil, err
	}
	rom(&p, n.ROM)
	return p, nil
}

func (b *builder) virtioNICProps(n *libvirtxml.DomainInterface) (Props, error) {
	d := nicDriver(n)
	p, err := b.virtio("virtio-net", nicModel(n), n.Address, virtioOptions{d.IOMMU, d.ATS, d.Packed, d.PagePerVQ})
	if err != nil {
		return nil, err
	}
	switch d.TXMode {
	case "iothread":
		p.Set("tx", "bh")
	case "timer":
		p.Set("tx", "timer")
	}
	p.flag("ioeventfd", d.IOEventFD)
	p.flag("event_idx", d.EventIDX)
	offloads(&p, d)
	if q := Queues(n); q > 1 {
		p.Set("mq", true)
		// One interrupt for each direction of each queue, one for configuration and one for control.
		p.Set("vectors", 2*q+2)
	}
	p.count("rx_queue_size", d.RXQueueSize)
	p.count("tx_queue_size", d.TXQueueSize)
	p.flag("rss", d.RSS)
	p.flag("hash", d.RSSHashReport)
	return p, nil
}

// offloads is the work a guest and the host leave to each other.
func offloads(p *Props, d *libvirtxml.DomainInterfaceDriver) {
	if h := d.Host; h != nil {
		p.flag("csum", h.CSum)
		p.flag("gso", h.GSO)
		p.flag("host_tso4", h.TSO4)
		p.flag("host_tso6", h.TSO6)
		p.flag("host_ecn", h.ECN)
		p.flag("host_ufo", h.UFO)
		p.flag("mrg_rxbuf", h.MrgRXBuf)
	}
	if g := d.Guest; g != nil {
		p.flag("guest_csum", g.CSum)
		p.flag("guest_tso4", g.TSO4)
		p.flag("guest_tso6", g.TSO6)
		p.flag("guest_ecn", g.ECN)
		p.flag("guest_ufo", g.UFO)
	}
}
