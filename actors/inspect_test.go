package actors

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"virtree/actors/internal/await"
	"virtree/actors/internal/kit"
	"virtree/supervisors"
	"virtree/wire/remoting"
)

// node makes a tree of "kind name" lines, indented by tabs; "name=title" gives a title, "!state" a state.
func node(lines string) *supervisors.Node {
	var stack []*supervisors.Node
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		text := strings.TrimLeft(line, "\t")
		depth := len(line) - len(text)
		f := strings.Fields(text)
		n := &supervisors.Node{Kind: f[0], State: "running"}
		n.Name, n.Title, _ = strings.Cut(f[1], "=")
		n.ID = n.Name
		for _, more := range f[2:] {
			if s, ok := strings.CutPrefix(more, "!"); ok {
				n.State = s
			}
		}
		stack = stack[:depth]
		if depth > 0 {
			n.ID = stack[depth-1].ID + "/" + n.Name
			stack[depth-1].Children = append(stack[depth-1].Children, n)
		}
		stack = append(stack, n)
	}
	return stack[0]
}

// text is the way back, with pids.
func (p *Picture) text() string {
	var b strings.Builder
	p.Tree.Walk(func(n *supervisors.Node, depth int) {
		b.WriteString(strings.Repeat("\t", depth) + n.Kind + " " + n.Name)
		if n.State != "running" {
			b.WriteString(" !" + n.State)
		}
		if n.OSPid != 0 {
			b.WriteString(" pid")
		}
		b.WriteString("\n")
	})
	return b.String()
}

func pictureOf(processes ...*Process) *Picture {
	return &Picture{Mode: modeOf(processes), Tree: merge(processes), Processes: processes}
}

func splitPicture() *Picture {
	return pictureOf(
		&Process{Name: "qemu", PID: 3, State: "running", Tree: node("supervisor root\n\tbranch qemu\n\t\tdomain u1=web\n\t\tdomain u2=db !quarantined"),
			Servers: []*supervisors.Node{node("server server-virtqemud\n\tclient client-1")}},
		&Process{Name: "root", PID: 1, State: "running", Tree: node("supervisor root\n\tprocess logd\n\tprocess network\n\tprocess qemu\n\tprocess storage !restarting"),
			Servers: []*supervisors.Node{node("inspector inspect")}},
		&Process{Name: "logd", PID: 2, State: ProcessStuck},
		&Process{Name: "storage", State: ProcessDead},
		&Process{Name: "network", PID: 4, State: "running", Tree: node("supervisor root\n\tbranch network\n\t\tnetwork u3=web"),
			Servers: []*supervisors.Node{node("server server-virtnetworkd\n\tclient client-1")}},
	)
}

