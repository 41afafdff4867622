package node

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtree/wire/liberr"
)

// Info is virNodeInfo.
type Info struct {
	Model   string
	Memory  uint64 // KiB
	CPUs    uint32 // online
	MHz     uint32
	Nodes   uint32 // NUMA cells, 1 when the real shape cannot be told in these terms
	Sockets uint32 // per node
	Cores   uint32 // per socket
	Threads uint32 // per core
}

const cpuDir = "/sys/devices/system/cpu"

// PresentCPUs are the numbers of the CPUs in the machine.
func (n Node) PresentCPUs() []int {
	if s := n.text(cpuDir + "/present"); s != "" {
		return ParseList(s)
	}
	return n.numbered(cpuDir, "cpu")
}

// OnlineCPUs are those the kernel uses.
func (n Node) OnlineCPUs() []int {
	if s := n.text(cpuDir + "/online"); s != "" {
		return ParseList(s)
	}
	return n.PresentCPUs()
}

// CPU is where one CPU sits.
type CPU struct {
	ID, Socket, Die, Core int
	Siblings              []int // threads of the same core, this one included
}

func (n Node) cpu(id int) CPU {
	dir := fmt.Sprintf("%s/cpu%d/topology/", cpuDir, id)
	c := CPU{
		ID:     id,
		Socket: max(n.number(dir+"physical_package_id", 0), 0), // some ARM boards say -1
		Die:    max(n.number(dir+"die_id", 0), 0),
		Core:   n.number(dir+"core_id", 0),
	}
	if s := n.text(dir + "thread_siblings_list"); s != "" {
		c.Siblings = ParseList(s)
	} else {
		c.Siblings = []int{id}
	}
	return c
}

// Info counts as virNodeGetInfo does.
func (n Node) Info() Info {
	info := Info{Model: Machine(), MHz: n.mhz()}
	total, _ := n.hostMemory()
	info.Memory = total / 1024
	online := n.OnlineCPUs()
	info.CPUs = uint32(len(online))
	offline := len(n.PresentCPUs()) - len(online)

	nodes := n.Cells()
	groups := make([][]int, 0, len(nodes)+1)
	for _, cell := range nodes {
		groups = append(groups, n.cellCPUs(cell))
	}
	if len(groups) == 0 {
		groups = append(groups, online)
	}
	info.Nodes = uint32(len(groups))
	for _, group := range groups {
		sockets, cores, threads := n.shape(group, online)
		info.Sockets = max(info.Sockets, sockets)
		info.Cores = max(info.Cores, cores)
		info.Threads = max(info.Threads, threads)
	}
	// Compat: a machine whose shape is not a plain product is shown as one socket of single cores, so that the
	// product is the number of CPUs in any case.
	if info.Nodes*info.Sockets*info.Cores*info.Threads != info.CPUs+uint32(offline) {
		info.Nodes, info.Sockets, info.Threads = 1, 1, 1
		info.Cores = info.CPUs + uint32(offline)
	}
	return info
}

// shape counts the sockets of a group of CPUs, the cores of its fullest socket and the threads of its fullest core.
func (n Node) shape(group, online []int) (sockets, cores, threads uint32) {
	type core struct{ die, core int }
	bySocket := make(map[int]map[core]bool)
	for _, id := range group {
		if !slices.Contains(online, id) {
			continue
		}
		c := n.cpu(id)
		if bySocket[c.Socket] == nil {
			bySocket[c.Socket] = make(map[core]bool)
		}
		bySocket[c.Socket][core{c.Die, c.Core}] = true
		threads = max(threads, uint32(len(c.Siblings)))
	}
	for _, set := range bySocket {
		cores = max(cores, uint32(len(set)))
	}
	return uint32(len(bySocket)), cores, threads
}

// cpuinfo returns the first value of a line of /proc/cpuinfo.
func (n Node) cpuinfo(key string) string {
	for line := range strings.SplitSeq(n.text("/proc/cpuinfo"), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (n Node) mhz() uint32 {
	for _, key := range []string{"cpu MHz", "CPU MHz", "clock"} {
		if f, err := strconv.ParseFloat(strings.TrimSuffix(n.cpuinfo(key), "MHz"), 64); err == nil && f > 0 {
			return uint32(f)
		}
	}
	return 0
}

// MicrocodeVersion is 0 where there is none.
func (n Node) MicrocodeVersion() uint32 {
	v, _ := strconv.ParseUint(n.cpuinfo("microcode"), 0, 32)
	return uint32(v)
}

// CPUSignature names the kind of processor in a line; what a QEMU binary can do depends on it.
func (n Node) CPUSignature() string {
	return fmt.Sprintf("%s, %s, family: %s, model: %s, stepping: %s", n.cpuinfo("vendor_id"), n.cpuinfo("model name"),
		n.cpuinfo("cpu family"), n.cpuinfo("model"), n.cpuinfo("stepping"))
}

// PhysAddrBits is the width of physical addresses, 0 when unknown.
func (n Node) PhysAddrBits() uint {
	var bits uint
	fmt.Sscanf(n.cpuinfo("address sizes"), "%d bits physical", &bits)
	return bits
}

// CPUMap is virNodeGetCPUMap: how many CPUs are present, which of them are online and how many.
func (n Node) CPUMap() (present int, online []bool, count uint32) {
	cpus := n.PresentCPUs()
	if len(cpus) > 0 {
		present = cpus[len(cpus)-1] + 1
	}
	online = make([]bool, present)
	for _, id := range n.OnlineCPUs() {
		if id < present {
			online[id] = true
			count++
		}
	}
	return present, online, count
}

// Stat is a named number, in the order libvirt lists it.
type Stat struct {
	Name  string
	Value uint64
}

// AllCPUs stands for the sum of all in CPUStats (VIR_NODE_CPU_STATS_ALL_CPUS).
const AllCPUs = -1

// nsPerTick: the kernel shows times in hundredths of a second to programs, whatever its own clock is.
const nsPerTick = 1000 * 1000 * 1000 / 100

// CPUStats is the time spent by one CPU, or by all, in nanoseconds.
func (n Node) CPUStats(cpu int) ([]Stat, error) {
	key := "cpu"
	if cpu >= 0 {
		key += strconv.Itoa(cpu)
	}
	if cpu >= AllCPUs {
		for line := range strings.SplitSeq(n.text("/proc/stat"), "\n") {
			f := strings.Fields(line)
			if len(f) < 5 || f[0] != key {
				continue
			}
			var t [7]uint64 // user nice system idle iowait irq softirq
			for i := range t {
				if i+1 < len(f) {
					t[i], _ = strconv.ParseUint(f[i+1], 10, 64)
				}
			}
			return []Stat{
				{"kernel", (t[2] + t[5] + t[6]) * nsPerTick},
				{"user", (t[0] + t[1]) * nsPerTick},
				{"idle", t[3] * nsPerTick},
				{"iowait", t[4] * nsPerTick},
			}, nil
		}
	}
	// Compat: the text names libvirt's own function.
	return nil, liberr.Raw(liberr.FromNone, liberr.InvalidArg, "Invalid cpuNum in virHostCPUGetStatsLinux")
}
