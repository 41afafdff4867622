package command

import (
	"libvirt.org/go/libvirtxml"
)

// Nodes of the two flash chips a UEFI firmware lives in.
const (
	flashCodeNode = "libvirt-pflash0-format"
	flashVarsNode = "libvirt-pflash1-format"
)

func (b *builder) loaderOf() *libvirtxml.DomainLoader {
	if b.def.OS == nil || b.def.OS.Loader == nil || b.def.OS.Loader.Path == "" {
		return nil
	}
	return b.def.OS.Loader
}

// flashCode is the image of the firmware's code; "" when the firmware is not in flash.
func (b *builder) flashCode() string {
	if l := b.loaderOf(); l != nil && l.Type == "pflash" {
		return l.Path
	}
	return ""
}

// flashVars is where the firmware keeps its variables; nil for a firmware without any.
func (b *builder) flashVars() *libvirtxml.DomainDiskSource {
	if b.flashCode() == "" || b.def.OS.NVRam == nil {
		return nil
	}
	n := b.def.OS.NVRam
	switch {
	case n.Source != nil:
		return n.Source
	case n.NVRam != "":
		return &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: n.NVRam}}
	}
	return nil
}

// firmwareNodes adds the images of the flash chips, which the machine refers to.
func (b *builder) firmwareNodes() error {
	if b.def.OS != nil && b.def.OS.Firmware != "" && b.loaderOf() == nil {
		return internal("firmware was not selected for domain '%s'", b.def.Name)
	}
	code := b.flashCode()
	if code == "" {
		return nil
	}
	source := &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: code}}
	if err := b.flash("libvirt-pflash0", source, b.def.OS.Loader.Readonly == "yes"); err != nil {
		return err
	}
	if vars := b.flashVars(); vars != nil {
		return b.flash("libvirt-pflash1", vars, false)
	}
	return nil
}

func (b *builder) flash(node string, source *libvirtxml.DomainDiskSource, readOnly bool) error {
	p, err := b.storage(&image{disk: &libvirtxml.DomainDisk{}, source: source})
	if err != nil {
		return err
	}
	p.Set("node-name", node+"-storage")
	p.Set("auto-read-only", true)
	p.Set("discard", "unmap")
	b.blockdev(p)
	b.blockdev(Props{{"node-name", node + "-format"}, {"read-only", readOnly}, {"driver", "raw"}, {"file", node + "-storage"}})
	return nil
}

// loader is a BIOS image, or the protection of the flash chips from a guest's operating system.
func (b *builder) loader() error {
	l := b.loaderOf()
	if l == nil {
		return nil
	}
	switch l.Type {
	case "pflash":
		if l.Secure == "yes" {
			b.arg("-global", "driver=cfi.pflash01,property=secure,value=on")
		}
	case "", "rom":
		b.arg("-bios", l.Path)
	default:
		return unsupported("loader type '%s' is not supported", l.Type)
	}
	return nil
}
