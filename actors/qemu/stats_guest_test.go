package qemu

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/metrics"
	"virtree/actors/logd"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// guests is a driver with real QEMUs, emulated and without a system: firmware that finds nothing to boot.
type guests struct {
	t   *testing.T
	b   *branchtest.Branch
	c   *branchtest.Client
	env string

	figures *metrics.Sources
}

func newGuests(t *testing.T) *guests {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("no QEMU is installed")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, as the driver of the system does")
	}
	env := branchtest.Env(t)
	conf := DefaultConfig
	conf.User, conf.Group = "root", "root"
	var logs *actor.PID // the log daemon's branch, in the same process
	env.Branch = func(name string) *actor.PID {
		if name == "logd" {
			return logs
		}
		return nil
	}
	env.Figures = &metrics.Sources{}
	b := branchtest.Start(t, New(env, conf))
	logs = b.Root().Spawn(kit.Props(logd.New(env, logd.Defaults())))
	t.Cleanup(func() { _ = b.Root().StopFuture(logs).Wait() })
	return &guests{t: t, b: b, c: b.Client(), env: env.Paths.DriverRun("qemu"), figures: env.Figures}
}

// create starts a transient guest, which the end of the test destroys.
func (g *guests) create(name, devices string) protocol.Domain {
	g.t.Helper()
	ret, err := branchtest.Do(g.c, protocol.DomainCreateXML, &protocol.DomainCreateXMLArgs{XMLDesc: `<domain type='qemu'><name>` + name + `</name>
<memory unit='MiB'>32</memory><vcpu current='1'>2</vcpu><iothreads>1</iothreads><os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/>` + devices + `</devices></domain>`})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		_, _ = branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: ret.Dom})
	})
	return ret.Dom
}

// pid is the guest's process.
func (g *guests) pid(name string) int {
	b, err := os.ReadFile(filepath.Join(g.env, name+".pid"))
	if err != nil {
		g.t.Fatal(err)
	}
	n := 0
	for _, c := range strings.TrimSpace(string(b)) {
		n = n*10 + int(c-'0')
	}
	return n
}

func (g *guests) stats(doms ...protocol.Domain) map[string]map[string]protocol.TypedParamValue {
	g.t.Helper()
	ret, err := branchtest.Do(g.c, protocol.ConnectGetAllDomainStats, &protocol.ConnectGetAllDomainStatsArgs{Doms: doms})
	if err != nil {
		g.t.Fatal(err)
	}
	out := map[string]map[string]protocol.TypedParamValue{}
	for _, r := range ret.RetStats {
		out[r.Dom.Name] = map[string]protocol.TypedParamValue{}
		for _, p := range r.Params {
			out[r.Dom.Name][p.Field] = p.Value
		}
	}
	return out
}

func TestStuckGuestCostsItsOwnFiguresOnly(t *testing.T) {
	g := newGuests(t)
	g.create("well", "")
	g.create("stuck", "")
	pid := g.pid("stuck")
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer unix.Kill(pid, unix.SIGCONT)
	before := time.Now()
	stats := g.stats()
	if took := time.Since(before); took > statsPatience+statsPlainPatience+2*time.Second {
		t.Errorf("the call took %v", took)
	}
	if len(stats) != 2 {
		t.Fatalf("%d records", len(stats))
	}
	if _, ok := stats["well"]["iothread.count"]; !ok {
		t.Error("QEMU's figures of the guest that is well are missing")
	}
	if _, ok := stats["stuck"]["iothread.count"]; ok {
		t.Error("a stopped QEMU has answered")
	}
	for _, name := range []string{"state.state", "cpu.time", "balloon.current", "balloon.rss", "vcpu.0.time", "block.count"} {
		if _, ok := stats["stuck"][name]; !ok {
			t.Errorf("%s needs no QEMU and is missing", name)
		}
	}
}