func TestOnePictureIsMadeOfManyProcesses(t *testing.T) {
	for name, c := range map[string]struct {
		picture    *Picture
		mode, want string
	}{
		"split: a process below each branch, the silent ones as they were found, a restarting one as its keeper says": {splitPicture(), "split", `
supervisor root pid
	process logd !stuck pid
	process network pid
		network u3
	process qemu pid
		domain u1
		domain u2 !quarantined
	process storage !restarting
`},
		"single": {pictureOf(&Process{Name: "libvirtd", PID: 1, State: "running", Tree: node("supervisor root\n\tbranch logd\n\tbranch qemu")}), "single", `
supervisor root pid
	branch logd
	branch qemu
`},
		"single and silent": {pictureOf(&Process{Name: "libvirtd", PID: 1, State: ProcessStuck}), "single", "supervisor root !stuck pid\n"},
		"daemons of the service manager; the others are off": {pictureOf(
			&Process{Name: "qemu", PID: 3, State: "running", Tree: node("supervisor root\n\tbranch qemu\n\t\tdomain u1")},
			&Process{Name: "secret", State: ProcessDead}), "daemons", `
host root
	branch logd !off
	branch lockd !off
	process secret !dead
	branch nwfilter !off
	branch nodedev !off
	branch interface !off
	branch network !off
	branch storage !off
	process qemu pid
		domain u1
	branch proxy !off
`},
		"two ways at once: the daemon stands beside the branch of its name": {pictureOf(
			&Process{Name: "libvirtd", PID: 1, State: "running", Tree: node("supervisor root\n\tbranch qemu")},
			&Process{Name: "qemu", PID: 3, State: "running", Tree: node("supervisor root\n\tbranch qemu\n\t\tdomain u1")}), "mixed", `
supervisor root pid
	branch qemu
	process qemu pid
		domain u1
`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.picture.Mode != c.mode {
				t.Errorf("mode %s, want %s", c.picture.Mode, c.mode)
			}
			if diff := cmp.Diff(strings.TrimLeft(c.want, "\n"), c.picture.text()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPathNamesOneActor(t *testing.T) {
	p := splitPicture()
	for path, want := range map[string]string{
		"db":                        "qemu root/qemu/u2",
		"u1":                        "qemu root/qemu/u1",
		"root/qemu/u1":              "qemu root/qemu/u1",
		"qemu":                      "qemu root/qemu", // the branch, not the keeper of its process
		"root:qemu":                 "root root/qemu", // but when it is asked for
		"storage":                   "root root/storage",
		"logd":                      "root root/logd",
		"root":                      "root root",
		"qemu:root":                 "qemu root",
		"server-virtqemud":          "qemu server-virtqemud",
		"server-virtqemud/client-1": "qemu server-virtqemud/client-1",
		"network:client-1":          "network server-virtnetworkd/client-1",
		"network:web":               "network root/network/u3",
		"web":                       `"web" may be qemu:root/qemu/u1, network:root/network/u3`,
		"client-1":                  `"client-1" may be qemu:server-virtqemud/client-1, network:server-virtnetworkd/client-1`,
		"nobody":                    `nothing in the tree is called "nobody"`,
		"":                          `nothing in the tree is called ""`,
	} {
		process, n, err := p.Find(path)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = process.Name + " " + n.ID
		}
		if got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}

func TestCountersNeverGoBack(t *testing.T) {
	f := newFigures()
	tree := node("supervisor root\n\tbranch qemu\n\t\tdomain u1\n\t\tdomain u2")
	domains := tree.Children[0].Children
	handled := func() (n uint64) { return f.sums[group{"qemu", "domain"}].processed }
	look := func(want uint64) {
		t.Helper()
		if _, err := f.text(&Process{Daemon: "d", Tree: tree}); err != nil {
			t.Fatal(err)
		}
		if got := handled(); got != want {
			t.Errorf("%d messages, want %d", got, want)
		}
	}
	domains[0].Processed, domains[1].Processed = 10, 5
	look(15)
	look(15)
	domains[0].Processed = 12
	look(17)
	domains[1].Processed = 2 // another actor of that name
	look(19)
	tree.Children[0].Children = domains[:1] // gone
	look(19)
	tree.Children[0].Children = domains // back, as a new one
	look(21)
}

// inspected is a process with a tree of one branch that has one object, and its inspector.
func inspected(t *testing.T, faults bool) (ask func(msg any) any, tree *supervisors.Tree, object chan any) {
	t.Helper()
	log := zerolog.New(io.Discard)
	system := kit.NewSystem("", log)
	link, err := remoting.Start(system, remoting.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	object = make(chan any, 64)
	tree, err = supervisors.Start(system, supervisors.Options{
		Spec: supervisors.Spec{{Name: "b", Autostart: true}}, Log: log,
		Props: kit.PropsOptions(), Observer: kit.Observe(system), Refuse: kit.Refuse,
		New: func(supervisors.Branch) (*actor.Props, error) {
			return kit.Props(func() actor.Actor {
				return &testBranch{Children: supervisors.NewChildren(supervisors.Config{Log: log, Observer: kit.Observe(system), Refuse: kit.Refuse, Props: kit.PropsOptions()}), seen: object}
			}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{opts: Options{Faults: faults}, kind: kind{daemon: "testd"}, log: log, system: system, node: link, tree: tree}
	if err := d.startInspector(); err != nil {
		t.Fatal(err)
	}
	<-tree.Ready()
	object <- <-object // it has started; tests that care are told again
	ask = func(msg any) any {
		t.Helper()
		answer, err := system.Root.RequestFuture(actor.NewPID(system.Address(), InspectorName), msg, 20*time.Second).Result()
		if err != nil {
			t.Errorf("%T: %v", msg, err) // not Fatalf: some ask from goroutines of their own
		}
		return answer
	}
	return ask, tree, object
}

type testBranch struct {
	*supervisors.Children
	seen chan any
}

func (b *testBranch) Receive(ctx actor.Context) {
	if b.Handle(ctx) {
		return
	}
	if _, ok := ctx.Message().(*actor.Started); ok {
		_, _ = b.Start(ctx, supervisors.Child{Name: "object", Props: kit.Func(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Started); ok {
				b.seen <- "started"
			}
		})})
	}
}

func describeNow(t *testing.T, ask func(any) any) *Process {
	t.Helper()
	d, ok := ask(&Describe{}).(*Described)
	p := &Process{}
	if !ok || json.Unmarshal(d.Process, p) != nil {
		t.Fatalf("%v", d)
	}
	return p
}

func TestTheInspectorShowsAStuckActorWithoutAskingIt(t *testing.T) {
	ask, _, _ := inspected(t, true)
	for _, id := range []string{"root", "root/b", "root/b/object"} { // all of the tree, stuck
		if out := ask(&MakeFault{ID: id, Kind: "stall", For: time.Second}); out.(*Outcome).Error != "" {
			t.Fatal(out)
		}
	}
	await.True(t, "all are seen to be stuck", func() bool {
		p, stuck := describeNow(t, ask), 0
		p.Tree.Walk(func(n *supervisors.Node, _ int) {
			if n.Doing == "*fault.Stall" && n.Busy > 0 {
				stuck++
			}
		})
		return stuck == 3
	})
	if text := ask(&Metrics{}).(*MetricsText); !strings.Contains(string(text.Text), `virtree_actors{branch="b",daemon="testd",kind="object",state="running"} 1`) {
		t.Errorf("%s", text.Text)
	}
}

func TestASuccessorIsFoundByTheNameOfTheFirst(t *testing.T) {
	n := &supervisors.Node{ID: "root/network~1/u3~12", Name: "u3"}
	for path, want := range map[string]int{
		"root/network/u3": 3, "root/network~1/u3~12": 3, "u3": 1, "root/network~1/u3": 0, "root/network": 0,
	} {
		if got := match(n, path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

func TestTheInspectorRefusesFaultsAndNamesWhatIsWrong(t *testing.T) {
	ask, tree, _ := inspected(t, false)
	out := ask(&MakeFault{ID: "root/b/object", Kind: "panic"}).(*Outcome)
	if !out.Refused || out.Error != "testd was not started with --allow-faults" {
		t.Errorf("%+v", out)
	}
	if n := tree.Collect().Find("root/b/object"); n.Restarts != 0 {
		t.Error("it was obeyed")
	}
	for id, want := range map[string]string{
		"root/b/nobody": `there is no actor "root/b/nobody"`, "root/b/object": "root/b/object is not quarantined, but running", "root": "root is not quarantined, but running",
	} {
		if out := ask(&Release{ID: id}).(*Outcome); out.Error != want {
			t.Errorf("release %s: %+v", id, out)
		}
	}
}

func TestAQuarantinedObjectIsReleased(t *testing.T) {
	ask, tree, object := inspected(t, true)
	<-object
	ask(&MakeFault{ID: "root/b/object", Kind: "panic", Times: 20})
	state := func() string { return tree.Collect().Find("root/b/object").State }
	await.True(t, "quarantined", func() bool { return state() == "quarantined" })
	for len(object) > 0 {
		<-object
	}
	if out := ask(&Release{ID: "root/b/object"}).(*Outcome); out.Error != "" {
		t.Fatal(out.Error)
	}
	<-object
	await.True(t, "running again", func() bool { return state() == "running" })
}

// A crash and a stuck actor are on the record with the stack that led there, and the description says that there is news.
func TestTroubleIsOnTheRecord(t *testing.T) {
	ask, _, _ := inspected(t, true)
	if p := describeNow(t, ask); p.Troubles != 0 {
		t.Errorf("revision %d before anything happened", p.Troubles)
	}
	ask(&MakeFault{ID: "root/b/object", Kind: "panic"})
	var all []supervisors.Trouble
	await.True(t, "the crash is on the record", func() bool {
		list, ok := ask(&Troubles{}).(*TroubleList)
		return ok && json.Unmarshal(list.Troubles, &all) == nil && len(all) == 1
	})
	got := all[0]
	if got.Kind != supervisors.TroubleCrash || got.Actor != "root/b/object" || got.Message != "*fault.Panic" || got.Reason != "injected fault" {
		t.Errorf("%+v", got)
	}
	if !strings.HasPrefix(got.Stack, "virtree/actors/internal/fault.(*Panic).Inject") {
		t.Errorf("the stack does not begin where the panic was:\n%s", got.Stack)
	}
	if p := describeNow(t, ask); p.Troubles == 0 {
		t.Error("the description does not say that there is news")
	}
}

// Many who look at once share one look, and each has an answer.
func TestManyMayLookAtOnce(t *testing.T) {
	ask, _, _ := inspected(t, false)
	done := make(chan bool, 50)
	for i := range 50 {
		go func() {
			if i%2 == 0 {
				_, ok := ask(&Metrics{}).(*MetricsText)
				done <- ok
				return
			}
			_, ok := ask(&Describe{}).(*Described)
			done <- ok
		}()
	}
	for range 50 {
		if !<-done {
			t.Error("no answer of the right kind")
		}
	}
}

// BenchmarkLook is one look at a process with 1,000 objects, and making figures of it.
func BenchmarkLook(b *testing.B) {
	log := zerolog.New(io.Discard)
	system := kit.NewSystem("", log)
	link, err := remoting.Start(system, remoting.Options{Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	ready := make(chan struct{})
	tree, err := supervisors.Start(system, supervisors.Options{
		Spec: supervisors.Spec{{Name: "b", Autostart: true}}, Log: log, Props: kit.PropsOptions(), Observer: kit.Observe(system),
		New: func(supervisors.Branch) (*actor.Props, error) {
			return kit.Func(func(c actor.Context) {
				if _, ok := c.Message().(*actor.Started); ok {
					children := supervisors.NewChildren(supervisors.Config{Log: log})
					for i := range 1000 {
						_, _ = children.Start(c, supervisors.Child{Name: fmt.Sprintf("object-%d", i), Props: kit.Func(func(actor.Context) {})})
					}
					close(ready)
				}
			}), nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	<-ready
	l := lookout{system: system, daemon: "testd", tree: tree, node: link, observer: kit.Observe(system)}
	b.Run("describe", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if s, err := json.Marshal(l.process()); err != nil || len(s) < 1000 {
				b.Fatal(err)
			}
		}
	})
	b.Run("figures", func(b *testing.B) {
		f := newFigures()
		p := l.process()
		b.ReportAllocs()
		for range b.N {
			if _, err := f.text(p); err != nil {
				b.Fatal(err)
			}
		}
	})
}
