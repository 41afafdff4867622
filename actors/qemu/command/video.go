package command

import (
	"path"

	"libvirt.org/go/libvirtxml"
)

func (b *builder) videos() error {
	for i := range b.dev.Videos {
		v := &b.dev.Videos[i]
		if v.Model.Type == "none" {
			continue
		}
		// Compat: the first video device is the primary one whatever the definition says.
		if err := b.video(v, i == 0); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) video(v *libvirtxml.DomainVideo, primary bool) error {
	driver, virtio := b.videoDriver(v, primary)
	if driver == "" || !b.caps.HasDevice(driver) {
		return unsupported("domain configuration does not support video model '%s'", v.Model.Type)
	}
	alias := aliasOf(v.Alias)
	p := Props{{"driver", driver}}
	if d := v.Driver; virtio && d != nil {
		p.flag("iommu_platform", d.IOMMU)
		p.flag("ats", d.ATS)
		p.flag("packed", d.Packed)
		p.flag("page-per-vq", d.PagePerVQ)
	}
	p.Set("id", alias)
	m := v.Model
	switch {
	case m.Type == "virtio":
		p.count("max_outputs", m.Heads)
	case m.Type == "qxl":
		p.count("max_outputs", m.Heads)
		p.Set("ram_size", m.Ram*1024)
		p.Set("vram_size", m.VRam*1024)
		p.Set("vram64_size_mb", m.VRam64/1024)
		p.Set("vgamem_mb", m.VGAMem/1024)
	case m.Type == "bochs":
		p.count("vgamem", m.VRam*1024)
	case m.Type == "vga" || m.Type == "vmvga":
		p.count("vgamem_mb", m.VRam/1024)
	}
	if virtio && v.Driver != nil && v.Driver.Name == "vhostuser" {
		id := "chr-vu-" + alias
		source := &libvirtxml.DomainChardevSourceUNIX{Path: path.Join(b.rt.LibDir, alias+"-vhost-user-gpu.sock")}
		if err := b.vhostUserChardev(id, source, v.Alias); err != nil {
			return err
		}
		p.Set("chardev", id)
	}
	if m.Resolution != nil {
		p.Set("xres", m.Resolution.X)
		p.Set("yres", m.Resolution.Y)
	}
	if err := b.at(&p, v.Address, v.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

// videoDriver is QEMU's device of a model, and whether it is one of the virtio family. The primary device speaks VGA
// too, for firmware and early boot.
func (b *builder) videoDriver(v *libvirtxml.DomainVideo, primary bool) (string, bool) {
	accel3D := v.Model.Accel != nil && v.Model.Accel.Accel3D == "yes"
	vhostUser := v.Driver != nil && v.Driver.Name == "vhostuser"
	switch v.Model.Type {
	case "vga":
		if primary {
			return "VGA", false
		}
		return "secondary-vga", false
	case "cirrus":
		return "cirrus-vga", false
	case "vmvga":
		return "vmware-svga", false
	case "qxl":
		if primary {
			return "qxl-vga", false
		}
		return "qxl", false
	case "bochs":
		return "bochs-display", false
	case "ramfb":
		return "ramfb", false
	case "virtio":
		vga := primary && b.caps.HasDevice("virtio-vga")
		switch {
		case vhostUser && vga:
			return "vhost-user-vga", true
		case vhostUser:
			return "vhost-user-gpu-pci", true
		case accel3D && vga && b.caps.HasDevice("virtio-vga-gl"):
			return "virtio-vga-gl", true
		case accel3D && b.caps.HasDevice("virtio-gpu-gl-pci"):
			return "virtio-gpu-gl-pci", true
		case vga:
			return "virtio-vga", true
		case v.Address != nil && v.Address.CCW != nil:
			return "virtio-gpu-ccw", true
		case v.Address != nil && v.Address.VirtioMMIO != nil:
			return "virtio-gpu-device", true
		}
		return "virtio-gpu-pci", true
	}
	return "", false
}
