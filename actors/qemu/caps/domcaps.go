package caps

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"virtree/actors/internal/node"
	"virtree/wire/liberr"
)

// DomainCapsQuery is what virConnectGetDomainCapabilities is asked; empty fields take libvirt's defaults.
type DomainCapsQuery struct {
	Emulator, Arch, Machine, VirtType string
}

// Target is a query with its defaults filled in.
type Target struct {
	Caps                              *Caps
	Emulator, Arch, Machine, VirtType string // Machine is canonical
}

func invalid(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.InvalidArg, format, args...)
}

// virtTypes are libvirt's domain types.
var virtTypes = []string{"none", "qemu", "kqemu", "kvm", "xen", "lxc", "uml", "openvz", "test", "vmware", "hyperv", "vbox",
	"phyp", "parallels", "bhyve", "vz", "hvf"}

// Resolve fills in libvirt's defaults: the host's architecture, its emulator, KVM where it works, the default machine.
func (f *Finder) Resolve(ctx context.Context, q DomainCapsQuery) (*Target, error) {
	t := &Target{Emulator: q.Emulator, Arch: q.Arch, VirtType: q.VirtType}
	if q.VirtType != "" && !slices.Contains(virtTypes[1:], q.VirtType) {
		return nil, invalid("unknown virttype: %s", q.VirtType)
	}
	if q.Arch != "" && !ValidArch(q.Arch) {
		return nil, invalid("unknown architecture: %s", q.Arch)
	}
	var err error
	if q.Emulator == "" {
		t.Arch = cmp.Or(q.Arch, HostArch())
		if t.Caps, err = f.ForArch(ctx, t.Arch); err != nil {
			return nil, err
		}
		t.Emulator = t.Caps.Binary
	} else {
		if t.Caps, err = f.Get(ctx, q.Emulator); err != nil {
			return nil, err
		}
		t.Arch = cmp.Or(q.Arch, HostArch())
		if archFamily(t.Arch) != archFamily(t.Caps.Arch) {
			return nil, invalid("architecture from emulator '%s' doesn't match given architecture '%s'", t.Caps.Arch, t.Arch)
		}
	}
	if !t.Caps.runs(t.Arch) {
		return nil, invalid("Emulator '%s' does not support arch '%s'", t.Emulator, t.Arch)
	}
	if t.VirtType == "" {
		t.VirtType = "qemu"
		if t.Caps.KVM {
			t.VirtType = "kvm"
		}
	}
	if !t.Caps.SupportsVirtType(t.VirtType) {
		return nil, invalid("Emulator '%s' does not support virt type '%s'", t.Emulator, t.VirtType)
	}
	machine := t.Caps.DefaultMachine()
	if q.Machine != "" {
		var ok bool
		if machine, ok = t.Caps.Machine(q.Machine); !ok {
			return nil, invalid("the machine '%s' is not supported by emulator '%s'", q.Machine, t.Emulator)
		}
	}
	t.Machine = machine.Name
	return t, nil
}

// runs says whether the binary can serve guests of an architecture: its own, or the 32 bit one below it.
func (c *Caps) runs(arch string) bool {
	return arch == c.Arch || c.Arch == "x86_64" && arch == "i686" || c.Arch == "aarch64" && arch == "armv7l" ||
		c.Arch == "ppc64" && arch == "ppc64le"
}

// archFamily names what the architectures of one kind of processor have in common.
func archFamily(arch string) string {
	switch arch {
	case "i686", "x86_64":
		return "x86"
	case "armv6l", "armv7l", "armv7b", "aarch64":
		return "arm"
	case "ppc64", "ppc64le":
		return "ppc64"
	case "s390", "s390x":
		return "s390"
	}
	return arch
}

// DomainCapsHost is what the host adds to what the binary can do.
type DomainCapsHost struct {
	Firmwares  []*Firmware
	TPM        TPMHost
	MaxKVMCPUs int // 0: KVM sets no limit
	Node       node.Node
}

// TPMHost says whether swtpm is installed and which versions it emulates.
type TPMHost struct {
	Emulator bool
	Versions []string // "1.2", "2.0"
}

