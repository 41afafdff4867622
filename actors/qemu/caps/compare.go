package caps

import (
	"fmt"
	"strings"

	"virtree/wire/liberr"
)

// Comparison is virCPUCompareResult.
type Comparison int

const (
	CompareError Comparison = iota - 1
	CompareIncompatible
	CompareIdentical
	CompareSuperset
)

// CompareCPU is virConnectCompareCPU: can a guest with this CPU run on this host, as the capabilities describe it? With
// fail an incompatible CPU is an error that says why.
func CompareCPU(document string, fail bool) (Comparison, error) {
	h := thisHost()
	var host *CPUDef
	if h.NamedCPU != nil {
		host = &CPUDef{Host: true, Arch: HostArch(), Model: h.Model, Vendor: h.Vendor}
		for _, f := range h.Features {
			host.Features = append(host.Features, CPUFeature{f.Name, PolicyRequire})
		}
	}
	return compareWith(host, document, fail)
}

// CompareHypervisorCPU is virConnectCompareHypervisorCPU: can this hypervisor run it on this host?
func CompareHypervisorCPU(t *Target, document string, fail bool) (Comparison, error) {
	host, err := t.hypervisorCPU()
	if err != nil {
		return CompareError, err
	}
	return compareWith(host, document, fail)
}

func (t *Target) hypervisorCPU() (*CPUDef, error) {
	if archFamily(t.Arch) != "x86" {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported,
			"comparing with the hypervisor CPU is not supported for arch %s", t.Arch)
	}
	named, err := t.Caps.HostModel(t.VirtType, false)
	if err != nil || named == nil {
		return nil, err
	}
	return &CPUDef{Arch: t.Arch, Mode: "custom", Match: "exact", Model: named.Model, Vendor: named.Vendor, Features: named.Features}, nil
}

func compareWith(host *CPUDef, document string, fail bool) (Comparison, error) {
	cpu, err := ParseCPU(document, false)
	if err != nil {
		return CompareError, err
	}
	if cpu.Model == "" {
		return CompareSuperset, nil // nothing is asked for that a host could lack
	}
	if host == nil {
		return incompatible(fail, "unknown host CPU")
	}
	return x86Map().compare(host, cpu, fail)
}

func incompatible(fail bool, why string) (Comparison, error) {
	if fail {
		return CompareError, cpuError(liberr.CPUIncompatible, "%s", why)
	}
	return CompareIncompatible, nil
}

func (m *cpuMap) compare(host, cpu *CPUDef, fail bool) (Comparison, error) {
	if cpu.Arch != "" && archFamily(cpu.Arch) != "x86" {
		return incompatible(fail, fmt.Sprintf("CPU arch %s does not match host arch", cpu.Arch))
	}
	if cpu.Vendor != "" && cpu.Vendor != host.Vendor {
		return incompatible(fail, fmt.Sprintf("host CPU vendor does not match required CPU vendor %s", cpu.Vendor))
	}
	hostData, err := m.modelData(host, anyPolicy)
	if err != nil {
		return CompareError, err
	}
	by := make(map[FeaturePolicy]cpuData)
	for _, p := range []FeaturePolicy{PolicyForce, PolicyRequire, PolicyOptional, PolicyDisable, PolicyForbid} {
		if by[p], err = m.modelData(cpu, p); err != nil {
			return CompareError, err
		}
	}
	because := func(what string, features cpuData) (Comparison, error) {
		return incompatible(fail, what+": "+strings.Join(m.names(features), ", "))
	}
	forbidden := by[PolicyForbid].clone()
	if forbidden.intersect(hostData); !forbidden.empty() {
		return because("Host CPU provides forbidden features", forbidden)
	}
	// What the model brings along counts only as far as the definition does not say otherwise.
	required := by[PolicyRequire]
	required.subtract(by[PolicyForce])
	required.subtract(by[PolicyOptional])
	required.subtract(by[PolicyDisable])
	if !hostData.contains(required) {
		missing := required.clone()
		missing.subtract(hostData)
		return because("Host CPU does not provide required features", missing)
	}
	extra := hostData.clone()
	for _, p := range []FeaturePolicy{PolicyOptional, PolicyRequire, PolicyDisable, PolicyForce} {
		extra.subtract(by[p])
	}
	if extra.empty() {
		return CompareIdentical, nil
	}
	if !cpu.Host && cpu.Match == "strict" {
		return because("Host CPU does not strictly match guest CPU: Extra features", extra)
	}
	return CompareSuperset, nil
}

// Baseline is virConnectBaselineCPU: the richest CPU that all the given hosts can run. expand spells its features out,
// migratable leaves out what cannot migrate.
func Baseline(documents []string, expand, migratable bool) (string, error) {
	cpus, err := parseCPUs(documents, true)
	if err != nil {
		return "", err
	}
	if archFamily(cpus[0].Arch) != "x86" {
		return "", liberr.New(liberr.FromCPU, liberr.NoSupportCode, "cannot compute baseline CPU of %s architecture", cpus[0].Arch)
	}
	def, err := x86Map().baseline(cpus, nil, migratable)
	if err != nil {
		return "", err
	}
	if expand {
		def.expand()
	}
	return def.Format(), nil
}

