package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// What follows the sandbox on the command line.

// panics tell the host that the guest's kernel died.
func (b *builder) panics() error {
	return each(b.dev.Panics, func(d *libvirtxml.DomainPanic) error {
		switch d.Model {
		case "hyperv", "s390", "pseries":
			return nil // a feature of the CPU or the machine
		case "", "isa":
		default:
			return unsupported("the QEMU binary does not support the panic device '%s'", d.Model)
		}
		p := Props{{"driver", "pvpanic"}}
		if d.Address != nil && d.Address.ISA != nil {
			p.optional("ioport", d.Address.ISA.IOBase)
		}
		return b.device(p)
	})
}

func (b *builder) shmems() error {
	return each(b.dev.Shmems, func(s *libvirtxml.DomainShmem) error { return b.shmem(s) })
}

// shmem is memory that guests on this host share, with a server when they signal each other through it.
func (b *builder) shmem(s *libvirtxml.DomainShmem) error {
	alias := aliasOf(s.Alias)
	model := ""
	if s.Model != nil {
		model = s.Model.Type
	}
	switch model {
	case "ivshmem-plain":
		backend := "shmmem-" + alias
		size := uint64(4 << 20)
		if s.Size != nil {
			unit, ok := bytesIn(s.Size.Unit)
			if !ok || s.Size.Unit == "" {
				unit = 1
			}
			size = uint64(s.Size.Value) * unit
		}
		err := b.object(Props{{"qom-type", "memory-backend-file"}, {"id", backend}, {"mem-path", "/dev/shm/" + s.Name},
			{"size", size}, {"share", true}})
		if err != nil {
			return err
		}
		p := Props{{"driver", model}, {"id", alias}, {"memdev", backend}}
		// The master's memory survives a migration.
		switch s.Role {
		case "master":
			p.Set("master", "on")
		case "peer":
			p.Set("master", "off")
		}
		if err := b.at(&p, s.Address, s.ACPI); err != nil {
			return err
		}
		return b.device(p)
	case "ivshmem-doorbell":
		return b.shmemDoorbell(s, alias)
	}
	return unsupported("shmem model '%s' is not supported by this QEMU binary", model)
}

func (b *builder) shmemDoorbell(s *libvirtxml.DomainShmem, alias string) error {
	p := Props{{"driver", "ivshmem-doorbell"}, {"id", alias}, {"chardev", "char" + alias}}
	if m := s.MSI; m != nil {
		p.count("vectors", m.Vectors)
		p.flag("ioeventfd", m.IOEventFD)
	}
	if err := b.at(&p, s.Address, s.ACPI); err != nil {
		return err
	}
	server := ""
	if s.Server != nil {
		server = s.Server.Path
	}
	if server == "" {
		server = fmt.Sprintf("/var/lib/libvirt/shmem-%s-sock", s.Name)
	}
	socket := chardev{id: "char" + alias, source: &libvirtxml.DomainChardevSource{
		UNIX: &libvirtxml.DomainChardevSourceUNIX{Path: server}}}
	if b.plug {
		// Over the monitor the socket has to be there first.
		if err := b.chardev(socket); err != nil {
			return err
		}
		return b.device(p)
	}
	if err := b.device(p); err != nil {
		return err
	}
	return b.chardev(socket)
}

// vsock connects guest and host by sockets without a network.
func (b *builder) vsock() error {
	v := b.dev.VSock
	if v == nil {
		return nil
	}
	p, err := b.virtio("vhost-vsock", v.Model, v.Address, vsockOptions(v))
	if err != nil {
		return err
	}
	p.Set("id", aliasOf(v.Alias))
	if v.CID == nil || v.CID.Address == "" {
		return internal("vsock device '%s' has no guest CID", aliasOf(v.Alias))
	}
	p.Set("guest-cid", number(v.CID.Address))
	fd := "-1"
	if b.rt.VSock != nil {
		fd = b.fd(b.rt.VSock, aliasOf(v.Alias)+"-vhost")
	}
	p.Set("vhostfd", fd)
	if err := b.at(&p, v.Address, v.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

func vsockOptions(v *libvirtxml.DomainVSock) virtioOptions {
	if d := v.Driver; d != nil {
		return virtioOptions{d.IOMMU, d.ATS, d.Packed, d.PagePerVQ}
	}
	return virtioOptions{}
}

// coreInfo lets the guest say where its kernel is, for dumps.
func (b *builder) coreInfo() error {
	if !isOn(stateOf(b.features().VMCoreInfo)) {
		return nil
	}
	return b.device(Props{{"driver", "vmcoreinfo"}})
}
