package kit

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/await"
	"virtree/wire/liberr"
)

type outcome = Done[string]

// worker starts the job it is sent and hands its results on.
func worker(system *actor.ActorSystem) (*actor.PID, chan *outcome, chan *Running) {
	results, started := make(chan *outcome, 16), make(chan *Running, 16)
	pid := system.Root.Spawn(Func(func(c actor.Context) {
		switch m := c.Message().(type) {
		case Job[string]:
			started <- m.Start(c)
		case *outcome:
			results <- m
		case *actor.Stopping:
			CancelJobs(c)
		}
	}))
	return pid, results, started
}

func TestJobs(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		run   func(ctx context.Context, undo *Undo) (string, error)
		value string
		check func(err error) bool
		undo  string
	}{
		{"a result is delivered, nothing undone", func(context.Context, *Undo) (string, error) { return "ok", nil },
			"ok", func(err error) bool { return err == nil }, ""},
		{"an error undoes in reverse order", func(context.Context, *Undo) (string, error) { return "half", boom },
			"", func(err error) bool { return errors.Is(err, boom) }, "second first "},
		{"a panic is an error with its stack", func(context.Context, *Undo) (string, error) { panic("ouch") },
			"", func(err error) bool {
				var c *Crash
				return errors.Is(err, liberr.InternalError) && errors.As(err, &c) && strings.Contains(c.Stack, "job_test.go")
			}, "second first "},
		{"a Goexit too", func(context.Context, *Undo) (string, error) { runtime.Goexit(); return "", nil },
			"", func(err error) bool { return errors.Is(err, liberr.InternalError) }, "second first "},
		{"a deadline ends the context", func(ctx context.Context, _ *Undo) (string, error) { <-ctx.Done(); return "", ctx.Err() },
			"", func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }, "second first "},
		{"what was kept stays", func(_ context.Context, undo *Undo) (string, error) { undo.Keep(); return "", boom },
			"", func(err error) bool { return errors.Is(err, boom) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			system, _ := newSystem()
			pid, results, started := worker(system)
			var undone strings.Builder
			system.Root.Send(pid, Job[string]{Name: "work", Timeout: 50 * time.Millisecond, Run: func(ctx context.Context, undo *Undo) (string, error) {
				for _, step := range []string{"first", "second"} {
					undo.Add(step, func(ctx context.Context) error {
						undone.WriteString(step + " ")
						if ctx.Err() != nil {
							t.Error("the context of undo is over")
						}
						panic("in " + step) // must not keep the others from running
					})
				}
				return c.run(ctx, undo)
			}})
			r := await.From(t, started, "the start")
			d := await.From(t, results, "the result")
			if d.Serial != r.Serial || d.Value != c.value || !c.check(d.Err) || undone.String() != c.undo {
				t.Errorf("got %+v, undone %q", d, undone.String())
			}
			await.True(t, "no job is left", func() bool { return len(Observe(system).Jobs()) == 0 })
		})
	}
}

func TestAJobThatIgnoresItsDeadlineIsGivenUpAndUndoneLater(t *testing.T) {
	system, log := newSystem()
	pid, results, _ := worker(system)
	release, undone := make(chan struct{}), make(chan struct{})
	var discarded atomic.Value
	system.Root.Send(pid, Job[string]{Name: "deaf", Timeout: time.Millisecond, Grace: time.Millisecond,
		Run: func(_ context.Context, undo *Undo) (string, error) {
			undo.Add("step", func(context.Context) error { close(undone); return nil })
			<-release
			return "too late", nil
		},
		Discard: func(s string) { discarded.Store(s) },
	})
	if d := await.From(t, results, "the result"); !errors.Is(d.Err, liberr.OperationTimeout) {
		t.Errorf("got %+v", d)
	}
	if jobs := Observe(system).Jobs(); len(jobs) != 1 || !jobs[0].Lost || jobs[0].Name != "deaf" || jobs[0].Owner != pid.Id {
		t.Errorf("jobs %+v", jobs)
	}
	await.True(t, "its stack is logged", func() bool { return strings.Contains(log.String(), "job_test.go") })
	close(release)
	await.From(t, undone, "the late undo")
	await.True(t, "it is off the list", func() bool { return len(Observe(system).Jobs()) == 0 })
	if discarded.Load() != "too late" {
		t.Error("the late value is not discarded")
	}
	if len(results) != 0 {
		t.Error("a second result came")
	}
}

func TestStoppingCancelsJobsAndTheirValueIsDiscarded(t *testing.T) {
	system, _ := newSystem()
	pid, _, started := worker(system)
	discarded := make(chan string, 1)
	system.Root.Send(pid, Job[string]{Name: "long", Run: func(ctx context.Context, _ *Undo) (string, error) {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrActorGone) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		for {
			if _, alive := system.ProcessRegistry.GetLocal(pid.Id); !alive {
				return "made anyway", nil
			}
			runtime.Gosched()
		}
	}, Discard: func(s string) { discarded <- s }})
	await.From(t, started, "the start")
	system.Root.Stop(pid)
	if s := await.From(t, discarded, "the discard"); s != "made anyway" {
		t.Errorf("got %q", s)
	}
}

// TestJobStorm: results at the very moment of the deadline. Each job gives one result.
func TestJobStorm(t *testing.T) {
	system, _ := newSystem()
	pid, results, started := worker(system)
	const n = 400
	go func() {
		for range n {
			<-started
		}
	}()
	var kept, dropped atomic.Int64
	for range n {
		system.Root.Send(pid, Job[string]{Name: "edge", Timeout: time.Millisecond, Grace: time.Millisecond,
			Run: func(context.Context, *Undo) (string, error) {
				time.Sleep(2 * time.Millisecond)
				return "v", nil
			}, Discard: func(string) { dropped.Add(1) }})
	}
	for range n {
		if d := await.From(t, results, "a result"); d.Err == nil {
			kept.Add(1)
		}
	}
	await.True(t, "every value is kept or discarded", func() bool { return kept.Load()+dropped.Load() == n })
	if len(results) != 0 {
		t.Error("more results than jobs")
	}
}

// A process with jobs is not idle: it is held once, however many there are.
func TestJobsHoldTheProcess(t *testing.T) {
	system, _ := newSystem()
	held, let := make(chan string, 4), make(chan struct{}, 4)
	HoldForJobs(system, func(why string) func() {
		held <- why
		return func() { let <- struct{}{} }
	})
	gate := make(chan struct{})
	pid := system.Root.Spawn(Func(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			for range 3 {
				Job[any]{Name: "wait", Run: func(context.Context, *Undo) (any, error) { <-gate; return nil, nil }}.Start(ctx)
			}
		}
	}))
	defer func() { _ = system.Root.StopFuture(pid).Wait() }()
	await.From(t, held, "the hold")
	if len(let) != 0 {
		t.Error("let go while jobs run")
	}
	close(gate)
	await.From(t, let, "the release")
	if len(held) != 0 {
		t.Error("held more than once")
	}
}
