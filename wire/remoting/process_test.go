package remoting

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"virtree/wire/remoting/dispatch"
)

// The tests run this binary again as their peer. The child ends when its standard input does.

// child is the other process. Its actor "echo" answers pings, "mute" never answers, "read" reads a
// pipe out of a parcel and tells what it read, "exit" stops itself at the first note.
func child(role string) {
	opts := Options{Path: os.Getenv("REMOTING_TEST_PATH"), Registry: testRegistry(), Logger: zerolog.Nop(), Heartbeat: 50 * time.Millisecond}
	system := newSystem()
	var props []actor.PropsOption
	if os.Getenv("REMOTING_TEST_DISPATCHER") != "" {
		opts.Dispatcher = dispatch.New()
		props = append(props, actor.WithDispatcher(opts.Dispatcher))
	}
	switch role {
	case "serve":
	case "bare":
		if err := bareChild(); err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	case "other-uid":
		// With the directories open to all, it is the check of the uid that has to refuse this process.
		if err := unix.Setuid(65534); err != nil {
			fmt.Println("error:", err)
			return
		}
		opts.Path = ""
		opts.AllowedUIDs = []uint32{65534, 0}
	}
	node, err := Start(system, opts)
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	for name, f := range map[string]actor.ReceiveFunc{"echo": echo, "mute": func(actor.Context) {}, "read": readParcel, "exit": exitOnNote} {
		if _, err := system.Root.SpawnNamed(actor.PropsFromFunc(f, props...), name); err != nil {
			fmt.Println("error:", err)
			return
		}
	}
	fmt.Println("ready", node.Address())
	if role == "other-uid" {
		to := actor.NewPID(Address(os.Getenv("REMOTING_TEST_PATH")), "echo")
		r, err := system.Root.RequestFuture(to, &ping{Serial: 1}, patience).Result()
		fmt.Println("answer", err, r)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func readParcel(c actor.Context) {
	m, ok := c.Message().(*parcel)
	if !ok {
		return
	}
	var text strings.Builder
	for _, fd := range m.Descriptors() {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		f := os.NewFile(uintptr(fd), "parcel")
		b, _ := io.ReadAll(f)
		_ = f.Close()
		fmt.Fprintf(&text, "%s,cloexec=%t;", b, err == nil && flags&unix.FD_CLOEXEC != 0)
	}
	c.Respond(&note{Text: text.String()})
}

func exitOnNote(c actor.Context) {
	if _, ok := c.Message().(*note); ok {
		c.Stop(c.Self())
	}
}

type process struct {
	*exec.Cmd
	lines chan string
	stdin io.Closer
}

func spawnProcess(t testing.TB, role, path string) *process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "REMOTING_TEST_ROLE="+role, "REMOTING_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
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
	p := &process{Cmd: cmd, lines: make(chan string, 16), stdin: stdin}
	go func() {
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
		close(p.lines)
	}()
	t.Cleanup(p.kill)
	if line := next(t, p.lines); !strings.HasPrefix(line, "ready") {
		t.Fatalf("child: %s", line)
	}
	return p
}

func (p *process) kill() {
	_ = p.Process.Signal(unix.SIGCONT)
	_ = p.Process.Kill()
	_ = p.Wait()
}

func TestTwoProcesses(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	p := start(t, dir+"/a")
	spawnProcess(t, "serve", dir+"/b")
	echo := actor.NewPID(Address(dir+"/b"), "echo")
	for range 100 {
		p.mustPong(t, echo)
	}
}

// crowd is an actor that asks many times and counts answers by serial.
type crowd struct {
	target  *actor.PID
	n       uint64
	answers map[uint64]int
	lost    int
	done    chan time.Time // when all have one answer
}

func (w *crowd) Receive(c actor.Context) {
	var serial uint64
	switch m := c.Message().(type) {
	case *actor.Started:
		for i := range w.n {
			c.Request(w.target, &ping{Serial: i + 1})
		}
		return
	case *pong:
		serial = m.Serial
	case *Failure:
		serial = m.Serial
		if m.Code == Lost {
			w.lost++
		}
	default:
		return
	}
	w.answers[serial]++
	if uint64(len(w.answers)) == w.n {
		w.done <- time.Now()
	}
}

func TestPeerKilledInMidCallAnswersEveryCallerAtOnce(t *testing.T) {
	t.Run("goroutines", func(t *testing.T) { testPeerKilled(t) })
	t.Run("dispatcher", func(t *testing.T) {
		t.Setenv("REMOTING_TEST_DISPATCHER", "1")
		testPeerKilled(t, dispatched)
	})
}

func testPeerKilled(t *testing.T, change ...func(*Options)) {
	leakCheck(t)
	dir := t.TempDir()
	p := start(t, dir+"/a", change...)
	other := spawnProcess(t, "serve", dir+"/b")
	p.mustPong(t, actor.NewPID(Address(dir+"/b"), "echo"))

	const callers, calls = 100, 10
	done := make(chan time.Time, callers)
	crowds := make([]*crowd, callers)
	for i := range crowds {
		crowds[i] = &crowd{target: actor.NewPID(Address(dir+"/b"), "mute"), n: calls, answers: map[uint64]int{}, done: done}
		p.root.Spawn(actor.PropsFromProducer(func() actor.Actor { return crowds[i] }, p.props()...))
	}
	future := p.root.RequestFuture(actor.NewPID(Address(dir+"/b"), "mute"), &ping{Serial: 1}, patience)
	watcher := make(chan *actor.Terminated, 1)
	p.spawn(t, "watcher", func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			c.Watch(actor.NewPID(Address(dir+"/b"), "echo"))
		case *actor.Terminated:
			watcher <- m
		}
	})
	eventually(t, "requests are not out", func() bool {
		peers := p.Peers()
		return peers[0].Requests == callers*calls+1 && peers[0].Queued == 0 && peers[0].Watches == 1
	})

	killed := time.Now()
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	for range callers {
		if at := next(t, done); at.After(last) {
			last = at
		}
	}
	if took := last.Sub(killed); took > 100*time.Millisecond {
		t.Errorf("the last of %d callers was answered after %s", callers*calls, took)
	} else {
		t.Logf("%d callers answered within %s", callers*calls, took)
	}
	r, err := future.Result()
	if err != nil {
		t.Fatal(err)
	}
	mustFail(t, r, Lost)
	if m := next(t, watcher); m.Why != actor.TerminatedReason_AddressTerminated || m.Who.Id != "echo" || m.Who.Address != Address(dir+"/b") {
		t.Errorf("watcher got %v", m)
	}
	for _, w := range crowds {
		if w.lost != calls || len(w.answers) != calls {
			t.Errorf("%d answers, %d of them lost, want %d", len(w.answers), w.lost, calls)
		}
	}
	if s := p.Peers()[0]; s.Requests != 0 || s.Watches != 0 || s.Queued != 0 || s.QueuedBytes != 0 {
		t.Errorf("left behind: %+v", s)
	}

	// The peer comes back: the next send finds it.
	other.kill()
	spawnProcess(t, "serve", dir+"/b")
	eventually(t, "no answer from the restarted peer", func() bool {
		_, ok := p.ask(t, actor.NewPID(Address(dir+"/b"), "echo"), &ping{Serial: 9}).(*pong)
		return ok
	})
}

