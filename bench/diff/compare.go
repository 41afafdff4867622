package diff

import (
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// Verdict is what became of one step.
type Verdict string

// The verdicts, best first.
const (
	Agrees    Verdict = "agrees"
	OnPurpose Verdict = "on purpose" // differs, and the scenario says why
	Differs   Verdict = "differs"
)

// Finding is one step compared.
type Finding struct {
	Step    *Step
	Verdict Verdict
	Detail  string // what differs: - libvirtd, + the other
}

// Compare puts two transcripts of one scenario side by side. The second may have
// ended early; what it lacks differs.
func Compare(s *Scenario, reference, other []Outcome) []Finding {
	var all []Finding
	for i := range s.Steps {
		st := &s.Steps[i]
		f := Finding{Step: st, Verdict: Agrees}
		switch {
		case i >= len(other):
			f.Verdict, f.Detail = Differs, "not reached\n"
		case reference[i] != other[i]:
			f.Verdict, f.Detail = Differs, detail(reference[i], other[i])
			if st.Differs != "" {
				f.Verdict = OnPurpose
			}
		}
		all = append(all, f)
	}
	return all
}

func detail(a, b Outcome) string {
	var d strings.Builder
	if a.Exit != b.Exit {
		fmt.Fprintf(&d, "exit: libvirtd %d, here %d\n", a.Exit, b.Exit)
	}
	for _, part := range []struct{ name, a, b string }{{"stderr", a.Stderr, b.Stderr}, {"stdout", a.Stdout, b.Stdout}} {
		if part.a != part.b {
			fmt.Fprintf(&d, "%s (-libvirtd +here):\n%s", part.name,
				cmp.Diff(strings.Split(part.a, "\n"), strings.Split(part.b, "\n")))
		}
	}
	return d.String()
}
