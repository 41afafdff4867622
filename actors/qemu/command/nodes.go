package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// AssignNodes numbers the images of a domain that is about to start, as the index attribute of their sources. QEMU
// knows image N by the node names libvirt-N-storage and libvirt-N-format. It returns the first number that is free:
// numbers are not used twice while the domain runs.
//
// Compat: the last disk comes first, a chain is numbered from its top, and a drive without medium takes a number too.
func AssignNodes(def *libvirtxml.Domain) uint {
	next := uint(1)
	if def.Devices == nil {
		return next
	}
	for i := len(def.Devices.Disks) - 1; i >= 0; i-- {
		next = AssignDiskNodes(&def.Devices.Disks[i], next)
	}
	return next
}

// AssignDiskNodes numbers the images of one disk from next on, and returns the first number that is free after it.
func AssignDiskNodes(d *libvirtxml.DomainDisk, next uint) uint {
	if !sourceEmpty(d.Source) {
		d.Source.Index = next
	}
	next++
	for s := d.BackingStore; s != nil && !sourceEmpty(s.Source); s = s.BackingStore {
		s.Index = next
		next++
	}
	return next
}

// numberNodes is AssignNodes for a builder, which must not change the definition: numbers in it win.
func (b *builder) numberNodes() {
	b.nextNode = 1
	for i := len(b.dev.Disks) - 1; i >= 0; i-- {
		b.numberDisk(&b.dev.Disks[i])
	}
}

func (b *builder) numberDisk(d *libvirtxml.DomainDisk) {
	number := func(key any, given uint) {
		if given == 0 {
			given = b.nextNode
		}
		b.nodes[key] = given
		b.nextNode = max(b.nextNode, given) + 1
	}
	top := uint(0)
	if d.Source != nil {
		top = d.Source.Index
	}
	number(d, top)
	for s := d.BackingStore; s != nil && !sourceEmpty(s.Source); s = s.BackingStore {
		number(s, backingIndex(s))
	}
}

func backingIndex(s *libvirtxml.DomainDiskBackingStore) uint {
	if s.Index == 0 && s.Source != nil {
		return s.Source.Index
	}
	return s.Index
}

// StorageNode, FormatNode name the two layers of image n.
func StorageNode(n uint) string { return fmt.Sprintf("libvirt-%d-storage", n) }

// FormatNode is the layer that understands the image's format; devices sit on it.
func FormatNode(n uint) string { return fmt.Sprintf("libvirt-%d-format", n) }

// copyOnReadNode sits above the format of a disk that keeps what it reads from its backing images.
func copyOnReadNode(target string) string { return "libvirt-CoR-" + target }

// sourceEmpty says whether a drive has no medium.
func sourceEmpty(s *libvirtxml.DomainDiskSource) bool {
	if s == nil {
		return true
	}
	switch {
	case s.File != nil:
		return s.File.File == "" && s.File.FDGroup == ""
	case s.Block != nil:
		return s.Block.Dev == ""
	case s.Dir != nil:
		return s.Dir.Dir == ""
	case s.Network != nil:
		return s.Network.Protocol == ""
	case s.Volume != nil:
		return s.Volume.Pool == ""
	}
	return s.NVME == nil && s.VHostUser == nil && s.VHostVDPA == nil
}
