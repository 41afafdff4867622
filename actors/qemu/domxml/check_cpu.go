package domxml

import (
	"slices"
	"strconv"
	"strings"

	"virtree/actors/internal/xmltree"
)

var cpuModes = []string{"custom", "host-model", "host-passthrough", "maximum"}

// checkCPU reads <cpu> without its NUMA cells.
func (def *definition) checkCPU() error {
	c := def.root.Kid("cpu")
	if c == nil {
		return nil
	}
	model := c.Kid("model")
	if model != nil && strings.TrimSpace(model.Text) == "" {
		model.Text = ""
	}
	if model == nil || model.Text == "" {
		if mode := c.Get("mode"); c.Kid("vendor") != nil {
			return xmlError("CPU vendor specified without CPU model")
		} else if c.Kid("feature") != nil && (mode == "" || mode == "custom") {
			return xmlError("Non-empty feature list specified without CPU model")
		}
	}
	mode, ok := c.Lookup("mode")
	switch {
	case ok && !slices.Contains(cpuModes, mode):
		return unsupported("Invalid mode attribute '%s'", mode)
	case !ok && (model != nil && model.Text != "" || c.Has("match")):
		mode = "custom"
	case !ok:
		mode = ""
	}
	if mode != "" {
		c.Set("mode", mode)
	}
	if err := grammar["cpu"].check(withoutKids(c)); err != nil {
		return err
	}
	if mode == "custom" && model != nil && model.Text != "" {
		c.SetDefault("match", "exact")
	}
	if mode != "custom" {
		c.Unset("match")
	}
	if c.Has("migratable") && mode != "host-passthrough" && mode != "maximum" {
		return unsupported("Attribute migratable is only allowed for 'host-passthrough' / 'maximum' CPU mode")
	}
	if mode != "host-passthrough" && mode != "maximum" {
		c.Unset("migratable")
	}
	if model != nil {
		if v, ok := model.Lookup("fallback"); ok && v != "allow" && v != "forbid" {
			return unsupported("Invalid fallback attribute")
		}
		if v, ok := model.Lookup("vendor_id"); ok {
			if len(v) != 12 {
				return xmlError("vendor_id must be exactly 12 characters long")
			}
			if strings.Contains(v, ",") {
				return xmlError("vendor id is invalid")
			}
		}
		switch {
		case mode == "custom" && model.Text != "":
			model.SetDefault("fallback", "allow")
		default:
			c.Remove(model)
		}
	}
	if t := c.Kid("topology"); t != nil {
		if err := grammar["topology"].check(t); err != nil {
			return err
		}
		t.SetDefault("dies", "1")
	}
	for _, name := range []string{"cache", "maxphysaddr"} {
		if k := c.Kid(name); k != nil {
			if err := grammar["cpu"].kids[name].kind.check(k); err != nil {
				return err
			}
		}
	}
	return checkCPUFeatures(c)
}

func withoutKids(n *node) *node { return &node{Name: n.Name, Attrs: n.Attrs} }

func checkCPUFeatures(c *node) error {
	seen := map[string]bool{}
	for _, f := range c.All("feature") {
		f.SetDefault("policy", "require")
		if !slices.Contains([]string{"force", "require", "optional", "disable", "forbid"}, f.Get("policy")) {
			return unsupported("Invalid CPU feature policy")
		}
		name := f.Get("name")
		if name == "" {
			return xmlError("Invalid CPU feature name")
		}
		if seen[name] {
			return xmlError("CPU feature '%s' specified more than once", name)
		}
		seen[name] = true
	}
	return nil
}

