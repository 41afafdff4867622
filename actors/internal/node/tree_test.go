package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

// tree writes files below a folder and returns the node that reads them.
func tree(t *testing.T, files map[string]string) Node {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Node{Root: root}
}

// server is a machine of two sockets with four cores of two threads each, one NUMA node a socket, as Intel numbers
// them: the second threads come after all first ones.
func server() map[string]string {
	f := map[string]string{
		"sys/devices/system/cpu/present": "0-15", "sys/devices/system/cpu/online": "0-15",
		"sys/devices/system/node/online":        "0-1",
		"sys/devices/system/node/node0/cpulist": "0-3,8-11", "sys/devices/system/node/node1/cpulist": "4-7,12-15",
		"sys/devices/system/node/node0/distance": "10 21", "sys/devices/system/node/node1/distance": "21 10",
		"sys/devices/system/node/node0/meminfo":                                   "Node 0 MemTotal:       8000000 kB\nNode 0 MemFree:        6000000 kB\nNode 0 MemUsed:        2000000 kB",
		"sys/devices/system/node/node1/meminfo":                                   "Node 1 MemTotal:       4000000 kB\nNode 1 MemFree:        1000000 kB",
		"sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages":   "100",
		"sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages": "40",
		"sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages":   "0",
		"sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages": "0",
		"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages":                   "100",
		"sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages":                 "40",
		"proc/meminfo": "MemTotal:       12000000 kB\nMemFree:         7000000 kB\nBuffers:          100000 kB\nCached:           200000 kB",
		"proc/stat":    "cpu  100 10 50 1000 20 3 4 0 0 0\ncpu0 50 5 25 500 10 1 2 0 0 0\ncpu10 1 1 1 1 1 1 1 0 0 0\nintr 5",
		"proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Xeon\nstepping\t: 7\nmicrocode\t: 0x5003006\ncpu MHz\t\t: 2100.987\naddress sizes\t: 46 bits physical, 48 bits virtual",
	}
	for id := range 16 {
		d := fmt.Sprintf("sys/devices/system/cpu/cpu%d/", id)
		core := id % 8
		f[d+"topology/physical_package_id"] = fmt.Sprint(core / 4)
		f[d+"topology/core_id"] = fmt.Sprint(core % 4)
		f[d+"topology/die_id"] = "0"
		f[d+"topology/thread_siblings_list"] = fmt.Sprintf("%d,%d", core, core+8)
		f[d+"cache/index3/id"] = fmt.Sprint(core / 4)
		f[d+"cache/index3/level"] = "3"
		f[d+"cache/index3/type"] = "Unified"
		f[d+"cache/index3/size"] = "16384K"
		f[d+"cache/index3/shared_cpu_list"] = []string{"0-3,8-11", "4-7,12-15"}[core/4]
		f[d+"cache/index0/level"] = "1"
		f[d+"cache/index0/id"] = fmt.Sprint(core)
		f[d+"cache/index0/type"] = "Data"
	}
	return f
}

func TestAServerWithTwoNodesAndThreads(t *testing.T) {
	n := tree(t, server())
	info := n.Info()
	want := Info{Model: Machine(), Memory: 12000000, CPUs: 16, MHz: 2100, Nodes: 2, Sockets: 1, Cores: 4, Threads: 2}
	if info != want {
		t.Errorf("info %+v", info)
	}
	cells := n.Topology()
	if len(cells) != 2 || len(cells[1].CPUs) != 8 || cells[1].MemoryKiB != 4000000 {
		t.Fatalf("cells %+v", cells)
	}
	if c := cells[1].CPUs[4]; c.ID != 12 || c.Socket != 1 || c.Core != 0 || !reflect.DeepEqual(c.Siblings, []int{4, 12}) {
		t.Errorf("cpu %+v", c)
	}
	if !reflect.DeepEqual(cells[1].Distances, []Distance{{0, 21}, {1, 10}}) {
		t.Errorf("distances %+v", cells[1].Distances)
	}
	if p := cells[0].Pages; len(p) != 2 || p[0] != (Pages{4, (8000000 - 204800) / 4, 1500000}) || p[1] != (Pages{2048, 100, 40}) {
		t.Errorf("pages %+v", p)
	}
	caches := n.Caches()
	if len(caches) != 2 || caches[1].SizeKiB != 16384 || FormatList(caches[1].CPUs) != "4-7,12-15" || caches[0].Type != "both" {
		t.Errorf("caches %+v", caches)
	}
	if f := n.FreeMemory(); f != 7000000*1024 {
		t.Errorf("free %d", f)
	}
	if list, err := n.CellsFreeMemory(0, 9); err != nil || !reflect.DeepEqual(list, []uint64{6000000 * 1024, 1000000 * 1024}) {
		t.Errorf("cells free %v, %v", list, err)
	}
	if list, err := n.FreePages([]uint32{4, 2048}, 0, 2); err != nil || !reflect.DeepEqual(list, []uint64{1500000, 40, 250000, 0}) {
		t.Errorf("free pages %v, %v", list, err)
	}
	if list, err := n.FreePages([]uint32{2048}, AllCells, 1); err != nil || !reflect.DeepEqual(list, []uint64{40}) {
		t.Errorf("free pages of all %v, %v", list, err)
	}
	if s := n.CPUSignature(); s != "GenuineIntel, Xeon, family: 6, model: 85, stepping: 7" {
		t.Errorf("signature %q", s)
	}
	if n.MicrocodeVersion() != 0x5003006 || n.PhysAddrBits() != 46 {
		t.Errorf("microcode %x, %d bits", n.MicrocodeVersion(), n.PhysAddrBits())
	}
}

