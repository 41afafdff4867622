package caps

import (
	"slices"

	"virtree/wire/liberr"
)

// FeaturePolicy is what a guest's definition says of a feature.
type FeaturePolicy string

const (
	PolicyForce    FeaturePolicy = "force"
	PolicyRequire  FeaturePolicy = "require"
	PolicyOptional FeaturePolicy = "optional"
	PolicyDisable  FeaturePolicy = "disable"
	PolicyForbid   FeaturePolicy = "forbid"
)

// CPUFeature is a feature with its policy; a host's features have none.
type CPUFeature struct {
	Name   string
	Policy FeaturePolicy
}

// NamedCPU is a processor as libvirt describes it: the nearest model and what differs.
type NamedCPU struct {
	Model    string
	Vendor   string
	Features []CPUFeature
}

func (c *NamedCPU) policy(name string) (FeaturePolicy, bool) {
	for _, f := range c.Features {
		if f.Name == name {
			return f.Policy, true
		}
	}
	return "", false
}

// setPolicy changes a feature's policy or adds it at the end.
func (c *NamedCPU) setPolicy(name string, p FeaturePolicy) {
	for i := range c.Features {
		if c.Features[i].Name == name {
			c.Features[i].Policy = p
			return
		}
	}
	c.Features = append(c.Features, CPUFeature{name, p})
}

func (c *NamedCPU) clone() *NamedCPU {
	d := *c
	d.Features = slices.Clone(c.Features)
	return &d
}

// decoding says how to look for the nearest model.
type decoding struct {
	host       bool       // describe a host: no feature of the model may be missing
	models     []CPUModel // the hypervisor's; nil allows all
	preferred  string     // take this one if allowed
	mustPrefer bool       // and fail if it is not
	migratable bool       // leave out what does not survive migration
}

// decode finds the model that is nearest to data. Models are tried from the newest; one of the same family and model
// number beats all others, and among equals the earlier tried stays.
func (m *cpuMap) decode(data cpuData, how decoding) (*NamedCPU, error) {
	data = data.clone()
	vendor := m.vendorOf(data)
	sig := data.signature()
	delete(data, leaf{})
	data.dropSignature()
	m.dropBrokenTSX(data, vendor, sig)

	var best *NamedCPU
	var bestModel *cpuModel
	for i := len(m.models) - 1; i >= 0; i-- {
		model := m.models[i]
		var blockers []string
		if how.models != nil {
			j := slices.IndexFunc(how.models, func(c CPUModel) bool { return c.Name == model.name })
			if j < 0 {
				if how.preferred == model.name && how.mustPrefer {
					return nil, liberr.New(liberr.FromCPU, liberr.ConfigUnsupported, "CPU model %s is not supported by hypervisor", model.name)
				}
				continue
			}
			blockers = how.models[j].Blockers
		}
		if vendor != nil && model.vendor != nil && vendor != model.vendor {
			continue
		}
		if how.host && !model.host || !how.host && !model.guest && how.preferred != model.name {
			continue
		}
		if how.host && !data.contains(model.data) {
			continue
		}
		candidate := m.describe(data, model, blockers)
		if how.preferred == model.name {
			best = candidate
			break
		}
		if best == nil || better(candidate, model, best, bestModel, sig) {
			best, bestModel = candidate, model
		}
	}
	if best == nil {
		return nil, liberr.New(liberr.FromCPU, liberr.InternalError, "Cannot find suitable CPU model for given data")
	}
	if how.migratable {
		best.Features = slices.DeleteFunc(best.Features, func(f CPUFeature) bool {
			return f.Policy == PolicyRequire && !m.byName[f.Name].migratable
		})
	}
	if vendor != nil {
		best.Vendor = vendor.name
	}
	if how.host {
		// What a model once had and this processor lacks says nothing about a host.
		best.Features = slices.DeleteFunc(best.Features, func(f CPUFeature) bool { return f.Policy == PolicyDisable })
		for i := range best.Features {
			best.Features[i].Policy = ""
		}
		return best, nil
	}
	return best, nil
}

// describe says data in terms of a model. Blockers are what the hypervisor misses to run its own version of the
// model, which may have more than the table says; they are disabled unless data has them.
func (m *cpuMap) describe(data cpuData, model *cpuModel, blockers []string) *NamedCPU {
	c := &NamedCPU{Model: model.name}
	extra := data.clone()
	extra.subtract(model.data)
	missing := model.data.clone()
	missing.subtract(data)
	for _, name := range blockers {
		if f := m.byName[name]; f != nil && !extra.contains(f.data) {
			missing.add(f.data)
		}
	}
	for _, name := range m.names(extra) {
		c.Features = append(c.Features, CPUFeature{name, PolicyRequire})
	}
	for _, name := range m.names(missing) {
		c.Features = append(c.Features, CPUFeature{name, PolicyDisable})
	}
	for _, name := range model.removed {
		if _, has := c.policy(name); !has {
			c.Features = append(c.Features, CPUFeature{name, PolicyDisable})
		}
	}
	return c
}

// better says whether a candidate describes the processor better than the best so far.
func better(c *NamedCPU, model *cpuModel, best *NamedCPU, bestModel *cpuModel, sig signature) bool {
	if sig.family != 0 {
		now, then := model.matches(sig), bestModel.matches(sig)
		if now != then {
			return now
		}
	}
	return cost(c) < cost(best)
}

// cost is how far a model is from the processor: features to add count one each, features to take away more, and more
// with each further one, since programs may rely on what a model's name promises.
//
// The penalty was found by observation: with it, the choices equal those of libvirt 9.0.0 for every pair of models
// given to its baseline call.
func cost(c *NamedCPU) int {
	off := disabled(c)
	step := (off + 3) / 2
	return len(c.Features) + step*step/2
}

func disabled(c *NamedCPU) (n int) {
	for _, f := range c.Features {
		if f.Policy == PolicyDisable {
			n++
		}
	}
	return n
}

// dropBrokenTSX forgets the transactional memory of processors whose microcode turned it off for its errors.
func (m *cpuMap) dropBrokenTSX(data cpuData, vendor *cpuVendor, s signature) {
	if vendor == nil || vendor.name != "Intel" || s.family != 6 {
		return
	}
	if s.model == 60 || s.model == 69 || s.model == 70 || s.model == 63 && s.stepping < 4 {
		data.subtract(m.byName["hle"].data)
		data.subtract(m.byName["rtm"].data)
	}
}
