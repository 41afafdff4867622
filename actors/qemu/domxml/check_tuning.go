package domxml

import (
	"math"
	"slices"
	"strconv"

	"virtree/actors/internal/xmltree"
)

// checkCPUTune reads <cputune>: shares, bandwidth, pinning and schedulers.
func (def *definition) checkCPUTune() error {
	t := def.root.Kid("cputune")
	if t == nil {
		return nil
	}
	if err := checkCPUBandwidth(t); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range t.All("vcpupin") {
		if _, ok := uintOf(p, "vcpu"); !ok {
			return xmlError("Missing required attribute 'vcpu' in element 'vcpupin'")
		}
		id := p.Get("vcpu")
		if !p.Has("cpuset") {
			return internalError("missing cpuset for vcpupin")
		}
		if seen[id] {
			return internalError("duplicate vcpupin for vcpu '%s'", id)
		}
		seen[id] = true
		if _, err := normalizeBitmap(p, "cpuset"); err != nil {
			return err
		}
	}
	def.dropPinsBeyond(t)
	for _, p := range t.All("emulatorpin") {
		if _, err := normalizeBitmap(p, "cpuset"); err != nil {
			return err
		}
	}
	for _, p := range t.All("iothreadpin") {
		id := p.Get("iothread")
		if !slices.Contains(def.iothreadIDs(), id) {
			return unsupported("Cannot find 'iothread' : %s", id)
		}
		if _, err := normalizeBitmap(p, "cpuset"); err != nil {
			return err
		}
	}
	if err := checkSchedulers(t); err != nil {
		return err
	}
	if len(t.Kids) == 0 {
		def.root.Remove(t)
	}
	return nil
}

// dropPinsBeyond removes pins of virtual CPUs that do not exist and sorts the rest.
func (def *definition) dropPinsBeyond(t *node) {
	count, _ := strconv.ParseUint(def.root.KidText("vcpu"), 10, 64)
	t.Kids = slices.DeleteFunc(t.Kids, func(k *node) bool {
		id, _ := uintOf(k, "vcpu")
		return k.Name == "vcpupin" && id >= count
	})
	pins := t.All("vcpupin")
	slices.SortStableFunc(pins, byNumber("vcpu"))
	t.Drop("vcpupin")
	t.Add(pins...)
	threads := t.All("iothreadpin")
	slices.SortStableFunc(threads, byNumber("iothread"))
	t.Drop("iothreadpin")
	t.Add(threads...)
}

func checkCPUBandwidth(t *node) error {
	if s := t.Kid("shares"); s != nil {
		if _, err := strconv.ParseUint(s.Text, 10, 64); err != nil {
			return xmlError("can't parse cputune shares value")
		}
	}
	for _, name := range []string{"period", "quota", "global_period", "global_quota", "emulator_period", "emulator_quota", "iothread_period", "iothread_quota"} {
		k := t.Kid(name)
		if k == nil {
			continue
		}
		v, err := strconv.ParseInt(k.Text, 10, 64)
		if err != nil {
			return xmlError("can't parse cputune %s value", name)
		}
		isQuota := name == "quota" || len(name) > 6 && name[len(name)-5:] == "quota"
		if isQuota && v > 0 && (v < 1000 || v > 17592186044415) {
			return unsupported("Value of cputune '%s' must be in range [1000, 17592186044415]", name)
		}
		if !isQuota && v > 0 && (v < 1000 || v > 1000000) {
			return unsupported("Value of cputune '%s' must be in range [1000, 1000000]", name)
		}
		if v == 0 {
			t.Remove(k)
		}
	}
	return nil
}

func checkSchedulers(t *node) error {
	var single []*node
	for _, s := range t.Kids {
		var list string
		switch s.Name {
		case "vcpusched":
			list = "vcpus"
		case "iothreadsched":
			list = "iothreads"
		case "emulatorsched":
		default:
			continue
		}
		if err := grammar["domain"].kids["cputune"].kind.kids[s.Name].kind.check(s); err != nil {
			return err
		}
		switch s.Get("scheduler") {
		case "fifo", "rr":
			if !s.Has("priority") {
				return missingAttr(s, "priority")
			}
		default:
			s.Unset("priority")
		}
		if list == "" {
			continue
		}
		if !s.Has(list) {
			return xmlError("Missing %s attribute", list)
		}
		b, err := normalizeBitmap(s, list)
		if err != nil {
			return err
		}
		single = append(single, spread(s, list, b)...)
	}
	t.Drop("vcpusched", "iothreadsched")
	slices.SortStableFunc(single, func(a, b *node) int { return byNumber(schedList(a))(a, b) })
	t.Add(single...)
	return nil
}

