package caps

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"virtree/wire/liberr"
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// sharedFinder probes each real binary once for all tests.
var sharedFinder = NewFinder(Options{})

func realCaps(t *testing.T) *Caps {
	t.Helper()
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no qemu-system-x86_64 on this host")
	}
	c, err := sharedFinder.Get(testContext(t), binary)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestARealBinaryTellsWhatItCanDo(t *testing.T) {
	c := realCaps(t)
	if c.Arch != "x86_64" || c.Version < 5000000 || !c.TCG {
		t.Errorf("arch %q, version %d, tcg %v", c.Arch, c.Version, c.TCG)
	}
	if c.KVM != KVMUsable() {
		t.Errorf("KVM = %v, /dev/kvm usable = %v", c.KVM, KVMUsable())
	}
	pc, ok := c.Machine("pc")
	if !ok || pc.Alias != "pc" || !pc.IsI440FX() || pc.MaxCPUs != 255 || c.Machines[0].Name != pc.Name {
		t.Errorf("pc = %+v, first = %+v", pc, c.Machines[0])
	}
	if q35, ok := c.Machine("q35"); !ok || !q35.IsQ35() || c.CanonicalMachine("q35") != q35.Name {
		t.Errorf("q35 = %+v", q35)
	}
	if m := c.DefaultMachine(); m.Name != pc.Name {
		t.Errorf("default machine %q", m.Name)
	}
	if slices.ContainsFunc(c.Machines, func(m Machine) bool { return m.Name == "none" }) {
		t.Error("the machine none is offered")
	}
	for _, yes := range []bool{
		c.HasDevice("virtio-blk-pci"), c.HasProp("virtio-blk-pci", "serial"), c.HasProp("ICH9-LPC", "disable_s3"),
		c.HasObject("iothread"), c.HasProp("memory-backend-file", "pmem"), c.HasCommand("blockdev-add"),
		c.HasEvent("SHUTDOWN"), c.HasArg("device_del", "id"), c.HasOption("machine", "vmport") || c.Version >= 7000000,
		c.HasSchema("screendump/device"), c.HasSchema("blockdev-add/+file/aio/^io_uring"), c.HasSchema("send-key/keys/+number"),
		c.Migration["events"], c.HasOption("sandbox", "enable"),
	} {
		if !yes {
			t.Error("something every QEMU of these years has was not found")
		}
	}
	if c.HasDevice("no-such-device") || c.HasProp("virtio-blk-pci", "no-such-prop") || c.HasSchema("screendump/nonsense") {
		t.Error("something was found that does not exist")
	}
	for _, accel := range []string{"tcg", "kvm"} {
		if accel == "kvm" && !c.KVM {
			continue
		}
		i := slices.IndexFunc(c.CPUs[accel], func(m CPUModel) bool { return m.Name == "486" })
		if i < 0 || c.CPUs[accel][i].Usable != UsableYes {
			t.Errorf("%s: no usable 486 in %d models", accel, len(c.CPUs[accel]))
		}
		if c.HostCPU[accel] == nil || c.HostCPU[accel].Props["fpu"] != true {
			t.Errorf("%s: no host CPU", accel)
		}
	}
}

func TestProbedDevicesAreAskedForAndHarmless(t *testing.T) {
	c := realCaps(t)
	if len(c.Devices) < 200 {
		t.Errorf("%d devices", len(c.Devices))
	}
	asked := 0
	for _, name := range probedDevices {
		if len(c.Devices[name]) > 0 {
			asked++
		}
	}
	if asked < 100 {
		t.Errorf("%d devices with properties", asked)
	}
}

