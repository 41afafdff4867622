package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

func (b *builder) hostdevs() error {
	return each(b.dev.Hostdevs, func(h *libvirtxml.DomainHostdev) error { return b.hostdev(h) })
}

// hostdev gives a device of the host to the guest.
func (b *builder) hostdev(h *libvirtxml.DomainHostdev) error {
	var p Props
	var err error
	switch {
	case h.SubsysPCI != nil:
		p, err = hostPCI(h, h.SubsysPCI)
	case h.SubsysUSB != nil:
		p, err = hostUSB(h, h.SubsysUSB)
	case h.SubsysSCSI != nil:
		return b.hostSCSI(h, h.SubsysSCSI)
	case h.SubsysSCSIHost != nil:
		p, err = b.hostVHostSCSI(h, h.SubsysSCSIHost)
	case h.SubsysMDev != nil:
		p, err = hostMDev(h, h.SubsysMDev)
	default:
		err = unsupported("hostdev mode 'capabilities' is not supported in QEMU")
	}
	if err != nil {
		return err
	}
	if err := b.at(&p, h.Address, h.ACPI); err != nil {
		return err
	}
	rom(&p, h.ROM)
	return b.device(p)
}

// vfioDriver: a device that shows a framebuffer before its driver runs cannot be plugged.
func vfioDriver(ramfb string) string {
	if isOn(ramfb) {
		return "vfio-pci-nohotplug"
	}
	return "vfio-pci"
}

func hostPCI(h *libvirtxml.DomainHostdev, s *libvirtxml.DomainHostdevSubsysPCI) (Props, error) {
	if s.Driver != nil && s.Driver.Name != "" && s.Driver.Name != "vfio" {
		return nil, unsupported("invalid PCI passthrough type '%s'", s.Driver.Name)
	}
	if s.Source == nil || s.Source.Address == nil {
		return nil, internal("PCI host device '%s' has no address", aliasOf(h.Alias))
	}
	p := Props{{"driver", vfioDriver(s.RamFB)}, {"host", pciName(s.Source.Address)}, {"id", aliasOf(h.Alias)}}
	bootIndex(&p, h.Boot, 0)
	if s.Teaming != nil {
		p.text("failover_pair_id", s.Teaming.Persistent)
	}
	p.text("display", s.Display)
	if isOn(s.RamFB) {
		p.Set("ramfb", true)
	}
	return p, nil
}

// nicHostdev is a network device that is a function of the host's, configured like a host device.
func (b *builder) nicHostdev(n *libvirtxml.DomainInterface) error {
	s := n.Source.Hostdev
	if s.PCI == nil || s.PCI.Address == nil {
		return unsupported("only PCI devices can be used as '%s' interfaces", "hostdev")
	}
	// Compat: the alias of such an interface is that of a host device.
	p := Props{{"driver", "vfio-pci"}, {"host", pciName(s.PCI.Address)}, {"id", aliasOf(n.Alias)}}
	bootIndex(&p, n.Boot, take(&b.boot.network))
	if n.Teaming != nil {
		p.text("failover_pair_id", n.Teaming.Persistent)
	}
	if err := b.at(&p, n.Address, n.ACPI); err != nil {
		return err
	}
	rom(&p, n.ROM)
	return b.device(p)
}

func hostUSB(h *libvirtxml.DomainHostdev, s *libvirtxml.DomainHostdevSubsysUSB) (Props, error) {
	alias := aliasOf(h.Alias)
	if s.Source == nil {
		return nil, internal("USB host device '%s' has no source", alias)
	}
	a := s.Source.Address
	if a == nil || a.Bus == nil || a.Device == nil {
		return nil, internal("USB host device '%s' is missing bus/device information", alias)
	}
	p := Props{{"driver", "usb-host"}, {"hostdevice", fmt.Sprintf("/dev/bus/usb/%03d/%03d", *a.Bus, *a.Device)}, {"id", alias}}
	switch s.Source.GuestReset {
	case "off":
		p.Set("guest-reset", false)
	case "uninitialized":
		p.Set("guest-reset", true)
		p.Set("guest-resets-all", false)
	case "on":
		p.Set("guest-reset", true)
		p.Set("guest-resets-all", true)
	}
	bootIndex(&p, h.Boot, 0)
	return p, nil
}

