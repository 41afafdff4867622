package command

import (
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"
)

func stateOf(s *libvirtxml.DomainFeatureState) string {
	if s == nil {
		return ""
	}
	return s.State
}

func (b *builder) features() *libvirtxml.DomainFeatureList {
	if b.def.Features == nil {
		return &libvirtxml.DomainFeatureList{}
	}
	return b.def.Features
}

func (b *builder) machineName() string {
	if b.def.OS == nil || b.def.OS.Type == nil {
		return ""
	}
	return b.def.OS.Type.Machine
}

func (b *builder) arch() string {
	if b.def.OS == nil || b.def.OS.Type == nil || b.def.OS.Type.Arch == "" {
		return b.caps.Arch
	}
	return b.def.OS.Type.Arch
}

func (b *builder) isQ35() bool {
	m := b.machineName()
	return m == "q35" || strings.HasPrefix(m, "pc-q35")
}

func (b *builder) isI440FX() bool {
	m := b.machineName()
	return m == "pc" || strings.HasPrefix(m, "pc-0") || strings.HasPrefix(m, "pc-1") || strings.HasPrefix(m, "pc-i440")
}

func (b *builder) isX86() bool {
	a := b.arch()
	return a == "x86_64" || a == "i686"
}

func (b *builder) machine() error {
	if _, ok := b.caps.Machine(b.machineName()); !ok {
		return unsupported("Emulator '%s' does not support machine type '%s'", b.caps.Binary, b.machineName())
	}
	f := b.features()
	k := keyval{}
	k.word(b.machineName())
	// Machines make USB controllers of their own unless told otherwise; here each is a device with an address.
	k.set("usb", "off")
	k.flag("vmport", stateOf(f.VMPort))
	if f.SMM != nil {
		state := f.SMM.State
		if state == "" {
			state = "on"
		}
		k.flag("smm", state)
	}
	if f.IOAPIC != nil {
		switch f.IOAPIC.Driver {
		case "qemu":
			k.set("kernel_irqchip", "split")
		case "kvm":
			k.set("kernel_irqchip", "on")
		}
	}
	dump := b.rt.DumpGuestCore
	if b.def.Memory != nil && b.def.Memory.DumpCore != "" {
		dump = isOn(b.def.Memory.DumpCore)
	}
	k.set("dump-guest-core", onOff(dump))
	if b.backing().MemoryNosharepages != nil {
		k.set("mem-merge", "off")
	}
	if f.GIC != nil && f.GIC.Version != "" {
		k.set("gic-version", f.GIC.Version)
	}
	for _, m := range b.dev.Memorydevs {
		if m.Model == "nvdimm" {
			k.set("nvdimm", "on")
			break
		}
	}
	if b.def.LaunchSecurity != nil && b.def.LaunchSecurity.SEV != nil {
		k.set("confidential-guest-support", sevObject)
	}
	if b.hasHMAT() {
		k.set("hmat", "on")
	}
	k.text("memory-backend", b.defaultRAM())
	if b.flashCode() != "" {
		k.set("pflash0", flashCodeNode)
	}
	if b.flashVars() != nil {
		k.set("pflash1", flashVarsNode)
	}
	// Compat: a BIOS that talks to the serial console is asked for by switching the boot graphics off.
	if b.def.OS != nil && b.def.OS.BIOS != nil && b.def.OS.BIOS.UseSerial == "yes" {
		k.set("graphics", "off")
	}
	k.text("pcspk-audiodev", b.pcSpeaker())
	b.arg("-machine", k.String())
	return nil
}

func (b *builder) accelerator() error {
	k := keyval{}
	switch b.def.Type {
	case "kvm":
		k.word("kvm")
		if f := b.features().KVM; f != nil && f.DirtyRing != nil && isOn(f.DirtyRing.State) {
			k.setf("dirty-ring-size", "%d", f.DirtyRing.Size)
		}
	case "qemu":
		k.word("tcg")
		if f := b.features().TCG; f != nil && f.TBCache != nil && f.TBCache.Size != 0 {
			k.setf("tb-size", "%d", kib(uint64(f.TBCache.Size), f.TBCache.Unit)/1024)
		}
	default:
		return unsupported("the QEMU binary does not support %s", b.def.Type)
	}
	b.arg("-accel", k.String())
	return b.tseg()
}

// tseg is the size of the memory SMM uses.
func (b *builder) tseg() error {
	smm := b.features().SMM
	if smm == nil || smm.TSeg == nil || smm.TSeg.Value == 0 {
		return nil
	}
	if !b.isQ35() {
		return unsupported("SMM TSEG is only supported with q35 machine type")
	}
	b.arg("-global", "mch.extended-tseg-mbytes="+strconv.FormatUint(kib(uint64(smm.TSeg.Value), smm.TSeg.Unit)/1024, 10))
	return nil
}

// kib turns a size with a unit into KiB; bytes are rounded up. The unit of a bare number is KiB.
func kib(n uint64, unit string) uint64 {
	b, ok := bytesIn(unit)
	if !ok {
		return n
	}
	return (n*b + 1023) / 1024
}

// bytesIn is the factor of a unit in the definition; false where it is not known.
func bytesIn(unit string) (uint64, bool) {
	switch unit {
	case "b", "byte", "bytes", "B":
		return 1, true
	case "", "k", "K", "KiB":
		return 1 << 10, true
	case "KB":
		return 1e3, true
	case "M", "MiB", "m":
		return 1 << 20, true
	case "MB":
		return 1e6, true
	case "G", "GiB", "g":
		return 1 << 30, true
	case "GB":
		return 1e9, true
	case "T", "TiB", "t":
		return 1 << 40, true
	case "TB":
		return 1e12, true
	}
	return 0, false
}
