package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/wire/liberr"
)

// fake is a guest agent: reply answers one command; nil stays silent.
type fake struct {
	path  string
	lines chan string
}

// serve answers connections one after the other, as QEMU's socket does.
func serve(t *testing.T, reply func(conn net.Conn, name string, id int64) string) *fake {
	t.Helper()
	f := &fake{path: filepath.Join(t.TempDir(), "agent.sock"), lines: make(chan string, 64)}
	l, err := net.Listen("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.speak(conn, reply)
		}
	}()
	return f
}

func (f *fake) speak(conn net.Conn, reply func(net.Conn, string, int64) string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimPrefix(line, "\xff")
		f.lines <- strings.TrimSpace(line)
		var cmd struct {
			Execute   string `json:"execute"`
			Arguments struct {
				ID int64 `json:"id"`
			} `json:"arguments"`
		}
		_ = json.Unmarshal([]byte(line), &cmd)
		if s := reply(conn, cmd.Execute, cmd.Arguments.ID); s != "" {
			if _, err := conn.Write([]byte(s)); err != nil {
				return
			}
		}
	}
}

func inStep(id int64) string { return fmt.Sprintf("\xff{\"return\": %d}\n", id) }

// polite answers as an agent in good health.
func polite(_ net.Conn, name string, id int64) string {
	switch name {
	case "guest-sync-delimited":
		return inStep(id)
	case "guest-ping":
		return "{\"return\": {}}\n"
	case "guest-get-time":
		return "{\"return\": 1500000000123456789}\n"
	}
	return `{"error": {"class": "CommandNotFound", "desc": "The command ` + name + ` has not been found"}}` + "\n"
}

func dial(t *testing.T, f *fake) (*Client, context.Context) {
	t.Helper()
	c := New(f.path)
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return c, ctx
}

func wantCode(t *testing.T, err error, code liberr.Code, text string) {
	t.Helper()
	var e *liberr.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("error %v, want code %d with %q", err, code, text)
	}
}

func TestEveryCommandSyncs(t *testing.T) {
	f := serve(t, polite)
	c, ctx := dial(t, f)
	var ns uint64
	if err := c.Execute(ctx, Command{Name: "guest-get-time", Timeout: Default}, &ns); err != nil || ns != 1500000000123456789 {
		t.Fatal(ns, err)
	}
	out, err := c.Raw(ctx, `{"execute": "guest-ping"}`, Default)
	if err != nil || out != `{"return":{}}` {
		t.Fatal(out, err)
	}
	var names []string
	for len(f.lines) > 0 {
		names = append(names, <-f.lines)
	}
	if len(names) != 4 || !strings.Contains(names[0], "guest-sync-delimited") || !strings.Contains(names[2], "guest-sync-delimited") || names[3] != `{"execute":"guest-ping"}` {
		t.Errorf("the agent was sent %q", names)
	}
}

func TestRefusals(t *testing.T) {
	c, ctx := dial(t, serve(t, polite))
	wantCode(t, c.Execute(ctx, Command{Name: "guest-fly"}, nil), liberr.InternalError,
		"unable to execute QEMU agent command 'guest-fly': The command guest-fly has not been found")
	if err := c.Execute(ctx, Command{Name: "guest-fly", Optional: true, Timeout: Default}, nil); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	_, err := c.Raw(ctx, "no json", Default)
	wantCode(t, err, liberr.InternalError, "cannot parse json no json")
}

// Left over answers, noise and a complaint about half a command come before the number that counts.
func TestNoiseBeforeSyncIsThrownAway(t *testing.T) {
	c, ctx := dial(t, serve(t, func(conn net.Conn, name string, id int64) string {
		if name == "guest-sync-delimited" {
			return "{\"return\": 42}\nline noise\x00\x01\n" + `{"error": {"class": "GenericError", "desc": "JSON parse error, stray"}}` + "\n" +
				inStep(id-1) + inStep(id)
		}
		return polite(conn, name, id)
	}))
	var ns uint64
	if err := c.Execute(ctx, Command{Name: "guest-get-time", Timeout: Default}, &ns); err != nil || ns == 0 {
		t.Fatal(ns, err)
	}
}

func TestSilentAgentIsUnresponsive(t *testing.T) {
	c, ctx := dial(t, serve(t, func(net.Conn, string, int64) string { return "" }))
	err := c.Execute(ctx, Command{Name: "guest-ping", Timeout: NoWait}, nil)
	wantCode(t, err, liberr.AgentUnresponsive, "Guest agent is not responding: Guest agent not available for now")
}

