package domxml

import (
	"strings"
)

// checkFeatureNames refuses features nobody knows; elsewhere unknown elements are simply dropped.
func checkFeatureNames(root *node) error {
	known := grammar["features"]
	for _, f := range elements(root.Kid("features")) {
		if _, ok := known.kids[f.Name]; !ok {
			return unsupported("unexpected feature '%s'", f.Name)
		}
	}
	for _, f := range elements(root.Kid("features/hyperv")) {
		if _, ok := grammar["hyperv"].kids[f.Name]; !ok {
			return unsupported("unsupported HyperV Enlightenment feature: %s", f.Name)
		}
	}
	for _, f := range elements(root.Kid("features/kvm")) {
		if _, ok := grammar["kvm"].kids[f.Name]; !ok {
			return unsupported("unsupported KVM feature: %s", f.Name)
		}
	}
	return nil
}

// checkFeatures reads <features>.
func (def *definition) checkFeatures() error {
	f := def.root.Kid("features")
	if f == nil {
		return nil
	}
	for _, k := range f.Kids {
		if err := checkFeature(k); err != nil {
			return err
		}
	}
	if io := f.Kid("ioapic"); io != nil && !io.Has("driver") {
		f.Remove(io)
	}
	if t := f.Kid("tcg"); t != nil && len(t.Kids) == 0 {
		f.Remove(t)
	}
	if len(f.Kids) == 0 {
		def.root.Remove(f)
	}
	return nil
}

func checkFeature(k *node) error {
	if err := grammar["features"].kids[k.Name].kind.check(withoutKids(k)); err != nil {
		return err
	}
	switch k.Name {
	case "hap", "pvspinlock", "pmu", "vmport", "vmcoreinfo", "smm":
		k.SetDefault("state", "on")
		if v := k.Get("state"); v != "on" && v != "off" {
			return badValue(k, "state", v)
		}
		if k.Get("state") == "off" {
			k.Drop("tseg")
		}
		if t := k.Kid("tseg"); t != nil {
			return normalizeMiB(t)
		}
	case "htm", "nested-hv", "ccf-assist":
		v, ok := k.Lookup("state")
		if !ok {
			return missingAttr(k, "state")
		}
		if v != "on" && v != "off" {
			return badValue(k, "state", v)
		}
	case "tcg":
		return normalizeKiB(k.Kid("tb-cache"), "./tb-cache")
	case "hyperv":
		return checkHyperV(k)
	case "kvm":
		for _, s := range k.Kids {
			if err := checkState(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkState(s *node) error {
	v, ok := s.Lookup("state")
	if !ok {
		return missingAttr(s, "state")
	}
	if v != "on" && v != "off" {
		return badValue(s, "state", v)
	}
	return nil
}

func checkHyperV(h *node) error {
	h.SetDefault("mode", "custom")
	if h.Get("mode") == "passthrough" {
		h.Kids = nil
		return nil
	}
	for _, s := range h.Kids {
		if err := checkState(s); err != nil {
			return err
		}
		on := s.Get("state") == "on"
		switch s.Name {
		case "spinlocks":
			if !on {
				s.Unset("retries")
				continue
			}
			v, ok := uintOf(s, "retries")
			if !ok {
				return missingAttr(s, "retries")
			}
			if v < 4095 {
				return xmlError("HyperV spinlock retry count must be at least 4095")
			}
		case "vendor_id":
			v := s.Get("value")
			switch {
			case !on:
				s.Unset("value")
			case v == "":
				return xmlError("missing 'value' attribute for HyperV feature 'vendor_id'")
			case len(v) > 12:
				return xmlError("HyperV vendor_id value must not be more than 12 characters.")
			case strings.Contains(v, ","):
				return xmlError("HyperV vendor_id value is invalid")
			}
		case "stimer":
			if d := s.Kid("direct"); d != nil {
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
	n.Set("unit", "MiB")
	n.Text = utoa(v / 1024)
	return nil
}
