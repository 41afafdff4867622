package qemu

import (
	"context"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/command"
)

// layer is one image of a disk's chain as a record shows it.
type layer struct {
	disk   *libvirtxml.DomainDisk
	source *libvirtxml.DomainDiskSource
	format string
	top    bool
}

// layers lists the images of all disks: the top ones, or with backing the whole chains.
func (c *collector) layers() []layer {
	var out []layer
	for i := range c.def.Devices.Disks {
		disk := &c.def.Devices.Disks[i]
		out = append(out, layer{disk, disk.Source, diskFormat(disk), true})
		if !c.backing {
			continue
		}
		for b := disk.BackingStore; b != nil && b.Source != nil; b = b.BackingStore {
			format := "raw"
			if b.Format != nil && b.Format.Type != "" {
				format = b.Format.Type
			}
			s := *b.Source
			if s.Index == 0 {
				s.Index = b.Index
			}
			out = append(out, layer{disk, &s, format, false})
		}
	}
	return out
}

func (c *collector) blocks(ctx context.Context) {
	var f *blockFigures
	if c.mon != nil {
		f, _ = guestBlocks(ctx, c.mon, true)
	}
	layers := c.layers()
	c.add(paramUInt("block.count", uint32(len(layers))))
	for i, l := range layers {
		p := "block." + itoa(i) + "."
		c.add(paramString(p+"name", diskTarget(l.disk)))
		empty := l.top && diskEmpty(l.disk)
		path := localPath(l.source)
		if path != "" {
			c.add(paramString(p+"path", path))
		}
		if c.active && !empty && l.source.Index != 0 {
			c.add(paramUInt(p+"backingIndex", uint32(l.source.Index)))
		}
		if f != nil && l.top {
			c.front(p, f, diskAlias(l.disk))
		}
		if empty {
			continue
		}
		if f == nil || !c.back(p, f, l.source.Index) {
			if s, err := imageSizes(path, l.format); err == nil && path != "" {
				c.add(paramULLong(p+"allocation", s.allocation), paramULLong(p+"capacity", s.capacity), paramULLong(p+"physical", s.physical))
			}
		}
	}
}

// front adds what the guest's device did.
func (c *collector) front(p string, f *blockFigures, alias string) {
	s, ok := f.devices[alias]
	if !ok {
		return
	}
	c.add(paramULLong(p+"rd.reqs", s.RdOps), paramULLong(p+"rd.bytes", s.RdBytes), paramULLong(p+"rd.times", s.RdTotalNS),
		paramULLong(p+"wr.reqs", s.WrOps), paramULLong(p+"wr.bytes", s.WrBytes), paramULLong(p+"wr.times", s.WrTotalNS),
		paramULLong(p+"fl.reqs", s.FlushOps), paramULLong(p+"fl.times", s.FlushTotalNS))
}

// back adds the sizes of an image that QEMU has open; false when it has not.
func (c *collector) back(p string, f *blockFigures, index uint) bool {
	node, ok := f.images[command.FormatNode(index)]
	if !ok || index == 0 {
		return false
	}
	c.add(paramULLong(p+"allocation", f.nodes[node.NodeName].WrHighest))
	for _, v := range []struct {
		name  string
		value uint64
	}{{"capacity", node.Image.VirtualSize}, {"physical", node.Image.ActualSize}} {
		if v.value != 0 {
			c.add(paramULLong(p+v.name, v.value))
		}
	}
	if t := f.images[command.StorageNode(index)].WriteThreshold; t != 0 {
		c.add(paramULLong(p+"threshold", t))
	}
	return true
}