func schedList(s *node) string {
	if s.Name == "vcpusched" {
		return "vcpus"
	}
	return "iothreads"
}

// spread makes one element for each thread of a list: they are kept by thread.
func spread(s *node, list string, b bitmap) (out []*node) {
	for i, on := range b {
		if on {
			c := s.Clone()
			c.Set(list, utoa(i))
			out = append(out, c)
		}
	}
	return out
}

// checkTuning reads <memtune>, <blkiotune>, <numatune> and <resource>.
func (def *definition) checkTuning() error {
	if t := def.root.Kid("memtune"); t != nil {
		if t.Kid("min_guarantee") != nil {
			return qemuUnsupported("Parameter 'min_guarantee' not supported by QEMU.")
		}
		for _, name := range []string{"hard_limit", "soft_limit", "min_guarantee", "swap_hard_limit"} {
			n := t.Kid(name)
			if n == nil {
				continue
			}
			v, err := kib(n, "./memtune/"+name+"[1]")
			if err != nil {
				return err
			}
			if v >= math.MaxInt64>>10 { // the kernel's "no limit"
				t.Remove(n)
				continue
			}
			setKiB(n, v)
		}
		if len(t.Kids) == 0 {
			def.root.Remove(t)
		}
	}
	if err := def.checkBlkio(); err != nil {
		return err
	}
	if r := def.root.Kid("resource"); r != nil && r.KidText("partition") == "" && r.Kid("fibrechannel") == nil {
		def.root.Remove(r)
	}
	return def.checkNUMATune()
}

func (def *definition) checkBlkio() error {
	b := def.root.Kid("blkiotune")
	if b == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, d := range b.All("device") {
		path := d.KidText("path")
		if path == "" {
			return xmlError("missing per-device path")
		}
		if seen[path] {
			return unsupported("duplicate blkio device path '%s'", path)
		}
		seen[path] = true
		for _, k := range d.Kids {
			if _, err := strconv.ParseUint(k.Text, 10, 64); err != nil && k.Name != "path" {
				return xmlError("could not parse %s %s", k.Name, k.Text)
			}
		}
		if len(d.Kids) == 1 {
			b.Remove(d)
		}
	}
	if len(b.Kids) == 0 {
		def.root.Remove(b)
	}
	return nil
}

var numaModes = []string{"strict", "preferred", "interleave", "restrictive"}

func (def *definition) checkNUMATune() error {
	t := def.root.Kid("numatune")
	if t == nil {
		if def.root.Kid("vcpu").Get("placement") == "auto" {
			def.root.Add(&node{Name: "numatune", Kids: []*node{xmltree.Elem("memory", "mode", "strict", "placement", "auto")}})
		}
		return nil
	}
	if m := t.Kid("memory"); m != nil {
		if v, ok := m.Lookup("mode"); ok && !slices.Contains(numaModes, v) {
			return unsupported("Unsupported NUMA memory tuning mode '%s'", v)
		}
		m.SetDefault("mode", "strict")
		if v, ok := m.Lookup("placement"); ok && v != "static" && v != "auto" {
			return unsupported("Unsupported NUMA memory placement mode '%s'", v)
		}
		if !m.Has("placement") && !m.Has("nodeset") {
			m.Set("placement", def.root.Kid("vcpu").Get("placement"))
		}
		if m.Get("placement") == "static" && !m.Has("nodeset") {
			return unsupported("nodeset for NUMA memory tuning must be set if 'placement' is 'static'")
		}
		if m.Get("placement") == "auto" {
			m.Unset("nodeset")
		} else {
			m.Unset("placement")
			if _, err := normalizeBitmap(m, "nodeset"); err != nil {
				return err
			}
		}
	}
	cells := def.root.Kid("cpu/numa").All("cell")
	for _, m := range t.All("memnode") {
		if len(cells) == 0 {
			return xmlError("Element 'memnode' is invalid without any guest NUMA cells")
		}
		id, ok := uintOf(m, "cellid")
		if !ok {
			return xmlError("Missing required attribute 'cellid' in element 'memnode'")
		}
		if id >= uint64(len(cells)) {
			return xmlError("Argument 'cellid' in memnode element must correspond to existing guest's NUMA cell")
		}
		if v, ok := m.Lookup("mode"); ok && !slices.Contains(numaModes, v) {
			return unsupported("Unsupported NUMA memory tuning mode '%s'", v)
		}
		m.SetDefault("mode", "strict")
		if _, err := normalizeBitmap(m, "nodeset"); err != nil {
			return err
		}
	}
	return nil
}
