package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors"
	"virtree/actors/follow"
	"virtree/supervisors"
)

// TestMain lets the test's binary be virtree, and each daemon, so that a tree can be started without building one.
func TestMain(m *testing.M) {
	if os.Getenv("VIRTREE_BE_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// host is a running tree below a folder of its own.
type host struct {
	*testing.T
	root  string
	cmd   *exec.Cmd
	ended chan struct{}
	log   *bytes.Buffer // read after the end
}

const patience = 60 * time.Second

func virtree(args ...string) *exec.Cmd {
	exe, _ := os.Executable()
	cmd := exec.Command(exe)
	cmd.Args = append([]string{"virtree"}, args...)
	cmd.Env = append(os.Environ(), "VIRTREE_BE_MAIN=1", "LC_ALL=C.UTF-8")
	return cmd
}

// newHost starts a tree; args come behind `virtree`, and may start a single daemon.
func newHost(t *testing.T, args ...string) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a user's tree would be that of his session")
	}
	for _, tool := range []string{"virsh", "qemu-system-x86_64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	root, err := os.MkdirTemp("", "vt") // short: the path of a socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	h := &host{T: t, root: root, ended: make(chan struct{}), log: &bytes.Buffer{}}
	h.cmd = virtree(append(args, "--root", root)...)
	h.cmd.Stdout, h.cmd.Stderr = h.log, h.log
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = h.cmd.Wait()
		close(h.ended)
	}()
	t.Cleanup(h.close)
	return h
}

func (h *host) close() {
	for _, name := range strings.Fields(first(h.virsh("list", "--name"))) {
		h.virsh("destroy", name)
	}
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.ended:
	case <-time.After(30 * time.Second):
		h.Error("the tree did not end")
		_ = h.cmd.Process.Kill()
		<-h.ended
	}
	// A guest that the tree has lost would stay for ever; its pid file names it.
	pids, _ := filepath.Glob(filepath.Join(h.root, "run/libvirt/qemu/*.pid"))
	for _, file := range pids {
		h.Errorf("a guest was left: %s", file)
		var pid int
		b, _ := os.ReadFile(file)
		if _, err := fmt.Sscan(string(b), &pid); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if h.Failed() {
		h.Logf("%s", h.log.Bytes())
	}
	_ = os.RemoveAll(h.root)
}

func first(out string, _ time.Duration, _ error) string { return out }