func TestStoppedProcessIsNoticedByItsSilence(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir+"/a", func(o *Options) { o.Heartbeat, o.Misses, o.DialTimeout = 20*time.Millisecond, 3, 50*time.Millisecond })
	other := spawnProcess(t, "serve", dir+"/b")
	echo := actor.NewPID(Address(dir+"/b"), "echo")
	p.mustPong(t, echo)
	// The child's own period is 50 ms, and the longer of the two counts.
	if err := other.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, other.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	f := mustFail(t, p.ask(t, echo, &ping{Serial: 1}), Lost)
	if took := time.Since(began); took > 2*time.Second || !strings.Contains(f.Message, "silent") {
		t.Errorf("after %s: %s", took, f.Message)
	}
	// Its kernel still accepts for it; the handshake does not.
	mustFail(t, p.ask(t, echo, &ping{Serial: 2}), Unreachable)
	if err := other.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no answer from the continued peer", func() bool {
		_, ok := p.ask(t, echo, &ping{Serial: 3}).(*pong)
		return ok
	})
}

func TestDescriptorsReachTheOtherProcess(t *testing.T) {
	leakCheck(t)
	dir := t.TempDir()
	p := start(t, dir+"/a")
	spawnProcess(t, "serve", dir+"/b")
	for round := range 3 {
		m := &parcel{Name: "pipes"}
		want := ""
		for i := range 3 {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(w, "round %d pipe %d", round, i)
			want += fmt.Sprintf("round %d pipe %d,cloexec=true;", round, i)
			_ = w.Close()
			fd, err := unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 3)
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			m.fds = append(m.fds, fd)
		}
		r, err := p.root.RequestFuture(actor.NewPID(Address(dir+"/b"), "read"), m, patience).Result()
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := r.(*note); !ok || n.Text != want {
			t.Fatalf("got %+v, want %q", r, want)
		}
	}
}

func TestOtherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to start a process of another user")
	}
	dir, err := os.MkdirTemp("", "remoting")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir+"/a")
	p.spawn(t, "echo", echo)
	if err := os.Chmod(dir+"/a", 0o777); err != nil {
		t.Fatal(err)
	}
	other := spawnProcess(t, "other-uid", dir+"/a")
	line := next(t, other.lines)
	if !strings.Contains(line, "uid 65534") || !strings.Contains(line, "is not allowed") {
		t.Errorf("child got: %s", line)
	}
	if peers := p.Peers(); len(peers) != 0 {
		t.Errorf("peers %+v", peers)
	}
}
