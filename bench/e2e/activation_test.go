package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"golang.org/x/sys/unix"

	"virtree/bench/internal/lab"
)

// manager is what of a service manager socket activation takes: it has a daemon's socket, starts the daemon when
// somebody connects, and again after it has left.
type manager struct {
	starts chan struct{} // one token for each start
	leaves chan error    // how each life ended
	quit   chan struct{}
	done   chan struct{}
}

// activate makes the socket of a daemon and looks after it until the end of the test.
func activate(t *testing.T, root, daemon, socket string, args ...string) *manager {
	t.Helper()
	path := filepath.Join(root, "run/libvirt", socket)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{starts: make(chan struct{}, 64), leaves: make(chan error, 64), quit: make(chan struct{}), done: make(chan struct{})}
	t.Cleanup(func() {
		close(m.quit)
		<-m.done
		_ = file.Close()
		_ = ln.Close()
	})
	log, err := os.Create(filepath.Join(root, daemon+".log"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.done)
		defer log.Close()
		for m.called(file) {
			argv := append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, lab.Binary(), daemon, "--root", root}, args...)
			cmd := exec.Command("sh", argv...)
			cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES="+daemon+".socket")
			cmd.ExtraFiles = []*os.File{file}
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				m.leaves <- err
				return
			}
			m.starts <- struct{}{}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case err := <-ended:
				m.leaves <- err
			case <-m.quit:
				_ = cmd.Process.Signal(syscall.SIGTERM)
				<-ended
				return
			}
		}
	}()
	return m
}

// called waits until somebody connects; false at the end of the test.
func (m *manager) called(file *os.File) bool {
	for {
		p := []unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 50)
		select {
		case <-m.quit:
			return false
		default:
		}
		if n > 0 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
	}
}

// left waits for the next end of a life, which must be a good one.
func (m *manager) left(t *testing.T, daemon string) {
	t.Helper()
	select {
	case err := <-m.leaves:
		if err != nil {
			t.Fatalf("%s ended with %v", daemon, err)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not leave", daemon)
	}
}

// Daemons that are idle leave; a client of the proxy brings back what it needs, and nobody hears an error.
func TestIdleDaemonsComeBack(t *testing.T) {
	if why := lab.Missing(lab.Split); why != "" {
		t.Skip(why)
	}
	root := t.TempDir()
	qemu := activate(t, root, "virtqemud", "virtqemud-sock", "--timeout", "3")
	secret := activate(t, root, "virtsecretd", "virtsecretd-sock", "--timeout", "3")
	activate(t, root, "virtproxyd", "libvirt-sock", "--timeout", "60")
	virsh := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		uri := "qemu:///system?socket=" + filepath.Join(root, "run/libvirt/libvirt-sock")
		out, err := exec.CommandContext(ctx, "virsh", append([]string{"-q", "-c", uri}, args...)...).CombinedOutput()
		if err != nil {
			logs, _ := os.ReadFile(filepath.Join(root, "virtqemud.log"))
			t.Fatalf("virsh %v: %v\n%s\n%s", args, err, out, logs)
		}
		return string(out)
	}
	doc := filepath.Join(root, "secret.xml")
	if err := os.WriteFile(doc, []byte("<secret ephemeral='no'><usage type='ceph'><name>idle</name></usage></secret>"), 0o600); err != nil {
		t.Fatal(err)
	}
	virsh("secret-define", doc)
	for range 2 {
		virsh("list", "--all")
		if out := virsh("secret-list"); !strings.Contains(out, "idle") {
			t.Fatalf("the secret is lost: %s", out)
		}
		qemu.left(t, "virtqemud")
		secret.left(t, "virtsecretd")
	}
	if lives := len(qemu.starts); lives < 2 {
		t.Errorf("virtqemud was started %d times", lives)
	}
}

// A call that comes in the very moment in which a daemon leaves is served by the next one. The client keeps one connection to
// virtqemud, which asks virtsecretd for it; the calls come as virtsecretd's second of patience ends, a little earlier or later.
func TestCallsMeetADaemonThatLeaves(t *testing.T) {
	if why := lab.Missing(lab.Split); why != "" {
		t.Skip(why)
	}
	root := t.TempDir()
	activate(t, root, "virtqemud", "virtqemud-sock", "--timeout", "60")
	secret := activate(t, root, "virtsecretd", "virtsecretd-sock", "--timeout", "1")
	l := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(filepath.Join(root, "run/libvirt/virtqemud-sock")), dialers.WithLocalTimeout(30*time.Second)))
	if err := l.ConnectToURI(libvirt.QEMUSystem); err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	const rounds = 12
	for n := range rounds {
		if _, err := l.ConnectNumOfSecrets(); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		// What is timed here is the fault itself: the end of the other's patience.
		time.Sleep(time.Second + time.Duration(n-4)*3*time.Millisecond)
		for range 20 {
			if _, err := l.ConnectNumOfSecrets(); err != nil {
				t.Fatalf("a call in round %d: %v", n, err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if lives := len(secret.starts); lives < 3 {
		t.Errorf("virtsecretd was started %d times: the test has shown nothing", lives)
	} else {
		t.Logf("virtsecretd lived %d times", lives)
	}
}
