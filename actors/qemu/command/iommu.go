package command

import "libvirt.org/go/libvirtxml"

func (b *builder) allIOMMUs() []libvirtxml.DomainIOMMU {
	if len(b.dev.IOMMUs) == 0 && b.dev.IOMMU != nil {
		return []libvirtxml.DomainIOMMU{*b.dev.IOMMU}
	}
	return b.dev.IOMMUs
}

func (b *builder) iommus() error {
	return each(b.allIOMMUs(), func(i *libvirtxml.DomainIOMMU) error { return b.iommu(i) })
}

// iommu translates the addresses devices of the guest use. It comes before all devices, since they look for it.
func (b *builder) iommu(i *libvirtxml.DomainIOMMU) error {
	var p Props
	switch i.Model {
	case "intel":
		p = Props{{"driver", "intel-iommu"}, {"id", aliasOf(i.Alias)}}
		if d := i.Driver; d != nil {
			p.text("intremap", d.IntRemap)
			p.flag("caching-mode", d.CachingMode)
			p.text("eim", d.EIM)
			p.flag("device-iotlb", d.IOTLB)
			p.count("aw-bits", d.AWBits)
		}
	case "virtio":
		p = Props{{"driver", "virtio-iommu"}, {"id", aliasOf(i.Alias)}}
		if err := b.at(&p, i.Address, i.ACPI); err != nil {
			return err
		}
	case "smmuv3":
		return nil // a property of the machine
	default:
		return unsupported("IOMMU device: '%s' is not supported with this QEMU binary", i.Model)
	}
	return b.device(p)
}