func TestAnswersAreKeptOnDiskUntilTheBinaryChanges(t *testing.T) {
	real, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no qemu-system-x86_64 on this host")
	}
	dir, cache := t.TempDir(), t.TempDir()
	runs := filepath.Join(dir, "runs")
	binary := filepath.Join(dir, "qemu-system-x86_64")
	script := "#!/bin/sh\necho run >> " + runs + "\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		b, _ := os.ReadFile(runs)
		return len(b) / len("run\n")
	}
	get := func(f *Finder) *Caps {
		t.Helper()
		c, err := f.Get(testContext(t), binary)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	noKVM := func() bool { return false }
	f := NewFinder(Options{CacheDir: cache, KVM: noKVM})
	first := get(f)
	if again := get(f); again != first || count() != 1 {
		t.Errorf("asked twice: %d runs", count())
	}
	second := get(NewFinder(Options{CacheDir: cache, KVM: noKVM}))
	if count() != 1 {
		t.Errorf("a second process ran the binary again")
	}
	if len(second.Devices) != len(first.Devices) || second.Machines[3] != first.Machines[3] ||
		!second.HasProp("virtio-net-pci", "mac") || len(second.CPUs["tcg"]) != len(first.CPUs["tcg"]) {
		t.Error("what was stored is not what was probed")
	}
	if err := os.WriteFile(cacheFile(cache, binary), []byte(`{"Identity":`), 0o600); err != nil {
		t.Fatal(err)
	}
	get(NewFinder(Options{CacheDir: cache, KVM: noKVM}))
	if count() != 2 {
		t.Errorf("a damaged document: %d runs", count())
	}
	if err := os.WriteFile(binary, []byte(script+"# changed\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	get(f)
	if count() != 3 {
		t.Errorf("a changed binary: %d runs", count())
	}
}

func TestABrokenBinaryIsAnErrorAndRemembered(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "qemu-system-x86_64")
	runs := filepath.Join(dir, "runs")
	os.WriteFile(binary, []byte("#!/bin/sh\necho run >> "+runs+"\necho it is broken >&2\nexit 1\n"), 0o755)
	f := NewFinder(Options{KVM: func() bool { return false }})
	for range 3 {
		_, err := f.Get(testContext(t), binary)
		want := "internal error: Failed to start QEMU binary " + binary + " for probing: it is broken"
		if err == nil || err.Error() != want {
			t.Fatalf("got %v\nwant %s", err, want)
		}
	}
	if b, _ := os.ReadFile(runs); string(b) != "run\n" {
		t.Errorf("runs: %q", b)
	}
	_, err := f.Get(testContext(t), filepath.Join(dir, "none"))
	if want := "Cannot check QEMU binary " + dir + "/none: No such file or directory"; !errors.Is(err, liberr.SystemError) || err.Error() != want {
		t.Errorf("a missing binary: %v", err)
	}
}

func TestAHungBinaryEndsWithItsContext(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "qemu-system-x86_64")
	os.WriteFile(binary, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := Probe(ctx, binary, false, nil); err == nil {
		t.Error("no error")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestProbingAsAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no qemu-system-x86_64 on this host")
	}
	c, err := Probe(testContext(t), binary, false, &syscall.Credential{Uid: 65534, Gid: 65534})
	if err != nil || c.KVM || !c.HasDevice("virtio-blk-pci") {
		t.Errorf("%v, %v", c, err)
	}
}

func BenchmarkLoadFromDisk(b *testing.B) {
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		b.Skip("no qemu-system-x86_64 on this host")
	}
	dir := b.TempDir()
	if _, err := NewFinder(Options{CacheDir: dir}).Get(context.Background(), binary); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewFinder(Options{CacheDir: dir}).Get(context.Background(), binary); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHostModel(b *testing.B) {
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		b.Skip("no qemu-system-x86_64 on this host")
	}
	c, err := sharedFinder.Get(context.Background(), binary)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.HostModel("qemu", true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetAgain(b *testing.B) {
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		b.Skip("no qemu-system-x86_64 on this host")
	}
	for b.Loop() {
		if _, err := sharedFinder.Get(context.Background(), binary); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCPUTable(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseCPUMap(cpumapText); err != nil {
			b.Fatal(err)
		}
	}
}