// DomainCapabilities is the document of virConnectGetDomainCapabilities.
func DomainCapabilities(t *Target, h DomainCapsHost) (string, error) {
	hostModel, err := t.Caps.HostModel(t.VirtType, false)
	if err != nil {
		hostModel = nil // no model fits: the mode is not supported, which is no failure of the document
	}
	c := t.Caps
	machine, _ := c.Machine(t.Machine)
	w := &xmlWriter{}
	w.in("domainCapabilities", func() {
		w.line("<path>%s</path>", xmlText(t.Emulator))
		w.line("<domain>%s</domain>", t.VirtType)
		w.line("<machine>%s</machine>", xmlText(t.Machine))
		w.line("<arch>%s</arch>", t.Arch)
		vcpus := machine.MaxCPUs
		if t.VirtType == "kvm" && h.MaxKVMCPUs > 0 {
			vcpus = min(vcpus, h.MaxKVMCPUs)
		}
		if vcpus > 0 {
			w.line("<vcpu max='%d'/>", vcpus)
		}
		w.line("<iothreads supported='%s'/>", yesNo(c.HasObject("iothread")))
		writeOS(w, t, chooseFirmware(h.Firmwares, t.Arch, t.Machine))
		w.in("cpu", func() { writeCPUModes(w, t, hostModel) })
		if c.HasObject("memory-backend-file") {
			w.in("memoryBacking supported='yes'", func() {
				types := []string{"file", "anonymous"}
				if c.HasObject("memory-backend-memfd") {
					types = append(types, "memfd")
				}
				w.enum("sourceType", types)
			})
		} else {
			w.line("<memoryBacking supported='no'/>")
		}
		w.in("devices", func() { writeDevices(w, t, machine, h) })
		w.in("features", func() { writeFeatures(w, t) })
	})
	return w.b.String(), nil
}

func writeOS(w *xmlWriter, t *Target, fw firmwareChoice) {
	w.in("os supported='yes'", func() {
		w.enum("firmware", fw.kinds)
		w.in("loader supported='yes'", func() {
			for _, path := range fw.loaders {
				w.line("<value>%s</value>", xmlText(path))
			}
			types := []string{"rom"}
			if slices.Contains([]string{"x86_64", "i686", "aarch64", "armv7l", "riscv64", "loongarch64"}, t.Arch) {
				types = append(types, "pflash")
			}
			w.enum("type", types)
			w.enum("readonly", []string{"yes", "no"})
			if fw.secure {
				w.enum("secure", []string{"yes", "no"})
			} else {
				w.enum("secure", []string{"no"})
			}
		})
	})
}

func writeCPUModes(w *xmlWriter, t *Target, hostModel *NamedCPU) {
	c := t.Caps
	x86 := t.Arch == "x86_64" || t.Arch == "i686"
	if t.VirtType == "kvm" && (&Caps{Arch: HostArch()}).runs(t.Arch) {
		w.in("mode name='host-passthrough' supported='yes'", func() {
			values := []string{"off"}
			if c.Arch == "x86_64" { // see knowsMSRFeatures: the 32 bit types are not asked
				values = []string{"on", "off"}
			}
			w.enum("hostPassthroughMigratable", values)
		})
	} else {
		w.line("<mode name='host-passthrough' supported='no'/>")
	}
	if x86 && slices.ContainsFunc(c.CPUs[accelerator(t.VirtType)], func(m CPUModel) bool { return m.Name == "max" }) {
		w.in("mode name='maximum' supported='yes'", func() { w.enum("maximumMigratable", []string{"on", "off"}) })
	} else {
		w.line("<mode name='maximum' supported='no'/>")
	}
	if hostModel != nil {
		w.in("mode name='host-model' supported='yes'", func() {
			w.line("<model fallback='forbid'>%s</model>", hostModel.Model)
			if hostModel.Vendor != "" {
				w.line("<vendor>%s</vendor>", hostModel.Vendor)
			}
			for _, f := range hostModel.Features {
				w.line("<feature policy='%s' name='%s'/>", f.Policy, f.Name)
			}
		})
	} else {
		w.line("<mode name='host-model' supported='no'/>")
	}
	models := c.customModels(t.VirtType)
	if len(models) == 0 {
		w.line("<mode name='custom' supported='no'/>")
		return
	}
	w.in("mode name='custom' supported='yes'", func() {
		for _, m := range models {
			attrs := fmt.Sprintf("usable='%s'", m.Usable)
			if m.Deprecated {
				attrs += " deprecated='yes'"
			}
			if x86 {
				vendor := "unknown"
				if known := x86Map().model(m.Name); known != nil && known.vendor != nil {
					vendor = known.vendor.name
				}
				attrs += fmt.Sprintf(" vendor='%s'", vendor)
			}
			w.line("<model %s>%s</model>", attrs, xmlText(m.Name))
		}
	})
}

