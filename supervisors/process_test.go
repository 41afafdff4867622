package supervisors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// The test binary is also the branch processes: argv[0] "branch-MODE" makes it one.
func TestMain(m *testing.M) {
	if mode, ok := strings.CutPrefix(os.Args[0], "branch-"); ok {
		os.Exit(beBranch(mode, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func beBranch(mode string, args []string) int {
	n := Notifier{zerolog.Nop()}
	term := make(chan os.Signal, 8)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGHUP)
	journal := func(event string) {
		if len(args) > 0 {
			f, err := os.OpenFile(args[0], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err == nil {
				fmt.Fprintf(f, "%s %s %d\n", args[1], event, os.Getpid())
				f.Close()
			}
		}
	}
	journal("begins")
	switch mode {
	case "mute":
		select {}
	case "crash":
		return 7
	case "parent": // a whole tree of processes in a process, to be killed
		return beParent(args)
	}
	n.Ready("hello")
	switch mode {
	case "leaves":
		return 0
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		select {}
	case "fed":
		go n.Watchdog(context.Background(), func(context.Context) error { return nil })
	case "hungry":
		select {}
	}
	for s := range term {
		if s == syscall.SIGTERM {
			break
		}
		journal("reloads")
	}
	n.Stopping()
	journal("ends")
	return 0
}

func beParent(args []string) int {
	spec := Spec{{Name: "a", Autostart: true}, {Name: "b", Autostart: true}}
	tree, err := Start(testSystem(), Options{Spec: spec, Log: zerolog.Nop(), Exec: func(b Branch) Command {
		return Command{Args: []string{"branch-good", args[0], b.Name}}
	}})
	if err != nil {
		return 1
	}
	return int(Serve(tree, ServeOptions{}))
}

func testSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(discard))
}

// split is a tree of processes under test, with the journal that they write.
type split struct {
	*Tree
	t    *testing.T
	file string
	log  *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func runSplit(t *testing.T, spec Spec, mode func(b Branch) Command) *split {
	t.Helper()
	s := &split{t: t, file: filepath.Join(t.TempDir(), "journal"), log: &safeBuffer{}}
	tree, err := Start(testSystem(), Options{Spec: spec, Log: zerolog.New(s.log), Exec: func(b Branch) Command {
		c := mode(b)
		c.Args = append(c.Args, s.file, b.Name)
		c.Env = append(c.Env, "GORACE=atexit_sleep_ms=0") // a second per exit adds up
		return c
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Tree = tree
	t.Cleanup(func() { s.stop() })
	return s
}

func plain(mode string) func(Branch) Command {
	return func(Branch) Command { return Command{Args: []string{"branch-" + mode}} }
}

func (s *split) stop() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Shutdown(ctx)
}

func (s *split) ready() {
	s.t.Helper()
	select {
	case <-s.Ready():
	case <-time.After(patience):
		s.t.Fatalf("not ready\n%s", s.log)
	}
}

func (s *split) node(name string) *Node { return s.Collect().Find(RootName + "/" + name) }

func (s *split) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("never came true: %s\n%s", what, s.log)
		}
	}
}

func (s *split) journal(event string) (names []string) {
	b, _ := os.ReadFile(s.file)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[1] == event {
			names = append(names, f[0])
		}
	}
	return names
}

const patience = 20 * time.Second

func alivePid(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") // a zombie is dead, it only waits for whoever inherited it
}

var three = Spec{
	{Name: "c", Autostart: true, Needs: []string{"b"}},
	{Name: "a", Autostart: true},
	{Name: "b", Autostart: true, Needs: []string{"a"}},
}

func TestProcessesStartByNeedAndStopInReverse(t *testing.T) {
	s := runSplit(t, three, plain("good"))
	s.ready()
	if got := s.journal("begins"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("started %v", got)
	}
	n := s.Collect()
	var lines []string
	n.Walk(func(n *Node, depth int) {
		lines = append(lines, fmt.Sprintf("%d %s %s %s %v %s", depth, n.Name, n.Kind, n.State, n.OSPid > 0, n.Title))
	})
	want := "0 root supervisor  false |1 c process running true hello|1 a process running true hello|1 b process running true hello"
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("tree %s\nwant %s", got, want)
	}
	s.Reload()
	s.until("all have reloaded", func() bool { return len(s.journal("reloads")) == 3 })
	pids := []int{s.node("a").OSPid, s.node("b").OSPid, s.node("c").OSPid}
	if lost, err := s.stop(); lost != 0 || err != nil {
		t.Errorf("lost %d, %v", lost, err)
	}
	if got := s.journal("ends"); !slices.Equal(got, []string{"c", "b", "a"}) {
		t.Errorf("stopped %v", got)
	}
	for _, pid := range pids {
		if alivePid(pid) {
			t.Errorf("%d lives on", pid)
		}
	}
}

