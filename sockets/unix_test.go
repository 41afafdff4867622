package sockets

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func sockPath(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }

func TestUnixSocketHasItsModeAndGroupWhateverTheUmask(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for _, mode := range []os.FileMode{0o777, 0o700, 0o770, 0o600} {
		path := sockPath(t, "s")
		spec := UnixSocket{Path: path, Mode: mode}
		wantGID := uint32(os.Getgid())
		if os.Getuid() == 0 {
			spec.Group, wantGID = "daemon", 1
		}
		l, err := listenUnix(spec, 10)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != mode || st.Mode().Type() != os.ModeSocket {
			t.Errorf("mode %v, want %v", st.Mode(), mode)
		}
		if gid := st.Sys().(*syscall.Stat_t).Gid; gid != wantGID {
			t.Errorf("group %d, want %d", gid, wantGID)
		}
		l.Close()
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestUnknownGroupIsAnError(t *testing.T) {
	path := sockPath(t, "s")
	if _, err := listenUnix(UnixSocket{Path: path, Group: "no-such-group-here"}, 1); err == nil || !strings.Contains(err.Error(), "no-such-group-here") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a socket was left behind")
	}
}

// staleSocket makes a socket file nobody listens on.
func staleSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := sockPath(t, "s")
	staleSocket(t, path)
	l, err := listenUnix(UnixSocket{Path: path, Mode: 0o700}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestLiveSocketIsRefusedByName(t *testing.T) {
	path := sockPath(t, "s")
	first, err := listenUnix(UnixSocket{Path: path, Mode: 0o700}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = listenUnix(UnixSocket{Path: path, Mode: 0o700}, 1)
	var used *InUseError
	if !errors.As(err, &used) || used.PID != int32(os.Getpid()) || !strings.Contains(used.Error(), path) || used.Name != "sockets.test" {
		t.Errorf("got %v (%+v)", err, used)
	}
	// The failed attempt did not disturb the first.
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func TestOrdinaryFileIsNotRemoved(t *testing.T) {
	path := sockPath(t, "s")
	os.WriteFile(path, []byte("precious"), 0o600)
	if _, err := listenUnix(UnixSocket{Path: path}, 1); err == nil {
		t.Error("a file was replaced by a socket")
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file changed")
	}
}

func TestTooLongPathSaysSo(t *testing.T) {
	path := sockPath(t, strings.Repeat("x", 120))
	_, err := listenUnix(UnixSocket{Path: path}, 1)
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestCloseLeavesASuccessorsSocketAlone(t *testing.T) {
	path := sockPath(t, "s")
	first, err := listenUnix(UnixSocket{Path: path, Mode: 0o700}, 1)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	second, err := listenUnix(UnixSocket{Path: path, Mode: 0o700}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	} else {
		c.Close()
	}
}

func TestOnlyOneOfManyStartersWins(t *testing.T) {
	path := sockPath(t, "s")
	staleSocket(t, path)
	var wg sync.WaitGroup
	won := make(chan *Listener, 20)
	for range 20 {
		wg.Go(func() {
			l, err := listenUnix(UnixSocket{Path: path, Mode: 0o700}, 5)
			if err == nil {
				won <- l
				return
			}
			if used := (*InUseError)(nil); !errors.As(err, &used) {
				t.Errorf("a loser got %v", err)
			}
		})
	}
	wg.Wait()
	close(won)
	n := 0
	for l := range won {
		n++
		l.Close()
	}
	if n != 1 {
		t.Errorf("%d starters listen on one path", n)
	}
}

func TestListenMakesAllOrNone(t *testing.T) {
	dir := t.TempDir()
	spec := Spec{
		Daemon: "virtqemud",
		RW:     UnixSocket{Path: filepath.Join(dir, "rw"), Mode: 0o777},
		RO:     UnixSocket{Path: filepath.Join(dir, "ro"), Mode: 0o777},
		Admin:  UnixSocket{Path: filepath.Join(dir, "no/such/folder/admin"), Mode: 0o700},
	}
	if _, err := Listen(spec, nil); err == nil {
		t.Fatal("no error")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	spec.Admin.Path = filepath.Join(dir, "admin")
	spec.ListenTCP, spec.Addr, spec.TCPPort = true, "127.0.0.1", "0"
	set, err := Listen(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	for k, n := range map[Kind]int{ReadWrite: 1, ReadOnly: 1, Admin: 1, TCP: 1, TLS: 0} {
		if got := len(set.Of(k)); got != n {
			t.Errorf("%d %v listeners, want %d", got, k, n)
		}
	}
}

func TestPeerOfAUnixSocket(t *testing.T) {
	path := sockPath(t, "s")
	l, err := listenUnix(UnixSocket{Path: path, Mode: 0o777}, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// Another process, so that the answer cannot be about ourselves.
	cmd := exec.Command("python3", "-c", "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)", path)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 to connect with")
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := c.Peer()
	if err != nil {
		t.Fatal(err)
	}
	start, err := StartTime(int32(cmd.Process.Pid))
	if err != nil || start == 0 {
		t.Fatal(start, err)
	}
	if p.PID != int32(cmd.Process.Pid) || p.UID != uint32(os.Getuid()) || p.GID != uint32(os.Getgid()) || p.StartTime != start {
		t.Errorf("got %+v, want pid %d start %d", p, cmd.Process.Pid, start)
	}
	if os.Getuid() == 0 && (p.User != "root" || p.Group != "root") {
		t.Errorf("names %q %q", p.User, p.Group)
	}
	if p.RemoteAddr() != "127.0.0.1:0" {
		t.Errorf("address %q", p.RemoteAddr())
	}
}

func TestParseStartTime(t *testing.T) {
	rest := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21"
	for _, comm := range []string{"(bash)", "(a b)", "(x) S 1 (y)", "())"} {
		if got, err := parseStartTime([]byte("123 " + comm + rest)); err != nil || got != 987654 {
			t.Errorf("%s: %d, %v", comm, got, err)
		}
	}
	for _, bad := range []string{"", "123", "123 (x) S 1 2", "1 (x" + rest} {
		if _, err := parseStartTime([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
