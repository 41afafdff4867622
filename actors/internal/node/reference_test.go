package node

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// reference asks the real libvirtd 9.0.0 of this host; without one the test is skipped.
func reference(t *testing.T, args ...string) string {
	t.Helper()
	v, err := exec.Command("virsh", "-c", "qemu:///system", "version").CombinedOutput()
	if err != nil || !strings.Contains(string(v), "Using library: libvirt 9.0.0") {
		t.Skip("no libvirtd 9.0.0 to compare with")
	}
	out, _ := exec.Command("virsh", append([]string{"-c", "qemu:///system"}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out))
}

// steady leaves out the amounts of memory, which move between two looks on a host whose memory grows as needed.
var steady = regexp.MustCompile(`(?m)\d+ KiB$`)

func TestNodeInfoEqualsTheReference(t *testing.T) {
	want := reference(t, "nodeinfo")
	i := Host().Info()
	got := fmt.Sprintf(`CPU model:           %s
CPU(s):              %d
CPU frequency:       %d MHz
CPU socket(s):       %d
Core(s) per socket:  %d
Thread(s) per core:  %d
NUMA cell(s):        %d
Memory size:         %d KiB`, i.Model, i.CPUs, i.MHz, i.Sockets, i.Cores, i.Threads, i.Nodes, i.Memory)
	if steady.ReplaceAllString(got, "") != steady.ReplaceAllString(want, "") {
		t.Errorf("ours\n%s\nlibvirt\n%s", got, want)
	}
}

func TestOtherFactsEqualTheReference(t *testing.T) {
	n := Host()
	if want := reference(t, "hostname"); n.Hostname(nil) != want {
		t.Errorf("hostname %q, libvirt %q", n.Hostname(nil), want)
	}
	present, online, count := n.CPUMap()
	flags := ""
	for _, on := range online {
		flags += map[bool]string{true: "y", false: "-"}[on]
	}
	got := fmt.Sprintf("CPUs present:   %d\nCPUs online:    %d\nCPU map:        %s", present, count, flags)
	if want := reference(t, "nodecpumap"); got != want {
		t.Errorf("ours\n%s\nlibvirt\n%s", got, want)
	}
	got = "Shared memory:\n"
	for _, p := range n.MemoryParams() {
		got += fmt.Sprintf("\t%-15s %d\n", p.Name, p.Value)
	}
	if want := reference(t, "node-memory-tune"); strings.TrimSpace(got) != want {
		t.Errorf("ours\n%q\nlibvirt\n%q", got, want)
	}
	if out, err := n.Sysinfo(); err != nil {
		if want := reference(t, "sysinfo"); !strings.Contains(want, err.Error()) {
			t.Errorf("sysinfo: %v, libvirt %s", err, want)
		}
	} else if want := reference(t, "sysinfo"); strings.TrimSpace(out) != want {
		t.Errorf("ours\n%s\nlibvirt\n%s", out, want)
	}
}

// Times and amounts move on; between two looks of ours lies one of the reference's.
func TestMovingNumbersLieWhereTheReferenceSaysThem(t *testing.T) {
	n := Host()
	for _, cpu := range []int{AllCPUs, 0} {
		args := []string{"nodecpustats"}
		if cpu >= 0 {
			args = append(args, "--cpu", fmt.Sprint(cpu))
		}
		before, err := n.CPUStats(cpu)
		if err != nil {
			t.Fatal(err)
		}
		said := reference(t, args...)
		after, _ := n.CPUStats(cpu)
		values := make(map[string]uint64)
		for line := range strings.SplitSeq(said, "\n") {
			var name string
			var v uint64
			if _, err := fmt.Sscanf(strings.Replace(line, ":", " ", 1), "%s %d", &name, &v); err == nil {
				values[map[string]string{"user": "user", "system": "kernel", "idle": "idle", "iowait": "iowait"}[name]] = v
			}
		}
		for i, s := range before {
			v, ok := values[s.Name]
			// The kernel's idle and waiting times may step back by a tick or two.
			if !ok || v+3*nsPerTick < s.Value || v > after[i].Value+3*nsPerTick {
				t.Errorf("cpu %d %s: %d, then libvirt %d, then %d", cpu, s.Name, s.Value, v, after[i].Value)
			}
		}
	}
	var total, buffers uint64
	fmt.Sscanf(reference(t, "nodememstats"), "total  : %d KiB", &total)
	ours, err := n.MemoryStats(AllCells)
	if err != nil || ours[0].Value != total {
		t.Errorf("memory %v (%v), libvirt total %d, %d", ours, err, total, buffers)
	}
}
