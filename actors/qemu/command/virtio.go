package command

import "libvirt.org/go/libvirtxml"

// virtioOptions are the switches that all virtio devices share.
type virtioOptions struct{ iommu, ats, packed, pagePerVQ string }

// virtio starts the properties of a virtio device: its name follows from the bus it sits on and its model.
func (b *builder) virtio(base, model string, addr *libvirtxml.DomainAddress, o virtioOptions) (Props, error) {
	name := base
	switch {
	case addr == nil:
		return nil, internal("Unexpected address type for '%s'", base)
	case addr.PCI != nil:
		name += "-pci"
	case addr.CCW != nil:
		name += "-ccw"
	case addr.VirtioMMIO != nil:
		name += "-device"
	default:
		return nil, internal("Unexpected address type for '%s'", base)
	}
	switch model {
	case "virtio-transitional":
		name += "-transitional"
	case "virtio-non-transitional":
		name += "-non-transitional"
	}
	p := Props{{"driver", name}}
	p.flag("iommu_platform", o.iommu)
	p.flag("ats", o.ats)
	p.flag("packed", o.packed)
	p.flag("page-per-vq", o.pagePerVQ)
	return p, nil
}
