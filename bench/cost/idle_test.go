package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtree/bench/internal/lab"
)

func TestMain(m *testing.M) {
	lab.Enter()
	os.Exit(m.Run())
}

// aim is how often a second a process may wake up when nobody wants anything of it.
const aim = 1

// A daemon at rest sleeps: with domains, with running guests and with an active network, which has a dnsmasq and rules to
// look after, in both modes. The figure is the median of several windows, so that what happens once in minutes does not fail it.
func TestProcessesAtRestSleep(t *testing.T) {
	if testing.Short() {
		t.Skip("it counts for half a minute")
	}
	for _, kind := range []lab.Kind{lab.Single, lab.Split} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			if why := lab.Missing(kind); why != "" {
				t.Skip(why)
			}
			ctx := t.Context()
			target, err := lab.Open(ctx, kind, lab.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = target.Close() })
			s := &system{Target: target, name: string(kind)}
			if err := s.define(ctx, 20); err != nil {
				t.Fatal(err)
			}
			if err := s.start(ctx, 3); err != nil {
				t.Fatal(err)
			}
			if err := s.network(ctx); err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			st := countIdle(plan{window: 2 * time.Second, windows: 7, settling: 10 * time.Second}, []*system{s}, "")
			for _, r := range st.Rates {
				names[r.Process] = true
				if r.PerSec > aim {
					t.Errorf("%s wakes up %.1f times a second at rest, %d is the aim", r.Process, r.PerSec, aim)
				}
			}
			if want := map[lab.Kind]string{lab.Single: "single run", lab.Split: "split virtqemud"}[kind]; !names[want] {
				t.Errorf("%s was not among the processes: %v", want, names)
			}
		})
	}
}

// What is counted is what a process does: one that wakes itself a hundred times a second is seen.
func TestWakeupsAreCounted(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	got := wakeups([]process{{"this", os.Getpid()}}, 500*time.Millisecond, 3)
	if got[0] < 10 {
		t.Errorf("%.1f wake-ups a second of a process with a ticker of 10 ms", got[0])
	}
}

func TestSlope(t *testing.T) {
	all := []weight{{connection, 0, 0, 100}, {connection, 10, 0, 150}, {definedDomain, 5, 0, 7000}, {connection, 20, 0, 200}}
	if v, ok := slope(all, connection); !ok || v < 4.99 || v > 5.01 {
		t.Errorf("slope %v %v, want 5", v, ok)
	}
	if _, ok := slope(all, definedDomain); ok {
		t.Error("one point has no slope")
	}
}

func TestPiecesAreRead(t *testing.T) {
	all := fastest(parse(strings.NewReader(`goos: linux
BenchmarkCostHop/mailbox_ours-2         	 1000	      120.5 ns/op	       3 B/op	       1 allocs/op
BenchmarkCostHop/mailbox_ours-2         	 1000	      100 ns/op	       2 B/op	       0 allocs/op
BenchmarkCostWatchdog/sweep-2         	 10	      7 ns/op	   0.5 ns/actor	       0 B/op	       0 allocs/op
BenchmarkOther-2	 10	 7 ns/op
ok  	virtree/x	1s
`)))
	want := []piece{{Name: "Hop: mailbox ours", Nanos: 100, Bytes: 2}, {Name: "Watchdog: sweep", Nanos: 7, More: map[string]float64{"ns/actor": 0.5}}}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
}
