package command

import (
	"strings"

	"libvirt.org/go/libvirtxml"
)

// cpu is the model with everything that QEMU takes as a feature of it.
func (b *builder) cpu() error {
	k := keyval{}
	if err := b.cpuModel(&k); err != nil {
		return err
	}
	b.cpuTimers(&k)
	f := b.features()
	if f.APIC != nil {
		k.flag("kvm-pv-eoi", f.APIC.EOI)
	}
	k.flag("kvm-pv-unhalt", stateOf(f.PVSpinlock))
	hyperv(&k, f.HyperV)
	for _, p := range b.dev.Panics {
		if p.Model == "hyperv" {
			k = append(k, "hv-crash")
		}
	}
	kvmFeatures(&k, f.KVM)
	k.flag("pmu", stateOf(f.PMU))
	cpuCache(&k, b.def.CPU)
	cpuAddressBits(&k, b.def.CPU)
	b.arg("-cpu", k.String())
	return nil
}

func (b *builder) cpuModel(k *keyval) error {
	cpu := b.def.CPU
	if cpu == nil {
		*k = append(*k, b.defaultCPU())
		return nil
	}
	switch cpu.Mode {
	case "host-passthrough":
		if b.def.Type != "kvm" {
			return unsupported("CPU mode 'host-passthrough' is only supported with kvm")
		}
		k.word("host")
		k.flag("migratable", cpu.Migratable)
	case "maximum":
		k.word("max")
		k.flag("migratable", cpu.Migratable)
	case "host-model":
		return internal("unexpected host-model CPU for %s architecture", b.arch())
	default:
		if cpu.Model == nil || cpu.Model.Value == "" {
			*k = append(*k, b.defaultCPU())
			break
		}
		k.word(cpu.Model.Value)
		k.text("vendor", cpu.Model.VendorID)
	}
	for _, f := range cpu.Features {
		if unknownToQEMU[f.Name] {
			continue
		}
		switch f.Policy {
		case "", "require", "force":
			k.set(FeatureName(f.Name), "on")
		case "disable", "forbid":
			if !goneFromQEMU[f.Name] {
				k.set(FeatureName(f.Name), "off")
			}
		}
	}
	return nil
}

// defaultCPU is the model of a domain that names none: the machine's own, else QEMU's generic one.
func (b *builder) defaultCPU() string {
	if m, ok := b.caps.Machine(b.machineName()); ok && m.DefaultCPU != "" {
		name := m.DefaultCPU
		if i := strings.LastIndex(name, "-"+b.caps.Arch+"-cpu"); i > 0 {
			name = name[:i]
		}
		return name
	}
	if b.arch() == "i686" {
		return "qemu32"
	}
	return "qemu64"
}

func (b *builder) cpuTimers(k *keyval) {
	if b.def.Clock == nil {
		return
	}
	for _, t := range b.def.Clock.Timer {
		switch t.Name {
		case "hypervclock":
			if t.Present != "no" {
				k.set("hv-time", "on")
			}
		case "kvmclock":
			k.flag("kvmclock", t.Present)
		case "tsc":
			if t.Frequency > 0 {
				k.setf("tsc-frequency", "%d", t.Frequency)
			}
		}
	}
}

// hyperv is the set of enlightenments for guests that know Hyper-V.
func hyperv(k *keyval, h *libvirtxml.DomainFeatureHyperV) {
	if h == nil {
		return
	}
	if h.Mode == "passthrough" {
		k.set("hv-passthrough", "on")
	}
	on := func(name string, s *libvirtxml.DomainFeatureState) {
		if s != nil && isOn(s.State) {
			k.set(name, "on")
		}
	}
	on("hv-relaxed", h.Relaxed)
	on("hv-vapic", h.VAPIC)
	if s := h.Spinlocks; s != nil && isOn(s.State) {
		k.setf("hv-spinlocks", "0x%x", s.Retries)
	}
	on("hv-vpindex", h.VPIndex)
	on("hv-runtime", h.Runtime)
	on("hv-synic", h.Synic)
	if s := h.STimer; s != nil && isOn(s.State) {
		k.set("hv-stimer", "on")
		on("hv-stimer-direct", s.Direct)
	}
	on("hv-reset", h.Reset)
	if v := h.VendorId; v != nil && isOn(v.State) {
		k.set("hv-vendor-id", v.Value)
	}
	on("hv-frequencies", h.Frequencies)
	on("hv-reenlightenment", h.ReEnlightenment)
	if t := h.TLBFlush; t != nil && isOn(t.State) {
		k.set("hv-tlbflush", "on")
	}
	on("hv-ipi", h.IPI)
	on("hv-evmcs", h.EVMCS)
	on("hv-avic", h.AVIC)
}

func kvmFeatures(k *keyval, f *libvirtxml.DomainFeatureKVM) {
	if f == nil {
		return
	}
	if isOn(stateOf(f.Hidden)) {
		k.set("kvm", "off")
	}
	if isOn(stateOf(f.HintDedicated)) {
		k.set("kvm-hint-dedicated", "on")
	}
	if isOn(stateOf(f.PollControl)) {
		k.set("kvm-poll-control", "on")
	}
	if stateOf(f.PVIPI) == "off" {
		k.set("kvm-pv-ipi", "off")
	}
}

// cpuCache says whose cache topology the guest sees. The two switches differ in what each leaves to the other, so
// every mode sets both.
func cpuCache(k *keyval, cpu *libvirtxml.DomainCPU) {
	if cpu == nil || cpu.Cache == nil {
		return
	}
	host := cpu.Mode == "host-passthrough" || cpu.Mode == "maximum"
	switch cpu.Cache.Mode {
	case "emulate":
		k.set("l3-cache", "on")
		if host {
			k.set("host-cache-info", "off")
		}
	case "passthrough":
		if host {
			k.set("host-cache-info", "on")
			k.set("l3-cache", "off")
		}
	case "disable":
		if host {
			k.set("host-cache-info", "off")
		}
		k.set("l3-cache", "off")
	}
}

func cpuAddressBits(k *keyval, cpu *libvirtxml.DomainCPU) {
	if cpu == nil || cpu.MaxPhysAddr == nil {
		return
	}
	switch cpu.MaxPhysAddr.Mode {
	case "passthrough":
		k.set("host-phys-bits", "on")
	case "emulate":
		if cpu.MaxPhysAddr.Bits > 0 {
			k.setf("phys-bits", "%d", cpu.MaxPhysAddr.Bits)
		}
	}
}

// renamed are the CPU features QEMU calls by another name than libvirt.
var renamed = map[string]string{
	"cmp_legacy":   "cmp-legacy",
	"ds_cpl":       "ds-cpl",
	"fxsr_opt":     "fxsr-opt",
	"lahf_lm":      "lahf-lm",
	"nodeid_msr":   "nodeid-msr",
	"pclmuldq":     "pclmulqdq",
	"perfctr_core": "perfctr-core",
	"perfctr_nb":   "perfctr-nb",
	"tsc_adjust":   "tsc-adjust",
}

// unknownToQEMU are features of host CPUs that a definition may name without effect: QEMU has no switch for them.
var unknownToQEMU = map[string]bool{"cmt": true, "mbm_local": true, "mbm_total": true, "osxsave": true, "ospke": true}

// goneFromQEMU are features that QEMU had and dropped. Without them every guest is as a definition wants that disables
// them; one that requires them is refused by QEMU.
var goneFromQEMU = map[string]bool{"cvt16": true, "pconfig": true}

// FeatureName is QEMU's name of a CPU feature.
func FeatureName(name string) string {
	if n, ok := renamed[name]; ok {
		return n
	}
	return name
}
