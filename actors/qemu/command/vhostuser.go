package command

import (
	"libvirt.org/go/libvirtxml"
)

// vhostUserDisk says whether another process serves a disk.
func vhostUserDisk(d *libvirtxml.DomainDisk) bool {
	return d.Source != nil && d.Source.VHostUser != nil
}

func diskChardev(d *libvirtxml.DomainDisk) string { return "chr-vu-" + aliasOf(d.Alias) }

// vhostUserChardev is the socket to a process that serves a device of this guest.
func (b *builder) vhostUserChardev(id string, s *libvirtxml.DomainChardevSourceUNIX, alias *libvirtxml.DomainAlias) error {
	if s == nil {
		return unsupported("vhost-user device '%s' needs a UNIX socket", aliasOf(alias))
	}
	return b.chardev(chardev{id: id, alias: aliasOf(alias), source: &libvirtxml.DomainChardevSource{UNIX: s}})
}
