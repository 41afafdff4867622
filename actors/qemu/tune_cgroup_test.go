package qemu

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func TestHierarchiesAreFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mountinfo")
	const text = `24 1 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
25 1 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
26 1 0:24 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
27 1 0:25 / /proc rw - proc proc rw
short
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	old, unified := groupMounts(file)
	want := map[string]string{"rw": "/sys/fs/cgroup/memory", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory"}
	if !reflect.DeepEqual(old, want) || unified != "/sys/fs/cgroup/unified" {
		t.Error(old, unified)
	}
	if old, unified := groupMounts(file + ".none"); len(old) != 0 || unified != "" {
		t.Error("hierarchies out of nothing:", old, unified)
	}
}

func TestNumbersOfControls(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]int64{"5\n": 5, "-1\n": -1, "max\n": 7, "default 100\n8:0 200\n": 100, "": 7} {
		file := filepath.Join(dir, "f")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := number(file, 7); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
	if number(filepath.Join(dir, "none"), 7) != 7 {
		t.Error("a control that is not there has no default")
	}
}

// A guest that is limited while it runs is moved into a control group of its own, thread by thread, and
// nothing of that is left behind when it ends.
func TestLimitsOfARunningGuest(t *testing.T) {
	if old, _ := groupMounts("/proc/self/mountinfo"); old["cpu"] == "" {
		t.Skip("no hierarchy with the cpu controller of the first version")
	} else if os.WriteFile(old["cpu"]+"/cgroup.procs", nil, 0) != nil {
		t.Skip("control groups cannot be changed here")
	}
	t.Cleanup(func() { // last of all: guest and branch are gone
		if left, _ := filepath.Glob("/sys/fs/cgroup/*/machine/qemu-*-limited-*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	g := newGuests(t)
	dom := g.create("limited", "")
	pid := g.pid("limited")
	before, err := os.ReadFile("/proc/" + itoa(pid) + "/cgroup")
	if err != nil || strings.Contains(string(before), "/machine/") {
		t.Fatalf("a guest without limits is in a group: %s, %v", before, err)
	}
	set := func(params ...protocol.TypedParam) {
		t.Helper()
		if _, err := branchtest.Do(g.c, protocol.DomainSetSchedulerParametersFlags, &protocol.DomainSetSchedulerParametersFlagsArgs{
			Dom: dom, Params: params, Flags: virt.DomainAffectLive,
		}); err != nil {
			t.Fatal(err)
		}
	}
	set(paramULLong("cpu_shares", 300), paramLLong("vcpu_quota", 50000))
	set(paramLLong("global_quota", 90000))
	ret, lerr := branchtest.Do(g.c, protocol.DomainGetSchedulerParametersFlags, &protocol.DomainGetSchedulerParametersFlagsArgs{Dom: dom, Nparams: 9})
	if lerr != nil {
		t.Fatal(lerr)
	}
	got := map[string]protocol.TypedParamValue{}
	for _, p := range ret.Params {
		got[p.Field] = p.Value
	}
	if got["cpu_shares"].Ul != 300 || got["vcpu_quota"].L != 50000 || got["global_quota"].L != 90000 || got["emulator_quota"].L != -1 {
		t.Errorf("%+v", ret.Params)
	}
	parts := map[string]bool{}
	tasks, _ := os.ReadDir("/proc/" + itoa(pid) + "/task")
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/" + itoa(pid) + "/task/" + task.Name() + "/cgroup")
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if _, path, ok := strings.Cut(line, ":cpu:"); ok {
				parts[filepath.Base(path)] = true
			}
		}
	}
	if want := map[string]bool{"emulator": true, "vcpu0": true, "iothread1": true}; !reflect.DeepEqual(parts, want) {
		t.Errorf("threads are in %v", parts)
	}
}
