package kit

import (
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"pgregory.net/rapid"
)

// TestAsks holds the table against a plain list: each request leaves exactly once, by the way that applies.
func TestAsks(t *testing.T) {
	type entry struct {
		serial uint64
		to     string
		due    int // 0 = never
	}
	at := func(n int) time.Time {
		if n == 0 {
			return time.Time{}
		}
		return time.Unix(int64(1000+n), 0)
	}
	rapid.Check(t, func(t *rapid.T) {
		var asks Asks[uint64] // the value is the serial itself
		var model []entry
		take := func(match func(entry) bool) (out []uint64) {
			model = slices.DeleteFunc(model, func(e entry) bool {
				if match(e) {
					out = append(out, e.serial)
					return true
				}
				return false
			})
			return out
		}
		same := func(what string, got, want []uint64) {
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%s: got %v, want %v", what, got, want)
			}
		}
		now, last := 0, uint64(0)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0, 1:
				to, due := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "to"), rapid.IntRange(0, 60).Draw(t, "due")
				last++
				serial, first := asks.Add(actor.NewPID("x", to), at(due), last)
				if serial != last || first == slices.ContainsFunc(model, func(e entry) bool { return e.to == to }) {
					t.Fatalf("serial %d first %v", serial, first)
				}
				model = append(model, entry{serial, to, due})
			case 2:
				serial := rapid.Uint64Range(0, last+1).Draw(t, "serial")
				want := take(func(e entry) bool { return e.serial == serial })
				got, ok := asks.Take(serial)
				if ok != (len(want) == 1) || (ok && got != serial) {
					t.Fatalf("take %d: %d %v, want %v", serial, got, ok, want)
				}
			case 3:
				now += rapid.IntRange(0, 20).Draw(t, "passes")
				same("sweep", asks.Sweep(at(max(now, 1))), take(func(e entry) bool { return e.due != 0 && e.due <= max(now, 1) }))
			case 4:
				to := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "dead")
				same("fail", asks.Fail(actor.NewPID("x", to)), take(func(e entry) bool { return e.to == to }))
				if asks.Fail(actor.NewPID("y", to)) != nil {
					t.Fatal("another address is another target")
				}
			case 5:
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					same("drain", asks.Drain(), take(func(entry) bool { return true }))
				}
			}
			if asks.Len() != len(model) {
				t.Fatalf("%d open, want %d", asks.Len(), len(model))
			}
		}
	})
}

func BenchmarkAskTable(b *testing.B) {
	var asks Asks[int]
	to, deadline := actor.NewPID("x", "a"), time.Now().Add(time.Hour)
	b.ReportAllocs()
	for range b.N {
		s, _ := asks.Add(to, deadline, 1)
		asks.Sweep(time.Time{}.Add(1))
		asks.Take(s)
	}
}
