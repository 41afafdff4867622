package node

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// AllCells stands for the whole host where a cell is asked for.
const AllCells = -1

// meminfo reads "Key:   123 kB" lines, those of a node with their "Node 0 " in front; the values are bytes.
func (n Node) meminfo(p string) map[string]uint64 {
	m := make(map[string]uint64)
	for line := range strings.SplitSeq(n.text(p), "\n") {
		f := strings.Fields(line)
		if len(f) > 2 && f[0] == "Node" {
			f = f[2:]
		}
		if len(f) < 2 {
			continue
		}
		v, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			continue
		}
		if len(f) > 2 && f[2] == "kB" {
			v *= 1024
		}
		m[strings.TrimSuffix(f[0], ":")] = v
	}
	return m
}

func (n Node) cellMemory(cell int) (total, free uint64, ok bool) {
	m := n.meminfo(n.cellPath(cell) + "/meminfo")
	total, ok = m["MemTotal"]
	return total, m["MemFree"], ok
}

// hostMemory is the sum of the cells, in bytes. It may be less than /proc/meminfo says when memory belongs to no cell.
func (n Node) hostMemory() (total, free uint64) {
	found := false
	for _, cell := range n.Cells() {
		t, f, ok := n.cellMemory(cell)
		total, free, found = total+t, free+f, found || ok
	}
	if !found {
		m := n.meminfo("/proc/meminfo")
		return m["MemTotal"], m["MemFree"]
	}
	return total, free
}

// FreeMemory is virNodeGetFreeMemory, in bytes.
func (n Node) FreeMemory() uint64 {
	_, free := n.hostMemory()
	return free
}

func startCellError(start, last int) error {
	return liberr.New(liberr.FromNone, liberr.InternalError, "start cell %d out of range (0-%d)", start, last)
}

// CellsFreeMemory lists the free bytes of some cells. A cell that does not exist between others counts 0.
func (n Node) CellsFreeMemory(start, count int) ([]uint64, error) {
	last := n.maxCell()
	if start < 0 || start > last {
		return nil, startCellError(start, last)
	}
	last = min(last, start+count-1)
	var list []uint64
	for cell := start; cell <= last; cell++ {
		_, free, ok := n.cellMemory(cell)
		if !ok && len(n.Cells()) == 0 {
			free = n.FreeMemory()
		}
		list = append(list, free)
	}
	return list, nil
}

// MemoryStats is virNodeGetMemoryStats, in KiB: of one cell, or of the host.
func (n Node) MemoryStats(cell int) ([]Stat, error) {
	if cell == AllCells {
		m := n.meminfo("/proc/meminfo")
		return []Stat{
			{"total", m["MemTotal"] / 1024}, {"free", m["MemFree"] / 1024},
			{"buffers", m["Buffers"] / 1024}, {"cached", m["Cached"] / 1024},
		}, nil
	}
	if last := n.maxCell(); cell < 0 || cell > last {
		return nil, liberr.Raw(liberr.FromNone, liberr.InvalidArg,
			fmt.Sprintf("cellNum in virHostMemGetStats must be less than or equal to %d", last))
	}
	total, free, _ := n.cellMemory(cell)
	return []Stat{{"total", total / 1024}, {"free", free / 1024}}, nil
}

// pageDir is where the huge pages of a cell, or of the host, are counted.
func (n Node) pageDir(cell int) string {
	if cell == AllCells {
		return "/sys/kernel/mm/hugepages"
	}
	return n.cellPath(cell) + "/hugepages"
}

