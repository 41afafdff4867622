package qemu

import "libvirt.org/go/libvirtxml"

// diskPath is the source of a disk as clients see it: a file, a device, a folder, or nothing.
func diskPath(d *libvirtxml.DomainDisk) string {
	if d.Source == nil {
		return ""
	}
	switch {
	case d.Source.File != nil:
		return d.Source.File.File
	case d.Source.Block != nil:
		return d.Source.Block.Dev
	case d.Source.Dir != nil:
		return d.Source.Dir.Dir
	case d.Source.Network != nil:
		return d.Source.Network.Name
	}
	return ""
}
