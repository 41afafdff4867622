package kit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/await"
	"virtree/supervisors"
	"virtree/wire/liberr"
)

// driver is a branch as they all are: an index of objects that it supervises.
type driver struct {
	*supervisors.Children
	cfg     supervisors.Config
	changes chan supervisors.Change
	done    chan int
}

type (
	startObject struct{ child supervisors.Child }
	stopObject  struct{ name string }
	stopAll     struct{}
	count       struct{}
	counted     struct{ objects, abandoned int }
	panicNow    struct{ with any }
	getStuck    struct{ stall }
	who         struct{}
)

func (panicNow) Urgent() bool { return false }

func (d *driver) Receive(ctx actor.Context) {
	if d.Handle(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case startObject:
		pid, err := d.Start(ctx, m.child)
		if err != nil {
			ctx.Respond(err)
		} else {
			ctx.Respond(pid)
		}
	case stopObject:
		d.Stop(ctx, m.name)
	case stopAll:
		d.StopAll(ctx, func(_ actor.Context, lost int) { d.done <- lost })
	case count:
		ctx.Respond(counted{d.Len(), d.Abandoned()})
	default:
		Unhandled(ctx, m)
	}
}

// object does what it is told, also the worst.
type object struct {
	born    int
	journal func(string)
}

func (o *object) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		o.journal("started " + ctx.Self().Id)
	case *actor.Stopping:
		o.journal("stopping " + ctx.Self().Id)
	case panicNow:
		panic(m.with)
	case getStuck:
		stallHere(m.stall)
	case startObject: // a child of its own
		pid, err := ctx.SpawnNamed(m.child.Props, m.child.Name)
		if err != nil {
			panic(err)
		}
		ctx.Respond(pid)
	case who:
		ctx.Respond(o.born)
	default:
		Unhandled(ctx, m)
	}
}

type stage struct {
	t      *testing.T
	system *actor.ActorSystem
	log    *log
	branch *actor.PID
	driver *driver

	mu      sync.Mutex
	born    int
	journal []string
}

func newStage(t *testing.T, change ...func(*supervisors.Config)) *stage {
	s := &stage{t: t}
	s.system, s.log = newSystem()
	d := &driver{changes: make(chan supervisors.Change, 1000), done: make(chan int, 1)}
	d.cfg = supervisors.Config{
		Log: zerolog.New(s.log), Observer: Observe(s.system), Refuse: Refuse, Domain: liberr.FromQemu, Props: PropsOptions(),
		Changed: func(_ actor.Context, c supervisors.Change) { d.changes <- c },
	}
	for _, f := range change {
		f(&d.cfg)
	}
	s.driver = d
	pid, err := s.system.Root.SpawnNamed(Props(func() actor.Actor {
		d.Children = supervisors.NewChildren(d.cfg)
		return d
	}), "branch")
	if err != nil {
		t.Fatal(err)
	}
	s.branch = pid
	return s
}

func (s *stage) write(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = append(s.journal, line)
}

func (s *stage) lines(prefix string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.journal {
		if rest, ok := strings.CutPrefix(l, prefix+" "); ok {
			out = append(out, rest)
		}
	}
	return out
}

func (s *stage) props() *actor.Props {
	return Props(func() actor.Actor {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.born++
		return &object{born: s.born, journal: s.write}
	})
}

// ask is a request from outside with a deadline.
func (s *stage) ask(pid *actor.PID, msg any) any {
	s.t.Helper()
	v, err := s.system.Root.RequestFuture(pid, msg, patience).Result()
	if err != nil {
		s.t.Fatalf("%T to %s: %v", msg, pid.Id, err)
	}
	return v
}

func (s *stage) start(child supervisors.Child) *actor.PID {
	s.t.Helper()
	if child.Props == nil {
		child.Props = s.props()
	}
	pid, ok := s.ask(s.branch, startObject{child}).(*actor.PID)
	if !ok {
		s.t.Fatalf("cannot start %s", child.Name)
	}
	s.expect(child.Name, supervisors.Running)
	return pid
}

func (s *stage) expect(name string, state supervisors.State) supervisors.Change {
	s.t.Helper()
	c := await.From(s.t, s.driver.changes, fmt.Sprintf("%s %v", name, state))
	if c.Name != name || c.State != state {
		s.t.Errorf("got %s %v, want %s %v\n%s", c.Name, c.State, name, state, s.log)
	}
	return c
}