// cellPages lists the pools from the smallest page up.
func (n Node) cellPages(cell int) []Pages {
	var list []Pages
	var huge uint64
	entries, _ := os.ReadDir(n.path(n.pageDir(cell)))
	for _, e := range entries {
		var size uint64
		if _, err := fmt.Sscanf(e.Name(), "hugepages-%dkB", &size); err != nil {
			continue
		}
		d := n.pageDir(cell) + "/" + e.Name()
		p := Pages{SizeKiB: size, Total: uint64(n.number(d+"/nr_hugepages", 0)), Free: uint64(n.number(d+"/free_hugepages", 0))}
		huge += p.Total * size
		list = append(list, p)
	}
	total, free := n.hostMemory()
	if cell != AllCells {
		total, free, _ = n.cellMemory(cell)
	}
	size := uint64(os.Getpagesize() / 1024)
	list = append(list, Pages{SizeKiB: size, Total: (total/1024 - min(huge, total/1024)) / size, Free: free / 1024 / size})
	slices.SortFunc(list, func(a, b Pages) int { return int(a.SizeKiB) - int(b.SizeKiB) })
	return list
}

// PageSizes lists the sizes of page that the host can give to guests, in KiB.
func (n Node) PageSizes() []uint64 {
	var sizes []uint64
	for _, p := range n.cellPages(AllCells) {
		sizes = append(sizes, p.SizeKiB)
	}
	return sizes
}

// FreePages is virNodeGetFreePages: for each cell the number of free pages of each size, in KiB.
func (n Node) FreePages(sizes []uint32, start int, count uint) ([]uint64, error) {
	last := n.maxCell()
	if start > last {
		return nil, startCellError(start, last)
	}
	if start < AllCells {
		return nil, liberr.Raw(liberr.FromNone, liberr.InternalError, "An error occurred, but the cause is unknown")
	}
	last = min(last, start+int(min(count, maxListed))-1)
	var list []uint64
	for cell := start; cell <= last; cell++ {
		pools := n.cellPages(cell)
		for _, size := range sizes {
			i := slices.IndexFunc(pools, func(p Pages) bool { return p.SizeKiB == uint64(size) })
			if i < 0 {
				return nil, pageSizeError(size, cell)
			}
			list = append(list, pools[i].Free)
		}
	}
	return list, nil
}

func pageSizeError(size uint32, cell int) error {
	if cell == AllCells {
		return liberr.New(liberr.FromNone, liberr.OperationFailed, "page size %d is not available", size)
	}
	return liberr.New(liberr.FromNone, liberr.OperationFailed, "page size %d is not available on node %d", size, cell)
}

// AllocPages is virNodeAllocPages: it adds pages to the pools of some cells, or (set) makes them so many. It returns how
// many pools were changed.
func (n Node) AllocPages(sizes []uint32, counts []uint64, start int, cells uint, set bool) (int, error) {
	last := n.maxCell()
	if start > last {
		return 0, startCellError(start, last)
	}
	last = min(last, start+int(min(cells, maxListed))-1)
	changed := 0
	for cell := start; cell <= last; cell++ {
		for i, size := range sizes {
			if err := n.allocPool(cell, size, counts[i], set); err != nil {
				return changed, err
			}
			changed++
		}
	}
	return changed, nil
}

func (n Node) allocPool(cell int, size uint32, count uint64, set bool) error {
	if int(size) == os.Getpagesize()/1024 {
		return liberr.New(liberr.FromNone, liberr.OperationUnsupported, "system pages pool can't be modified")
	}
	file := fmt.Sprintf("%s/hugepages-%dkB/nr_hugepages", n.pageDir(cell), size)
	if !n.exists(file) {
		return pageSizeError(size, cell)
	}
	now := uint64(n.number(file, 0))
	want := count
	if !set {
		want += now
	}
	if want == now {
		return nil
	}
	if err := os.WriteFile(n.path(file), []byte(strconv.FormatUint(want, 10)), 0); err != nil {
		return liberr.System(liberr.FromNone, err, "Unable to write to: %s", n.path(file))
	}
	// The kernel takes what it can get and does not complain.
	if got := uint64(n.number(file, 0)); got != want {
		return liberr.New(liberr.FromNone, liberr.OperationFailed, "Unable to allocate %d pages. Allocated only %d",
			int64(count), int64(got)-int64(now))
	}
	return nil
}
