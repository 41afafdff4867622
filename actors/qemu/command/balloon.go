package command

// balloon is the device by which a guest gives memory back; there is at most one.
func (b *builder) balloon() error {
	m := b.dev.MemBalloon
	if m == nil || m.Model == "none" {
		return nil
	}
	switch m.Model {
	case "virtio", "virtio-transitional", "virtio-non-transitional":
	default:
		return unsupported("Memory balloon device type '%s' is not supported by this version of qemu", m.Model)
	}
	o := virtioOptions{}
	if d := m.Driver; d != nil {
		o = virtioOptions{d.IOMMU, d.ATS, d.Packed, d.PagePerVQ}
	}
	p, err := b.virtio("virtio-balloon", m.Model, m.Address, o)
	if err != nil {
		return err
	}
	p.Set("id", aliasOf(m.Alias))
	p.flag("deflate-on-oom", m.AutoDeflate)
	p.flag("free-page-reporting", m.FreePageReporting)
	if err := b.at(&p, m.Address, m.ACPI); err != nil {
		return err
	}
	return b.device(p)
}
