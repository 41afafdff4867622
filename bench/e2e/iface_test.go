package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"virtree/bench/internal/lab"
)

// hostLab is a tree on the links of a box, with a configuration of interfaces below its root.
type hostLab struct {
	*testing.T
	at *lab.Target
}

func (l *hostLab) virsh(args ...string) string {
	l.Helper()
	r := l.at.Virsh(context.Background(), args...)
	// virsh 9.0.0 exits with 1 after an iface-destroy that went well.
	if r.Exit != 0 && !(args[0] == "iface-destroy" && strings.HasSuffix(strings.TrimSpace(r.Stdout), "destroyed") && strings.TrimSpace(r.Stderr) == "") {
		l.Fatalf("virsh %s: %s%s\n%s", strings.Join(args, " "), r.Stdout, r.Stderr, l.at.LogTail(20))
	}
	return r.Stdout
}

func (l *hostLab) ip(args string) string {
	l.Helper()
	out, err := l.at.Box.Command(context.Background(), "ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		l.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

func (l *hostLab) write(name, text string) string {
	l.Helper()
	path := filepath.Join(l.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		l.Fatal(err)
	}
	return path
}

func (l *hostLab) has(text, part string) {
	l.Helper()
	if !strings.Contains(text, part) {
		l.Fatalf("%q is not in\n%s", part, text)
	}
}

func (l *hostLab) hasNot(text, part string) {
	l.Helper()
	if strings.Contains(text, part) {
		l.Fatalf("%q is in\n%s", part, text)
	}
}

// An administrator's session with virsh: define, start, put into a bridge and take out again, try something and take it
// back after a crash of the daemon.
func TestHostInterfaces(t *testing.T) {
	for _, kind := range []lab.Kind{lab.Single, lab.Split} {
		for name, conf := range map[string]map[string]string{
			"ifupdown": {"etc/network/interfaces": "auto lo\niface lo inet loopback\n"},
			"networkd": {"etc/systemd/network/00-wired.network": "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n"},
		} {
			t.Run(string(kind)+"/"+name, func(t *testing.T) { hostInterfaces(t, kind, conf) })
		}
	}
}

func hostInterfaces(t *testing.T, kind lab.Kind, conf map[string]string) {
	if why := lab.Missing(kind); why != "" {
		t.Skip(why)
	}
	at, err := lab.Open(context.Background(), kind, lab.Options{Fill: func(dir string) error {
		for name, text := range conf {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = at.Close() })
	l := &hostLab{t, at}
	l.ip("link add e0 type veth peer name e1")
	l.ip("link set e1 up")

	l.virsh("iface-define", l.write("e0.xml", "<interface type='ethernet' name='e0'><start mode='onboot'/><protocol family='ipv4'><ip address='192.0.2.1' prefix='24'/></protocol></interface>"), "--validate")
	l.has(l.virsh("iface-list", "--inactive"), "e0")
	l.virsh("iface-start", "e0")
	l.has(l.virsh("iface-list"), "e0")
	l.has(l.ip("-o addr show dev e0"), "192.0.2.1/24")

	l.virsh("iface-bridge", "e0", "br0", "--delay", "2")
	l.has(l.ip("-o link show e0"), "master br0")
	l.has(l.ip("-o addr show dev br0"), "192.0.2.1/24")
	l.has(l.virsh("iface-dumpxml", "br0", "--inactive"), "<interface type='ethernet' name='e0'>")
	l.hasNot(l.virsh("iface-list", "--all"), "e0 ")
	l.virsh("iface-unbridge", "br0")
	l.hasNot(l.ip("-o link"), "br0")
	l.has(l.ip("-o addr show dev e0"), "192.0.2.1/24")

	l.virsh("iface-begin")
	l.virsh("iface-destroy", "e0")
	l.virsh("iface-define", l.write("e0.xml", "<interface type='ethernet' name='e0'><protocol family='ipv4'><ip address='198.51.100.1' prefix='24'/></protocol></interface>"))
	l.virsh("iface-start", "e0")
	l.virsh("iface-define", l.write("br1.xml", "<interface type='bridge' name='br1'><bridge stp='off'/></interface>"))
	l.virsh("iface-start", "br1")
	if kind == lab.Split {
		pid, err := at.Branch("virtinterfaced")
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if !lab.Await(context.Background(), func() bool { now, err := at.Branch("virtinterfaced"); return err == nil && now != pid }) {
			t.Fatal("virtinterfaced is not back")
		}
		if !lab.Await(context.Background(), func() bool { return at.Virsh(context.Background(), "iface-list").Exit == 0 }) {
			t.Fatal("virtinterfaced does not answer again")
		}
	}
	l.virsh("iface-rollback")
	l.hasNot(l.virsh("iface-list", "--all"), "br1")
	l.hasNot(l.ip("-o link"), "br1")
	l.has(l.ip("-o addr show dev e0"), "192.0.2.1/24")
	l.hasNot(l.ip("-o addr show dev e0"), "198.51.100.1")
	if r := at.Virsh(context.Background(), "iface-commit"); r.Exit == 0 || !strings.Contains(r.Stderr, "there is no pending transaction") {
		t.Errorf("commit of nothing: %+v", r)
	}

	l.virsh("iface-begin")
	l.virsh("iface-destroy", "e0")
	l.virsh("iface-undefine", "e0")
	l.virsh("iface-commit")
	l.hasNot(l.ip("-o addr show dev e0"), "192.0.2.1")
	for name, text := range conf {
		if now, err := os.ReadFile(filepath.Join(at.Dir, name)); err != nil || strings.TrimRight(string(now), "\n") != strings.TrimRight(text, "\n") {
			t.Errorf("%s is now %q, %v", name, now, err)
		}
	}
}