func TestShapesThatAreNoProductBecomeOneSocket(t *testing.T) {
	f := server()
	f["sys/devices/system/cpu/online"] = "0-14" // one thread is off, but still counts
	if info := tree(t, f).Info(); info.CPUs != 15 || info.Nodes*info.Sockets*info.Cores*info.Threads != 16 {
		t.Errorf("one off: %+v", info)
	}
	f["sys/devices/system/cpu/present"] = "0-14"
	info := tree(t, f).Info()
	if info.CPUs != 15 || info.Nodes != 1 || info.Sockets != 1 || info.Cores != 15 || info.Threads != 1 {
		t.Errorf("15 threads: %+v", info)
	}
}

func TestAHostWithoutNUMA(t *testing.T) {
	f := server()
	for name := range f {
		if strings.HasPrefix(name, "sys/devices/system/node/") {
			delete(f, name)
		}
	}
	n := tree(t, f)
	if info := n.Info(); info.Nodes != 1 || info.Sockets != 2 || info.Cores != 4 || info.Threads != 2 || info.Memory != 12000000 {
		t.Errorf("%+v", info)
	}
	cells := n.Topology()
	if len(cells) != 1 || len(cells[0].CPUs) != 16 || len(cells[0].Distances) != 0 || cells[0].MemoryKiB != 12000000 {
		t.Errorf("%+v", cells)
	}
	if list, err := n.CellsFreeMemory(0, 1); err != nil || list[0] != 7000000*1024 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestOfflineCPUsInTheMap(t *testing.T) {
	n := tree(t, map[string]string{"sys/devices/system/cpu/present": "0-3", "sys/devices/system/cpu/online": "0,2-3"})
	present, online, count := n.CPUMap()
	if present != 4 || count != 3 || !reflect.DeepEqual(online, []bool{true, false, true, true}) {
		t.Errorf("%d %v %d", present, online, count)
	}
}

func TestStatistics(t *testing.T) {
	n := tree(t, server())
	all, err := n.CPUStats(AllCPUs)
	want := []Stat{{"kernel", 570000000}, {"user", 1100000000}, {"idle", 10000000000}, {"iowait", 200000000}}
	if err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("all %v, %v", all, err)
	}
	if one, err := n.CPUStats(0); err != nil || one[1].Value != 550000000 {
		t.Errorf("cpu 0 %v, %v", one, err)
	}
	mem, err := n.MemoryStats(AllCells)
	if err != nil || !reflect.DeepEqual(mem, []Stat{{"total", 12000000}, {"free", 7000000}, {"buffers", 100000}, {"cached", 200000}}) {
		t.Errorf("memory %v, %v", mem, err)
	}
	if mem, err := n.MemoryStats(1); err != nil || !reflect.DeepEqual(mem, []Stat{{"total", 4000000}, {"free", 1000000}}) {
		t.Errorf("cell 1 %v, %v", mem, err)
	}
}

// errorCase pins a code and the words, which the reference gave for the same call.
func errorCase(t *testing.T, err error, code liberr.Code, message string) {
	t.Helper()
	if !errors.Is(err, code) || err.Error() != message {
		t.Errorf("got %v\nwant %s", err, message)
	}
}