func TestAKilledProcessIsBackWellWithinASecond(t *testing.T) {
	s := runSplit(t, Spec{{Name: "a", Autostart: true}, {Name: "b", Autostart: true}}, plain("good"))
	s.ready()
	pid, other := s.node("a").OSPid, s.node("b").OSPid
	began := time.Now()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until("it is back", func() bool { n := s.node("a"); return n.State == "running" && n.OSPid != pid && n.OSPid != 0 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	} else {
		t.Logf("back after %v", took)
	}
	n := s.node("a")
	if n.Restarts != 1 || !strings.Contains(n.LastError, "killed") {
		t.Errorf("node %+v", n)
	}
	if s.node("b").OSPid != other {
		t.Error("its neighbour was touched")
	}
}

func TestAProcessThatAlwaysFailsIsQuarantinedAndTheRestGoesOn(t *testing.T) {
	crash := Branch{Name: "a", Autostart: true, Process: Restart{Intensity: 2, Period: time.Minute, First: time.Millisecond, Max: time.Millisecond}}
	s := runSplit(t, Spec{crash, {Name: "b", Autostart: true, Needs: []string{"a"}}}, func(b Branch) Command {
		if b.Name == "a" {
			return Command{Args: []string{"branch-crash"}}
		}
		return Command{Args: []string{"branch-good"}}
	})
	s.ready()
	n := s.node("a")
	if n.State != "quarantined" || n.Restarts != 3 || !strings.Contains(n.LastError, "exit status 7") {
		t.Errorf("node %+v", n)
	}
	if s.node("b").State != "running" {
		t.Error("b waits for a branch that will not come")
	}
	s.Wake("a")
	s.until("it was tried again", func() bool { return len(s.journal("begins")) > 4 })
}

func TestAVitalProcessThatAlwaysFailsEndsTheTree(t *testing.T) {
	s := runSplit(t, Spec{{Name: "a", Autostart: true, Vital: true, Process: Restart{Intensity: 1, Period: time.Minute}}}, plain("crash"))
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("goes on")
	}
	if code := CodeOf(s.Err()); code != ExitFailed {
		t.Errorf("code %d: %v", code, s.Err())
	}
}

func TestProcessesThatDoNotDoTheirDutyAreKilled(t *testing.T) {
	fast := Restart{Intensity: 100, Period: time.Minute, First: time.Millisecond, Max: time.Millisecond}
	t.Run("never ready", func(t *testing.T) {
		s := runSplit(t, Spec{{Name: "a", Autostart: true, Startup: 50 * time.Millisecond, Shutdown: 50 * time.Millisecond, Process: fast}}, plain("mute"))
		s.until("it was started again", func() bool { return len(s.journal("begins")) > 1 })
		if e := s.node("a").LastError; !strings.Contains(e, "not ready") {
			t.Errorf("error %q", e)
		}
	})
	t.Run("no sign of life", func(t *testing.T) {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		s := runSplit(t, Spec{{Name: "a", Autostart: true, Shutdown: 50 * time.Millisecond, Process: fast}}, func(Branch) Command {
			return Command{Args: []string{"branch-hungry"}, Watchdog: 50 * time.Millisecond, Stderr: null} // it prints its stacks
		})
		s.until("it was started again", func() bool { return len(s.journal("begins")) > 1 })
		if e := s.node("a").LastError; !strings.Contains(e, "no sign of life") {
			t.Errorf("error %q", e)
		}
	})
	t.Run("fed", func(t *testing.T) {
		s := runSplit(t, Spec{{Name: "a", Autostart: true}}, func(Branch) Command {
			return Command{Args: []string{"branch-fed"}, Watchdog: 400 * time.Millisecond}
		})
		s.ready()
		time.Sleep(time.Second) // more than two intervals
		if n := s.node("a"); n.Restarts != 0 || n.State != "running" {
			t.Errorf("node %+v", n)
		}
	})
	t.Run("deaf to SIGTERM", func(t *testing.T) {
		s := runSplit(t, Spec{{Name: "a", Autostart: true, Shutdown: 50 * time.Millisecond}}, plain("deaf"))
		s.ready()
		pid := s.node("a").OSPid
		if lost, err := s.stop(); lost != 0 || err != nil || alivePid(pid) {
			t.Errorf("lost %d, %v", lost, err)
		}
	})
}

