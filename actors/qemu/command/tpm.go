package command

import (
	"path"

	"libvirt.org/go/libvirtxml"
)

func (b *builder) tpms() error {
	return each(b.dev.TPMs, func(t *libvirtxml.DomainTPM) error { return b.tpm(t) })
}

// tpmChardev is the connection to an emulator. There is one at most.
const tpmChardev = "chrtpm"

func (b *builder) tpm(t *libvirtxml.DomainTPM) error {
	alias := aliasOf(t.Alias)
	id := "tpm-" + alias
	switch be := t.Backend; {
	case be == nil:
		return unsupported("TPM device '%s' has no backend", alias)
	case be.Passthrough != nil:
		b.tpmPassthrough(id, alias, be.Passthrough)
	case be.Emulator != nil:
		socket := b.rt.TPMs[alias].Socket
		if socket == "" {
			return internal("no emulator was started for TPM '%s'", alias)
		}
		if err := b.tpmEmulator(id, &libvirtxml.DomainChardevSource{UNIX: &libvirtxml.DomainChardevSourceUNIX{Path: socket}}); err != nil {
			return err
		}
	case be.External != nil && be.External.Source != nil:
		source := libvirtxml.DomainChardevSource(*be.External.Source)
		if err := b.tpmEmulator(id, &source); err != nil {
			return err
		}
	default:
		return unsupported("unsupported backend of TPM device '%s'", alias)
	}
	driver := t.Model
	if driver == "tpm-tis" && b.arch() == "aarch64" {
		driver = "tpm-tis-device"
	}
	p := Props{{"driver", driver}, {"tpmdev", id}, {"id", alias}}
	if err := b.at(&p, t.Address, t.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

func (b *builder) tpmEmulator(id string, source *libvirtxml.DomainChardevSource) error {
	if err := b.chardev(chardev{id: tpmChardev, source: source}); err != nil {
		return err
	}
	b.arg("-tpmdev", "emulator,id="+id+",chardev="+tpmChardev)
	return nil
}

// tpmPassthrough gives the host's TPM to the guest. QEMU needs a second file to cancel a command that hangs.
func (b *builder) tpmPassthrough(id, alias string, pt *libvirtxml.DomainTPMBackendPassthrough) {
	device := "/dev/tpm0"
	if pt.Device != nil && pt.Device.Path != "" {
		device = pt.Device.Path
	}
	rt := b.rt.TPMs[alias]
	cancel := rt.CancelPath
	if cancel == "" {
		cancel = "/sys/class/tpm/" + path.Base(device) + "/device/cancel"
	}
	if rt.Device != nil && rt.Cancel != nil {
		device = b.fdSet(rt.Device, alias+"-device")
		cancel = b.fdSet(rt.Cancel, alias+"-cancel")
	}
	k := keyval{"passthrough"}
	k.set("id", id)
	k.set("path", device)
	k.set("cancel-path", cancel)
	b.arg("-tpmdev", k.String())
}
