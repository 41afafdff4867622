package command

import (
	"libvirt.org/go/libvirtxml"
)

func (b *builder) memoryDevices() error {
	return each(b.dev.Memorydevs, func(m *libvirtxml.DomainMemorydev) error { return b.memoryDevice(m) })
}

// memoryDevice adds a piece of memory that is a device: a module, persistent memory, or memory that grows and shrinks.
func (b *builder) memoryDevice(m *libvirtxml.DomainMemorydev) error {
	if m.Target == nil || m.Target.Size == nil {
		return internal("memory device '%s' has no size", aliasOf(m.Alias))
	}
	if m.Model == "sgx-epc" {
		return unsupported("memory device model '%s' is not supported by this QEMU binary", m.Model)
	}
	alias := aliasOf(m.Alias)
	if err := b.backMemory(b.memoryDeviceRequest(m)); err != nil {
		return err
	}
	p, err := b.memoryFrontend(m)
	if err != nil {
		return err
	}
	p.Set("memdev", "mem"+alias)
	p.Set("id", alias)
	if err := b.at(&p, m.Address, m.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

func (b *builder) memoryDeviceRequest(m *libvirtxml.DomainMemorydev) memoryRequest {
	t := m.Target
	r := memoryRequest{id: "mem" + aliasOf(m.Alias), file: aliasOf(m.Alias), kib: aligned(kib(uint64(t.Size.Value), t.Size.Unit)), cell: -1,
		access: m.Access, discard: m.Discard}
	if t.Node != nil {
		r.cell = int(t.Node.Value)
	}
	if s := m.Source; s != nil {
		r.nodemask, r.path, r.pmem = s.NodeMask, s.Path, s.PMem != nil
		if s.PageSize != nil {
			r.pageKiB = kib(s.PageSize.Value, s.PageSize.Unit)
		}
		if s.AlignSize != nil {
			r.align = kib(s.AlignSize.Value, s.AlignSize.Unit)
		}
	}
	// The guest may write to an NVDIMM without asking, so that its file must not run out of space later.
	r.prealloc = m.Model == "nvdimm" && !r.pmem
	r.lazy = m.Model == "virtio-mem"
	return r
}

func (b *builder) memoryFrontend(m *libvirtxml.DomainMemorydev) (Props, error) {
	t := m.Target
	p := Props{}
	node := func() {
		if t.Node != nil {
			p.Set("node", t.Node.Value)
		}
	}
	var err error
	switch m.Model {
	case "dimm":
		p.Set("driver", "pc-dimm")
		node()
	case "nvdimm":
		p.Set("driver", "nvdimm")
		node()
		if t.Label != nil && t.Label.Size != nil {
			p.Set("label-size", kib(uint64(t.Label.Size.Value), t.Label.Size.Unit)*1024)
		}
		p.text("uuid", m.UUID)
		if t.ReadOnly != nil {
			p.Set("unarmed", true)
		}
	case "virtio-pmem":
		p, err = b.virtio("virtio-pmem", "", m.Address, virtioOptions{})
	case "virtio-mem":
		if p, err = b.virtio("virtio-mem", "", m.Address, virtioOptions{}); err != nil {
			return nil, err
		}
		node()
		if t.Block != nil {
			p.Set("block-size", kib(uint64(t.Block.Value), t.Block.Unit)*1024)
		}
		if t.Requested != nil {
			p.Set("requested-size", kib(uint64(t.Requested.Value), t.Requested.Unit)*1024)
		}
	default:
		return nil, unsupported("invalid memory device type '%s'", m.Model)
	}
	return p, err
}
