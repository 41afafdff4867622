package caps

import (
	"encoding/xml"
	"slices"
	"sort"
	"strings"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// CPUDef is a <cpu> element as the comparing and baseline calls read it.
type CPUDef struct {
	Host   bool // describes a host, else what a guest asks for
	Arch   string
	Mode   string // of a guest: "custom", "host-model", ...
	Match  string // of a guest: "exact", "strict", "minimum"
	Model  string
	Vendor string

	Fallback string
	Features []CPUFeature
}

// cpuElement is the element's shape.
type cpuElement struct {
	XMLName xml.Name
	Mode    *string `xml:"mode,attr"`
	Match   *string `xml:"match,attr"`
	Check   *string `xml:"check,attr"`
	Arch    *string `xml:"arch"`
	Model   *struct {
		Fallback string `xml:"fallback,attr"`
		Name     string `xml:",chardata"`
	} `xml:"model"`
	Vendor   string `xml:"vendor"`
	Features []struct {
		Name   string `xml:"name,attr"`
		Policy string `xml:"policy,attr"`
	} `xml:"feature"`
}

func cpuError(code liberr.Code, format string, args ...any) error {
	return liberr.New(liberr.FromCPU, code, format, args...)
}

var cpuDocument = xmltree.Reader{Origin: "(CPU_definition)", From: liberr.FromCPU}

// ParseCPU reads a <cpu> document. With mustHost it describes a host; else its <arch> tells which of the two it is.
func ParseCPU(text string, mustHost bool) (*CPUDef, error) {
	root, err := cpuDocument.Read(text)
	if err != nil {
		return nil, err
	}
	if root.Local() != "cpu" {
		return nil, cpuError(liberr.XMLError, "XML does not contain expected 'cpu' element")
	}
	var e cpuElement
	if err := xml.Unmarshal([]byte(text), &e); err != nil {
		return nil, cpuError(liberr.XMLError, "%v", err)
	}
	def := &CPUDef{Host: mustHost, Vendor: strings.TrimSpace(e.Vendor)}
	if !mustHost && e.Arch != nil {
		if e.Match != nil {
			return nil, cpuError(liberr.XMLError, "'arch' element cannot be used inside 'cpu' element with 'match' attribute'")
		}
		def.Host = true
	}
	if err := def.readAttributes(&e); err != nil {
		return nil, err
	}
	if e.Model != nil {
		def.Model = strings.TrimSpace(e.Model.Name)
		def.Fallback = e.Model.Fallback
	}
	if def.Host && def.Model == "" {
		return nil, cpuError(liberr.XMLError, "Missing CPU model name")
	}
	if !def.Host && def.Model == "" && len(e.Features) > 0 && def.Mode == "custom" {
		return nil, cpuError(liberr.XMLError, "Non-empty feature list specified without CPU model")
	}
	return def, def.readFeatures(&e)
}

func (def *CPUDef) readAttributes(e *cpuElement) error {
	if def.Host {
		if e.Mode != nil {
			return cpuError(liberr.ConfigUnsupported, "Attribute mode is only allowed for guest CPU")
		}
		if e.Arch == nil {
			return cpuError(liberr.XMLError, "Missing CPU architecture")
		}
		if def.Arch = strings.TrimSpace(*e.Arch); !ValidArch(def.Arch) {
			return cpuError(liberr.ConfigUnsupported, "Unknown architecture %s", def.Arch)
		}
		return nil
	}
	def.Mode, def.Match = "custom", "exact"
	if e.Mode != nil {
		if !slices.Contains([]string{"custom", "host-model", "host-passthrough", "maximum"}, *e.Mode) {
			return cpuError(liberr.ConfigUnsupported, "Invalid mode attribute '%s'", *e.Mode)
		}
		def.Mode = *e.Mode
	}
	for _, a := range []struct {
		name    string
		value   *string
		allowed []string
	}{
		{"match", e.Match, []string{"minimum", "exact", "strict"}},
		{"check", e.Check, []string{"none", "partial", "full"}},
	} {
		if a.value != nil && !slices.Contains(a.allowed, *a.value) {
			return liberr.New(liberr.FromXML, liberr.XMLError, "Invalid value for attribute '%s' in element 'cpu': '%s'.", a.name, *a.value)
		}
	}
	if e.Match != nil {
		def.Match = *e.Match
	}
	return nil
}

func (def *CPUDef) readFeatures(e *cpuElement) error {
	seen := make(map[string]bool)
	for _, f := range e.Features {
		policy := PolicyRequire
		if !def.Host && f.Policy != "" {
			policy = FeaturePolicy(f.Policy)
			if !slices.Contains([]FeaturePolicy{PolicyForce, PolicyRequire, PolicyOptional, PolicyDisable, PolicyForbid}, policy) {
				return cpuError(liberr.ConfigUnsupported, "Invalid CPU feature policy")
			}
		}
		if f.Name == "" {
			return cpuError(liberr.XMLError, "Invalid CPU feature name")
		}
		if seen[f.Name] {
			return cpuError(liberr.XMLError, "CPU feature '%s' specified more than once", f.Name)
		}
		seen[f.Name] = true
		def.Features = append(def.Features, CPUFeature{f.Name, policy})
	}
	return nil
}

// anyPolicy asks modelData for the outcome of all policies together.
const anyPolicy FeaturePolicy = ""

// modelData is what a definition asks for by one policy, or altogether.
func (m *cpuMap) modelData(def *CPUDef, policy FeaturePolicy) (cpuData, error) {
	d := cpuData{}
	if def.Host && policy != PolicyRequire && policy != anyPolicy {
		return d, nil // a host has what it has
	}
	if def.Model != "" && (policy == PolicyRequire || policy == anyPolicy) {
		model := m.model(def.Model)
		if model == nil {
			return nil, cpuError(liberr.InternalError, "Unknown CPU model %s", def.Model)
		}
		d = model.data.clone()
	}
	for _, f := range def.Features {
		known := m.byName[f.Name]
		if known == nil {
			return nil, cpuError(liberr.InternalError, "Unknown CPU feature %s", f.Name)
		}
		switch {
		case policy == anyPolicy:
			switch f.Policy {
			case PolicyForce, PolicyRequire:
				d.add(known.data)
			case PolicyDisable, PolicyForbid:
				d.subtract(known.data)
			}
		case f.Policy == policy:
			d.add(known.data)
		}
	}
	return d, nil
}

// Format prints a guest's definition as the baseline calls return it.
func (def *CPUDef) Format() string {
	w := &xmlWriter{}
	w.in("cpu mode='custom' match='exact'", func() {
		w.line("<model fallback='%s'>%s</model>", def.Fallback, xmlText(def.Model))
		if def.Vendor != "" {
			w.line("<vendor>%s</vendor>", xmlText(def.Vendor))
		}
		for _, f := range def.Features {
			w.line("<feature policy='%s' name='%s'/>", f.Policy, xmlText(f.Name))
		}
	})
	return w.b.String()
}

// expand spells the model's own features out and sorts all by name.
func (def *CPUDef) expand() {
	named := make(map[string]bool)
	for _, f := range def.Features {
		named[f.Name] = true
	}
	if model := x86Map().model(def.Model); model != nil {
		for _, name := range model.features {
			if !named[name] {
				def.Features = append(def.Features, CPUFeature{name, PolicyRequire})
			}
		}
	}
	sort.SliceStable(def.Features, func(i, j int) bool { return def.Features[i].Name < def.Features[j].Name })
}