// checkNUMA reads the guest's NUMA cells; with them the memory is the sum of the cells.
func (def *definition) checkNUMA() error {
	numa := def.root.Kid("cpu/numa")
	if numa == nil {
		return nil
	}
	cells := numa.All("cell")
	seen := map[uint64]bool{}
	for i, c := range cells {
		id := uint64(i)
		if c.Has("id") {
			v, ok := uintOf(c, "id")
			if !ok {
				return xmlError("Invalid 'id' attribute in NUMA cell: '%s'", c.Get("id"))
			}
			id = v
		}
		if id >= uint64(len(cells)) {
			return xmlError("Exactly one 'cell' element per guest NUMA cell allowed, non-contiguous ranges or ranges not starting from 0 are not allowed")
		}
		if seen[id] {
			return xmlError("Duplicate NUMA cell info for cell id '%d'", id)
		}
		seen[id] = true
		c.Set("id", utoa(id))
	}
	slices.SortStableFunc(cells, byNumber("id"))
	numa.Drop("cell")
	numa.Kids = append(cells, numa.Kids...)
	used := make([]bitmap, len(cells))
	for i, c := range cells {
		if err := checkCell(c); err != nil {
			return err
		}
		if b, err := normalizeBitmap(c, "cpus"); err != nil {
			return err
		} else {
			used[i] = b
		}
		for j := range i {
			if overlap(used[i], used[j]) {
				return unsupported("NUMA cells %d and %d have overlapping vCPU ids", i, j)
			}
		}
	}
	fillDistances(cells)
	return checkInterconnects(numa)
}

func checkCell(c *node) error {
	text, ok := c.Lookup("memory")
	if !ok {
		return xmlError("missing element or attribute './@memory'")
	}
	v, err := kibText(text, c.Get("unit"), "./@memory")
	if err != nil {
		return err
	}
	c.Set("memory", utoa(v))
	c.Set("unit", "KiB")
	if err := grammar["cell"].check(withoutKids(c)); err != nil {
		return err
	}
	for _, cache := range c.All("cache") {
		for _, name := range []string{"size", "line"} {
			k := cache.Kid(name)
			if k == nil {
				return xmlError("Missing '%s' element under cache", name)
			}
			if name == "line" {
				continue
			}
			v, err := kibText(k.Get("value"), k.Get("unit"), "./"+name+"/@value")
			if err != nil {
				return err
			}
			k.Set("value", utoa(v))
			k.Set("unit", "KiB")
		}
	}
	return nil
}

func overlap(a, b bitmap) bool {
	for i := range min(len(a), len(b)) {
		if a[i] && b[i] {
			return true
		}
	}
	return false
}

// fillDistances completes the matrix where it is given at all: a cell is 10 from itself, and as far from another as that
// one is from it.
func fillDistances(cells []*node) {
	matrix := map[[2]string]string{}
	for _, c := range cells {
		for _, s := range c.Kid("distances").All("sibling") {
			matrix[[2]string{c.Get("id"), s.Get("id")}] = s.Get("value")
		}
	}
	touched := map[string]bool{}
	for pair := range matrix {
		touched[pair[0]], touched[pair[1]] = true, true
	}
	for _, c := range cells {
		c.Drop("distances")
		id := c.Get("id")
		if !touched[id] {
			continue
		}
		d := xmltree.Elem("distances")
		for _, other := range cells {
			o := other.Get("id")
			v, ok := matrix[[2]string{id, o}]
			if !ok {
				v, ok = matrix[[2]string{o, id}]
			}
			switch {
			case ok:
			case o == id:
				v = "10"
			default:
				continue
			}
			d.Add(xmltree.Elem("sibling", "id", o, "value", v))
		}
		c.Add(d)
	}
}

func checkInterconnects(numa *node) error {
	for _, b := range numa.Kid("interconnects").All("bandwidth") {
		v, err := kibText(b.Get("value"), b.Get("unit"), "./@value")
		if err != nil {
			return err
		}
		b.Set("value", utoa(v))
		b.Set("unit", "KiB")
	}
	return nil
}

// cellMemory is the sum of the cells, in KiB.
func (def *definition) cellMemory() (sum uint64) {
	for _, c := range def.root.Kid("cpu/numa").All("cell") {
		v, _ := strconv.ParseUint(c.Get("memory"), 10, 64)
		sum += v
	}
	return sum
}