func isTimeout(v any) bool {
	f, ok := v.(*Failed)
	return ok && errors.Is(f.Err, liberr.OperationTimeout)
}

func isErr(v any) bool { f, ok := v.(*Failed); return ok && errors.Is(f.Err, liberr.InternalError) }

var quick = supervisors.Restart{Intensity: 2, Period: time.Minute, First: time.Millisecond, Max: time.Millisecond}

func TestOneObjectIsQuarantinedAndItsNeighbourGoesOn(t *testing.T) {
	s := newStage(t)
	bad, good := s.start(supervisors.Child{Name: "bad", Restart: quick}), s.start(supervisors.Child{Name: "good"})
	for n := range 2 { // forgiven
		if v := s.ask(bad, panicNow{fmt.Sprint("boom ", n)}); !isErr(v) {
			t.Errorf("the asker of the lost message got %v", v)
		}
		s.expect("bad", supervisors.Waiting)
		s.expect("bad", supervisors.Running)
	}
	if v := s.ask(bad, who{}); v != 4 { // two objects, two rebirths
		t.Errorf("instance %v answers", v)
	}
	if v := s.ask(bad, panicNow{"once too often"}); !isErr(v) {
		t.Errorf("got %v", v)
	}
	c := s.expect("bad", supervisors.Quarantined)
	if c.Err == nil || !strings.Contains(c.Err.Error(), "once too often") || c.PID.Id != bad.Id {
		t.Errorf("change %+v", c)
	}
	for range 3 { // the name goes on answering, under the PID that everybody has
		f, ok := s.ask(bad, request{5}).(*Failed)
		if !ok || f.Serial != 5 || !strings.Contains(f.Err.Message, "quarantined") || !strings.Contains(f.Err.Message, "once too often") {
			t.Errorf("got %+v", f)
		}
	}
	if v := s.ask(good, who{}); v != 2 {
		t.Errorf("the neighbour was restarted: %v", v)
	}
	s.system.Root.Send(s.branch, &supervisors.Release{Name: "bad"})
	s.expect("bad", supervisors.Running)
	if v := s.ask(bad, who{}); v != 5 {
		t.Errorf("after release instance %v answers", v)
	}
	if !strings.Contains(s.log.String(), "children_test.go") {
		t.Error("no stack in the log")
	}
}

func TestAPanicKeepsTheQueueInOrder(t *testing.T) {
	s := newStage(t)
	pid := s.start(supervisors.Child{Name: "a"})
	f1 := s.system.Root.RequestFuture(pid, panicNow{"x"}, patience)
	f2 := s.system.Root.RequestFuture(pid, who{}, patience)
	if v, err := f1.Result(); err != nil || !isErr(v) {
		t.Errorf("%v %v", v, err)
	}
	if v, err := f2.Result(); err != nil || v != 2 {
		t.Errorf("the next got %v %v, want the new instance", v, err)
	}
}