// hostSCSI gives one unit behind a host adapter, or of an iSCSI target, to the guest.
func (b *builder) hostSCSI(h *libvirtxml.DomainHostdev, s *libvirtxml.DomainHostdevSubsysSCSI) error {
	alias := aliasOf(h.Alias)
	node := fmt.Sprintf("libvirt-%d-backend", b.nextNode)
	b.nextNode++
	var p Props
	switch {
	case s.Source != nil && s.Source.ISCSI != nil:
		i := s.Source.ISCSI
		if len(i.Host) != 1 {
			return internal("protocol 'iscsi' accepts only one host")
		}
		initiator := ""
		if i.Initiator != nil {
			initiator = i.Initiator.IQN.Name
		}
		var err error
		if p, err = iscsi(i.Host[0], i.Name, initiator); err != nil {
			return err
		}
		if i.Auth != nil {
			p.Set("user", i.Auth.Username)
			p.Set("password-secret", b.secret(authSecret(node)))
		}
	default:
		dev := b.rt.HostSCSI[alias]
		if dev == "" {
			return internal("SCSI host device '%s' was not found on the host", alias)
		}
		p = Props{{"driver", "host_device"}, {"filename", dev}}
	}
	p.Set("node-name", node)
	p.Set("read-only", s.ReadOnly != nil)
	b.blockdev(p)

	d := Props{{"driver", "scsi-generic"}}
	if s.Shareable != nil {
		d.Set("share-rw", true)
	}
	d.Set("drive", node)
	d.Set("id", alias)
	bootIndex(&d, h.Boot, 0)
	if err := b.atSCSI(&d, h.Address); err != nil {
		return err
	}
	return b.device(d)
}

func (b *builder) atSCSI(p *Props, addr *libvirtxml.DomainAddress) error {
	if addr == nil || addr.Drive == nil {
		return nil
	}
	a := addr.Drive
	c := b.controller("scsi", value(a.Controller))
	if c == nil {
		return internal("unable to find a SCSI controller with idx=%d", value(a.Controller))
	}
	p.Set("bus", aliasOf(c.Alias)+".0")
	if narrowSCSI(c.Model) {
		p.Set("scsi-id", value(a.Unit))
		return nil
	}
	p.Set("channel", value(a.Bus))
	p.Set("scsi-id", value(a.Target))
	p.Set("lun", value(a.Unit))
	return nil
}

func (b *builder) hostVHostSCSI(h *libvirtxml.DomainHostdev, s *libvirtxml.DomainHostdevSubsysSCSIHost) (Props, error) {
	alias := aliasOf(h.Alias)
	p, err := b.virtio("vhost-scsi", s.Model, h.Address, virtioOptions{})
	if err != nil {
		return nil, err
	}
	if s.Source == nil {
		return nil, internal("SCSI host '%s' has no source", alias)
	}
	p.Set("wwpn", s.Source.WWPN)
	f := b.rt.VHostSCSI[alias]
	if f == nil {
		return nil, internal("vhost-scsi was not opened for '%s'", alias)
	}
	p.Set("vhostfd", b.fd(f, alias+"-vhost"))
	p.Set("id", alias)
	return p, nil
}

func hostMDev(h *libvirtxml.DomainHostdev, s *libvirtxml.DomainHostdevSubsysMDev) (Props, error) {
	alias := aliasOf(h.Alias)
	if s.Source == nil || s.Source.Address == nil {
		return nil, internal("mediated device '%s' has no address", alias)
	}
	driver := vfioDriver(s.RamFB)
	switch s.Model {
	case "vfio-ccw":
		driver = "vfio-ccw"
	case "vfio-ap":
		driver = "vfio-ap"
	}
	p := Props{{"driver", driver}, {"id", alias}, {"sysfsdev", "/sys/bus/mdev/devices/" + s.Source.Address.UUID}}
	p.text("display", s.Display)
	if isOn(s.RamFB) {
		p.Set("ramfb", true)
	}
	bootIndex(&p, h.Boot, 0)
	return p, nil
}
