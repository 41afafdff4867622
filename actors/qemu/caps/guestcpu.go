package caps

import (
	"context"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
)

// StartCPU turns what a guest's definition says into what it is started with: host-model and minimum matches become
// a named model with features, and optional features are decided. The result is a copy; modes that QEMU resolves by
// itself (host-passthrough, maximum) and other architectures come back unchanged.
//
// arch is the guest's. The error is libvirt's for a mode that this hypervisor cannot do.
func (c *Caps) StartCPU(virtType, arch string, cpu *libvirtxml.DomainCPU) (*libvirtxml.DomainCPU, error) {
	if cpu == nil {
		return nil, nil
	}
	out := copyCPU(cpu)
	mode := out.Mode
	if mode == "" {
		mode = "custom"
	}
	if err := c.checkMode(virtType, arch, mode); err != nil {
		return nil, err
	}
	if archFamily(arch) != "x86" || mode == "host-passthrough" || mode == "maximum" {
		return out, nil
	}
	host, err := c.HostModel(virtType, true)
	if err != nil {
		return nil, err
	}
	m := x86Map()
	optional := slices.ContainsFunc(out.Features, func(f libvirtxml.DomainCPUFeature) bool { return f.Policy == string(PolicyOptional) })
	fromHost := mode == "host-model" || out.Match == "minimum"
	if (optional || fromHost) && host == nil {
		return nil, cpuError(liberr.ConfigUnsupported, "unknown host CPU model")
	}
	if optional {
		has, err := m.modelData(&CPUDef{Model: host.Model, Features: host.Features}, anyPolicy)
		if err != nil {
			return nil, err
		}
		for i, f := range out.Features {
			if f.Policy != string(PolicyOptional) {
				continue
			}
			known := m.byName[f.Name]
			if known == nil {
				return nil, cpuError(liberr.InternalError, "unknown CPU feature %s", f.Name)
			}
			out.Features[i].Policy = string(PolicyDisable)
			if has.contains(known.data) {
				out.Features[i].Policy = string(PolicyRequire)
			}
		}
	}
	if fromHost {
		updated := host.clone()
		for _, f := range out.Features {
			updated.setPolicy(f.Name, FeaturePolicy(f.Policy))
		}
		vendorID := ""
		if out.Model != nil {
			vendorID = out.Model.VendorID
		}
		if mode == "host-model" {
			out.Vendor = updated.Vendor
		}
		out.Model = &libvirtxml.DomainCPUModel{Value: updated.Model, Fallback: "forbid", VendorID: vendorID}
		out.Features = domainFeatures(updated.Features)
	}
	out.Mode, out.Migratable = "custom", ""
	if out.Match == "" || out.Match == "minimum" {
		out.Match = "exact"
	}
	if out.Model != nil {
		if err := c.translate(virtType, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkMode refuses what the domain capabilities say is not supported.
func (c *Caps) checkMode(virtType, arch, mode string) error {
	ok := true
	switch mode {
	case "host-passthrough":
		ok = virtType == "kvm" && (&Caps{Arch: HostArch()}).runs(arch)
	case "maximum":
		ok = slices.ContainsFunc(c.CPUs[accelerator(virtType)], func(m CPUModel) bool { return m.Name == "max" })
	case "host-model":
		ok = c.HostCPU[accelerator(virtType)] != nil
	case "custom":
		ok = len(c.CPUs[accelerator(virtType)]) > 0
	}
	if !ok {
		return liberr.New(liberr.FromQemu, liberr.ConfigUnsupported,
			"CPU mode '%s' for %s %s domain on %s host is not supported by hypervisor", mode, arch, virtType, HostArch())
	}
	return nil
}

// translate replaces a model that QEMU does not know by the nearest it does, unless the definition forbids that.
func (c *Caps) translate(virtType string, cpu *libvirtxml.DomainCPU) error {
	models := c.CPUs[accelerator(virtType)]
	if slices.ContainsFunc(models, func(m CPUModel) bool { return m.Name == cpu.Model.Value }) {
		cpu.Model.Fallback = "forbid"
		return nil
	}
	if cpu.Model.Fallback == "forbid" {
		return cpuError(liberr.ConfigUnsupported, "CPU model %s is not supported by hypervisor", cpu.Model.Value)
	}
	m := x86Map()
	model := m.model(cpu.Model.Value)
	if model == nil {
		return cpuError(liberr.InternalError, "Unknown CPU model %s", cpu.Model.Value)
	}
	data := model.data.clone()
	if model.vendor != nil {
		data.set(leaf{}, model.vendor.bits)
	}
	if len(model.signatures) > 0 {
		data.setSignature(signature{family: model.signatures[0].family, model: model.signatures[0].model, stepping: model.signatures[0].first})
	}
	named, err := m.decode(data, decoding{models: models})
	if err != nil {
		return err
	}
	for _, f := range cpu.Features {
		named.setPolicy(f.Name, FeaturePolicy(f.Policy))
	}
	cpu.Model.Value, cpu.Model.Fallback = named.Model, "forbid"
	cpu.Features = domainFeatures(named.Features)
	return nil
}

// GuestCPU is what QEMU made of a guest's CPU.
type GuestCPU struct {
	on  cpuData // what the guest sees
	off cpuData // what was asked for and could not be had
}

// ReadGuestCPU asks a started QEMU for its first CPU, whose QOM path query-cpus-fast tells. nil for processors other
// than x86.
func ReadGuestCPU(ctx context.Context, x qmp.Executor, path string) (*GuestCPU, error) {
	g := &GuestCPU{}
	for _, read := range []struct {
		property string
		into     *cpuData
	}{{"feature-words", &g.on}, {"filtered-features", &g.off}} {
		var words []struct {
			EAX      uint32  `json:"cpuid-input-eax"`
			ECX      *uint32 `json:"cpuid-input-ecx"`
			Register string  `json:"cpuid-register"`
			Features uint32  `json:"features"`
		}
		if err := qmp.QOMGet(ctx, x, path, read.property, &words); err != nil {
			if qmp.IsClass(err, qmp.ClassGeneric) {
				return nil, nil
			}
			return nil, err
		}
		*read.into = cpuData{}
		for _, w := range words {
			k := leaf{in: w.EAX}
			if w.ECX != nil {
				k.subin = *w.ECX
			}
			var bits registers
			if i := slices.Index([]string{"EAX", "EBX", "ECX", "EDX"}, w.Register); i >= 0 {
				bits[i] = w.Features
			}
			read.into.set(k, bits)
		}
	}
	// The features that live in registers are not among the words; where the guest has none of the registers, it has
	// none of them.
	m := x86Map()
	if !g.on.contains(m.byName["arch-capabilities"].data) && !g.on.contains(m.byName["core-capability"].data) {
		return g, nil
	}
	for _, f := range m.features {
		if !f.msr {
			continue
		}
		var on bool
		if err := qmp.QOMGet(ctx, x, path, FeatureToQEMU(f.name), &on); err != nil && !qmp.IsClass(err, qmp.ClassGeneric) {
			return nil, err
		}
		if on {
			g.on.add(f.data)
		}
	}
	return g, nil
}

// LiveCPU is what a started guest's XML shows: what StartCPU made of its definition, corrected by what QEMU really did.
//
// A definition with check='full' must be met to the letter; the error then says what differs.
func (c *Caps) LiveCPU(cpu *libvirtxml.DomainCPU, guest *GuestCPU) (*libvirtxml.DomainCPU, error) {
	if guest == nil || cpu == nil || cpu.Model == nil || cpu.Mode != "" && cpu.Mode != "custom" || archFamily(c.Arch) != "x86" {
		return cpu, nil
	}
	m := x86Map()
	model := m.model(cpu.Model.Value)
	if model == nil {
		return nil, cpuError(liberr.InternalError, "Unknown CPU model %s", cpu.Model.Value)
	}
	out := copyCPU(cpu)
	asked := &CPUDef{Model: cpu.Model.Value}
	for _, f := range cpu.Features {
		asked.Features = append(asked.Features, CPUFeature{f.Name, FeaturePolicy(f.Policy)})
	}
	expected, err := m.modelData(asked, anyPolicy)
	if err != nil {
		return nil, err
	}
	on, off := guest.on, guest.off
	named := &NamedCPU{Features: asked.Features}
	var extra, missing []string
	full := cpu.Check == "full"
	for _, f := range m.features {
		if f.msr && !c.knowsMSRFeatures() {
			continue
		}
		wanted, has := expected.contains(f.data), on.contains(f.data)
		switch {
		case !wanted && has:
			extra = append(extra, f.name)
			if !full {
				named.setPolicy(f.name, PolicyRequire)
			}
		case wanted && !has || off.contains(f.data):
			if slices.Contains(model.removed, f.name) {
				continue
			}
			missing = append(missing, f.name)
			if !full {
				named.setPolicy(f.name, PolicyDisable)
			}
		}
	}
	if full && len(extra)+len(missing) > 0 {
		var parts []string
		if len(extra) > 0 {
			parts = append(parts, "extra features: "+strings.Join(extra, ","))
		}
		if len(missing) > 0 {
			parts = append(parts, "missing features: "+strings.Join(missing, ","))
		}
		return nil, cpuError(liberr.OperationFailed, "guest CPU doesn't match specification: %s", strings.Join(parts, ", "))
	}
	out.Features = domainFeatures(named.Features)
	out.Mode, out.Match, out.Check = "custom", "exact", "full"
	return out, nil
}

func domainFeatures(list []CPUFeature) []libvirtxml.DomainCPUFeature {
	var out []libvirtxml.DomainCPUFeature
	for _, f := range list {
		out = append(out, libvirtxml.DomainCPUFeature{Name: f.Name, Policy: string(f.Policy)})
	}
	return out
}

// copyCPU copies what StartCPU and LiveCPU change.
func copyCPU(cpu *libvirtxml.DomainCPU) *libvirtxml.DomainCPU {
	out := *cpu
	out.Features = slices.Clone(cpu.Features)
	if cpu.Model != nil {
		model := *cpu.Model
		out.Model = &model
	}
	return &out
}
