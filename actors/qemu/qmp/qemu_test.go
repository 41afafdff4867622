package qmp

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startQEMU runs a real one without a guest and connects to it.
func startQEMU(t *testing.T, o *observer, args ...string) *Client {
	t.Helper()
	binary, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("no qemu-system-x86_64 on this host")
	}
	socket := filepath.Join(t.TempDir(), "qmp")
	args = append([]string{"-S", "-no-user-config", "-nodefaults", "-display", "none", "-accel", "tcg",
		"-qmp", "unix:" + socket + ",server=on,wait=off"}, args...)
	cmd := exec.Command(binary, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-exited })
	c, err := DialWait(testContext(t), socket, o.handler(), func() error {
		select {
		case <-exited:
			return errors.New("QEMU exited")
		default:
			return nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRealQEMUWithoutMachine(t *testing.T) {
	o := newObserver()
	c := startQEMU(t, o, "-M", "none")
	ctx := testContext(t)
	if c.Greeting.VersionNumber() < 1000000 {
		t.Errorf("version %d", c.Greeting.VersionNumber())
	}
	if s, err := QueryStatus(ctx, c); err != nil || s.Running || s.Status != "prelaunch" {
		t.Errorf("status %+v, %v", s, err)
	}
	if m, err := QueryMachines(ctx, c); err != nil || len(m) < 10 {
		t.Errorf("%d machines, %v", len(m), err)
	}
	if s, err := QueryQMPSchema(ctx, c); err != nil || len(s) < 100000 {
		t.Errorf("schema of %d bytes, %v", len(s), err)
	}
	if target, err := QueryTarget(ctx, c); err != nil || target != "x86_64" {
		t.Errorf("target %q, %v", target, err)
	}
	err := c.Execute(ctx, "no-such-command", nil, nil)
	if !IsClass(err, ClassCommandNotFound) {
		t.Errorf("unknown command: %v", err)
	}
	if err := Quit(ctx, c); err != nil {
		t.Errorf("quit: %v", err)
	}
	if err := <-o.closed; !IsEOF(err) {
		t.Errorf("Closed(%v)", err)
	}
	for len(o.events) > 0 {
		if e := <-o.events; e.Name == "SHUTDOWN" {
			var d ShutdownData
			if err := e.Decode(&d); err != nil || d.Guest || d.Reason != "host-qmp-quit" {
				t.Errorf("SHUTDOWN %+v, %v", d, err)
			}
			return
		}
	}
	t.Error("no SHUTDOWN event before the end")
}

func TestRealQEMUWithMachine(t *testing.T) {
	o := newObserver()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startQEMU(t, o, "-M", "q35", "-m", "64", "-smp", "1,maxcpus=2",
		"-device", "pcie-root-port,id=rp0,chassis=1",
		"-device", "virtio-balloon-pci,id=balloon0",
		"-object", "iothread,id=io1",
		"-chardev", "pty,id=charserial0", "-device", "isa-serial,chardev=charserial0",
		"-netdev", "user,id=hostnet0", "-device", "virtio-net-pci,netdev=hostnet0,id=net0",
		"-vga", "std", "-vnc", "none")
	ctx := testContext(t)

	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	cpus, err := QueryCPUsFast(ctx, c)
	if err != nil || len(cpus) != 1 || cpus[0].ThreadID == 0 {
		t.Errorf("cpus %+v, %v", cpus, err)
	}
	slots, err := QueryHotpluggableCPUs(ctx, c)
	if err != nil || len(slots) != 2 {
		t.Errorf("hotpluggable %+v, %v", slots, err)
	}
	if th, err := QueryIOThreads(ctx, c); err != nil || len(th) != 1 || th[0].ID != "io1" {
		t.Errorf("iothreads %+v, %v", th, err)
	}
	chardevs, err := QueryChardev(ctx, c)
	found := false
	for _, d := range chardevs {
		found = found || d.Label == "charserial0" && strings.HasPrefix(d.Filename, "pty:")
	}
	if err != nil || !found {
		t.Errorf("chardevs %+v, %v", chardevs, err)
	}
	if b, err := QueryBalloon(ctx, c); err != nil || b != 64<<20 {
		t.Errorf("balloon %d, %v", b, err)
	}
	check("balloon", Balloon(ctx, c, 32<<20))
	check("balloon period", SetBalloonPeriod(ctx, c, "/machine/peripheral/balloon0", 2))
	if f, err := QueryRXFilter(ctx, c, "net0"); err != nil || f.MainMAC == "" {
		t.Errorf("rx filter %+v, %v", f, err)
	}
	check("set_link", SetLink(ctx, c, "net0", false))
	if list, err := QOMList(ctx, c, "/machine/peripheral"); err != nil || len(list) < 3 {
		t.Errorf("qom-list %+v, %v", list, err)
	}
	var kind string
	check("qom-get", QOMGet(ctx, c, "/machine/peripheral/net0", "type", &kind))
	if kind != "virtio-net-pci" {
		t.Errorf("type %q", kind)
	}

	// A disk through a descriptor that only we can open.
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set, err := AddFD(ctx, c, 7, "disk", int(f.Fd()))
	if err != nil || set.ID != 7 {
		t.Fatalf("add-fd %+v, %v", set, err)
	}
	check("blockdev-add", BlockdevAdd(ctx, c, map[string]any{"driver": "file", "node-name": "s", "filename": "/dev/fdset/7"}))
	check("blockdev-add", BlockdevAdd(ctx, c, map[string]any{"driver": "raw", "node-name": "f", "file": "s"}))
	check("device_add", DeviceAdd(ctx, c, map[string]any{"driver": "virtio-blk-pci", "id": "vda", "drive": "f", "bus": "rp0"}))
	nodes, err := QueryNamedBlockNodes(ctx, c)
	if err != nil || len(nodes) != 2 {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
	if bs, err := QueryBlockStats(ctx, c, false); err != nil || len(bs) != 1 || bs[0].NodeName != "f" || bs[0].Parent == nil {
		t.Errorf("blockstats %+v, %v", bs, err)
	}
	if bs, err := QueryBlock(ctx, c); err != nil || len(bs) != 1 || bs[0].Inserted == nil || bs[0].Inserted.Image.VirtualSize != 1<<20 {
		t.Errorf("block %+v, %v", bs, err)
	}
	check("throttle", BlockSetIOThrottle(ctx, c, "/machine/peripheral/vda/virtio-backend", IOLimits{IOPS: 100, IOPSMax: 200}))
	check("resize", BlockResize(ctx, c, "f", 2<<20))
	if jobs, err := QueryBlockJobs(ctx, c); err != nil || len(jobs) != 0 {
		t.Errorf("jobs %+v, %v", jobs, err)
	}

	// Network and character devices that come and go; descriptors in quick succession must not overtake each other.
	for _, name := range []string{"a", "b", "c"} {
		check("getfd", GetFD(ctx, c, name, int(f.Fd())))
	}
	check("closefd", CloseFD(ctx, c, "b"))
	if err := CloseFD(ctx, c, "b"); err == nil {
		t.Error("closefd of a closed name")
	}
	check("netdev_add", NetdevAdd(ctx, c, map[string]any{"type": "user", "id": "n2"}))
	check("netdev_del", NetdevDel(ctx, c, "n2"))
	pty, err := ChardevAdd(ctx, c, "c2", map[string]any{"type": "pty", "data": map[string]any{}})
	if err != nil || !strings.HasPrefix(pty, "/dev/pts/") {
		t.Errorf("chardev-add %q, %v", pty, err)
	}
	check("chardev-remove", ChardevRemove(ctx, c, "c2"))
	check("object-add", ObjectAdd(ctx, c, map[string]any{"qom-type": "memory-backend-ram", "id": "m", "size": 1 << 20}))
	check("object-del", ObjectDel(ctx, c, "m"))

	if out, err := HumanMonitorCommand(ctx, c, "info name", -1); err != nil {
		t.Errorf("hmp %q, %v", out, err)
	}
	check("send-key", SendKey(ctx, c, []int{30, 48}, 1))
	check("nmi", InjectNMI(ctx, c))
	shot := filepath.Join(t.TempDir(), "shot")
	check("screendump", Screendump(ctx, c, "", 0, shot, ""))
	if b, err := os.ReadFile(shot); err != nil || !strings.HasPrefix(string(b), "P6") {
		t.Errorf("screenshot: %v", err)
	}
	if m, err := QueryMigrate(ctx, c); err != nil || m.Status != "" {
		t.Errorf("migrate %+v, %v", m, err)
	}
	if caps, err := QueryMigrateCapabilities(ctx, c); err != nil || len(caps) < 10 {
		t.Errorf("migrate capabilities %v, %v", caps, err)
	}
	if _, err := QueryMigrateParameters(ctx, c); err != nil {
		t.Error(err)
	}
	check("set", MigrateSetParameters(ctx, c, map[string]any{"downtime-limit": 100}))
	check("set", MigrateSetCapabilities(ctx, c, map[string]bool{"events": true}))
	if d, err := QueryDump(ctx, c); err != nil || d.Status != "none" {
		t.Errorf("dump %+v, %v", d, err)
	}
	if _, err := QueryVNC(ctx, c); err != nil {
		t.Error(err)
	}
	if _, err := QueryPCI(ctx, c); err != nil {
		t.Error(err)
	}
	if m, err := QueryMemorySizeSummary(ctx, c); err != nil || m.Base != 64<<20 {
		t.Errorf("memory %+v, %v", m, err)
	}

	check("cont", Cont(ctx, c))
	if s, err := QueryStatus(ctx, c); err != nil || !s.Running {
		t.Errorf("status %+v, %v", s, err)
	}
	check("reset", SystemReset(ctx, c))
	check("stop", Stop(ctx, c))
	want := []string{"RESUME", "RESET", "STOP"}
	for len(want) > 0 {
		select {
		case e := <-o.events:
			if e.Name == want[0] {
				want = want[1:]
			}
		case <-ctx.Done():
			t.Fatalf("no event %v", want)
		}
	}
	raw, err := c.ExecuteRaw(ctx, []byte(`{"execute":"query-name"}`))
	if err != nil || !strings.HasPrefix(string(raw), `{"return":{},"id":"libvirt-`) {
		t.Errorf("raw %s, %v", raw, err)
	}
	raw, err = c.ExecuteRaw(ctx, []byte(`{"execute":"nonsense"}`))
	if err != nil || !strings.Contains(string(raw), `"class":"CommandNotFound"`) {
		t.Errorf("raw %s, %v", raw, err)
	}
}