// customModels are the models that both QEMU and libvirt know by a name.
func (c *Caps) customModels(virtType string) []CPUModel {
	all := c.CPUs[accelerator(virtType)]
	if c.Arch != "x86_64" && c.Arch != "i686" {
		return all
	}
	var list []CPUModel
	for _, m := range all {
		if x86Map().model(m.Name) != nil {
			list = append(list, m)
		}
	}
	return list
}

func writeFeatures(w *xmlWriter, t *Target) {
	c := t.Caps
	arm := t.Arch == "aarch64" || t.Arch == "armv7l"
	if arm && len(c.GIC) > 0 && (t.Machine == "virt" || strings.HasPrefix(t.Machine, "virt-")) {
		w.in("gic supported='yes'", func() {
			var versions []string
			for _, v := range c.GIC {
				versions = append(versions, fmt.Sprint(v))
			}
			w.enum("version", versions)
		})
	} else {
		w.line("<gic supported='no'/>")
	}
	w.line("<vmcoreinfo supported='%s'/>", yesNo(c.HasDevice("vmcoreinfo")))
	w.line("<genid supported='%s'/>", yesNo(c.HasDevice("vmgenid")))
	w.line("<backingStoreInput supported='yes'/>")
	w.line("<backup supported='%s'/>", yesNo(c.HasSchema("blockdev-reopen/options") || c.HasCommand("blockdev-backup")))
	if c.SEV != nil {
		w.in("sev supported='yes'", func() {
			w.line("<cbitpos>%d</cbitpos>", c.SEV.CBitPos)
			w.line("<reducedPhysBits>%d</reducedPhysBits>", c.SEV.ReducedPhysBits)
			w.line("<maxGuests>%d</maxGuests>", c.SEV.MaxGuests)
			w.line("<maxESGuests>%d</maxESGuests>", c.SEV.MaxESGuests)
		})
	} else {
		w.line("<sev supported='no'/>")
	}
	if c.SGX != nil {
		w.in("sgx supported='yes'", func() {
			w.line("<flc>%s</flc>", yesNo(c.SGX.FLC))
			w.line("<sgx1>%s</sgx1>", yesNo(c.SGX.SGX1))
			w.line("<sgx2>%s</sgx2>", yesNo(c.SGX.SGX2))
			w.line("<section_size unit='KiB'>%d</section_size>", c.SGX.SectionSizeKiB)
			if len(c.SGX.Sections) > 0 {
				w.in("sections", func() {
					for _, s := range c.SGX.Sections {
						w.line("<section node='%d' size='%d' unit='KiB'/>", s.Node, s.SizeKiB)
					}
				})
			}
		})
	} else {
		w.line("<sgx supported='no'/>")
	}
	var hv []string
	for _, name := range hypervNames {
		if c.HV[strings.ReplaceAll(name, "_", "-")] {
			hv = append(hv, name)
		}
	}
	if (t.Arch == "x86_64" || t.Arch == "i686") && len(hv) > 0 {
		w.in("hyperv supported='yes'", func() { w.enum("features", hv) })
	} else {
		w.line("<hyperv supported='no'/>")
	}
}

// hypervNames are libvirt's names of Microsoft's enlightenments, in its order.
var hypervNames = []string{"relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic", "stimer", "reset", "vendor_id",
	"frequencies", "reenlightenment", "tlbflush", "ipi", "evmcs", "avic"}
