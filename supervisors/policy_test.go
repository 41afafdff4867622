package supervisors

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBackoffDoublesUpToItsCapAndThenGivesUp(t *testing.T) {
	h := NewHistory(Restart{Intensity: 5, Period: time.Minute, First: 20 * time.Millisecond, Max: 150 * time.Millisecond, Parole: time.Hour})
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{20, 40, 80, 150, 150} {
		now = now.Add(time.Second)
		if v := h.Fail(now); v.GiveUp || v.Delay != want*time.Millisecond {
			t.Errorf("failure %d: %+v, want %d ms", i+1, v, want)
		}
	}
	if v := h.Fail(now); !v.GiveUp || v.Delay != time.Hour {
		t.Errorf("one too many: %+v", v)
	}
	h.Release()
	if v := h.Fail(now); v.GiveUp || v.Delay != 20*time.Millisecond {
		t.Errorf("after release: %+v", v)
	}
	if v := h.Fail(now.Add(time.Hour)); v.Delay != 20*time.Millisecond {
		t.Errorf("after a quiet hour: %+v", v)
	}
	if h.Total() != 8 {
		t.Errorf("%d failures in total", h.Total())
	}
}

// A branch with guests is to answer within a second of its process's death, exec and adoption included; a host that cannot
// run it for some seconds, for want of memory say, must not cost a minute of parole.
func TestProcessesComeBackAtOnceAndAreNotGivenUpSoon(t *testing.T) {
	h := NewHistory(ProcessRestart)
	now := time.Unix(0, 0)
	begin := now
	if first := h.Fail(now); first.Delay > 10*time.Millisecond {
		t.Errorf("the first restart waits %v", first.Delay)
	} else {
		now = now.Add(first.Delay)
	}
	for v := h.Fail(now); !v.GiveUp; v = h.Fail(now) {
		now = now.Add(v.Delay)
	}
	if tried := now.Sub(begin); tried < 20*time.Second || tried > ProcessRestart.Period {
		t.Errorf("given up after %v", tried)
	}
}

// TestHistory holds the record against a model that remembers every failure there ever was.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Restart{
			Intensity: rapid.IntRange(0, 6).Draw(t, "intensity"),
			Period:    time.Duration(rapid.IntRange(1, 20).Draw(t, "period")) * time.Second,
			First:     time.Duration(rapid.IntRange(0, 3).Draw(t, "first")) * time.Second,
			Max:       time.Duration(rapid.IntRange(0, 9).Draw(t, "max")) * time.Second,
		}
		h := NewHistory(p)
		var all []time.Time
		since, now, givenUp := 0, time.Unix(1000, 0), false
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "passes")) * time.Second)
			if rapid.IntRange(0, 9).Draw(t, "op") == 0 {
				h.Release()
				since, givenUp = len(all), false
				continue
			}
			all = append(all, now)
			n := 0
			for _, f := range all[since:] {
				if now.Sub(f) < p.Period {
					n++
				}
			}
			givenUp = givenUp || n > p.Intensity
			v := h.Fail(now)
			if v.GiveUp != givenUp || h.GivenUp() != givenUp {
				t.Fatalf("give up %v, want %v (%d failures)", v.GiveUp, givenUp, n)
			}
			if givenUp {
				continue
			}
			want := p.First
			if p.Max > 0 {
				for range n - 1 {
					want *= 2
				}
				want = min(want, p.Max)
			}
			if v.Delay != want {
				t.Fatalf("delay %v, want %v", v.Delay, want)
			}
			if h.Total() != len(all) {
				t.Fatalf("total %d, want %d", h.Total(), len(all))
			}
		}
	})
}
