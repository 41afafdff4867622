package qemu

import (
	"context"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// chainLayer is one image of a disk's chain.
type chainLayer struct {
	index  uint // QEMU's number
	path   string
	format string
	source *libvirtxml.DomainDiskSource
	below  *libvirtxml.DomainDiskBackingStore
}

// chain lists the images of a disk, the active one first.
func chain(disk *libvirtxml.DomainDisk) []chainLayer {
	if diskEmpty(disk) {
		return nil
	}
	top := disk.Source
	if disk.Encryption != nil && top.Encryption == nil { // wherever the image goes, its key goes with it
		keyed := *top
		keyed.Encryption, top = disk.Encryption, &keyed
	}
	out := []chainLayer{{top.Index, diskPath(disk), diskFormat(disk), top, disk.BackingStore}}
	for b := disk.BackingStore; b != nil && !diskEmpty(&libvirtxml.DomainDisk{Source: b.Source}); b = b.BackingStore {
		l := chainLayer{index: b.Index, path: sourcePath(b.Source), format: "raw", source: b.Source, below: b.BackingStore}
		if l.index == 0 {
			l.index = b.Source.Index
		}
		if b.Format != nil {
			l.format = b.Format.Type
		}
		out = append(out, l)
	}
	return out
}

func sourcePath(s *libvirtxml.DomainDiskSource) string {
	return diskPath(&libvirtxml.DomainDisk{Source: s})
}

func (l chainLayer) node() string { return command.FormatNode(l.index) }

// asBacking is the layer as what lies under another one.
func (l chainLayer) asBacking() *libvirtxml.DomainDiskBackingStore {
	source := *l.source
	source.Index = 0
	below := l.below
	if below == nil {
		below = &libvirtxml.DomainDiskBackingStore{}
	}
	return &libvirtxml.DomainDiskBackingStore{Index: l.index, Format: &libvirtxml.DomainDiskFormat{Type: l.format}, Source: &source, BackingStore: below}
}

// findLayer finds an image by its path or as "vda[2]", among the layers from first on.
func findLayer(layers []chainLayer, first int, name, target string) (int, error) {
	if prefix, number, ok := strings.Cut(name, "["); ok && prefix == target && strings.HasSuffix(number, "]") {
		n, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
		if err == nil {
			for i := first; i < len(layers); i++ {
				if layers[i].index == uint(n) {
					return i, nil
				}
			}
			return 0, liberr.New(liberr.FromStorage, liberr.InvalidArg, "could not find backing store index '%d' in chain for '%s'", n, target)
		}
	}
	for i := first; i < len(layers); i++ {
		if layers[i].path == name {
			return i, nil
		}
	}
	if first > 0 {
		return 0, liberr.New(liberr.FromStorage, liberr.InvalidArg, "could not find image '%s' beneath '%s' in chain for '%s'", name, layers[first-1].path, target)
	}
	return 0, liberr.New(liberr.FromStorage, liberr.InvalidArg, "could not find image '%s' in chain for '%s'", name, target)
}

// outcome is the disk after the job, and the images that it does not need any more.
func (j *blockJob) outcome(before *libvirtxml.DomainDisk, ok bool) (*libvirtxml.DomainDisk, []chainLayer) {
	disk := *before
	disk.Mirror = nil
	layers := chain(before)
	at := func(index uint) int {
		for i, l := range layers {
			if l.index == index {
				return i
			}
		}
		return -1
	}
	copied := chainLayer{path: sourcePath(j.mirror), source: j.mirror}
	if j.mirror != nil {
		copied.index = j.mirror.Index
	}
	switch {
	case j.kind == virt.DomainBlockJobTypeCopy && (!ok || !j.pivot):
		return &disk, []chainLayer{copied}
	case !ok:
		return &disk, nil
	}
	switch j.kind {
	case virt.DomainBlockJobTypePull:
		base := at(j.base)
		if j.base == 0 || base < 0 {
			disk.BackingStore = &libvirtxml.DomainDiskBackingStore{}
			return &disk, layers[1:]
		}
		disk.BackingStore = layers[base].asBacking()
		return &disk, layers[1:base]
	case virt.DomainBlockJobTypeCommit:
		base, top := at(j.base), at(j.top)
		if base < 0 || top < 1 {
			return &disk, nil
		}
		below := layers[base].asBacking()
		for i := top - 1; i > 0; i-- {
			above := layers[i].asBacking()
			above.BackingStore = below
			below = above
		}
		disk.BackingStore = below
		return &disk, layers[top:base]
	case virt.DomainBlockJobTypeActiveCommit:
		base := at(j.base)
		if base < 1 || !j.pivot {
			return &disk, nil
		}
		onto(&disk, layers[base].source, layers[base].index, layers[base].format, layers[base].below)
		return &disk, layers[:base]
	case virt.DomainBlockJobTypeCopy:
		dropped := layers
		if j.backing != nil && j.backing.Source != nil { // a shallow copy stands on the same images
			dropped = layers[:1]
		}
		onto(&disk, j.mirror, j.mirror.Index, j.format, j.backing)
		return &disk, dropped
	}
	return &disk, nil
}

// onto puts a disk onto another image.
func onto(disk *libvirtxml.DomainDisk, source *libvirtxml.DomainDiskSource, index uint, format string, below *libvirtxml.DomainDiskBackingStore) {
	s := *source
	disk.Encryption = nil // that of the image before
	s.Index = index
	disk.Source = &s
	driver := libvirtxml.DomainDiskDriver{Name: "qemu"}
	if disk.Driver != nil {
		driver = *disk.Driver
	}
	driver.Type = format
	disk.Driver = &driver
	if below == nil {
		below = &libvirtxml.DomainDiskBackingStore{}
	}
	disk.BackingStore = below
}

// configSource is a source without what only a running guest has.
func configSource(s *libvirtxml.DomainDiskSource) *libvirtxml.DomainDiskSource {
	out := *s
	out.Index = 0
	return &out
}

// storedChain is a chain without what only a running guest has. Its end is left open: it is found on the image at the next
// start.
func storedChain(b *libvirtxml.DomainDiskBackingStore) *libvirtxml.DomainDiskBackingStore {
	if b == nil || b.Source == nil {
		return nil
	}
	out := *b
	out.Index, out.Source, out.BackingStore = 0, configSource(b.Source), storedChain(b.BackingStore)
	if domxml.Resolved(out.Source) { // volumes are looked up for the top of a chain only
		out.Source.Volume = nil
	}
	return &out
}

// sameVolume tells whether two sources are the same volume of a pool.
func sameVolume(a, b *libvirtxml.DomainDiskSource) bool {
	return a != nil && b != nil && a.Volume != nil && b.Volume != nil && a.Volume.Pool == b.Volume.Pool && a.Volume.Volume == b.Volume.Volume
}

// imageNodes are the two layers under which QEMU knows an image in a file or on a block device.
func imageNodes(disk *libvirtxml.DomainDisk, l chainLayer, backing any) (storage, format map[string]any) {
	driver := "file"
	if l.source.Block != nil {
		driver = "host_device"
	}
	storage = map[string]any{"driver": driver, "filename": l.path, "node-name": command.StorageNode(l.index), "auto-read-only": true, "discard": "unmap"}
	format = map[string]any{"node-name": l.node(), "read-only": false, "driver": l.format, "file": command.StorageNode(l.index)}
	if disk.Driver != nil && disk.Driver.Cache != "" && disk.Driver.Cache != "default" {
		direct := disk.Driver.Cache == "none" || disk.Driver.Cache == "directsync"
		cache := map[string]any{"direct": direct, "no-flush": disk.Driver.Cache == "unsafe"}
		storage["cache"], format["cache"] = cache, cache
	}
	if l.format != "raw" {
		format["backing"] = backing // nil is none, whatever the image says
	}
	keyed(format, l)
	return storage, format
}

// dropNodes takes an image out of QEMU, and what was told for it alone. One that is still in use stays, which harms nobody.
func dropNodes(ctx context.Context, mon *qmp.Client, disk *libvirtxml.DomainDisk, l chainLayer) {
	_ = qmp.BlockdevDel(ctx, mon, l.node())
	_ = qmp.BlockdevDel(ctx, mon, command.StorageNode(l.index))
	one := libvirtxml.DomainDisk{Source: l.source, Target: disk.Target, Auth: disk.Auth, Encryption: disk.Encryption}
	if one.Source == nil {
		return
	}
	source := *l.source
	source.Index, one.Source = l.index, &source
	for _, s := range command.SecretsOfDisk(&one) {
		_ = qmp.ObjectDel(ctx, mon, s.ID)
	}
}

// nextNode takes the number for a new image of the running guest.
func (d *domain) nextNode() (uint, error) {
	def, err := d.live.Def()
	if err != nil {
		return 0, err
	}
	next := max(d.run.devices.nextNode, firstNode(def))
	d.run.devices.nextNode = next + 1
	return next, nil
}