func TestNobodyElseCanSayThatAProcessIsReady(t *testing.T) {
	s := runSplit(t, Spec{{Name: "a", Autostart: true, Startup: 200 * time.Millisecond, Shutdown: 50 * time.Millisecond}}, plain("mute"))
	s.until("it has begun", func() bool { return len(s.journal("begins")) == 1 })
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.node("a").OSPid))
	if err != nil {
		t.Fatal(err)
	}
	_, socket, ok := strings.Cut("\x00"+string(env), "\x00NOTIFY_SOCKET=")
	if !ok {
		t.Fatal("no NOTIFY_SOCKET")
	}
	socket, _, _ = strings.Cut(socket, "\x00")
	t.Setenv("NOTIFY_SOCKET", socket)
	Notifier{zerolog.Nop()}.Ready("trust me")
	s.until("it was killed all the same", func() bool { return s.node("a").Restarts > 0 })
	if e := s.node("a").LastError; !strings.Contains(e, "not ready") {
		t.Errorf("error %q", e)
	}
}

func TestAProcessThatLeavesIsWokenOnDemand(t *testing.T) {
	s := runSplit(t, Spec{{Name: "a", Autostart: true}}, func(Branch) Command {
		return Command{Args: []string{"branch-leaves"}, OnDemand: true}
	})
	s.until("it has left", func() bool { return s.node("a").State == "idle" })
	s.Wake("a")
	s.until("it came again", func() bool { return len(s.journal("begins")) == 2 })
	s.until("and left", func() bool { return s.node("a").State == "idle" })
	if n := s.node("a"); n.Restarts != 0 || n.LastError != "" {
		t.Errorf("leaving counted as a failure: %+v", n)
	}
}

func TestABranchWithoutAutostartWaitsToBeWoken(t *testing.T) {
	s := runSplit(t, Spec{{Name: "a", Autostart: true}, {Name: "b"}}, plain("good"))
	s.ready()
	if n := s.node("b"); n.State != "off" || n.OSPid != 0 {
		t.Errorf("node %+v", n)
	}
	s.Wake("b")
	s.until("b runs", func() bool { return s.node("b").State == "running" })
}

// TestNoOrphans: the parent of a tree is killed without a chance to stop anything.
func TestNoOrphans(t *testing.T) {
	s := runSplit(t, Spec{{Name: "p", Autostart: true}}, plain("parent"))
	s.ready()
	var pids []int
	b, _ := os.ReadFile(s.file)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] != "p" && f[1] == "begins" {
			pid, _ := strconv.Atoi(f[2])
			pids = append(pids, pid)
		}
	}
	if len(pids) != 2 || !alivePid(pids[0]) || !alivePid(pids[1]) {
		t.Fatalf("grandchildren %v", pids)
	}
	if err := unix.Kill(s.node("p").OSPid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.until("they have stopped, in order", func() bool {
		return !alivePid(pids[0]) && !alivePid(pids[1]) && len(s.journal("ends")) >= 2
	})
}

func TestABinaryThatIsNotThereIsAFailureLikeOthers(t *testing.T) {
	s := runSplit(t, Spec{{Name: "a", Autostart: true, Process: Restart{Intensity: 1, Period: time.Minute}}}, func(Branch) Command {
		return Command{Path: "/nonexistent", Args: []string{"x"}}
	})
	s.ready()
	if n := s.node("a"); n.State != "quarantined" || !strings.Contains(n.LastError, "no such file") {
		t.Errorf("node %+v", n)
	}
}

func TestRequestsToAProcessKeeperAreRefused(t *testing.T) {
	if err := elsewhere(Branch{Name: "qemu", Daemon: "virtqemud"}); !strings.Contains(err.Message, "virtqemud") {
		t.Errorf("%v", err)
	}
	if CodeOf(errors.New("x")) != ExitInit || CodeOf(nil) != ExitOK || CodeOf(fmt.Errorf("w: %w", &ExitError{ExitConfig, errors.New("y")})) != ExitConfig {
		t.Error("exit codes")
	}
}
