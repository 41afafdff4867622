package domxml

import (
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/xmltree"
)

// A disk on a volume of a storage pool has, while the guest runs, a second source: the file, device or server that the
// volume was found to be. In trees and status files it has an element of its own:
//
//	<disk type='volume'> <source pool='images' volume='web'/> <resolved type='file'> <source file='/var/…/web'/> </resolved>
//
// In the struct both stand side by side in Source. Clients see the volume alone.

// Resolved tells whether a source is a volume that was looked up.
func Resolved(s *libvirtxml.DomainDiskSource) bool {
	return s != nil && s.Volume != nil && (s.File != nil || s.Block != nil || s.Dir != nil || s.Network != nil)
}

// unresolved is d without what volumes were found to be: libvirtxml prints one source only.
func unresolved(d *libvirtxml.Domain) *libvirtxml.Domain {
	if d.Devices == nil {
		return d
	}
	var disks []libvirtxml.DomainDisk
	for i := range d.Devices.Disks {
		disk := &d.Devices.Disks[i]
		source, below := volumeAlone(disk.Source), chainAlone(disk.BackingStore)
		if source == disk.Source && below == disk.BackingStore {
			continue
		}
		if disks == nil {
			disks = append(disks, d.Devices.Disks...)
		}
		disks[i].Source, disks[i].BackingStore = source, below
	}
	if disks == nil {
		return d
	}
	c, devices := *d, *d.Devices
	devices.Disks, c.Devices = disks, &devices
	return &c
}

func volumeAlone(s *libvirtxml.DomainDiskSource) *libvirtxml.DomainDiskSource {
	if !Resolved(s) {
		return s
	}
	plain := *s
	plain.File, plain.Block, plain.Dir, plain.Network = nil, nil, nil, nil
	return &plain
}

func chainAlone(b *libvirtxml.DomainDiskBackingStore) *libvirtxml.DomainDiskBackingStore {
	if b == nil {
		return nil
	}
	source, below := volumeAlone(b.Source), chainAlone(b.BackingStore)
	if source == b.Source && below == b.BackingStore {
		return b
	}
	c := *b
	c.Source, c.BackingStore = source, below
	return &c
}

// addResolved puts what volumes were found to be into the tree made of d.
func addResolved(root *node, d *libvirtxml.Domain) error {
	if d.Devices == nil {
		return nil
	}
	nodes := root.Kid("devices").All("disk")
	for i := range d.Devices.Disks {
		if i >= len(nodes) {
			break
		}
		image, disk := nodes[i], &d.Devices.Disks[i]
		if err := resolvedOf(image, disk.Source); err != nil {
			return err
		}
		for b := disk.BackingStore; b != nil; b = b.BackingStore {
			if image = image.Kid("backingStore"); image == nil {
				break
			}
			if err := resolvedOf(image, b.Source); err != nil {
				return err
			}
		}
	}
	return nil
}

func resolvedOf(image *node, s *libvirtxml.DomainDiskSource) error {
	if !Resolved(s) {
		return nil
	}
	made, err := encode(&libvirtxml.DomainDisk{Source: &libvirtxml.DomainDiskSource{File: s.File, Block: s.Block, Dir: s.Dir, Network: s.Network}})
	if err != nil {
		return err
	}
	r := xmltree.Elem("resolved", "type", made.Get("type"))
	if source := made.Kid("source"); source != nil {
		r.Add(source)
	}
	image.Add(r)
	return nil
}

// takeResolved is addResolved's inverse.
func takeResolved(root *node, d *libvirtxml.Domain) error {
	if d.Devices == nil {
		return nil
	}
	for i, n := range root.Kid("devices").All("disk") {
		if i >= len(d.Devices.Disks) {
			break
		}
		disk := &d.Devices.Disks[i]
		if err := takeResolvedOf(n, disk.Source); err != nil {
			return err
		}
		for b := disk.BackingStore; b != nil; b = b.BackingStore {
			if n = n.Kid("backingStore"); n == nil {
				break
			}
			if err := takeResolvedOf(n, b.Source); err != nil {
				return err
			}
		}
	}
	return nil
}

func takeResolvedOf(image *node, s *libvirtxml.DomainDiskSource) error {
	r := image.Kid("resolved")
	if r == nil || s == nil || s.Volume == nil {
		return nil
	}
	alone := xmltree.Elem("disk", "type", r.Get("type"))
	if source := r.Kid("source"); source != nil {
		alone.Add(source)
	}
	var made libvirtxml.DomainDisk
	if err := decode(alone, &made); err != nil {
		return err
	}
	if f := made.Source; f != nil {
		s.File, s.Block, s.Dir, s.Network = f.File, f.Block, f.Dir, f.Network
	}
	return nil
}

// readResolved drops the element from documents that are no status files.
func (def *definition) readResolved(image *node) {
	if def.flags&ParseLive == 0 || image.Get("type") != "volume" {
		image.Drop("resolved")
	}
}

// hideResolved is the form that clients see.
func hideResolved(disk *node) {
	for image := disk; image != nil; image = image.Kid("backingStore") {
		image.Drop("resolved")
	}
}
