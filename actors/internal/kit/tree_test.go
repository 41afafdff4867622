package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/await"
	"virtree/supervisors"
	"virtree/wire/liberr"
)

// forest is a whole tree in one process, its branches being drivers as above.
type forest struct {
	*stage
	*supervisors.Tree
}

func grow(t *testing.T, spec supervisors.Spec, special map[string]func() actor.Actor) *forest {
	t.Helper()
	f := &forest{stage: &stage{t: t}}
	f.system, f.log = newSystem()
	cfg := supervisors.Config{Log: zerolog.New(f.log), Observer: Observe(f.system), Refuse: Refuse, Domain: liberr.FromQemu, Props: PropsOptions()}
	tree, err := supervisors.Start(f.system, supervisors.Options{
		Spec: spec, Log: zerolog.New(f.log), Props: PropsOptions(), Observer: Observe(f.system), Refuse: Refuse,
		New: func(b supervisors.Branch) (*actor.Props, error) {
			if make, ok := special[b.Name]; ok {
				if make == nil {
					return nil, errors.New("cannot be made")
				}
				return Props(make), nil
			}
			return Props(func() actor.Actor {
				return &trunk{driver{Children: supervisors.NewChildren(cfg)}, f.write}
			}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Tree = tree
	t.Cleanup(func() { f.stop() })
	return f
}

// trunk is a branch that also does what it is told, also the worst.
type trunk struct {
	driver
	journal func(string)
}

func (d *trunk) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		d.journal("started " + ctx.Self().Id)
	case *actor.Stopping:
		d.journal("stopping " + ctx.Self().Id)
	case panicNow:
		panic(m.with)
	case getStuck:
		stallHere(m.stall)
	default:
		d.driver.Receive(ctx)
	}
}

func (f *forest) stop() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return f.Shutdown(ctx)
}

func (f *forest) node(id string) *supervisors.Node {
	if n := f.Collect().Find(id); n != nil {
		return n
	}
	return &supervisors.Node{}
}

func TestTheHostsTreeRunsInOneProcess(t *testing.T) {
	f := grow(t, supervisors.Monolith, nil)
	await.From(t, f.Ready(), "the tree")
	order, _ := supervisors.Monolith.Order()
	var want []string
	for _, name := range order {
		want = append(want, "root/"+name)
	}
	await.True(t, "all have started", func() bool { return len(f.lines("started")) == len(want) })
	qemu := f.Branch("qemu")
	object := f.ask(qemu, startObject{supervisors.Child{Name: "uuid-1", Props: f.props()}}).(*actor.PID)
	st := stall{make(chan struct{}), make(chan struct{})}
	f.system.Root.Send(object, getStuck{st})
	await.From(t, st.enter, "the stall")
	f.system.Root.Send(object, who{})
	n := f.node("root/qemu/uuid-1")
	if n.Kind != "object" || n.State != "running" || n.Depth != 1 || n.Age <= 0 || n.Busy <= 0 || n.Doing != "kit.getStuck" {
		t.Errorf("node %+v", n)
	}
	if n := f.node("root/qemu"); n.Kind != "branch" || n.State != "running" || len(n.Children) != 1 {
		t.Errorf("node %+v", n)
	}
	text, err := json.Marshal(f.Collect())
	if err != nil || !bytes.Contains(text, []byte(`"name":"uuid-1"`)) || bytes.Contains(text, []byte("null")) {
		t.Errorf("%s %v", text, err)
	}
	close(st.leave)
	if err := f.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	if lost, err := f.stop(); lost != 0 || err != nil {
		t.Errorf("lost %d, %v", lost, err)
	}
	got := f.lines("stopping")
	if slices.Index(got, "root/qemu/uuid-1") > slices.Index(got, "root/qemu") {
		t.Errorf("object after its branch: %v", got)
	}
	got = slices.DeleteFunc(got, func(s string) bool { return strings.Count(s, "/") > 1 })
	slices.Reverse(got)
	if !slices.Equal(got, want) {
		t.Errorf("stopped %v, want the reverse of %v", got, want)
	}
}

func TestABranchThatFailsIsRestartedThenQuarantinedAndTheOthersGoOn(t *testing.T) {
	f := grow(t, supervisors.Spec{
		{Name: "bad", Autostart: true, Restart: quick}, {Name: "good", Autostart: true},
	}, nil)
	await.From(t, f.Ready(), "the tree")
	object := f.ask(f.Branch("good"), startObject{supervisors.Child{Name: "o", Props: f.props()}}).(*actor.PID)
	bad := f.Branch("bad")
	for n := range 3 {
		if v := f.ask(bad, panicNow{fmt.Sprint("boom ", n)}); !isErr(v) {
			t.Errorf("got %v", v)
		}
	}
	await.True(t, "it is quarantined", func() bool { return f.node("root/bad").State == "quarantined" })
	await.True(t, "its stand-in answers", func() bool {
		// In the moment between the actor's end and the stand-in's start this is a dead letter.
		v, _ := f.system.Root.RequestFuture(f.Branch("bad"), request{1}, patience).Result()
		failed, ok := v.(*Failed)
		return ok && strings.Contains(failed.Err.Message, "quarantined")
	})
	if n := f.node("root/bad"); n.Restarts != 3 || !strings.Contains(n.LastError, "boom 2") {
		t.Errorf("node %+v", n)
	}
	if v := f.ask(object, who{}); v != 1 {
		t.Errorf("the neighbour's object was touched: %v", v)
	}
	f.Wake("bad")
	await.True(t, "it has another try", func() bool { return f.node("root/bad").State == "running" })
}

func TestAVitalBranchThatFailsTooOftenEndsTheProcess(t *testing.T) {
	f := grow(t, supervisors.Spec{{Name: "a", Autostart: true, Vital: true, Restart: quick}}, nil)
	await.From(t, f.Ready(), "the tree")
	for range 3 {
		f.system.Root.Send(f.Branch("a"), panicNow{"boom"})
	}
	await.From(t, f.Done(), "the end")
	if code := supervisors.CodeOf(f.Err()); code != supervisors.ExitFailed || !strings.Contains(f.Err().Error(), "boom") {
		t.Errorf("code %d: %v", code, f.Err())
	}
}

func TestTheTopGuardSeesTheRootGo(t *testing.T) {
	f := grow(t, supervisors.Spec{{Name: "a", Autostart: true}}, nil)
	await.From(t, f.Ready(), "the tree")
	f.system.Root.Stop(f.Tree.PID())
	await.From(t, f.Done(), "the end")
	if code := supervisors.CodeOf(f.Err()); code != supervisors.ExitFailed {
		t.Errorf("code %d: %v", code, f.Err())
	}
}

func TestAStuckBranchIsReplacedAndFoundUnderItsName(t *testing.T) {
	f := grow(t, supervisors.Spec{{Name: "a", Autostart: true}, {Name: "b", Autostart: true, Needs: []string{"a"}}}, nil)
	await.From(t, f.Ready(), "the tree")
	old := f.Branch("a")
	st := stall{make(chan struct{}), make(chan struct{})}
	f.system.Root.Send(old, getStuck{st})
	await.From(t, st.enter, "the stall")
	w := &Watchdog{System: f.system, Log: zerolog.New(f.log), Slow: time.Nanosecond, Abandon: time.Nanosecond}
	w.sweep()
	await.True(t, "it has a successor", func() bool { p := f.Branch("a"); return p != nil && p.Id == "root/a~1" })
	if v := f.ask(f.Branch("a"), count{}); v != (counted{}) {
		t.Errorf("got %v", v)
	}
	if n := f.node("root/a~1"); n.Restarts != 1 || n.Abandoned != 1 {
		t.Errorf("node %+v", n)
	}
	if n := f.node("root/a"); n.State != "abandoned" || n.Busy <= 0 {
		t.Errorf("node %+v", n)
	}
	began := time.Now()
	if _, err := f.stop(); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("stop took %v: %v", time.Since(began), err)
	}
	close(st.leave)
}

