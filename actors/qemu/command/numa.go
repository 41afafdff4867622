package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"
)

func cellID(c *libvirtxml.DomainCell, i int) int {
	if c.ID != nil {
		return int(*c.ID)
	}
	return i
}

// hasHMAT says whether the definition describes latencies, bandwidths or caches between nodes.
func (b *builder) hasHMAT() bool {
	if b.def.CPU == nil || b.def.CPU.Numa == nil {
		return false
	}
	n := b.def.CPU.Numa
	if n.Interconnects != nil && len(n.Interconnects.Latencies)+len(n.Interconnects.Bandwidths) > 0 {
		return true
	}
	for _, c := range n.Cell {
		if len(c.Caches) > 0 {
			return true
		}
	}
	return false
}

func (b *builder) numa() error {
	cells := b.cells()
	if len(cells) == 0 {
		return nil
	}
	hmat := b.hasHMAT()
	for i := range cells {
		if err := b.numaCell(&cells[i], i, hmat); err != nil {
			return err
		}
	}
	b.numaDistances(cells)
	if hmat {
		b.numaHMAT()
	}
	return nil
}

func (b *builder) numaCell(c *libvirtxml.DomainCell, i int, hmat bool) error {
	id := cellID(c, i)
	k := keyval{"node"}
	k.setf("nodeid", "%d", id)
	if c.CPUs != "" {
		set, err := parseSet(c.CPUs)
		if err != nil {
			return err
		}
		for _, r := range ranges(set) {
			k.set("cpus", r)
		}
	}
	if hmat && c.CPUs != "" {
		k.setf("initiator", "%d", id)
	} else if hmat {
		k.setf("initiator", "%d", b.initiatorOf(id))
	}
	ram := fmt.Sprintf("ram-node%d", id)
	err := b.backMemory(memoryRequest{
		id: ram, file: ram, kib: aligned(kib(uint64(c.Memory), c.Unit)), cell: id, access: c.MemAccess, discard: c.Discard,
	})
	if err != nil {
		return err
	}
	k.set("memdev", ram)
	b.arg("-numa", k.String())
	return nil
}

// initiatorOf is the node whose CPUs reach a node without CPUs best: by bandwidth, then by latency.
func (b *builder) initiatorOf(target int) int {
	links := b.def.CPU.Numa.Interconnects
	best, found := 0, false
	if links == nil {
		return b.firstCPUCell()
	}
	var width uint
	for _, l := range links.Bandwidths {
		if int(l.Target) == target && l.Cache == 0 && b.hasCPUs(int(l.Initiator)) && l.Value > width {
			best, width, found = int(l.Initiator), l.Value, true
		}
	}
	if found {
		return best
	}
	latency := ^uint(0)
	for _, l := range links.Latencies {
		if int(l.Target) == target && l.Cache == 0 && b.hasCPUs(int(l.Initiator)) && l.Value < latency {
			best, latency, found = int(l.Initiator), l.Value, true
		}
	}
	if found {
		return best
	}
	return b.firstCPUCell()
}

func (b *builder) hasCPUs(cell int) bool {
	for i, c := range b.cells() {
		if cellID(&c, i) == cell {
			return c.CPUs != ""
		}
	}
	return false
}

func (b *builder) firstCPUCell() int {
	for i, c := range b.cells() {
		if c.CPUs != "" {
			return cellID(&c, i)
		}
	}
	return 0
}

// numaDistances says how far nodes are from each other. Once one distance is given, QEMU wants all of them.
func (b *builder) numaDistances(cells []libvirtxml.DomainCell) {
	given := map[[2]int]uint{}
	for i, c := range cells {
		if c.Distances == nil {
			continue
		}
		for _, s := range c.Distances.Siblings {
			given[[2]int{cellID(&c, i), int(s.ID)}] = s.Value
		}
	}
	if len(given) == 0 {
		return
	}
	for i := range cells {
		for j := range cells {
			src, dst := cellID(&cells[i], i), cellID(&cells[j], j)
			val, ok := given[[2]int{src, dst}]
			if !ok {
				val = 20
				if src == dst {
					val = 10
				}
			}
			b.arg("-numa", fmt.Sprintf("dist,src=%d,dst=%d,val=%d", src, dst, val))
		}
	}
}

var (
	hmatLevels        = []string{"memory", "first-level", "second-level", "third-level"}
	hmatAssociativity = map[string]string{"none": "none", "direct": "direct", "full": "complex"}
	hmatPolicy        = map[string]string{"none": "none", "writeback": "write-back", "writethrough": "write-through"}
)

func hmatLevel(n uint) string {
	if int(n) < len(hmatLevels) {
		return hmatLevels[n]
	}
	return hmatLevels[0]
}

func (b *builder) numaHMAT() {
	n := b.def.CPU.Numa
	lb := func(initiator, target, cache uint, kind string) keyval {
		k := keyval{"hmat-lb"}
		k.setf("initiator", "%d", initiator)
		k.setf("target", "%d", target)
		k.set("hierarchy", hmatLevel(cache))
		k.set("data-type", kind)
		return k
	}
	if links := n.Interconnects; links != nil {
		for _, l := range links.Latencies {
			k := lb(l.Initiator, l.Target, l.Cache, l.Type+"-latency")
			k.setf("latency", "%d", l.Value)
			b.arg("-numa", k.String())
		}
		for _, l := range links.Bandwidths {
			k := lb(l.Initiator, l.Target, l.Cache, l.Type+"-bandwidth")
			k.setf("bandwidth", "%dK", kib(uint64(l.Value), l.Unit))
			b.arg("-numa", k.String())
		}
	}
	for i, c := range n.Cell {
		for _, cache := range c.Caches {
			k := keyval{"hmat-cache"}
			k.setf("node-id", "%d", cellID(&c, i))
			k.setf("size", "%dK", kib(number(cache.Size.Value), cache.Size.Unit))
			k.setf("level", "%d", cache.Level)
			k.set("associativity", hmatAssociativity[cache.Associativity])
			k.set("policy", hmatPolicy[cache.Policy])
			unit, ok := bytesIn(cache.Line.Unit)
			if !ok {
				unit = 1
			}
			k.setf("line", "%d", number(cache.Line.Value)*unit)
			b.arg("-numa", k.String())
		}
	}
}
