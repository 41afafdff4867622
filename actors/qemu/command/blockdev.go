package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// image is one link of a disk's chain.
type image struct {
	disk     *libvirtxml.DomainDisk
	source   *libvirtxml.DomainDiskSource
	format   string
	cache    *libvirtxml.DomainDiskMetadataCache
	node     uint
	top      bool
	readOnly bool
	backing  string // node of the next link
	last     bool   // known to have no backing image
}

// chain adds the nodes of a disk's images and returns the node the device sits on.
func (b *builder) chain(d *libvirtxml.DomainDisk) (string, error) {
	links := b.links(d)
	for i := len(links) - 1; i >= 0; i-- {
		if i+1 < len(links) {
			links[i].backing = FormatNode(links[i+1].node)
		}
		if err := b.image(&links[i]); err != nil {
			return "", err
		}
	}
	node := FormatNode(links[0].node)
	if isOn(driverOf(d).CopyOnRead) {
		cor := copyOnReadNode(targetOf(d).Dev)
		b.blockdev(Props{{"driver", "copy-on-read"}, {"node-name", cor}, {"file", node}, {"discard", "unmap"}})
		node = cor
	}
	return node, nil
}

func (b *builder) links(d *libvirtxml.DomainDisk) []image {
	drv := driverOf(d)
	top := image{disk: d, source: d.Source, format: drv.Type, cache: drv.MetadataCache, node: b.nodes[d], top: true,
		readOnly: d.ReadOnly != nil || d.Device == "cdrom"}
	links := []image{top}
	store := d.BackingStore
	for ; store != nil && !sourceEmpty(store.Source); store = store.BackingStore {
		link := image{disk: d, source: store.Source, node: b.nodes[store], readOnly: true}
		if store.Format != nil {
			link.format, link.cache = store.Format.Type, store.Format.MetadataCache
		}
		links = append(links, link)
	}
	// An empty <backingStore/> says that the chain ends here; without one QEMU would open what the image names.
	links[len(links)-1].last = store != nil
	return links
}

// image adds the nodes of one link: where the bytes are, and what they mean. Both are put together first, so that the
// secrets they need come before them.
func (b *builder) image(m *image) error {
	p, err := b.storage(m)
	if err != nil {
		return err
	}
	p.Set("node-name", StorageNode(m.node))
	cacheMode(&p, driverOf(m.disk).Cache)
	p.Set("auto-read-only", true)
	p.Set("discard", "unmap")

	file, slice := StorageNode(m.node), Props(nil)
	if s := storageSlice(m.source); s != nil && !isRaw(m.format) {
		file = fmt.Sprintf("libvirt-%d-slice-sto", m.node)
		slice = Props{{"driver", "raw"}, {"node-name", file}, {"offset", s.Offset}, {"size", s.Size},
			{"file", StorageNode(m.node)}, {"auto-read-only", true}, {"discard", "unmap"}}
	}
	f, err := b.formatNode(m, file)
	if err != nil {
		return err
	}
	b.blockdev(p)
	if slice != nil {
		b.blockdev(slice)
	}
	b.blockdev(f)
	return nil
}

func storageSlice(s *libvirtxml.DomainDiskSource) *libvirtxml.DomainDiskSlice {
	if s.Slices == nil {
		return nil
	}
	for i := range s.Slices.Slices {
		if s.Slices.Slices[i].Type == "storage" {
			return &s.Slices.Slices[i]
		}
	}
	return nil
}

func isRaw(format string) bool {
	switch format {
	case "", "none", "raw", "iso", "dir", "fat":
		return true
	}
	return false
}

// hasBacking says whether images of a format name other images they build on.
func hasBacking(format string) bool {
	switch format {
	case "qcow2", "qed", "qcow", "vmdk":
		return true
	}
	return false
}

func (b *builder) formatNode(m *image, file string) (Props, error) {
	drv := driverOf(m.disk)
	p := Props{{"node-name", FormatNode(m.node)}, {"read-only", m.readOnly}}
	p.text("discard", drv.Discard)
	if m.top {
		p.text("detect-zeroes", detectZeroes(drv))
	}
	cacheMode(&p, drv.Cache)
	enc := encryptionOf(m)
	switch {
	case isRaw(m.format) && enc != nil && enc.Format == "luks":
		p.Set("driver", "luks")
		p.Set("key-secret", b.secret(EncryptionSecret(m.node)))
	case isRaw(m.format):
		p.Set("driver", "raw")
		if s := storageSlice(m.source); s != nil {
			p.Set("offset", s.Offset)
			p.Set("size", s.Size)
		}
	default:
		driver, err := formatDriver(m.format)
		if err != nil {
			return nil, err
		}
		p.Set("driver", driver)
		if enc != nil && m.format == "qcow2" {
			kind := enc.Format
			if kind == "qcow" {
				kind = "aes"
			}
			p.Set("encrypt", Props{{"format", kind}, {"key-secret", b.secret(EncryptionSecret(m.node))}})
		}
		if m.cache != nil && m.cache.MaxSize != nil {
			unit, ok := bytesIn(m.cache.MaxSize.Unit)
			if !ok || m.cache.MaxSize.Unit == "" {
				unit = 1
			}
			p.Set("cache-size", uint64(m.cache.MaxSize.Value)*unit)
		}
	}
	p.Set("file", file)
	switch {
	case m.backing != "":
		p.Set("backing", m.backing)
	case m.last && hasBacking(m.format):
		p.Set("backing", nil)
	}
	return p, nil
}

func encryptionOf(m *image) *libvirtxml.DomainDiskEncryption {
	if m.source.Encryption != nil {
		return m.source.Encryption
	}
	if m.top {
		return m.disk.Encryption
	}
	return nil
}

// formatDriver is QEMU's driver of an image format.
func formatDriver(format string) (string, error) {
	switch format {
	case "bochs", "cloop", "dmg", "vdi", "vhdx", "vpc", "qcow", "qcow2", "qed", "vmdk", "parallels":
		return format, nil
	case "ploop":
		return "parallels", nil
	}
	return "", unsupported("unsupported storage format '%s'", format)
}

// cacheMode splits a disk's cache mode: QEMU's image nodes know two of its three parts, the third is write-cache of the
// device.
func cacheMode(p *Props, mode string) {
	direct, noFlush := false, false
	switch mode {
	case "", "default":
		return
	case "none", "directsync":
		direct = true
	case "unsafe":
		noFlush = true
	}
	p.Set("cache", Props{{"direct", direct}, {"no-flush", noFlush}})
}

// detectZeroes: turning zeroes into holes needs holes to be allowed.
func detectZeroes(drv *libvirtxml.DomainDiskDriver) string {
	if drv.DetectZeros == "unmap" && drv.Discard != "unmap" {
		return "on"
	}
	return drv.DetectZeros
}
