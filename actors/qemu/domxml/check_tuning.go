package domxml

import (
	"math"
	"slices"
	"strconv"
)

// checkCPUTune reads <cputune>: shares, bandwidth, pinning and schedulers.
func (def *definition) checkCPUTune() error {
	t := def.root.kid("cputune")
	if t == nil {
		return nil
	}
	if err := checkCPUBandwidth(t); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range t.all("vcpupin") {
		if _, ok := p.uint("vcpu"); !ok {
			return xmlError("Missing required attribute 'vcpu' in element 'vcpupin'")
		}
		id := p.get("vcpu")
		if !p.has("cpuset") {
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
	for _, p := range t.all("emulatorpin") {
		if _, err := normalizeBitmap(p, "cpuset"); err != nil {
			return err
		}
	}
	for _, p := range t.all("iothreadpin") {
		id := p.get("iothread")
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
	if len(t.kids) == 0 {
		def.root.remove(t)
	}
	return nil
}

// dropPinsBeyond removes pins of virtual CPUs that do not exist and sorts the rest.
func (def *definition) dropPinsBeyond(t *node) {
	count, _ := strconv.ParseUint(def.root.kidText("vcpu"), 10, 64)
	t.kids = slices.DeleteFunc(t.kids, func(k *node) bool {
		id, _ := k.uint("vcpu")
		return k.name == "vcpupin" && id >= count
	})
	pins := t.all("vcpupin")
	slices.SortStableFunc(pins, byNumber("vcpu"))
	t.drop("vcpupin")
	t.add(pins...)
	threads := t.all("iothreadpin")
	slices.SortStableFunc(threads, byNumber("iothread"))
	t.drop("iothreadpin")
	t.add(threads...)
}

func checkCPUBandwidth(t *node) error {
	if s := t.kid("shares"); s != nil {
		if _, err := strconv.ParseUint(s.text, 10, 64); err != nil {
			return xmlError("can't parse cputune shares value")
		}
	}
	for _, name := range []string{"period", "quota", "global_period", "global_quota", "emulator_period", "emulator_quota", "iothread_period", "iothread_quota"} {
		k := t.kid(name)
		if k == nil {
			continue
		}
		v, err := strconv.ParseInt(k.text, 10, 64)
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
			t.remove(k)
		}
	}
	return nil
}

func checkSchedulers(t *node) error {
	var single []*node
	for _, s := range t.kids {
		var list string
		switch s.name {
		case "vcpusched":
			list = "vcpus"
		case "iothreadsched":
			list = "iothreads"
		case "emulatorsched":
		default:
			continue
		}
		if err := grammar["domain"].kids["cputune"].kind.kids[s.name].kind.check(s); err != nil {
			return err
		}
		switch s.get("scheduler") {
		case "fifo", "rr":
			if !s.has("priority") {
				return missingAttr(s, "priority")
			}
		default:
			s.unset("priority")
		}
		if list == "" {
			continue
		}
		if !s.has(list) {
			return xmlError("Missing %s attribute", list)
		}
		b, err := normalizeBitmap(s, list)
		if err != nil {
			return err
		}
		single = append(single, spread(s, list, b)...)
	}
	t.drop("vcpusched", "iothreadsched")
	slices.SortStableFunc(single, func(a, b *node) int { return byNumber(schedList(a))(a, b) })
	t.add(single...)
	return nil
}

func schedList(s *node) string {
	if s.name == "vcpusched" {
		return "vcpus"
	}
	return "iothreads"
}

// spread makes one element for each thread of a list: they are kept by thread.
func spread(s *node, list string, b bitmap) (out []*node) {
	for i, on := range b {
		if on {
			c := s.clone()
			c.set(list, utoa(i))
			out = append(out, c)
		}
	}
	return out
}

// checkTuning reads <memtune>, <blkiotune>, <numatune> and <resource>.
func (def *definition) checkTuning() error {
	if t := def.root.kid("memtune"); t != nil {
		if t.kid("min_guarantee") != nil {
			return qemuUnsupported("Parameter 'min_guarantee' not supported by QEMU.")
		}
		for _, name := range []string{"hard_limit", "soft_limit", "min_guarantee", "swap_hard_limit"} {
			n := t.kid(name)
			if n == nil {
				continue
			}
			v, err := kib(n, "./memtune/"+name+"[1]")
			if err != nil {
				return err
			}
			if v >= math.MaxInt64>>10 { // the kernel's "no limit"
				t.remove(n)
				continue
			}
			n.setKiB(v)
		}
		if len(t.kids) == 0 {
			def.root.remove(t)
		}
	}
	if err := def.checkBlkio(); err != nil {
		return err
	}
	if r := def.root.kid("resource"); r != nil && r.kidText("partition") == "" && r.kid("fibrechannel") == nil {
		def.root.remove(r)
	}
	return def.checkNUMATune()
}

func (def *definition) checkBlkio() error {
	b := def.root.kid("blkiotune")
	if b == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, d := range b.all("device") {
		path := d.kidText("path")
		if path == "" {
			return xmlError("missing per-device path")
		}
		if seen[path] {
			return unsupported("duplicate blkio device path '%s'", path)
		}
		seen[path] = true
		for _, k := range d.kids {
			if _, err := strconv.ParseUint(k.text, 10, 64); err != nil && k.name != "path" {
				return xmlError("could not parse %s %s", k.name, k.text)
			}
		}
		if len(d.kids) == 1 {
			b.remove(d)
		}
	}
	if len(b.kids) == 0 {
		def.root.remove(b)
	}
	return nil
}

var numaModes = []string{"strict", "preferred", "interleave", "restrictive"}

func (def *definition) checkNUMATune() error {
	t := def.root.kid("numatune")
	if t == nil {
		if def.root.kid("vcpu").get("placement") == "auto" {
			def.root.add(&node{name: "numatune", kids: []*node{elem("memory", "mode", "strict", "placement", "auto")}})
		}
		return nil
	}
	if m := t.kid("memory"); m != nil {
		if v, ok := m.lookup("mode"); ok && !slices.Contains(numaModes, v) {
			return unsupported("Unsupported NUMA memory tuning mode '%s'", v)
		}
		m.setDefault("mode", "strict")
		if v, ok := m.lookup("placement"); ok && v != "static" && v != "auto" {
			return unsupported("Unsupported NUMA memory placement mode '%s'", v)
		}
		if !m.has("placement") && !m.has("nodeset") {
			m.set("placement", def.root.kid("vcpu").get("placement"))
		}
		if m.get("placement") == "static" && !m.has("nodeset") {
			return unsupported("nodeset for NUMA memory tuning must be set if 'placement' is 'static'")
		}
		if m.get("placement") == "auto" {
			m.unset("nodeset")
		} else {
			m.unset("placement")
			if _, err := normalizeBitmap(m, "nodeset"); err != nil {
				return err
			}
		}
	}
	cells := def.root.kid("cpu/numa").all("cell")
	for _, m := range t.all("memnode") {
		if len(cells) == 0 {
			return xmlError("Element 'memnode' is invalid without any guest NUMA cells")
		}
		id, ok := m.uint("cellid")
		if !ok {
			return xmlError("Missing required attribute 'cellid' in element 'memnode'")
		}
		if id >= uint64(len(cells)) {
			return xmlError("Argument 'cellid' in memnode element must correspond to existing guest's NUMA cell")
		}
		if v, ok := m.lookup("mode"); ok && !slices.Contains(numaModes, v) {
			return unsupported("Unsupported NUMA memory tuning mode '%s'", v)
		}
		m.setDefault("mode", "strict")
		if _, err := normalizeBitmap(m, "nodeset"); err != nil {
			return err
		}
	}
	return nil
}
