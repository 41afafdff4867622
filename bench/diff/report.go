package diff

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
)

// Report collects verdicts by virsh command and target.
type Report struct {
	mu    sync.Mutex
	count map[string]map[string]map[Verdict]int // command, target, verdict
	why   map[string][]string                   // command: reasons of differences on purpose
}

// NewReport returns an empty report.
func NewReport() *Report {
	return &Report{count: map[string]map[string]map[Verdict]int{}, why: map[string][]string{}}
}

// Add notes the findings of one scenario on one target.
func (r *Report) Add(kind string, s *Scenario, all []Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range all {
		c := f.Step.Command()
		if c == "" {
			continue
		}
		// That a command refuses a name nobody has says little; that it does so wrongly
		// does.
		if s.Shallow && f.Verdict == Agrees {
			continue
		}
		if r.count[c] == nil {
			r.count[c] = map[string]map[Verdict]int{}
		}
		if r.count[c][kind] == nil {
			r.count[c][kind] = map[Verdict]int{}
		}
		r.count[c][kind][f.Verdict]++
		if f.Verdict == OnPurpose && !contains(r.why[c], f.Step.Differs) {
			r.why[c] = append(r.why[c], f.Step.Differs)
		}
	}
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

var (
	helpGroup   = regexp.MustCompile(`^ (.+) \(help keyword '([^']+)'\)`)
	helpCommand = regexp.MustCompile(`^    (\S+)\s`)
)

// virshCommands lists virsh's own commands as (group, command).
func virshCommands(ctx context.Context) ([][2]string, error) {
	out, err := exec.CommandContext(ctx, "virsh", "help").Output()
	if err != nil {
		return nil, err
	}
	var all [][2]string
	group := ""
	for _, line := range strings.Split(string(out), "\n") {
		if m := helpGroup.FindStringSubmatch(line); m != nil {
			group = m[2]
		} else if m := helpCommand.FindStringSubmatch(line); m != nil && group != "virsh" {
			all = append(all, [2]string{group, m[1]})
		}
	}
	return all, nil
}

// Markdown is the table of all virsh commands, tested or not.
func (r *Report) Markdown(ctx context.Context, kinds []string) (string, error) {
	commands, err := virshCommands(ctx)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var rows strings.Builder
	totals := map[string]map[string]int{}
	for _, k := range kinds {
		totals[k] = map[string]int{}
	}
	for _, gc := range commands {
		fmt.Fprintf(&rows, "| %s | %s |", gc[0], gc[1])
		for _, k := range kinds {
			word, cell := cellOf(r.count[gc[1]][k])
			totals[k][word]++
			fmt.Fprintf(&rows, " %s |", cell)
		}
		fmt.Fprintf(&rows, " %s |\n", strings.Join(r.why[gc[1]], "; "))
	}
	var b strings.Builder
	b.WriteString("# virsh commands, compared with libvirtd 9.0.0\n\nWritten by `make diff-report`. A command agrees when every step that uses it has the same exit\ncode, output and error output; n/m says how many of its steps do. Being asked for an\nobject that does not exist does not count as being tested.\n\n")
	for _, k := range kinds {
		t := totals[k]
		fmt.Fprintf(&b, "- %s: of %d commands %d agree, %d differ only on purpose, %d differ, %d are untested\n", k, len(commands),
			t["agrees"], t["on purpose"], t["differs"], t["untested"])
	}
	b.WriteString("\n| group | command | " + strings.Join(kinds, " | ") + " | on purpose |\n|---|---|" + strings.Repeat("---|", len(kinds)) + "---|\n")
	b.WriteString(rows.String())
	return b.String(), nil
}

// cellOf sums up one command on one target: the word it counts as, and its text.
func cellOf(v map[Verdict]int) (word, cell string) {
	n := v[Agrees] + v[OnPurpose] + v[Differs]
	switch {
	case n == 0:
		return "untested", "-"
	case v[Differs] > 0:
		return "differs", fmt.Sprintf("**differs** %d/%d", v[Agrees]+v[OnPurpose], n)
	case v[OnPurpose] > 0:
		return "on purpose", fmt.Sprintf("on purpose %d/%d", v[Agrees], n)
	}
	return "agrees", fmt.Sprintf("agrees %d", n)
}