func TestStatisticsOfAGuest(t *testing.T) {
	g := newGuests(t)
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, append([]byte("first words"), make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	dom := g.create("one", `<disk type='file'><driver name='qemu' type='raw'/><source file='`+disk+`'/><target dev='vda' bus='virtio'/></disk>`)

	if ret, err := branchtest.Do(g.c, protocol.DomainMemoryStats, &protocol.DomainMemoryStatsArgs{Dom: dom, MaxStats: 16}); err != nil || len(ret.Stats) < 2 {
		t.Error(ret, err)
	}
	if ret, err := branchtest.Do(g.c, protocol.DomainBlockStatsFlags, &protocol.DomainBlockStatsFlagsArgs{Dom: dom, Path: "vda"}); err != nil || ret.Nparams != 8 {
		t.Error(ret, err)
	}
	if ret, err := branchtest.Do(g.c, protocol.DomainGetBlockInfo, &protocol.DomainGetBlockInfoArgs{Dom: dom, Path: disk}); err != nil || ret.Capacity < 1<<20 || ret.Physical < 1<<20 {
		t.Error(ret, err)
	}
	branchtest.Fails(g.c, protocol.DomainBlockStats, &protocol.DomainBlockStatsArgs{Dom: dom, Path: "vdz"},
		liberr.FromQemu, liberr.InvalidArg, "invalid argument: invalid path: vdz")
	if ret, err := branchtest.Do(g.c, protocol.DomainBlockPeek, &protocol.DomainBlockPeekArgs{Dom: dom, Path: "vda", Offset: 6, Size: 5}); err != nil || string(ret.Buffer) != "words" {
		t.Error(ret, err)
	}
	if ret, err := branchtest.Do(g.c, protocol.DomainMemoryPeek, &protocol.DomainMemoryPeekArgs{Dom: dom, Offset: 0xfffffff0, Size: 16, Flags: virt.MemoryPhysical}); err != nil || len(ret.Buffer) != 16 || ret.Buffer[0] != 0xea {
		t.Errorf("the reset vector of a PC begins with a far jump: %x, %v", ret.Buffer, err)
	}
	if ret, err := branchtest.Do(g.c, protocol.DomainGetVCPUs, &protocol.DomainGetVCPUsArgs{Dom: dom, Maxinfo: 2, Maplen: 1}); err != nil || len(ret.Info) != 1 || len(ret.Cpumaps) != 2 || ret.Cpumaps[0] == 0 {
		t.Error(ret, err)
	}
}

func TestTuningReachesTheGuest(t *testing.T) {
	g := newGuests(t)
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dom := g.create("tuned", `<disk type='file'><driver name='qemu' type='raw'/><source file='`+disk+`'/><target dev='vda' bus='virtio'/></disk>`)

	if _, err := branchtest.Do(g.c, protocol.DomainSetBlockIOTune, &protocol.DomainSetBlockIOTuneArgs{Dom: dom, Disk: "vda", Params: []protocol.TypedParam{paramULLong("total_iops_sec", 77)}}); err != nil {
		t.Fatal(err)
	}
	name := "vda"
	ret, err := branchtest.Do(g.c, protocol.DomainGetBlockIOTune, &protocol.DomainGetBlockIOTuneArgs{Dom: dom, Disk: &name, Nparams: 20})
	if err != nil || ret.Params[3].Field != "total_iops_sec" || ret.Params[3].Value.Ul != 77 {
		t.Error(ret, err)
	}

	for _, n := range []uint32{2} {
		if _, err := branchtest.Do(g.c, protocol.DomainSetVCPUsFlags, &protocol.DomainSetVCPUsFlagsArgs{Dom: dom, Nvcpus: n, Flags: virt.DomainAffectLive}); err != nil {
			t.Fatal(err)
		}
		v, err := branchtest.Do(g.c, protocol.DomainGetVCPUs, &protocol.DomainGetVCPUsArgs{Dom: dom, Maxinfo: 8, Maplen: 1})
		if err != nil || len(v.Info) != int(n) {
			t.Errorf("%d vCPUs: %v, %v", n, v.Info, err)
		}
	}
	if _, err := branchtest.Do(g.c, protocol.DomainPinVCPU, &protocol.DomainPinVCPUArgs{Dom: dom, VCPU: 1, Cpumap: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	v, err := branchtest.Do(g.c, protocol.DomainGetVCPUs, &protocol.DomainGetVCPUsArgs{Dom: dom, Maxinfo: 8, Maplen: 1})
	if err != nil || len(v.Cpumaps) != 8 || v.Cpumaps[1] != 1 {
		t.Errorf("%x, %v", v.Cpumaps, err)
	}

	if _, err := branchtest.Do(g.c, protocol.DomainAddIOThread, &protocol.DomainAddIOThreadArgs{Dom: dom, IOThreadID: 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := branchtest.Do(g.c, protocol.DomainDelIOThread, &protocol.DomainDelIOThreadArgs{Dom: dom, IOThreadID: 1}); err != nil {
		t.Fatal(err)
	}
	threads, err := branchtest.Do(g.c, protocol.DomainGetIOThreadInfo, &protocol.DomainGetIOThreadInfoArgs{Dom: dom})
	if err != nil || len(threads.Info) != 1 || threads.Info[0].IOThreadID != 4 {
		t.Error(threads, err)
	}
	branchtest.Fails(g.c, protocol.DomainSetMemoryFlags, &protocol.DomainSetMemoryFlagsArgs{Dom: dom, Memory: 4096, Flags: virt.DomainAffectConfig},
		liberr.FromDomain, liberr.OperationInvalid, "Requested operation is not valid: transient domains do not have any persistent config")
}