func TestAStuckVitalBranchRecyclesTheProcess(t *testing.T) {
	f := grow(t, supervisors.Spec{{Name: "a", Autostart: true, Vital: true}}, nil)
	await.From(t, f.Ready(), "the tree")
	st := stall{make(chan struct{}), make(chan struct{})}
	f.system.Root.Send(f.Branch("a"), getStuck{st})
	await.From(t, st.enter, "the stall")
	w := &Watchdog{System: f.system, Log: zerolog.New(f.log), Slow: time.Nanosecond, Abandon: time.Nanosecond}
	w.sweep()
	await.From(t, f.Done(), "the end")
	if code := supervisors.CodeOf(f.Err()); code != supervisors.ExitRecycle {
		t.Errorf("code %d: %v", code, f.Err())
	}
	close(st.leave)
}

func TestABranchThatIsNeverReadyHoldsUpNobodyForEver(t *testing.T) {
	f := grow(t, supervisors.Spec{
		{Name: "slow", Autostart: true, Announces: true, Startup: 20 * time.Millisecond},
		{Name: "unmade", Autostart: true},
		{Name: "needy", Autostart: true, Needs: []string{"slow", "unmade"}},
	}, map[string]func() actor.Actor{"unmade": nil})
	await.From(t, f.Ready(), "the tree")
	if f.Branch("needy") == nil || f.Branch("unmade") != nil {
		t.Error("directory is wrong")
	}
	if n := f.node("root/unmade"); n.State != "off" {
		t.Errorf("node %+v", n)
	}
}