func TestBackoffHoldsAChildThatFailsInStarted(t *testing.T) {
	s := newStage(t)
	var starts []time.Time
	policy := supervisors.Restart{Intensity: 4, Period: time.Minute, First: 10 * time.Millisecond, Max: 40 * time.Millisecond}
	s.ask(s.branch, startObject{supervisors.Child{Name: "a", Restart: policy, Props: Func(func(c actor.Context) {
		if _, ok := c.Message().(*actor.Started); ok {
			s.mu.Lock()
			starts = append(starts, time.Now())
			s.mu.Unlock()
			panic("at birth")
		}
	})}})
	for {
		if c := await.From(t, s.driver.changes, "quarantine"); c.State == supervisors.Quarantined {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(starts) != 5 {
		t.Fatalf("%d starts", len(starts))
	}
	for i, least := range []time.Duration{10, 20, 40, 40} {
		if gap := starts[i+1].Sub(starts[i]); gap < least*time.Millisecond {
			t.Errorf("start %d after %v, want %d ms", i+2, gap, least)
		}
	}
}

func TestAPanickingProducerIsAFailureLikeOthers(t *testing.T) {
	s := newStage(t)
	if _, ok := s.ask(s.branch, startObject{supervisors.Child{Name: "a", Props: Props(func() actor.Actor { panic("no") })}}).(error); !ok {
		t.Error("started")
	}
	if v := s.ask(s.branch, count{}); v != (counted{}) {
		t.Errorf("left behind: %v", v)
	}
	s.start(supervisors.Child{Name: "a"}) // the name is free
	if _, ok := s.ask(s.branch, startObject{supervisors.Child{Name: "a", Props: s.props()}}).(error); !ok {
		t.Error("started twice")
	}
}

func TestAStuckObjectIsReplacedUnderANewName(t *testing.T) {
	s := newStage(t)
	pid := s.start(supervisors.Child{Name: "a", Restart: quick})
	st := stall{make(chan struct{}), make(chan struct{})}
	s.system.Root.Send(pid, getStuck{st})
	await.From(t, st.enter, "the stall")
	waiting := s.system.Root.RequestFuture(pid, request{1}, patience)
	w := &Watchdog{System: s.system, Log: zerolog.New(s.log), Slow: time.Nanosecond, Abandon: time.Nanosecond}
	w.sweep()
	if v, err := waiting.Result(); err != nil || !isTimeout(v) {
		t.Errorf("who waited got %v %v", v, err)
	}
	if c := s.expect("a", supervisors.Waiting); c.PID != nil || !strings.Contains(c.Err.Error(), "stuck in kit.getStuck") {
		t.Errorf("change %+v", c)
	}
	c := s.expect("a", supervisors.Running)
	if c.PID.Id != "branch/a~1" {
		t.Errorf("successor %s", c.PID.Id)
	}
	if v := s.ask(c.PID, who{}); v != 2 {
		t.Errorf("successor answers %v", v)
	}
	if v := s.ask(pid, request{2}); !isTimeout(v) {
		t.Errorf("the old name answers %v", v)
	}
	if v := s.ask(s.branch, count{}); v != (counted{1, 1}) {
		t.Errorf("counted %v", v)
	}
	close(st.leave)
	await.True(t, "the old one has stopped properly", func() bool { return slices.Contains(s.lines("stopping"), "branch/a") })
	await.True(t, "and is not counted any more", func() bool { return s.ask(s.branch, count{}) == counted{1, 0} })
	if v := s.ask(c.PID, who{}); v != 2 {
		t.Errorf("its return disturbed the successor: %v", v)
	}
}

func TestAStuckGrandchildDoesNotFreezeTheRestartOfItsParent(t *testing.T) {
	s := newStage(t, func(c *supervisors.Config) { c.Thaw = 50 * time.Millisecond })
	pid := s.start(supervisors.Child{Name: "a", Restart: quick})
	grandchild := s.ask(pid, startObject{supervisors.Child{Name: "monitor", Props: s.props()}}).(*actor.PID)
	st := stall{make(chan struct{}), make(chan struct{})}
	s.system.Root.Send(grandchild, getStuck{st})
	await.From(t, st.enter, "the stall")
	s.ask(pid, panicNow{"restart me"})
	s.expect("a", supervisors.Waiting)
	s.expect("a", supervisors.Running) // so it thinks
	if c := s.expect("a", supervisors.Waiting); !strings.Contains(c.Err.Error(), "stuck child") {
		t.Errorf("change %+v", c)
	}
	c := s.expect("a", supervisors.Running)
	if v := s.ask(c.PID, who{}); v == nil {
		t.Error("no answer")
	}
	close(st.leave)
	await.True(t, "all the abandoned are gone", func() bool { return s.ask(s.branch, count{}) == counted{1, 0} })
}

func TestStopAllIsOrderedLimitedAndComplete(t *testing.T) {
	s := newStage(t, func(c *supervisors.Config) { c.Ordered = true })
	a := s.start(supervisors.Child{Name: "a"})
	b := s.start(supervisors.Child{Name: "b", Shutdown: 30 * time.Millisecond})
	s.start(supervisors.Child{Name: "c"})
	st := stall{make(chan struct{}), make(chan struct{})}
	s.system.Root.Send(b, getStuck{st})
	await.From(t, st.enter, "the stall")
	late := s.system.Root.RequestFuture(b, request{1}, patience)
	s.system.Root.Send(s.branch, stopAll{})
	if lost := await.From(t, s.driver.done, "the end"); lost != 1 {
		t.Errorf("%d lost", lost)
	}
	if got := s.lines("stopping"); !slices.Equal(got, []string{"branch/c", "branch/a"}) {
		t.Errorf("stopped %v", got)
	}
	if v, err := late.Result(); err != nil || !isTimeout(v) {
		t.Errorf("who waited for the stuck one got %v %v", v, err)
	}
	if _, ok := s.ask(s.branch, startObject{supervisors.Child{Name: "d", Props: s.props()}}).(error); !ok {
		t.Error("started during shutdown")
	}
	_ = a
	// The stuck one does not hold up the framework's own stop of the branch either.
	gone := make(chan struct{})
	s.system.Root.Spawn(Func(func(c actor.Context) {
		switch c.Message().(type) {
		case *actor.Started:
			c.Watch(s.branch)
			c.Stop(s.branch)
		case *actor.Terminated:
			close(gone)
		}
	}))
	await.From(t, gone, "the branch to stop")
	close(st.leave)
	await.True(t, "nothing is left", func() bool {
		return !slices.ContainsFunc(Observe(s.system).Actors(), func(a supervisors.ActorInfo) bool { return strings.HasPrefix(a.ID, "branch") })
	})
}

func TestAThousandObjectsStopAtOnce(t *testing.T) {
	s := newStage(t)
	s.driver.changes = make(chan supervisors.Change, 10_000)
	for n := range 1000 {
		s.ask(s.branch, startObject{supervisors.Child{Name: fmt.Sprint(n), Props: s.props()}})
	}
	began := time.Now()
	s.system.Root.Send(s.branch, stopAll{})
	if lost := await.From(t, s.driver.done, "the end"); lost != 0 {
		t.Errorf("%d lost", lost)
	}
	t.Logf("took %v", time.Since(began))
}

func TestStopOneAndPermanentChildren(t *testing.T) {
	s := newStage(t)
	a := s.start(supervisors.Child{Name: "a"})
	b := s.start(supervisors.Child{Name: "b", Permanent: true, Restart: quick})
	s.system.Root.Send(s.branch, stopObject{"a"})
	s.expect("a", supervisors.Gone)
	s.system.Root.Stop(b) // unasked
	s.expect("b", supervisors.Waiting)
	if c := s.expect("b", supervisors.Running); c.PID.Id != b.Id {
		t.Errorf("came back as %s", c.PID.Id)
	}
	if v := s.ask(b, who{}); v != 3 {
		t.Errorf("answered %v", v)
	}
	s.start(supervisors.Child{Name: "a"})
	s.system.Root.Stop(a) // not permanent: leaves the table
	s.expect("a", supervisors.Gone)
	if v := s.ask(s.branch, count{}); v != (counted{1, 0}) {
		t.Errorf("counted %v", v)
	}
}

// An object that gets stuck again and again leaves so many goroutines behind and no more: then it is quarantined, however
// much its record forgives.
func TestAnObjectLeavesOnlySoManyStuckPredecessors(t *testing.T) {
	s := newStage(t)
	patient := supervisors.Restart{Intensity: 1000, Period: time.Minute, First: time.Millisecond, Max: time.Millisecond}
	pid := s.start(supervisors.Child{Name: "a", Restart: patient})
	w := &Watchdog{System: s.system, Log: zerolog.New(s.log), Slow: time.Nanosecond, Abandon: time.Nanosecond}
	for n := 1; ; n++ {
		st := stall{make(chan struct{}), make(chan struct{})}
		s.system.Root.Send(pid, getStuck{st})
		await.From(t, st.enter, "the stall")
		defer close(st.leave)
		w.sweep()
		if n == 3 {
			break
		}
		s.expect("a", supervisors.Waiting)
		pid = s.expect("a", supervisors.Running).PID
	}
	c := s.expect("a", supervisors.Quarantined)
	if f, ok := s.ask(c.PID, request{1}).(*Failed); !ok || !strings.Contains(f.Err.Message, "quarantined") {
		t.Errorf("its stand-in answers %v", f)
	}
	if v := s.ask(s.branch, count{}); v != (counted{1, 3}) {
		t.Errorf("counted %v", v)
	}
}
