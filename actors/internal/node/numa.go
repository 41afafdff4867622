package node

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

const nodeDir = "/sys/devices/system/node"

// Cells are the numbers of the NUMA nodes; none where the kernel knows no NUMA.
func (n Node) Cells() []int {
	if s := n.text(nodeDir + "/online"); s != "" {
		return ParseList(s)
	}
	return n.numbered(nodeDir, "node")
}

// maxCell is the highest number of a cell, 0 without NUMA.
func (n Node) maxCell() int {
	if cells := n.Cells(); len(cells) > 0 {
		return cells[len(cells)-1]
	}
	return 0
}

func (n Node) cellPath(cell int) string { return nodeDir + "/node" + strconv.Itoa(cell) }

func (n Node) cellCPUs(cell int) []int { return ParseList(n.text(n.cellPath(cell) + "/cpulist")) }

// Pages is the pool of one size of page.
type Pages struct {
	SizeKiB     uint64
	Total, Free uint64
}

// Distance is how far a cell is, 10 for itself.
type Distance struct{ Cell, Value int }

// Cell is a NUMA node as the capabilities show it.
type Cell struct {
	ID        int
	MemoryKiB uint64
	Pages     []Pages
	Distances []Distance
	CPUs      []CPU // online ones
}

// Topology lists the cells. A host without NUMA has one cell 0 with everything and no distances.
func (n Node) Topology() []Cell {
	online := make(map[int]bool)
	for _, id := range n.OnlineCPUs() {
		online[id] = true
	}
	ids := n.Cells()
	if len(ids) == 0 {
		total, _ := n.hostMemory()
		cell := Cell{MemoryKiB: total / 1024, Pages: n.cellPages(AllCells)}
		for _, id := range n.OnlineCPUs() {
			cell.CPUs = append(cell.CPUs, n.cpu(id))
		}
		return []Cell{cell}
	}
	var cells []Cell
	for _, id := range ids {
		total, _, _ := n.cellMemory(id)
		cell := Cell{ID: id, MemoryKiB: total / 1024, Pages: n.cellPages(id)}
		for i, f := range strings.Fields(n.text(n.cellPath(id) + "/distance")) {
			if v, err := strconv.Atoi(f); err == nil && i < len(ids) {
				cell.Distances = append(cell.Distances, Distance{ids[i], v})
			}
		}
		for _, cpu := range n.cellCPUs(id) {
			if online[cpu] {
				cell.CPUs = append(cell.CPUs, n.cpu(cpu))
			}
		}
		cells = append(cells, cell)
	}
	return cells
}

// Cache is a bank of cache shared by some CPUs.
type Cache struct {
	ID, Level int
	Type      string // "both", "code", "data"
	SizeKiB   uint64
	CPUs      []int
}

// Caches lists the banks of the third level and beyond, those that can be allotted to guests.
func (n Node) Caches() []Cache {
	var list []Cache
	seen := make(map[string]bool)
	for _, cpu := range n.OnlineCPUs() {
		dir := fmt.Sprintf("%s/cpu%d/cache", cpuDir, cpu)
		for _, index := range n.numbered(dir, "index") {
			d := fmt.Sprintf("%s/index%d/", dir, index)
			c := Cache{ID: n.number(d+"id", -1), Level: n.number(d+"level", 0)}
			if c.Level < 3 || c.ID < 0 {
				continue
			}
			switch n.text(d + "type") {
			case "Unified":
				c.Type = "both"
			case "Instruction":
				c.Type = "code"
			case "Data":
				c.Type = "data"
			}
			key := fmt.Sprint(c.ID, c.Level, c.Type)
			if c.Type == "" || seen[key] {
				continue
			}
			seen[key] = true
			fmt.Sscanf(n.text(d+"size"), "%dK", &c.SizeKiB)
			c.CPUs = ParseList(n.text(d + "shared_cpu_list"))
			list = append(list, c)
		}
	}
	return list
}

// HasIOMMU says whether devices can be given to guests behind an IOMMU.
func (n Node) HasIOMMU() bool {
	entries, err := os.ReadDir(n.path("/sys/kernel/iommu_groups"))
	return err == nil && len(entries) > 0
}