func TestErrorsHaveLibvirtsWords(t *testing.T) {
	n := tree(t, server())
	_, err := n.CPUStats(99)
	errorCase(t, err, liberr.InvalidArg, "Invalid cpuNum in virHostCPUGetStatsLinux")
	_, err = n.CPUStats(-7)
	errorCase(t, err, liberr.InvalidArg, "Invalid cpuNum in virHostCPUGetStatsLinux")
	_, err = n.MemoryStats(5)
	errorCase(t, err, liberr.InvalidArg, "cellNum in virHostMemGetStats must be less than or equal to 1")
	_, err = n.CellsFreeMemory(3, 1)
	errorCase(t, err, liberr.InternalError, "internal error: start cell 3 out of range (0-1)")
	_, err = n.FreePages([]uint32{5}, 0, 1)
	errorCase(t, err, liberr.OperationFailed, "operation failed: page size 5 is not available on node 0")
	_, err = n.FreePages([]uint32{4}, 7, 1)
	errorCase(t, err, liberr.InternalError, "internal error: start cell 7 out of range (0-1)")
	_, err = n.AllocPages([]uint32{4}, []uint64{1}, 0, 1, false)
	errorCase(t, err, liberr.OperationUnsupported, "Operation not supported: system pages pool can't be modified")
	_, err = n.AllocPages([]uint32{3}, []uint64{1}, 0, 1, false)
	errorCase(t, err, liberr.OperationFailed, "operation failed: page size 3 is not available on node 0")
	err = n.SetMemoryParams([]MemoryParam{{Name: "shm_pages_shared", Value: 4}})
	errorCase(t, err, liberr.ArgumentUnsupported, "argument unsupported: parameter 'shm_pages_shared' not supported")
	_, err = n.Sysinfo()
	errorCase(t, err, liberr.ConfigUnsupported, "unsupported configuration: Host SMBIOS information is not available")
	err = n.Suspend(t.Context(), SuspendMem, 60)
	errorCase(t, err, liberr.ArgumentUnsupported, "argument unsupported: Suspend-to-RAM")
	err = n.Suspend(t.Context(), 9, 60)
	errorCase(t, err, liberr.InvalidArg, "invalid argument: Invalid suspend target")
}

func TestPagesAreAllottedPerCell(t *testing.T) {
	n := tree(t, server())
	if changed, err := n.AllocPages([]uint32{2048}, []uint64{5}, 0, 2, false); err != nil || changed != 2 {
		t.Errorf("%d, %v", changed, err)
	}
	pool := "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages"
	if a, b := n.text(fmt.Sprintf(pool, 0)), n.text(fmt.Sprintf(pool, 1)); a != "105" || b != "5" {
		t.Errorf("pools %s, %s", a, b)
	}
	if _, err := n.AllocPages([]uint32{2048}, []uint64{7}, 1, 1, true); err != nil || n.text(fmt.Sprintf(pool, 1)) != "7" {
		t.Errorf("set: %v", err)
	}
}

func TestMergingOfPages(t *testing.T) {
	n := tree(t, map[string]string{"sys/kernel/mm/ksm/pages_to_scan": "100", "sys/kernel/mm/ksm/pages_shared": "7", "sys/kernel/mm/ksm/sleep_millisecs": "20"})
	want := []MemoryParam{{"shm_pages_to_scan", 100, false}, {"shm_sleep_millisecs", 20, false}, {"shm_pages_shared", 7, true}}
	if got := n.MemoryParams(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if err := n.SetMemoryParams([]MemoryParam{{Name: "shm_pages_to_scan", Value: 50}}); err != nil || n.text("/sys/kernel/mm/ksm/pages_to_scan") != "50" {
		t.Error(err)
	}
}

func TestHostUUIDComesFromTheFirstGoodSource(t *testing.T) {
	const good = "4a2fc369-52c6-4c94-81c9-833fedbc8f9a"
	n := tree(t, map[string]string{"sys/class/dmi/id/product_uuid": strings.ToUpper(good), "etc/machine-id": "b7a0b9a4a8a94a6d8f3e0a4a7f6c1d2e"})
	if id, ok := n.HostUUID("", ""); !ok || id.String() != good {
		t.Errorf("%v %v", id, ok)
	}
	if id, ok := n.HostUUID("", "machine-id"); !ok || id.String() != "b7a0b9a4-a8a9-4a6d-8f3e-0a4a7f6c1d2e" {
		t.Errorf("%v %v", id, ok)
	}
	if id, ok := n.HostUUID("00112233-4455-6677-8899-aabbccddeeff", ""); !ok || id.String() != "00112233-4455-6677-8899-aabbccddeeff" {
		t.Errorf("%v %v", id, ok)
	}
	lazy := tree(t, map[string]string{"sys/class/dmi/id/product_uuid": "ffffffff-ffff-ffff-ffff-ffffffffffff"})
	if id, ok := lazy.HostUUID("", "smbios"); ok {
		t.Errorf("accepted %v", id)
	}
}

func TestLists(t *testing.T) {
	for _, s := range []string{"", "0", "0-3", "0,2,4", "0-3,8-11,15"} {
		if got := FormatList(ParseList(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
	if n := len(ParseList("0-4000000000")); n > maxListed {
		t.Errorf("%d CPUs", n)
	}
}
