package mailbox

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRingIsAFIFO(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var model []int
		next := 0
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 4).Draw(t, "op"); {
			case op < 2:
				for range rapid.IntRange(1, 40).Draw(t, "burst") {
					next++
					r.push(entry{next, int64(next)})
					model = append(model, next)
				}
			case op < 4:
				for range min(len(model), rapid.IntRange(1, 60).Draw(t, "pops")) {
					if got := r.pop().msg; got != model[0] {
						t.Fatalf("got %v, want %v", got, model[0])
					}
					model = model[1:]
				}
			default:
				got := r.drain(nil)
				if len(got) != len(model) {
					t.Fatalf("drained %d, want %d", len(got), len(model))
				}
				for i := range got {
					if got[i] != model[i] {
						t.Fatalf("drained %v, want %v", got, model)
					}
				}
				model = nil
			}
			oldest := int64(0)
			if len(model) > 0 {
				oldest = int64(model[0])
			}
			if r.n != len(model) || r.oldest() != oldest {
				t.Fatalf("length %d oldest %d, want %d %d", r.n, r.oldest(), len(model), oldest)
			}
			if r.n == 0 && len(r.buf) > keep {
				t.Fatalf("an empty ring keeps %d entries", len(r.buf))
			}
		}
	})
}
