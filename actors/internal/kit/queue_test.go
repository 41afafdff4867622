package kit

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The rule of these tests: "q" runs beside anything but a "d"; one "m" at a time; "d" always.
type task struct {
	id   int
	kind string
}

func rule(running []task, t task) bool {
	for _, r := range running {
		if t.kind != "d" && (r.kind == "d" || (t.kind == "m" && r.kind == "m")) {
			return false
		}
	}
	return true
}

func TestQueueRunsWhatTheRuleAllowsInOrder(t *testing.T) {
	q := NewQueue(2, rule)
	none := time.Time{}
	for _, c := range []struct {
		t    task
		want Verdict
	}{
		{task{1, "m"}, Run}, {task{2, "m"}, Wait}, {task{3, "q"}, Run}, {task{4, "m"}, Wait}, {task{5, "m"}, Full}, {task{6, "d"}, Run},
	} {
		if got := q.Submit(c.t, none); got != c.want {
			t.Errorf("%v: %v, want %v", c.t, got, c.want)
		}
	}
	is := func(id int) func(task) bool { return func(t task) bool { return t.id == id } }
	if s := q.Done(is(1)); s != nil {
		t.Errorf("started %v beside a destroy", s)
	}
	if s := q.Done(is(6)); len(s) != 1 || s[0].id != 2 {
		t.Errorf("started %v, want the first modification only", s)
	}
}

func TestQueueLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := NewQueue(0, rule)
		in, out, next, now := 0, 0, 0, 0
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				next++
				in++
				due := time.Unix(int64(now+rapid.IntRange(1, 9).Draw(t, "patience")), 0)
				q.Submit(task{next, rapid.SampledFrom([]string{"q", "m", "d"}).Draw(t, "kind")}, due)
			case 2:
				if r := q.Running(); len(r) > 0 {
					victim := rapid.SampledFrom(slices.Clone(r)).Draw(t, "done")
					out++
					q.Done(func(x task) bool { return x == victim })
				}
			case 3:
				now += rapid.IntRange(0, 5).Draw(t, "passes")
				out += len(q.Sweep(time.Unix(int64(now), 0)))
			}
			if in-out != len(q.Running())+q.Waiting() {
				t.Fatalf("%d in, %d out, %d run, %d wait", in, out, len(q.Running()), q.Waiting())
			}
			modifies := 0
			for _, r := range q.Running() {
				if r.kind == "m" {
					modifies++
				}
			}
			if modifies > 1 {
				t.Fatalf("%v run together", q.Running())
			}
		}
		for len(q.Running()) > 0 {
			first := q.Running()[0]
			q.Done(func(x task) bool { return x == first })
		}
		if q.Waiting() != 0 {
			t.Fatal("nothing runs, but something waits")
		}
	})
}
