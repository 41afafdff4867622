package domxml

import (
	"strings"
)

// checkFeatureNames refuses features nobody knows; elsewhere unknown elements are simply dropped.
func checkFeatureNames(root *node) error {
	known := grammar["features"]
	for _, f := range root.kid("features").elements() {
		if _, ok := known.kids[f.name]; !ok {
			return unsupported("unexpected feature '%s'", f.name)
		}
	}
	for _, f := range root.kid("features/hyperv").elements() {
		if _, ok := grammar["hyperv"].kids[f.name]; !ok {
			return unsupported("unsupported HyperV Enlightenment feature: %s", f.name)
		}
	}
	for _, f := range root.kid("features/kvm").elements() {
		if _, ok := grammar["kvm"].kids[f.name]; !ok {
			return unsupported("unsupported KVM feature: %s", f.name)
		}
	}
	return nil
}

func (n *node) elements() []*node {
	if n == nil {
		return nil
	}
	return n.kids
}

// checkFeatures reads <features>.
func (def *definition) checkFeatures() error {
	f := def.root.kid("features")
	if f == nil {
		return nil
	}
	for _, k := range f.kids {
		if err := checkFeature(k); err != nil {
			return err
		}
	}
	if io := f.kid("ioapic"); io != nil && !io.has("driver") {
		f.remove(io)
	}
	if t := f.kid("tcg"); t != nil && len(t.kids) == 0 {
		f.remove(t)
	}
	if len(f.kids) == 0 {
		def.root.remove(f)
	}
	return nil
}

func checkFeature(k *node) error {
	if err := grammar["features"].kids[k.name].kind.check(withoutKids(k)); err != nil {
		return err
	}
	switch k.name {
	case "hap", "pvspinlock", "pmu", "vmport", "vmcoreinfo", "smm":
		k.setDefault("state", "on")
		if v := k.get("state"); v != "on" && v != "off" {
			return badValue(k, "state", v)
		}
		if k.get("state") == "off" {
			k.drop("tseg")
		}
		if t := k.kid("tseg"); t != nil {
			return normalizeMiB(t)
		}
	case "htm", "nested-hv", "ccf-assist":
		v, ok := k.lookup("state")
		if !ok {
			return missingAttr(k, "state")
		}
		if v != "on" && v != "off" {
			return badValue(k, "state", v)
		}
	case "tcg":
		return normalizeKiB(k.kid("tb-cache"), "./tb-cache")
	case "hyperv":
		return checkHyperV(k)
	case "kvm":
		for _, s := range k.kids {
			if err := checkState(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkState(s *node) error {
	v, ok := s.lookup("state")
	if !ok {
		return missingAttr(s, "state")
	}
	if v != "on" && v != "off" {
		return badValue(s, "state", v)
	}
	return nil
}

func checkHyperV(h *node) error {
	h.setDefault("mode", "custom")
	if h.get("mode") == "passthrough" {
		h.kids = nil
		return nil
	}
	for _, s := range h.kids {
		if err := checkState(s); err != nil {
			return err
		}
		on := s.get("state") == "on"
		switch s.name {
		case "spinlocks":
			if !on {
				s.unset("retries")
				continue
			}
			v, ok := s.uint("retries")
			if !ok {
				return missingAttr(s, "retries")
			}
			if v < 4095 {
				return xmlError("HyperV spinlock retry count must be at least 4095")
			}
		case "vendor_id":
			v := s.get("value")
			switch {
			case !on:
				s.unset("value")
			case v == "":
				return xmlError("missing 'value' attribute for HyperV feature 'vendor_id'")
			case len(v) > 12:
				return xmlError("HyperV vendor_id value must not be more than 12 characters.")
			case strings.Contains(v, ","):
				return xmlError("HyperV vendor_id value is invalid")
			}
		case "stimer":
			if d := s.kid("direct"); d != nil {
				if err := checkState(d); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// normalizeMiB rewrites a size in MiB, the unit of the TSEG.
func normalizeMiB(n *node) error {
	v, err := kib(n, "./tseg")
	if err != nil {
		return err
	}
	n.set("unit", "MiB")
	n.text = utoa(v / 1024)
	return nil
}
