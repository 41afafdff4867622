package fault

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/await"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/mailbox"
)

type ask struct{}

// victim answers each ask on answers; starts tells of each life.
func victim(t *testing.T) (system *actor.ActorSystem, pid *actor.PID, starts chan struct{}, answers chan struct{}) {
	t.Helper()
	system = kit.NewSystem("", zerolog.New(io.Discard))
	starts, answers = make(chan struct{}, 64), make(chan struct{}, 64)
	pid, err := system.Root.SpawnNamed(kit.Func(func(c actor.Context) {
		switch c.Message().(type) {
		case *actor.Started:
			starts <- struct{}{}
		case *ask:
			answers <- struct{}{}
		}
	}, kit.Limit(8)), "victim")
	if err != nil {
		t.Fatal(err)
	}
	await.From(t, starts, "the start")
	return system, pid, starts, answers
}

func stats(system *actor.ActorSystem) mailbox.Stats {
	return mailbox.RegistryOf(system).Find("victim").Stats()
}

func inject(t *testing.T, system *actor.ActorSystem, o Order) {
	t.Helper()
	if err := Inject(system, "victim", o); err != nil {
		t.Fatal(err)
	}
}

func TestPanicsRestartTheActorOnceEach(t *testing.T) {
	system, pid, starts, answers := victim(t)
	inject(t, system, Order{Kind: "panic", Times: 3})
	for range 3 {
		await.From(t, starts, "a restart")
	}
	system.Root.Send(pid, &ask{})
	await.From(t, answers, "an answer of the fourth life")
	if len(starts) != 0 {
		t.Error("more restarts than panics")
	}
}

func TestAStalledActorIsBusyWithTheStallAndThenGoesOn(t *testing.T) {
	for _, kind := range []string{"stall", "spin"} {
		t.Run(kind, func(t *testing.T) {
			system, pid, _, answers := victim(t)
			inject(t, system, Order{Kind: kind, For: 2 * time.Second})
			await.True(t, "busy with it", func() bool { return strings.EqualFold(stats(system).Current, "*fault."+kind) })
			system.Root.Send(pid, &ask{})
			if len(answers) != 0 {
				t.Error("answered while it stalls")
			}
			await.From(t, answers, "the answer after it")
		})
	}
}

func TestAFloodFillsTheQueueToItsLimitAndNoFurther(t *testing.T) {
	system, pid, _, answers := victim(t)
	inject(t, system, Order{Kind: "stall", For: 200 * time.Millisecond})
	await.True(t, "stalled", func() bool { return stats(system).Busy > 0 })
	inject(t, system, Order{Kind: "flood", Times: 100, For: time.Millisecond})
	if s := stats(system); s.Normal != 8 || s.Refused != 92 {
		t.Errorf("queued %d, refused %d", s.Normal, s.Refused)
	}
	await.True(t, "worked off", func() bool { return stats(system).Depth() == 0 })
	system.Root.Send(pid, &ask{})
	await.From(t, answers, "an answer after the flood")
}

func TestWrongOrdersAreRefused(t *testing.T) {
	system, _, _, _ := victim(t)
	for _, o := range []Order{{Kind: "earthquake"}, {}, {Kind: "panic", Times: -1}, {Kind: "flood", Times: MaxTimes + 1}, {Kind: "stall", For: -1}} {
		if err := Inject(system, "victim", o); err == nil {
			t.Errorf("%+v was obeyed", o)
		}
	}
	if err := Inject(system, "nobody", Order{Kind: "panic"}); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("an actor that is not there: %v", err)
	}
}

func TestANilMapRestartsTheActor(t *testing.T) {
	system, pid, starts, answers := victim(t)
	inject(t, system, Order{Kind: "nilmap"})
	await.From(t, starts, "a restart")
	system.Root.Send(pid, &ask{})
	await.From(t, answers, "an answer of the second life")
}

func TestAFileThatIsClosedTwiceCostsNobodyHisOwn(t *testing.T) {
	system, pid, starts, answers := victim(t)
	inject(t, system, Order{Kind: "closefd", Times: 20})
	system.Root.Send(pid, &ask{})
	await.From(t, answers, "an answer after it")
	if len(starts) != 0 { // the fault panics when a close hits another's file
		t.Error("the actor was restarted")
	}
}

// level counts what leaks.
func level(kind string) int {
	switch kind {
	case "goroutines":
		return runtime.NumGoroutine()
	case "descriptors":
		all, _ := os.ReadDir("/proc/self/fd")
		return len(all)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

func TestLeaksRiseAndEndAndDoNotHoldTheActorUp(t *testing.T) {
	for kind, times := range map[string]int{"goroutines": 500, "descriptors": 100, "alloc": 64} {
		t.Run(kind, func(t *testing.T) {
			system, pid, _, answers := victim(t)
			runtime.GC()
			before := level(kind)
			inject(t, system, Order{Kind: kind, Times: times, For: 2 * time.Second})
			await.True(t, "leaked", func() bool { return level(kind) >= before+times })
			system.Root.Send(pid, &ask{})
			await.From(t, answers, "an answer while it leaks")
			await.True(t, "given back", func() bool {
				runtime.GC()
				return level(kind) < before+times/2
			})
		})
	}
}

func TestTheConnectionsOfAClientAreClosedByNumber(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := unix.GetsockoptUcred(fds[0], unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		t.Fatal(err)
	}
	system, pid, _, answers := victim(t)
	inject(t, system, Order{Kind: "stealfd", Times: int(peer.Pid)})
	system.Root.Send(pid, &ask{})
	await.From(t, answers, "an answer after it")
	if _, err := unix.Write(fds[0], []byte("x")); err != unix.EBADF {
		t.Errorf("the socket is still there: %v", err)
	}
}

// The process is this test's binary again; what it does is in TestMain.
func TestSomeFaultsEndTheProcess(t *testing.T) {
	for _, c := range []struct{ kind, status, says string }{
		{"exit", "exit status 99", ""},
		{"fatal", "exit status 2", "fatal error: sync: unlock of unlocked mutex"},
		{"overflow", "exit status 2", "fatal error: stack overflow"},
		{"mapwrite", "exit status 2", "fatal error: concurrent map writes"},
	} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "FAULT_KIND="+c.kind)
		out, err := cmd.CombinedOutput()
		if err == nil || err.Error() != c.status || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: %v, want %s and %q\n%.2000s", c.kind, err, c.status, c.says, out)
		}
		if !Ends(c.kind) {
			t.Errorf("%s ends the process, and is not known for it", c.kind)
		}
	}
}

func TestMain(m *testing.M) {
	kind := os.Getenv("FAULT_KIND")
	if kind == "" {
		os.Exit(m.Run())
	}
	system := kit.NewSystem("", zerolog.New(io.Discard))
	_, _ = system.Root.SpawnNamed(kit.Func(func(actor.Context) {}), "victim")
	if err := Inject(system, "victim", Order{Kind: kind}); err != nil {
		os.Exit(1)
	}
	time.Sleep(20 * time.Second) // ended before that by the fault
	os.Exit(0)
}