// A late answer to a command that was given up must not be taken for the next one's.
func TestLateAnswerIsNotTheNextOnes(t *testing.T) {
	late := ""
	c, ctx := dial(t, serve(t, func(conn net.Conn, name string, id int64) string {
		if name == "guest-sync-delimited" {
			s := late + inStep(id)
			late = ""
			return s
		}
		if name == "guest-slow" {
			late = "{\"return\": \"late\"}\n"
			return ""
		}
		return polite(conn, name, id)
	}))
	if err := c.Execute(ctx, Command{Name: "guest-ping", Timeout: Default}, nil); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.Execute(ctx, Command{Name: "guest-slow", Timeout: NoWait}, nil), liberr.AgentCommandTimeout, "guest agent command timed out")
	var ns uint64
	if err := c.Execute(ctx, Command{Name: "guest-get-time", Timeout: Default}, &ns); err != nil || ns == 0 {
		t.Fatal(ns, err)
	}
}

func TestEndlessAnswerIsBounded(t *testing.T) {
	c, ctx := dial(t, serve(t, func(conn net.Conn, name string, id int64) string {
		if name == "guest-sync-delimited" {
			return inStep(id)
		}
		return strings.Repeat("x", maxAnswer+8192)
	}))
	wantCode(t, c.Execute(ctx, Command{Name: "guest-ping", Timeout: Block}, nil), liberr.InternalError, "No complete agent response")
}

func TestEventStandsForTheAnswer(t *testing.T) {
	asked := make(chan bool, 1)
	c, ctx := dial(t, serve(t, func(conn net.Conn, name string, id int64) string {
		if name == "guest-shutdown" {
			asked <- true
			return ""
		}
		return polite(conn, name, id)
	}))
	go func() {
		<-asked
		c.Event("RTC_CHANGE")
		c.Event("SHUTDOWN")
	}()
	if err := c.Execute(ctx, Command{Name: "guest-shutdown", Timeout: 20, Events: []string{"SHUTDOWN"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Execute(ctx, Command{Name: "guest-ping", Timeout: Default}, nil); err != nil {
		t.Fatal("after an event:", err)
	}
}

func TestCloseEndsTheCommandThatWaits(t *testing.T) {
	asked := make(chan bool, 1)
	c, ctx := dial(t, serve(t, func(conn net.Conn, name string, id int64) string {
		if name == "guest-slow" {
			asked <- true
			return ""
		}
		return polite(conn, name, id)
	}))
	go func() { <-asked; c.Close() }()
	wantCode(t, c.Execute(ctx, Command{Name: "guest-slow", Timeout: Block}, nil), liberr.AgentUnresponsive, disappeared)
	wantCode(t, c.Execute(ctx, Command{Name: "guest-ping", Timeout: Block}, nil), liberr.AgentUnresponsive, disappeared)
}

// FuzzAnswers: whatever a guest says, a command ends, and with a value only if there is one.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte("{\"return\": {}}\n"))
	f.Add([]byte("\xff\xff{\"return\": 1}\n{\"error\": {}}\n"))
	f.Add([]byte("{\"error\": 3}\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		near, far := net.Pipe()
		defer near.Close()
		go func() {
			r := bufio.NewReader(far)
			_, _ = r.ReadString('\n')
			_, _ = far.Write(said)
			far.Close()
		}()
		c := New("")
		c.conn, c.open, c.inStep, c.lines = near, near, true, bufio.NewReader(near)
		var v []byte
		line, err := c.talk([]byte("{}"), 5*time.Second)
		if err == nil {
			v, err = check("x", line, false)
		}
		if err == nil && !strings.Contains(string(said), "return") {
			t.Errorf("%q gave %v", said, v)
		}
	})
}

// The real agent, listening on a UNIX socket, with everything that would touch this machine forbidden.
func TestRealAgent(t *testing.T) {
	bin, err := exec.LookPath("qemu-ga")
	if err != nil {
		t.Skip("qemu-ga is not installed")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "ga.sock")
	block := "guest-shutdown,guest-suspend-ram,guest-suspend-disk,guest-suspend-hybrid,guest-fsfreeze-freeze,guest-fsfreeze-freeze-list," +
		"guest-fstrim,guest-set-time,guest-set-user-password,guest-exec,guest-file-open,guest-set-vcpus,guest-set-memory-blocks"
	cmd := exec.Command(bin, "-m", "unix-listen", "-p", path, "-t", dir, "-f", filepath.Join(dir, "pid"), "-b", block)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	deadline := time.Now().Add(10 * time.Second)
	for {
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // nothing tells that it listens
	}
	c := New(path)
	defer c.Close()
	ctx := context.Background()
	var ns int64
	if err := c.Execute(ctx, Command{Name: "guest-get-time", Timeout: Default}, &ns); err != nil || ns < 1e18 {
		t.Fatal(ns, err)
	}
	err = c.Execute(ctx, Command{Name: "guest-shutdown", Timeout: Default}, nil)
	wantCode(t, err, liberr.InternalError, "guest-shutdown has been disabled")
}
