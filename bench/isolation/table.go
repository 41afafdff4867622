package isolation

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"virtree/bench/internal/lab"
)

// Table prints the report for a terminal.
func (rep *Report) Table(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores; %d guests in each system, %d rounds, %.0f s\n", rep.Host, rep.Cores, rep.Guests, rep.Rounds, rep.Took)
	fmt.Fprintf(w, "calls and keepalive of the healthy rest: p99 before -> while the fault lasts; contained: nothing failed, p99 within %gx\n\n", rep.Ratio)
	fmt.Fprintf(w, "%-42s %-9s %-21s %-21s %9s %6s %6s %6s %10s %9s  %s\n", "FAULT", "SYSTEM", "CALLS p99", "KEEPALIVE p99", "MAX", "FAILED", "EVENTS", "GUESTS", "RECOVERY", "MEMORY", "VERDICT")
	for _, row := range rep.Rows {
		title := row.Title()
		for _, kind := range rep.Systems {
			c := row.Cells[kind]
			if c == nil {
				continue
			}
			pair := func(g string) string {
				if c.Fault[g].Calls == 0 {
					return "-"
				}
				return millis(c.Quiet[g].P99) + " -> " + millis(c.Fault[g].P99)
			}
			fmt.Fprintf(w, "%-42s %-9s %-21s %-21s %9s %6d %6s %6s %10s %9s  %s\n", title, kind, pair(groupCalls), pair(groupPing),
				millis(max(c.Fault[groupCalls].Max, c.Fault[groupPing].Max)), c.Failed, lost(c.EventsLost, c.Events), lost(c.GuestsLost, c.Guests),
				c.recovered(), c.memory(), c.Verdict())
			title = ""
		}
	}
	for _, s := range rep.Skipped {
		fmt.Fprintln(w, "left out:", s)
	}
	if rep.Missed > 0 {
		fmt.Fprintf(w, "%d visits did not fit into the time\n", rep.Missed)
	}
	fmt.Fprintln(w)
	for _, kind := range rep.Systems {
		good, all := rep.Count(kind)
		fmt.Fprintf(w, "%s: %d of %d faults contained\n", labels[kind], good, all)
	}
}

// Count tells how many rows a system held.
func (rep *Report) Count(kind lab.Kind) (contained, all int) {
	for _, row := range rep.Rows {
		if c := row.Cells[kind]; c != nil {
			all++
			if c.Contained {
				contained++
			}
		}
	}
	return contained, all
}

// Title is the row in one line.
func (r *Result) Title() string {
	if r.Place == Nowhere {
		return r.Name
	}
	return r.Name + ", " + string(r.Place)
}

// Verdict is one line.
func (c *Cell) Verdict() string {
	if c.Contained {
		return "contained"
	}
	return "NOT contained: " + strings.Join(c.Reasons, "; ")
}

func lost(n, of int) string {
	if of == 0 {
		return "-"
	}
	if n == 0 {
		return "all"
	}
	return fmt.Sprintf("-%d", n)
}

// recovered is the time to recovery.
func (c *Cell) recovered() string {
	switch {
	case c.Recovery == -2:
		return "-"
	case c.Recovery == -1 && slices.ContainsFunc(c.Sick, func(s string) bool { return strings.Contains(s, "quarantined") }):
		return "quarantine"
	case c.Recovery == -1:
		return "not yet"
	}
	if c.GivenUp > 0 {
		return millis(c.Recovery) + " after " + millis(c.GivenUp)
	}
	return millis(c.Recovery)
}

func (c *Cell) memory() string {
	if c.MemoryPeak == 0 {
		return "-"
	}
	return fmt.Sprintf("%d+%d M", c.Memory>>10, max(0, c.MemoryPeak-c.Memory)>>10)
}
