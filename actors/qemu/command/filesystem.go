package command

import (
	"path"

	"libvirt.org/go/libvirtxml"
)

func (b *builder) filesystems() error {
	return each(b.dev.Filesystems, func(f *libvirtxml.DomainFilesystem) error { return b.filesystem(f) })
}

// filesystem shows a folder of the host to the guest.
func (b *builder) filesystem(f *libvirtxml.DomainFilesystem) error {
	if f.Source == nil || f.Source.Mount == nil || f.Target == nil {
		return unsupported("only supports mount filesystem type")
	}
	d := f.Driver
	if d == nil {
		d = &libvirtxml.DomainFilesystemDriver{}
	}
	alias := aliasOf(f.Alias)
	o := virtioOptions{d.IOMMU, d.ATS, d.Packed, d.PagePerVQ}
	if d.Type == "virtiofs" {
		return b.virtiofs(f, d, o)
	}
	if err := b.fsdev(f, d); err != nil {
		return err
	}
	p, err := b.virtio("virtio-9p", f.Model, f.Address, o)
	if err != nil {
		return err
	}
	p.Set("id", alias)
	p.Set("fsdev", "fsdev-"+alias)
	p.Set("mount_tag", f.Target.Dir)
	if err := b.at(&p, f.Address, f.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

// fsdev is QEMU's own 9p server. What it does with owners and modes depends on whether QEMU runs as root.
func (b *builder) fsdev(f *libvirtxml.DomainFilesystem, d *libvirtxml.DomainFilesystemDriver) error {
	if d.Type != "" && d.Type != "path" {
		return unsupported("Filesystem driver type '%s' not supported", d.Type)
	}
	k := keyval{"local"}
	switch f.AccessMode {
	case "mapped":
		k.set("security_model", "mapped")
	case "squash":
		k.set("security_model", "none")
	default:
		k.set("security_model", "passthrough")
	}
	if f.MultiDevs != "" && f.MultiDevs != "default" {
		k.set("multidevs", f.MultiDevs)
	}
	k.text("fmode", f.FMode)
	k.text("dmode", f.DMode)
	if d.WRPolicy == "immediate" {
		k.set("writeout", "immediate")
	}
	k.set("id", "fsdev-"+aliasOf(f.Alias))
	k.set("path", f.Source.Mount.Dir)
	if f.ReadOnly != nil {
		k = append(k, "readonly")
	}
	b.arg("-fsdev", k.String())
	return nil
}

// virtiofs is served by a daemon of its own over a socket.
func (b *builder) virtiofs(f *libvirtxml.DomainFilesystem, d *libvirtxml.DomainFilesystemDriver, o virtioOptions) error {
	alias := aliasOf(f.Alias)
	socket := f.Source.Mount.Socket
	if socket == "" {
		socket = b.rt.FSSockets[alias]
	}
	if socket == "" {
		socket = path.Join(b.rt.LibDir, alias+"-fs.sock")
	}
	id := "chr-vu-" + alias
	if err := b.vhostUserChardev(id, &libvirtxml.DomainChardevSourceUNIX{Path: socket}, f.Alias); err != nil {
		return err
	}
	p, err := b.virtio("vhost-user-fs", f.Model, f.Address, o)
	if err != nil {
		return err
	}
	p.Set("id", alias)
	p.Set("chardev", id)
	p.count("queue-size", d.Queue)
	p.Set("tag", f.Target.Dir)
	bootIndex(&p, f.Boot, 0)
	if err := b.at(&p, f.Address, f.ACPI); err != nil {
		return err
	}
	return b.device(p)
}
