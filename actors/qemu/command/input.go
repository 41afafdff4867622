package command

import "libvirt.org/go/libvirtxml"

func (b *builder) inputs() error {
	return each(b.dev.Inputs, func(in *libvirtxml.DomainInput) error { return b.input(in) })
}

func (b *builder) input(in *libvirtxml.DomainInput) error {
	if in.Source != nil && in.Source.EVDev != nil {
		return b.object(evdev(in))
	}
	var p Props
	var err error
	switch in.Bus {
	case "ps2", "xen", "parallels", "none", "":
		return nil // the machine brings them
	case "usb":
		driver := map[string]string{"mouse": "usb-mouse", "tablet": "usb-tablet", "keyboard": "usb-kbd"}[in.Type]
		if driver == "" {
			return unsupported("usb bus does not support '%s' input device", in.Type)
		}
		p = Props{{"driver", driver}, {"id", aliasOf(in.Alias)}}
	case "virtio":
		if p, err = b.virtioInput(in); err != nil {
			return err
		}
	default:
		return unsupported("input bus '%s' is not supported by QEMU", in.Bus)
	}
	if err := b.at(&p, in.Address, in.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

func (b *builder) virtioInput(in *libvirtxml.DomainInput) (Props, error) {
	base := map[string]string{"mouse": "virtio-mouse", "tablet": "virtio-tablet", "keyboard": "virtio-keyboard",
		"passthrough": "virtio-input-host"}[in.Type]
	if base == "" {
		return nil, unsupported("virtio bus does not support '%s' input device", in.Type)
	}
	o := virtioOptions{}
	if d := in.Driver; d != nil {
		o = virtioOptions{d.IOMMU, d.ATS, d.Packed, d.PagePerVQ}
	}
	p, err := b.virtio(base, in.Model, in.Address, o)
	if err != nil {
		return nil, err
	}
	p.Set("id", aliasOf(in.Alias))
	if in.Source != nil && in.Source.Passthrough != nil {
		p.text("evdev", in.Source.Passthrough.EVDev)
	}
	return p, nil
}

// evdev takes a host's input device and feeds it to whatever input devices the guest has.
func evdev(in *libvirtxml.DomainInput) Props {
	s := in.Source.EVDev
	p := Props{{"qom-type", "input-linux"}, {"id", aliasOf(in.Alias)}, {"evdev", s.Dev}}
	p.flag("repeat", s.Repeat)
	if s.Grab == "all" {
		p.Set("grab_all", true)
	}
	p.text("grab-toggle", s.GrabToggle)
	return p
}