// virsh runs unmodified virsh against the tree.
func (h *host) virsh(args ...string) (out string, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "virsh", append([]string{"-q", "-c", "qemu:///system?socket=" + h.root + "/run/libvirt/libvirt-sock"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	began := time.Now()
	b, err := cmd.CombinedOutput()
	return string(b), time.Since(began), err
}

func (h *host) mustVirsh(args ...string) string {
	h.Helper()
	out, _, err := h.virsh(args...)
	if err != nil {
		h.Fatalf("virsh %v: %v\n%s", args, err, out)
	}
	return out
}

// run is a command of virtree against the tree.
func (h *host) run(args ...string) (out string, exit int) {
	h.Helper()
	cmd := virtree(append(args, "--root", h.root)...)
	b, err := cmd.CombinedOutput()
	if _, bad := err.(*exec.ExitError); err != nil && !bad {
		h.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func (h *host) mustRun(args ...string) string {
	h.Helper()
	out, exit := h.run(args...)
	if exit != 0 {
		h.Fatalf("virtree %v: exit code %d\n%s", args, exit, out)
	}
	return out
}

// picture is what `virtree tree --json` prints.
func (h *host) picture() (*actors.Picture, int) {
	h.Helper()
	out, exit := h.run("tree", "--json")
	p := &actors.Picture{Tree: &supervisors.Node{}}
	if exit == int(exitNothing) {
		return p, exit
	}
	if err := json.Unmarshal([]byte(out), p); err != nil {
		h.Fatalf("%v in\n%s", err, out)
	}
	return p, exit
}

// until looks again and again until ok.
func (h *host) until(what string, ok func(p *actors.Picture) bool) *actors.Picture {
	h.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		p, _ := h.picture()
		if ok(p) {
			return p
		}
		if time.Now().After(end) {
			out, _ := h.run("tree", "--all")
			h.Fatalf("never came true: %s\n%s", what, out)
		}
	}
}

// titled finds an object by its title.
func titled(p *actors.Picture, title string) (found *supervisors.Node) {
	p.Tree.Walk(func(n *supervisors.Node, _ int) {
		if n.Title == title && n.State != "abandoned" {
			found = n
		}
	})
	return found
}

func (h *host) up() *actors.Picture {
	return h.until("all branches run", func(p *actors.Picture) bool {
		all := len(p.Tree.Children) > 0
		for _, b := range p.Tree.Children {
			all = all && b.State == "running"
		}
		return all
	})
}

// guest starts a bare machine: no disk, no network, nothing to boot.
func (h *host) guest(name string) {
	h.Helper()
	file := filepath.Join(h.root, name+".xml")
	text := "<domain type='qemu'><name>" + name + "</name><memory unit='MiB'>16</memory><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		h.Fatal(err)
	}
	h.mustVirsh("create", file)
}

func (h *host) qemu(name string) string {
	h.Helper()
	b, err := os.ReadFile(filepath.Join(h.root, "run/libvirt/qemu", name+".pid"))
	if err != nil {
		h.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// healthy: calls about another guest, lists and lookups are answered promptly. A second is a lot for them, and much less
// than any fault here lasts; virsh's own start is part of it. The list is one of names, since for one with states virsh
// asks each domain for its own, the sick one too.
func (h *host) healthy(name string) {
	h.Helper()
	for _, args := range [][]string{{"domstate", name}, {"dominfo", name}, {"list", "--all", "--name"}} {
		out, took, err := h.virsh(args...)
		if err != nil || took > slowdown*time.Second || !strings.Contains(out, "running") && !strings.Contains(out, "sick\n") {
			h.Errorf("virsh %v took %v: %v\n%s", args, took, err, out)
		}
	}
}

func TestLive(t *testing.T) {
	for mode, args := range map[string][]string{"single": {"run", "-q", "--allow-faults"}, "split": {"run", "-q", "--split", "--allow-faults"}} {
		t.Run(mode, func(t *testing.T) {
			h := newHost(t, args...)
			h.up()
			h.guest("sick")
			h.guest("well")
			sub := func(name string, f func(h *host)) {
				t.Run(name, func(t *testing.T) {
					own := *h
					own.T = t
					f(&own)
				})
			}
			sub("the picture", func(h *host) { testPicture(h, mode) })
			sub("the figures", testFigures)
			sub("a panic", testPanic)
			sub("a stall", func(h *host) { testHang(h, "stall", "*fault.Stall") })
			sub("an endless loop", func(h *host) { testHang(h, "spin", "*fault.Spin") })
			sub("a flood", testFlood)
			sub("quarantine", testQuarantine)
			sub("wrong names", testWrongNames)
			if os.Getenv("VIRTREE_LONG") != "" { // the watchdog gives an actor half a minute
				sub("a stall without end", testAbandon)
			}
			if mode == "split" {
				sub("a branch that exits", func(h *host) { testBranch(h, "exit") })
				sub("a fatal error in a branch", func(h *host) { testBranch(h, "fatal") })
				sub("a stopped process", testStoppedProcess)
			}
		})
	}
}

func testPicture(h *host, mode string) {
	p, exit := h.picture()
	if p.Mode != mode || exit != 0 {
		h.Errorf("mode %s, exit code %d", p.Mode, exit)
	}
	for _, b := range supervisors.Host {
		n := p.Tree.Find("root/" + b.Name)
		if n == nil {
			if mode == "split" || b.Name != "proxy" {
				h.Errorf("no branch %s", b.Name)
			}
			continue
		}
		if n.State != "running" || (mode == "split") != (n.Kind == "process" && n.OSPid > 0) {
			h.Errorf("branch %+v", n)
		}
	}
	for _, name := range []string{"sick", "well"} {
		if n := titled(p, name); n == nil || n.State != "running" || n.Kind != "domain" || !strings.HasPrefix(n.ID, "root/qemu/") {
			h.Errorf("domain %s: %+v", name, n)
		}
	}
	for _, process := range p.Processes {
		if process.State != "running" || process.PID == 0 || process.RSS == 0 || process.Goroutines == 0 || process.Descriptors == 0 || process.Uptime == 0 || !process.Faults {
			h.Errorf("process %+v", process)
		}
	}
	if want := map[string]int{"single": 1, "split": 11}[mode]; len(p.Processes) != want {
		h.Errorf("%d processes", len(p.Processes))
	}
	if out := h.mustRun("tree"); !strings.Contains(out, "domain sick (") || !strings.Contains(out, mode+": ") {
		h.Errorf("the picture for people:\n%s", out)
	}
	if out := h.mustRun("top", "--once"); !strings.Contains(out, "PROCESS") || !strings.Contains(out, fmt.Sprint(p.Processes[0].PID)) {
		h.Errorf("top:\n%s", out)
	}
	if out := h.mustRun("mode"); !strings.Contains(out, "virtree runs: "+mode) {
		h.Errorf("mode:\n%s", out)
	}
}

func testFigures(h *host) {
	page := h.mustRun("metrics")
	daemon := map[bool]string{true: "libvirtd", false: "virtqemud"}[strings.Contains(page, `daemon="libvirtd"`)]
	for _, want := range []string{
		`virtree_actors{branch="qemu",daemon="` + daemon + `",kind="domain",state="running"} 2`,
		`virtree_mailbox_messages{branch="qemu",daemon="` + daemon + `",kind="domain"} 0`,
		`process_resident_memory_bytes{daemon="` + daemon + `"}`,
		`go_goroutines{daemon="` + daemon + `"}`,
	} {
		if !strings.Contains(page, want) {
			h.Errorf("no line %s", want)
		}
	}
	if n := strings.Count(page, "# TYPE virtree_actors "); n != 1 {
		h.Errorf("%d blocks of one name", n)
	}
}

func testPanic(h *host) {
	qemu := h.qemu("sick")
	h.mustRun("fault", "panic", "sick")
	h.healthy("well")
	p := h.until("the panic shows and the domain is back", func(p *actors.Picture) bool {
		n := titled(p, "sick")
		return n != nil && n.State == "running" && n.Restarts == 1
	})
	if n := titled(p, "sick"); !strings.Contains(n.LastError, "injected fault") {
		h.Errorf("last error %q", n.LastError)
	}
	if n := titled(p, "well"); n.Restarts != 0 {
		h.Errorf("the other one: %+v", n)
	}
	if out := h.mustVirsh("domstate", "sick"); !strings.HasPrefix(out, "running") || h.qemu("sick") != qemu {
		h.Errorf("state %s, QEMU %s, before %s", out, h.qemu("sick"), qemu)
	}
}

func testHang(h *host, kind, message string) {
	h.mustRun("fault", kind, "sick", "--for", "4s")
	h.until("the actor is seen in it", func(p *actors.Picture) bool {
		n := titled(p, "sick")
		return n != nil && n.Doing == message && n.Busy > 0
	})
	h.healthy("well")
	h.until("the tree calls that trouble", func(p *actors.Picture) bool {
		_, exit := h.picture()
		return exit == int(exitTrouble)
	})
	if out, _, err := h.virsh("suspend", "sick"); err != nil {
		h.Errorf("after it, or meanwhile: %v %s", err, out)
	}
	h.mustVirsh("resume", "sick")
	h.until("over", func(p *actors.Picture) bool { n := titled(p, "sick"); return n.Doing == "" && n.Depth == 0 })
}

// testAbandon stalls an actor for ever: it is left behind, and a successor takes its place.
func testAbandon(h *host) {
	qemu := h.qemu("sick")
	h.mustRun("fault", "stall", "sick", "--for", "0")
	p := h.until("a successor is there", func(p *actors.Picture) bool {
		n := titled(p, "sick")
		return n != nil && n.Doing == "" && n.Abandoned == 1
	})
	if n := titled(p, "sick"); n.State != "running" || !strings.Contains(n.LastError, "stuck in *fault.Stall") {
		h.Errorf("successor %+v", n)
	}
	h.mustVirsh("suspend", "sick")
	h.mustVirsh("resume", "sick")
	if h.qemu("sick") != qemu {
		h.Error("its guest did not run on")
	}
	if _, exit := h.run("tree"); exit != int(exitTrouble) {
		h.Errorf("exit code %d with an abandoned actor", exit)
	}
}

func testFlood(h *host) {
	h.mustRun("fault", "flood", "sick", "--times", "6000", "--for", "1ms")
	h.until("the queue shows", func(p *actors.Picture) bool {
		n := titled(p, "sick")
		return n.Depth > 100 && n.Age > 0 && n.Refused > 0
	})
	h.healthy("well")
	h.until("worked off", func(p *actors.Picture) bool { return titled(p, "sick").Depth == 0 })
	h.mustVirsh("domstate", "sick")
}

func testQuarantine(h *host) {
	id := titled(h.until("there", func(p *actors.Picture) bool { return titled(p, "sick") != nil }), "sick").ID
	h.mustRun("fault", "panic", "sick", "--times", "20")
	p := h.until("quarantined", func(p *actors.Picture) bool {
		n := p.Tree.Find(id)
		return n != nil && n.State == "quarantined"
	})
	if n := p.Tree.Find(id); !strings.Contains(n.LastError, "injected fault") {
		h.Errorf("last error %q", n.LastError)
	}
	if out, exit := h.run("tree"); exit != int(exitTrouble) || !strings.Contains(out, "quarantined") {
		h.Errorf("exit code %d\n%s", exit, out)
	}
	h.healthy("well")
	if out, _, err := h.virsh("suspend", "sick"); err == nil || !strings.Contains(out, "quarantined after repeated failures") {
		h.Errorf("a call on it: %v %s", err, out)
	}
	if out, exit := h.run("release", "well"); exit != int(exitRefused) || !strings.Contains(out, "is not quarantined") {
		h.Errorf("release of the healthy one: exit code %d %s", exit, out)
	}
	h.mustRun("release", id)
	h.until("released", func(p *actors.Picture) bool { n := p.Tree.Find(id); return n != nil && n.State == "running" })
	h.mustVirsh("suspend", "sick")
	h.mustVirsh("resume", "sick")
}

func testWrongNames(h *host) {
	for _, args := range [][]string{{"fault", "panic", "nobody"}, {"fault", "panic", "server-admin:x"}, {"release", ""}} {
		if out, exit := h.run(args...); exit != int(exitUnknown) || !strings.Contains(out, "nothing in the tree is called") {
			h.Errorf("%v: exit code %d %s", args, exit, out)
		}
	}
	if out, exit := h.run("fault", "stall", "sick", "--for", "-1s"); exit != int(exitTrouble) {
		h.Errorf("exit code %d %s", exit, out)
	}
}

// testBranch ends the qemu branch's process from within. The others do not notice, it is back within a second with its
// guests, and those ran on.
func testBranch(h *host, kind string) {
	find := func(p *actors.Picture) *supervisors.Node { return p.Tree.Find("root/qemu") }
	p, _ := h.picture()
	was, guests := find(p).OSPid, []string{h.qemu("sick"), h.qemu("well")}
	began := time.Now()
	h.mustRun("fault", kind, "qemu")
	p = h.until("the branch is back", func(p *actors.Picture) bool {
		n := find(p)
		return n.State == "running" && n.OSPid != was && titled(p, "sick") != nil && titled(p, "well") != nil
	})
	if took := time.Since(began); took > slowdown*time.Second {
		h.Errorf("the branch was away for %v", took)
	}
	if n := find(p); n.Restarts == 0 || !strings.Contains(n.LastError, "exit status") {
		h.Errorf("branch %+v", n)
	}
	for _, process := range p.Processes {
		if process.Name != "qemu" && process.State != "running" {
			h.Errorf("process %s is %s: %s", process.Name, process.State, process.Error)
		}
	}
	h.healthy("well")
	if now := []string{h.qemu("sick"), h.qemu("well")}; now[0] != guests[0] || now[1] != guests[1] {
		h.Errorf("guests %v, before %v", now, guests)
	}
}

// testStoppedProcess stops a branch as a debugger would: it has its sockets open and says nothing.
func testStoppedProcess(h *host) {
	p, _ := h.picture()
	pid := p.Tree.Find("root/storage").OSPid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		h.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	began := time.Now()
	p, exit := h.picture()
	if took := time.Since(began); took > (1+slowdown)*answerLimit {
		h.Errorf("looking took %v", took)
	}
	if n := p.Tree.Find("root/storage"); n.State != actors.ProcessStuck || n.OSPid != pid || exit != int(exitTrouble) {
		h.Errorf("exit code %d, branch %+v", exit, n)
	}
	if n := titled(p, "well"); n == nil {
		h.Error("the rest is not shown")
	}
	if out, exit := h.run("metrics"); exit != int(exitTrouble) || !strings.Contains(out, "storage: ") || !strings.Contains(out, `daemon="virtqemud"`) {
		h.Errorf("metrics: exit code %d", exit)
	}
}

func TestFaultsNeedPermission(t *testing.T) {
	h := newHost(t, "run")
	h.up()
	out, exit := h.run("fault", "panic", "qemu")
	if exit != int(exitRefused) || !strings.Contains(out, "libvirtd was not started with --allow-faults") {
		t.Errorf("exit code %d %s", exit, out)
	}
	if p, _ := h.picture(); p.Tree.Find("root/qemu").Restarts != 0 {
		t.Error("it was obeyed")
	}
}

func TestADaemonAloneAndAfterItWasKilled(t *testing.T) {
	h := newHost(t, "virtsecretd")
	p := h.until("the daemon is seen", func(p *actors.Picture) bool {
		n := p.Tree.Find("root/secret")
		return n != nil && n.State == "running"
	})
	if n := p.Tree.Find("root/secret"); p.Mode != "daemons" || n.OSPid != h.cmd.Process.Pid {
		t.Errorf("mode %s, branch %+v", p.Mode, n)
	}
	if n := p.Tree.Find("root/qemu"); n.State != "off" {
		t.Errorf("a branch that nobody started: %+v", n)
	}
	_ = h.cmd.Process.Kill()
	<-h.ended
	p, exit := h.picture()
	if n := p.Tree.Find("root/secret"); n.State != actors.ProcessDead || exit != int(exitTrouble) {
		t.Errorf("after a kill: exit code %d, branch %+v", exit, n)
	}
}

func TestNoTreeIsSaidSo(t *testing.T) {
	h := &host{T: t, root: t.TempDir()}
	for _, args := range [][]string{{"tree"}, {"tree", "--json"}, {"top", "--once"}, {"metrics"}, {"fault", "panic", "x"}, {"release", "x"}} {
		if out, exit := h.run(args...); exit != int(exitNothing) || !strings.Contains(out, "no process of a tree") {
			t.Errorf("%v: exit code %d %s", args, exit, out)
		}
	}
	out, exit := h.run("mode")
	if exit != 0 || !strings.HasPrefix(out, "off: ") || !strings.Contains(out, "No process of virtree runs here") {
		t.Errorf("mode: exit code %d %s", exit, out)
	}
	if out, exit := h.run("mode", "single"); exit != int(exitNoSystemd) {
		t.Errorf("mode single below a root of its own: exit code %d %s", exit, out)
	}
}

// On a terminal the screen is a page of its own: Ctrl-C, or q, gives back what was there before, and is no error.
func TestTheLiveScreenLeavesTheTerminalAsItWas(t *testing.T) {
	h := newHost(t, "run", "-q")
	h.up()
	for _, c := range []struct {
		args, env []string
		end, want string
	}{
		{[]string{"top"}, nil, "\x03", "libvirtd"},
		{[]string{"top"}, []string{"NO_COLOR=1"}, "q", "libvirtd"},
		{[]string{"tree", "--watch"}, nil, "\x03", "virtqemud"},
	} {
		v := h.onTerminal(c.args, c.env)
		v.until("two pages", func(text string) bool { return strings.Count(text, eraseBelow) >= 3 })
		v.press(c.end)
		text, err := v.wait()
		if err != nil {
			t.Errorf("%v: %v", c.args, err)
		}
		if !strings.HasPrefix(text, enterScreen) || !strings.Contains(text, c.want) {
			t.Errorf("%v: %q", c.args, text)
		}
		if !strings.HasSuffix(text, leaveScreen) {
			t.Errorf("%v does not leave the terminal as it was: %q", c.args, text[max(0, len(text)-80):])
		}
		if c.env != nil && strings.Contains(text, inColour[good]) {
			t.Errorf("%v %v has colours: %q", c.args, c.env, text)
		}
	}
}

// The screen follows the size of the terminal, and a tree that ends and comes back.
func TestTheLiveScreenOutlivesTheTree(t *testing.T) {
	h := newHost(t, "run", "-q")
	h.up()
	v := h.onTerminal([]string{"top", "-n", "200ms"}, nil)
	v.until("a wide page", func(text string) bool { return strings.Contains(text, "wake-ups/s") })
	if err := unix.IoctlSetWinsize(int(v.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 50}); err != nil {
		t.Fatal(err)
	}
	v.since()
	v.until("a narrow page", func(text string) bool {
		_, last, _ := strings.Cut(text, home)
		return strings.Contains(last, eraseBelow) && !strings.Contains(last, "resident") && strings.Contains(last, "virtree single")
	})
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	<-h.ended
	v.until("nobody is there", func(text string) bool { return strings.Contains(text, "no process answers") })
	h.cmd, h.ended = virtree("run", "-q", "--root", h.root), make(chan struct{})
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = h.cmd.Wait()
		close(h.ended)
	}()
	v.since()
	v.until("it is back", func(text string) bool { return strings.Contains(text, "virtree single") })
	v.press("q")
	if _, err := v.wait(); err != nil {
		t.Error(err)
	}
}

// A terminal that can only print gets pages one below the other, without a single escape.
func TestADumbTerminalGetsText(t *testing.T) {
	h := newHost(t, "run", "-q")
	h.up()
	v := h.onTerminal([]string{"top", "-n", "200ms"}, []string{"TERM=dumb"})
	v.until("two pages", func(text string) bool { return strings.Count(text, "virtree single") >= 2 })
	v.press("\x03")
	if text, err := v.wait(); err != nil || strings.Contains(text, "\x1b") {
		t.Errorf("%v %q", err, text)
	}
}

func TestTopAsJSON(t *testing.T) {
	h := newHost(t, "run", "-q")
	h.up()
	var s struct {
		Mode      string
		Processes []follow.Process
		Branches  []follow.Branch
		Busiest   []topActor
	}
	if out := h.mustRun("top", "--once", "--json", "-n", "200ms", "--idle"); json.Unmarshal([]byte(out), &s) != nil || s.Mode != "single" || len(s.Branches) < 9 || len(s.Busiest) < 9 || s.Processes[0].RSS == 0 {
		t.Errorf("%s", out)
	}
	if out, exit := h.run("top", "--once", "--sort", "colour"); exit == 0 || !strings.Contains(out, "cannot sort") {
		t.Errorf("exit code %d: %s", exit, out)
	}
}

// onTerm is a command of virtree on a terminal of its own.
type onTerm struct {
	*host
	cmd    *exec.Cmd
	master *os.File
	text   string
	from   int // of what until looks at
}

func (h *host) onTerminal(args, env []string) *onTerm {
	h.Helper()
	master, slave := openTerminal(h.T)
	v := &onTerm{host: h, cmd: virtree(append(args, "--root", h.root)...), master: master}
	v.cmd.Env = append(append(v.cmd.Env, "TERM=xterm", "NO_COLOR="), env...)
	v.cmd.Stdin, v.cmd.Stdout, v.cmd.Stderr = slave, slave, slave
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := v.cmd.Start(); err != nil {
		h.Fatal(err)
	}
	_ = slave.Close()
	_ = master.SetReadDeadline(time.Now().Add(patience))
	return v
}

func (v *onTerm) read() error {
	buf := make([]byte, 64<<10)
	n, err := v.master.Read(buf)
	v.text += string(buf[:n])
	return err
}

// until reads until what was written since the last call of since is ok.
func (v *onTerm) until(what string, ok func(text string) bool) {
	v.Helper()
	for !ok(v.text[v.from:]) {
		if err := v.read(); err != nil {
			v.Fatalf("never came true: %s: %v\n%q", what, err, v.text[v.from:])
		}
	}
}

func (v *onTerm) since() { v.from = len(v.text) }

func (v *onTerm) press(keys string) { _, _ = v.master.WriteString(keys) }

// wait reads until the terminal's last user has left.
func (v *onTerm) wait() (text string, err error) {
	for v.read() == nil {
	}
	_ = v.master.Close()
	return v.text, v.cmd.Wait()
}