// BaselineHypervisor is virConnectBaselineHypervisorCPU: Baseline among what the hypervisor can run here.
func BaselineHypervisor(t *Target, documents []string, expand, migratable bool) (string, error) {
	cpus, err := parseCPUs(documents, false)
	if err != nil {
		return "", err
	}
	if archFamily(t.Arch) != "x86" {
		return "", liberr.New(liberr.FromQemu, liberr.OperationUnsupported,
			"computing baseline hypervisor CPU is not supported for arch %s", t.Arch)
	}
	def, err := x86Map().baseline(cpus, t.Caps.CPUs[accelerator(t.VirtType)], migratable)
	if err != nil {
		return "", err
	}
	def.Fallback = "forbid"
	if expand {
		def.expand()
	}
	return def.Format(), nil
}

func parseCPUs(documents []string, hosts bool) ([]*CPUDef, error) {
	var cpus []*CPUDef
	for i, document := range documents {
		cpu, err := ParseCPU(document, hosts)
		if err != nil {
			return nil, err
		}
		if cpu.Model == "" {
			return nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "no CPU model specified at index %d", i)
		}
		cpus = append(cpus, cpu)
	}
	if len(cpus) == 0 {
		return nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "no CPU given")
	}
	return cpus, nil
}

// baseline: the vendor is that of the first CPU that says or implies one, and must be everybody's; it is told only
// if every CPU said it.
func (m *cpuMap) baseline(cpus []*CPUDef, models []CPUModel, migratable bool) (*CPUDef, error) {
	data, err := m.modelData(cpus[0], PolicyRequire)
	if err != nil {
		return nil, err
	}
	var vendor *cpuVendor
	tell := cpus[0].Vendor != ""
	if tell {
		if vendor = m.vendor(cpus[0].Vendor); vendor == nil {
			return nil, cpuError(liberr.OperationFailed, "Unknown CPU vendor %s", cpus[0].Vendor)
		}
	}
	preferred := cpus[0].Model
	for _, cpu := range cpus[1:] {
		if cpu.Model != preferred {
			preferred = ""
		}
		d, err := m.modelData(cpu, PolicyRequire)
		if err != nil {
			return nil, err
		}
		name := cpu.Vendor
		if model := m.model(cpu.Model); model != nil && model.vendor != nil {
			if name != "" && name != model.vendor.name {
				return nil, cpuError(liberr.OperationFailed, "CPU vendor %s of model %s differs from vendor %s",
					model.vendor.name, model.name, name)
			}
			name = model.vendor.name
		}
		tell = tell && cpu.Vendor != ""
		if name != "" {
			switch v := m.vendor(name); {
			case v == nil:
				return nil, cpuError(liberr.OperationFailed, "Unknown CPU vendor %s", name)
			case vendor == nil:
				vendor = v
			case vendor != v:
				return nil, cpuError(liberr.OperationFailed, "CPU vendors do not match")
			}
		}
		data.intersect(d)
	}
	if data.empty() {
		return nil, cpuError(liberr.OperationFailed, "CPUs are incompatible")
	}
	if vendor != nil {
		data.set(leaf{}, vendor.bits)
	}
	named, err := m.decode(data, decoding{models: models, preferred: preferred, migratable: migratable})
	if err != nil {
		return nil, err
	}
	def := &CPUDef{Mode: "custom", Match: "exact", Model: named.Model, Fallback: "allow", Features: named.Features}
	if named.Model == preferred {
		def.Fallback = "forbid"
	}
	if tell {
		def.Vendor = named.Vendor
	}
	return def, nil
}

// otherModels are the model names of the architectures whose processors cannot be compared here.
var otherModels = map[string][]string{
	"ppc64": {"POWER6", "POWER7", "POWER8", "POWER9", "POWER10", "POWERPC_e5500", "POWERPC_e6500"},
	"arm":   {},
	"s390":  {},
}

// CPUModelNames is virConnectGetCPUModelNames; an empty list means that any name is accepted.
func CPUModelNames(arch string) ([]string, error) {
	if !ValidArch(arch) {
		return nil, invalid("cannot find architecture %s", arch)
	}
	if archFamily(arch) == "x86" {
		var names []string
		for _, m := range x86Map().models {
			names = append(names, m.name)
		}
		return names, nil
	}
	if names, ok := otherModels[archFamily(arch)]; ok {
		return names, nil
	}
	return nil, liberr.New(liberr.FromCPU, liberr.NoSupportCode, "'%s' architecture is not supported by CPU driver", arch)
}
