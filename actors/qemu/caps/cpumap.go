package caps

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

//go:embed cpumap.txt
var cpumapText string

// cpuMap is the table of x86 vendors, features and models.
type cpuMap struct {
	vendors  []*cpuVendor
	features []*cpuFeature
	models   []*cpuModel
	byName   map[string]*cpuFeature // names and aliases
}

type cpuVendor struct {
	name string
	bits registers // of CPUID 0
}

type cpuFeature struct {
	name       string
	data       cpuData
	migratable bool
	msr        bool
}

type cpuModel struct {
	name       string
	host       bool // may describe a host
	guest      bool // may stand for host-model
	vendor     *cpuVendor
	signatures []modelSignature
	data       cpuData
	features   []string // sorted
	removed    []string // once part of the model; QEMU no longer agrees
}

type modelSignature struct {
	family, model uint
	first, last   uint // steppings
}

// x86Map is read from the embedded table when first needed.
var x86Map = sync.OnceValue(func() *cpuMap {
	m, err := parseCPUMap(cpumapText)
	if err != nil {
		panic("the embedded CPU table is damaged: " + err.Error()) // a build that cannot work
	}
	return m
})

func parseCPUMap(text string) (*cpuMap, error) {
	m := &cpuMap{byName: make(map[string]*cpuFeature)}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		var err error
		switch {
		case line[0] == ' ':
			err = m.parseModelFeatures(f)
		case f[0] == "v" && len(f) == 3:
			m.vendors = append(m.vendors, &cpuVendor{f[1], vendorBits(f[2])})
		case f[0] == "f" && len(f) >= 3:
			err = m.parseFeature(f[1:])
		case f[0] == "m" && len(f) >= 3:
			err = m.parseModel(f[1:])
		default:
			err = fmt.Errorf("unknown kind of line")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return m, nil
}

func (m *cpuMap) parseFeature(f []string) error {
	names := strings.Split(f[0], ",")
	feature := &cpuFeature{name: names[0], data: cpuData{}, migratable: true}
	for _, item := range f[1:] {
		if item == "nomigrate" {
			feature.migratable = false
			continue
		}
		where, value, ok := strings.Cut(item, "=")
		at, what, ok2 := strings.Cut(where, ":")
		if !ok || !ok2 {
			return fmt.Errorf("bits %q", item)
		}
		var k leaf
		var bits registers
		var err error
		if at == "msr" {
			k.msr, feature.msr = true, true
			_, err = fmt.Sscanf(what+" "+value, "%x %x:%x", &k.in, &bits[3], &bits[0])
		} else {
			reg := strings.Index("abcd", what[1:2]) // eax, ebx, ecx, edx
			in, sub, _ := strings.Cut(at, ".")
			if _, err = fmt.Sscanf(in+" "+value, "%x %x", &k.in, &bits[reg]); err == nil && sub != "" {
				_, err = fmt.Sscanf(sub, "%x", &k.subin)
			}
		}
		if err != nil {
			return fmt.Errorf("bits %q: %w", item, err)
		}
		feature.data.set(k, bits)
	}
	m.features = append(m.features, feature)
	for _, name := range names {
		m.byName[name] = feature
	}
	return nil
}

func (m *cpuMap) parseModel(f []string) error {
	model := &cpuModel{name: f[0], data: cpuData{}}
	for _, item := range f[1:] {
		key, value, _ := strings.Cut(item, "=")
		switch key {
		case "decode":
			model.host, model.guest = strings.Contains(value, "h"), strings.Contains(value, "g")
		case "vendor":
			if model.vendor = m.vendor(value); model.vendor == nil {
				return fmt.Errorf("vendor %q", value)
			}
		case "sig":
			for s := range strings.SplitSeq(value, ",") {
				sig := modelSignature{last: 15}
				parts := strings.Split(s, ":")
				family, err1 := strconv.ParseUint(parts[0], 10, 32)
				number, err2 := strconv.ParseUint(parts[1], 10, 32)
				sig.family, sig.model = uint(family), uint(number)
				if len(parts) == 3 {
					if _, err := fmt.Sscanf(parts[2], "%d-%d", &sig.first, &sig.last); err != nil {
						return err
					}
				}
				if err1 != nil || err2 != nil {
					return fmt.Errorf("signature %q", s)
				}
				model.signatures = append(model.signatures, sig)
			}
		default:
			return fmt.Errorf("unknown word %q", key)
		}
	}
	m.models = append(m.models, model)
	return nil
}

func (m *cpuMap) parseModelFeatures(names []string) error {
	if len(m.models) == 0 {
		return fmt.Errorf("features before the first model")
	}
	model := m.models[len(m.models)-1]
	for _, name := range names {
		removed := strings.HasPrefix(name, "-")
		name = strings.TrimPrefix(name, "-")
		feature := m.byName[name]
		if feature == nil {
			return fmt.Errorf("unknown feature %q", name)
		}
		if removed {
			model.removed = append(model.removed, name)
			continue
		}
		model.features = append(model.features, name)
		model.data.add(feature.data)
	}
	return nil
}

func (m *cpuMap) vendor(name string) *cpuVendor {
	for _, v := range m.vendors {
		if v.name == name {
			return v
		}
	}
	return nil
}

func (m *cpuMap) model(name string) *cpuModel {
	for _, model := range m.models {
		if model.name == name {
			return model
		}
	}
	return nil
}

// vendorOf recognises the vendor in CPUID 0.
func (m *cpuMap) vendorOf(d cpuData) *cpuVendor {
	for _, v := range m.vendors {
		if r := d[leaf{}]; r[1] == v.bits[1] && r[2] == v.bits[2] && r[3] == v.bits[3] {
			return v
		}
	}
	return nil
}

// names lists the features whose bits are all in data, in the table's order, and takes their bits out of it.
func (m *cpuMap) names(data cpuData) []string {
	var names []string
	for _, f := range m.features {
		if data.contains(f.data) {
			data.subtract(f.data)
			names = append(names, f.name)
		}
	}
	return names
}

func (model *cpuModel) matches(s signature) bool {
	for _, have := range model.signatures {
		if have.family == s.family && have.model == s.model && have.first <= s.stepping && s.stepping <= have.last {
			return true
		}
	}
	return false
}

// FeatureFromQEMU turns QEMU's name of a CPU feature into libvirt's; unknown names stay as they are.
func FeatureFromQEMU(name string) string {
	if f := x86Map().byName[name]; f != nil {
		return f.name
	}
	return name
}

// qemuNames is QEMU's spelling where it is not libvirt's. QEMU also takes most of libvirt's, as an older form.
var qemuNames = map[string]string{
	"cmp_legacy": "cmp-legacy", "ds_cpl": "ds-cpl", "fxsr_opt": "fxsr-opt", "kvm_pv_eoi": "kvm-pv-eoi",
	"kvm_pv_unhalt": "kvm-pv-unhalt", "lahf_lm": "lahf-lm", "nodeid_msr": "nodeid-msr", "pclmuldq": "pclmulqdq",
	"perfctr_core": "perfctr-core", "perfctr_nb": "perfctr-nb", "tsc_adjust": "tsc-adjust",
}

// FeatureToQEMU is the name for -cpu and for QOM properties.
func FeatureToQEMU(name string) string {
	if q, ok := qemuNames[name]; ok {
		return q
	}
	return name
}