func TestAnnouncedReadinessIsWaitedFor(t *testing.T) {
	open := make(chan struct{})
	f := grow(t, supervisors.Spec{
		{Name: "first", Autostart: true, Announces: true}, {Name: "second", Autostart: true, Needs: []string{"first"}},
	}, map[string]func() actor.Actor{"first": func() actor.Actor {
		return actor.ReceiveFunc(func(c actor.Context) {
			switch c.Message().(type) {
			case *actor.Started:
				parent, self := c.Parent(), c.Self()
				go func() {
					<-open
					c.ActorSystem().Root.RequestWithCustomSender(parent, &supervisors.Ready{}, self)
				}()
			default:
				Unhandled(c, c.Message())
			}
		})
	}})
	if err := f.Alive(t.Context()); err != nil { // root has worked off its Started
		t.Fatal(err)
	}
	if f.Branch("second") != nil {
		t.Error("did not wait")
	}
	close(open)
	await.From(t, f.Ready(), "the tree")
	if f.Branch("second") == nil {
		t.Error("not started")
	}
}

func TestJobsAreInThePicture(t *testing.T) {
	f := grow(t, supervisors.Spec{{Name: "a", Autostart: true}}, map[string]func() actor.Actor{"a": func() actor.Actor {
		return actor.ReceiveFunc(func(c actor.Context) {
			switch c.Message().(type) {
			case *actor.Started:
				supervisors.Describe(c, supervisors.Facts{Title: "with a job"})
				Job[int]{Name: "copy", Run: func(ctx context.Context, _ *Undo) (int, error) { <-ctx.Done(); return 0, ctx.Err() }}.Start(c)
			case *actor.Stopping:
				CancelJobs(c)
			default:
				Unhandled(c, c.Message())
			}
		})
	}})
	await.From(t, f.Ready(), "the tree")
	await.True(t, "the job is shown", func() bool {
		n := f.node("root/a#copy")
		return n.Kind == "job" && n.State == "running" && f.node("root/a").Title == "with a job"
	})
}
