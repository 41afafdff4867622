package command

import "libvirt.org/go/libvirtxml"

func (b *builder) rngs() error {
	return each(b.dev.RNGs, func(r *libvirtxml.DomainRNG) error { return b.rng(r) })
}

func (b *builder) rng(r *libvirtxml.DomainRNG) error {
	alias := aliasOf(r.Alias)
	object := "obj" + alias
	p := Props{{"qom-type", ""}, {"id", object}}
	switch be := r.Backend; {
	case be == nil:
		return unsupported("rng device '%s' has no backend", alias)
	case be.Random != nil:
		p.Set("qom-type", "rng-random")
		p.Set("filename", be.Random.Device)
	case be.EGD != nil:
		if err := b.chardev(chardev{id: "char" + alias, alias: alias, source: be.EGD.Source, protocol: be.EGD.Protocol}); err != nil {
			return err
		}
		p.Set("qom-type", "rng-egd")
		p.Set("chardev", "char"+alias)
	default:
		p.Set("qom-type", "rng-builtin")
	}
	if err := b.object(p); err != nil {
		return err
	}
	o := virtioOptions{}
	if d := r.Driver; d != nil {
		o = virtioOptions{d.IOMMU, d.ATS, d.Packed, d.PagePerVQ}
	}
	d, err := b.virtio("virtio-rng", r.Model, r.Address, o)
	if err != nil {
		return err
	}
	d.Set("rng", object)
	d.Set("id", alias)
	if r.Rate != nil && r.Rate.Bytes != 0 {
		period := r.Rate.Period
		if period == 0 {
			period = 1000 // ms
		}
		d.Set("max-bytes", r.Rate.Bytes)
		d.Set("period", period)
	}
	if err := b.at(&d, r.Address, r.ACPI); err != nil {
		return err
	}
	return b.device(d)
}
