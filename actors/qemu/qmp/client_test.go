package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "x"}, "capabilities": ["oob"]}}` + "\r\n"

// request is what the fake peer understood.
type request struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        string          `json:"id"`
}

// fakePeer answers over a real UNIX socket pair with what script returns; "" is silence.
func fakePeer(t *testing.T, script func(r request, raw net.Conn) string) net.Conn {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) net.Conn {
		f := os.NewFile(uintptr(fd), "pair")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ours, theirs := conn(fds[0]), conn(fds[1])
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		defer theirs.Close()
		io.WriteString(theirs, greeting)
		lines := bufio.NewScanner(theirs)
		lines.Buffer(nil, MaxLine)
		for lines.Scan() {
			var r request
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Errorf("client sent %q: %v", lines.Text(), err)
				return
			}
			out := ""
			if r.Execute == "qmp_capabilities" {
				out = ok(r, "{}")
			} else {
				out = script(r, theirs)
			}
			if out == "hangup" {
				return
			}
			if _, err := io.WriteString(theirs, out); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { ours.Close(); theirs.Close(); wg.Wait() })
	return ours
}

func ok(r request, value string) string {
	return fmt.Sprintf("{\"return\": %s, \"id\": %q}\r\n", value, r.ID)
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// observer collects what a Handler is told.
type observer struct {
	events chan Event
	closed chan error
}

func newObserver() *observer {
	return &observer{make(chan Event, 100), make(chan error, 2)}
}

func (o *observer) handler() Handler {
	return Handler{Event: func(e Event) { o.events <- e }, Closed: func(err error) { o.closed <- err }}
}

func TestRepliesAndEventsKeepTheirOrder(t *testing.T) {
	var order []string
	closed := make(chan struct{})
	conn := fakePeer(t, func(r request, _ net.Conn) string {
		ev := `{"timestamp": {"seconds": 5, "microseconds": 7}, "event": "E-` + r.Execute + `"}` + "\n"
		return ev + ok(r, "1")
	})
	c, err := New(testContext(t), conn, Handler{
		Event:  func(e Event) { order = append(order, e.Name) },
		Closed: func(error) { close(closed) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Greeting.VersionNumber(); got != 7002022 {
		t.Errorf("version = %d", got)
	}
	replied := make(chan struct{})
	for i := range 20 {
		name := fmt.Sprint("c", i)
		_, err := c.Send(name, nil, func(r Reply) {
			order = append(order, name)
			if i == 19 {
				close(replied)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	<-replied
	c.Close()
	<-closed
	for i := range 20 {
		name := fmt.Sprint("c", i)
		if order[2*i] != "E-"+name || order[2*i+1] != name {
			t.Fatalf("order = %v", order)
		}
	}
}

func TestErrorsHaveClassAndLibvirtsSentence(t *testing.T) {
	conn := fakePeer(t, func(r request, _ net.Conn) string {
		return fmt.Sprintf(`{"id": %q, "error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}}`+"\n", r.ID)
	})
	c, err := New(testContext(t), conn, Handler{})
	if err != nil {
		t.Fatal(err)
	}
	err = DeviceDel(testContext(t), c, "x")
	if !IsClass(err, ClassDeviceNotFound) {
		t.Errorf("class of %#v", err)
	}
	if want := "unable to execute QEMU command 'device_del': Device 'x' not found"; err.Error() != want {
		t.Errorf("got %q", err)
	}
}

