package diff

import (
	"fmt"
	"strings"
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
			fmt.Fprintf(&d, "%s (- libvirtd, + here):\n%s", part.name, lineDiff(strings.Split(part.a, "\n"), strings.Split(part.b, "\n")))
		}
	}
	return d.String()
}

// lineDiff shows the lines that only one side has, each with one line of context
// before it. Whole lines: error messages and XML are read that way.
func lineDiff(a, b []string) string {
	// common[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var d strings.Builder
	last := ""
	write := func(sign, line string) {
		if last != "" {
			fmt.Fprintf(&d, "    %s\n", last)
			last = ""
		}
		fmt.Fprintf(&d, "  %s %s\n", sign, line)
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			last = a[i]
			i, j = i+1, j+1
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			write("-", a[i])
			i++
		default:
			write("+", b[j])
			j++
		}
	}
	return d.String()
}
