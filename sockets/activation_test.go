package sockets

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the activated daemon: it reports what it was given.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SOCKETS_TEST_DAEMON"); dir != "" {
		activatedDaemon(dir)
		return
	}
	os.Exit(m.Run())
}

type report struct {
	Listeners []string
	Extra     []string
	Answered  string // by whom the waiting client was accepted
	Err       string
	Env       []string
}

func activatedDaemon(dir string) {
	var r report
	defer func() { json.NewEncoder(os.Stdout).Encode(r) }()
	act, err := ActivationFromEnv()
	if err != nil {
		r.Err = err.Error()
		return
	}
	// The Spec asks for other modes and for TCP: activation must ignore it.
	set, err := Listen(daemonSpec(dir), act)
	if err != nil {
		r.Err = err.Error()
		return
	}
	for _, l := range set.Listeners {
		r.Listeners = append(r.Listeners, fmt.Sprint(l.Kind, " ", filepath.Base(l.Addr().String()), " ", l.Activated))
	}
	for name := range set.Extra {
		r.Extra = append(r.Extra, name)
	}
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "LISTEN_") {
			r.Env = append(r.Env, e)
		}
	}
	if rw := set.Of(ReadWrite); len(rw) > 0 {
		if c, err := rw[0].Accept(); err == nil {
			r.Answered = c.Kind.String()
			c.Close()
		}
	}
	set.Close()
}

func daemonSpec(dir string) Spec {
	return Spec{
		Daemon: "virtqemud",
		RW:     UnixSocket{Path: filepath.Join(dir, "virtqemud-sock"), Mode: 0o700},
		RO:     UnixSocket{Path: filepath.Join(dir, "virtqemud-sock-ro"), Mode: 0o700},
		Admin:  UnixSocket{Path: filepath.Join(dir, "virtqemud-admin-sock"), Mode: 0o700},
		// A port nobody can bind: would fail if it were not ignored.
		ListenTCP: true, Addr: "192.0.2.1",
	}
}

// activate runs the test binary under systemd-socket-activate with the given sockets, connects to the first and returns the report.
func activate(t *testing.T, dir string, names string, socks ...string) report {
	t.Helper()
	tool, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not installed")
	}
	args := []string{"--setenv=SOCKETS_TEST_DAEMON=" + dir}
	for _, s := range socks {
		args = append(args, "--listen="+s)
	}
	if names != "" {
		args = append(args, "--fdname="+names)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, append(args, os.Args[0])...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It says "Listening on ... as N." per socket; then a client makes it start the daemon.
	lines := bufio.NewScanner(stderr)
	for n := 0; n < len(socks) && lines.Scan(); {
		if strings.Contains(lines.Text(), "Listening on") {
			n++
		}
	}
	go func() {
		for lines.Scan() {
		}
	}()
	c, err := net.Dial("unix", socks[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out, err := io.ReadAll(stdout)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return r
}

func TestActivationByUnitName(t *testing.T) {
	dir := t.TempDir()
	// Paths that say nothing, so that only the names can.
	r := activate(t, dir, "virtqemud.socket:virtqemud-admin.socket:virtqemud-ro.socket:virtree-actors.socket",
		filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c"), filepath.Join(dir, "d"))
	want := report{Listeners: []string{"rw a true", "admin b true", "ro c true"}, Extra: []string{"virtree-actors.socket"}, Answered: "rw"}
	if fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
	// systemd owns the files: a daemon that ends leaves them.
	if _, err := os.Lstat(filepath.Join(dir, "a")); err != nil {
		t.Error(err)
	}
}

func TestActivationByAddress(t *testing.T) {
	dir := t.TempDir()
	r := activate(t, dir, "", filepath.Join(dir, "virtqemud-sock"), filepath.Join(dir, "virtqemud-sock-ro"), filepath.Join(dir, "virtqemud-admin-sock"))
	want := report{Listeners: []string{"rw virtqemud-sock true", "ro virtqemud-sock-ro true", "admin virtqemud-admin-sock true"}, Answered: "rw"}
	if fmt.Sprint(r) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

func TestActivationOfSomebodyElseIsAnError(t *testing.T) {
	dir := t.TempDir()
	r := activate(t, dir, "virtnetworkd.socket", filepath.Join(dir, "a"))
	if !strings.Contains(r.Err, "none of the 1 passed sockets belongs to virtqemud") {
		t.Errorf("got %+v", r)
	}
}

func TestNoActivation(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"nothing set":         {},
		"for another process": {"LISTEN_PID": "1", "LISTEN_FDS": "2"},
		"no sockets":          {"LISTEN_PID": fmt.Sprint(os.Getpid()), "LISTEN_FDS": "0"},
		"without a process":   {"LISTEN_FDS": "2"},
	} {
		for k, v := range env {
			t.Setenv(k, v)
		}
		if act, err := ActivationFromEnv(); act != nil || err != nil {
			t.Errorf("%s: %v, %v", name, act, err)
		}
		if os.Getenv("LISTEN_FDS") != "" {
			t.Errorf("%s: the variables stay for children", name)
		}
	}
	for _, fds := range []string{"x", "-1", "99999999999999999999"} {
		t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
		t.Setenv("LISTEN_FDS", fds)
		if _, err := ActivationFromEnv(); err == nil {
			t.Errorf("LISTEN_FDS=%s is accepted", fds)
		}
	}
}