func TestAHungPeerBlocksNobody(t *testing.T) {
	o := newObserver()
	conn := fakePeer(t, func(request, net.Conn) string { return "" })
	c, err := New(testContext(t), conn, o.handler())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := QueryStatus(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	big := strings.Repeat("x", 64<<10) // fills the socket, then the queue
	sent, busy := 0, false
	answers := make(chan error, 1000)
	for range 1000 {
		_, err := c.Send("x", map[string]any{"a": big}, func(r Reply) { answers <- r.Err })
		if errors.Is(err, ErrBusy) {
			busy = true
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent++
	}
	if !busy {
		t.Fatal("the queue never filled")
	}
	c.Close()
	for range sent {
		if err := <-answers; !errors.Is(err, ErrClosed) {
			t.Fatalf("answer after close: %v", err)
		}
	}
	if err := <-o.closed; !errors.Is(err, ErrClosed) {
		t.Errorf("Closed(%v)", err)
	}
	if _, err := c.Send("x", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after close: %v", err)
	}
}

func TestEndIsReportedOnceAfterAllReplies(t *testing.T) {
	o := newObserver()
	conn := fakePeer(t, func(r request, _ net.Conn) string { return "hangup" })
	c, err := New(testContext(t), conn, o.handler())
	if err != nil {
		t.Fatal(err)
	}
	err = Quit(testContext(t), c)
	if !errors.Is(err, ErrClosed) || !IsEOF(err) {
		t.Errorf("call in flight at the end: %v", err)
	}
	if err := <-o.closed; !IsEOF(err) {
		t.Errorf("Closed(%v)", err)
	}
	<-c.Done()
	c.Close()
	select {
	case err := <-o.closed:
		t.Errorf("second Closed(%v)", err)
	default:
	}
}

func TestGarbageEndsTheConnectionCleanly(t *testing.T) {
	for name, garbage := range map[string]string{
		"no JSON":                  "hello\n",
		"an array":                 "[1]\n",
		"nothing we know":          "{}\n",
		"two kinds at once":        `{"return": {}, "event": "X"}` + "\n",
		"a second greeting":        greeting,
		"a wrong id":               `{"return": {}, "id": "other"}` + "\n",
		"no id":                    `{"return": {}}` + "\n",
		"a number as event":        `{"event": 5}` + "\n",
		"deep nesting":             strings.Repeat("[", 20000) + "\n",
		"a line without end":       strings.Repeat("x", MaxLine+8192),
		"zeroes":                   "\x00\x00\x00\n",
		"an error of a wrong type": `{"error": 3, "id": "libvirt-2"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := newObserver()
			conn := fakePeer(t, func(request, net.Conn) string { return garbage })
			c, err := New(testContext(t), conn, o.handler())
			if err != nil {
				t.Fatal(err)
			}
			var protocol *ProtocolError
			if _, err := QueryStatus(testContext(t), c); !errors.Is(err, ErrClosed) || !errors.As(err, &protocol) {
				t.Errorf("call got %v", err)
			}
			if err := <-o.closed; !errors.As(err, &protocol) {
				t.Errorf("Closed(%v)", err)
			}
		})
	}
}

func TestAnAnswerNobodyAskedForIsGarbage(t *testing.T) {
	o := newObserver()
	var raw net.Conn
	conn := fakePeer(t, func(r request, peer net.Conn) string { raw = peer; return ok(r, "{}") })
	c, err := New(testContext(t), conn, o.handler())
	if err != nil {
		t.Fatal(err)
	}
	if err := Cont(testContext(t), c); err != nil {
		t.Fatal(err)
	}
	io.WriteString(raw, `{"return": {}, "id": "libvirt-9"}`+"\n")
	var protocol *ProtocolError
	if err := <-o.closed; !errors.As(err, &protocol) {
		t.Errorf("Closed(%v)", err)
	}
}

func TestNewGivesUpWithItsContext(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := New(ctx, ours, Handler{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("New = %v", err)
	}
}

func TestDialWaitStopsWhenTheProcessIsDead(t *testing.T) {
	gone := errors.New("gone")
	_, err := DialWait(testContext(t), filepath.Join(t.TempDir(), "none"), Handler{}, func() error { return gone })
	if !errors.Is(err, gone) {
		t.Errorf("DialWait = %v", err)
	}
}

func TestCloseRacingWithSendAnswersEveryCall(t *testing.T) {
	for range 50 {
		conn := fakePeer(t, func(r request, _ net.Conn) string { return ok(r, "{}") })
		c, err := New(testContext(t), conn, Handler{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					Cont(testContext(t), c) // returns, one way or the other
				}
			})
		}
		wg.Go(func() { c.Close() })
		wg.Wait()
	}
}

func TestRawCommandsKeepTheUsersText(t *testing.T) {
	var seen string
	conn := fakePeer(t, func(r request, _ net.Conn) string {
		seen = string(r.Arguments)
		return ok(r, `{"b": 1, "a": "x y"}`)
	})
	c, err := New(testContext(t), conn, Handler{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.ExecuteRaw(testContext(t), []byte("{\n \"execute\": \"q\", \"arguments\": {\"z\":1,\n\"a\":\"<&>\"}}"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"return":{"b":1,"a":"x y"},"id":"libvirt-2"}`; string(out) != want {
		t.Errorf("answer %s", out)
	}
	if want := `{"z":1,"a":"<&>"}`; seen != want {
		t.Errorf("QEMU saw %s", seen)
	}
	for _, bad := range []string{"", "[]", "nonsense", `{"execute":"q","id":1}`} {
		if _, err := c.ExecuteRaw(testContext(t), []byte(bad)); err == nil {
			t.Errorf("%q was sent", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{greeting, `{"return":{}}`, `{"event":"X","data":1}`, `{"error":{"class":"a"}}`, `{"QMP":null,"id":[]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newLineReader(strings.NewReader(string(in)), 1000)
		for {
			line, err := l.next()
			if err != nil {
				return
			}
			if len(line) > 1000 {
				t.Fatal("longer than the limit")
			}
			m, err := parse(line)
			if err == nil && m.QMP == nil && m.Event == "" && m.Return == nil && m.Error == nil {
				t.Fatal("a message of no kind")
			}
		}
	})
}
