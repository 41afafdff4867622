package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"virtree/actors/follow"
)

// helpText says what keys there are.
var helpText = []string{
	"Keys:",
	"  q          leave                       ? or h    this help",
	"  up, down   choose an actor             Enter     its details, with the stack where it has one",
	"  s          next order of actors        r         the other way round",
	"  b          actors of the next branch   /         only actors whose name holds a text",
	"  i          idle actors too             Esc       back; all branches and names again",
	"  f          the last faults             p, space  pause",
	"  + -        look less, more often       Ctrl-Z    out of the way; fg brings it back",
}

// topPage draws one page of `virtree top`.
type topPage struct {
	sample        *follow.Sample // nil before the first answer
	state         *topState
	palette       palette
	width, height int // of the terminal; 0 is without limit

	lines, visible int // of the list that was drawn last, for the keys
}

func (p *topPage) draw(w io.Writer) {
	var b bytes.Buffer
	if p.sample == nil {
		p.line(&b, "looking ...", dim)
		_, _ = w.Write(b.Bytes())
		return
	}
	p.head(&b)
	switch p.state.view {
	case viewHelp:
		p.text(&b, append([]string{""}, helpText...))
	case viewFaults:
		p.faults(&b)
	case viewStack:
		p.stack(&b)
	case viewActor:
		p.actor(&b)
	default:
		p.main(&b)
	}
	_, _ = w.Write(b.Bytes())
}

func (p *topPage) line(b *bytes.Buffer, text string, s style) {
	b.WriteString(p.palette.paint(cut(text, p.width), s) + "\n")
}

// left is how many lines there still are; a lot where the page has no end.
func (p *topPage) left(b *bytes.Buffer) int {
	if p.height <= 0 {
		return 1 << 20
	}
	return max(0, p.height-bytes.Count(b.Bytes(), []byte("\n")))
}

// head is two or three lines: what runs, how its guests and calls are, and what is wrong.
func (p *topPage) head(b *bytes.Buffer) {
	s := p.sample
	if len(s.Processes) == 0 {
		p.line(b, "virtree: no process answers; waiting for one        "+s.At.Format("15:04:05"), alarm)
		return
	}
	rss, cpu, wakeups := uint64(0), 0.0, 0.0
	for _, o := range s.Processes {
		rss += o.RSS
		cpu += o.CPU
		wakeups += o.Wakeups
	}
	clock := s.At.Format("15:04:05")
	if p.state.paused {
		clock = "paused at " + clock
	}
	text := fmt.Sprintf("%s  virtree %s", clock, s.Mode)
	parts := []string{
		count(len(s.Processes), "process"), count(s.Actors, "actor"), count(s.Clients, "client"), fmt.Sprintf("%.1f%% CPU", 100*cpu),
		bytesText(rss) + " resident", fmt.Sprintf("%.0f wake-ups/s", wakeups),
	}
	if s.Root != "" {
		parts = append(parts, "below "+clean(s.Root))
	}
	separator := ""
	for _, part := range parts { // as many as there is room for
		if part = cmp.Or(separator, ": ") + part; p.width == 0 || textWidth(text)+textWidth(part) <= p.width {
			text += part
		}
		separator = ", "
	}
	p.line(b, text, bold)
	p.line(b, fmt.Sprintf("guests: %s   calls: %s   messages: %.0f/s", livesText(s.Guests), latencyText(s.Calls), s.Messages), plain)
	if wrong := wrongText(s); wrong != "" {
		p.line(b, "trouble: "+wrong, alarm)
	} else if p.height == 0 || p.height > 20 {
		p.line(b, "all is well", good)
	}
}

func livesText(lives map[string]int) string {
	if len(lives) == 0 {
		return "none"
	}
	var parts []string
	for _, life := range slices.SortedFunc(maps.Keys(lives), func(a, b string) int { return lifeOrder(a) - lifeOrder(b) }) {
		parts = append(parts, fmt.Sprintf("%d %s", lives[life], clean(life)))
	}
	return strings.Join(parts, ", ")
}

// lifeOrder puts what runs before what rests.
func lifeOrder(life string) int {
	if i := slices.Index([]string{"running", "active", "idle", "paused", "pmsuspended", "in shutdown", "crashed", "shut off", "inactive", "unknown"}, life); i >= 0 {
		return i
	}
	return 100
}

func latencyText(l follow.Latency) string {
	text := fmt.Sprintf("%.0f/s", l.Rate)
	if l.Count > 0 {
		text += fmt.Sprintf(", half within %s, 99%% within %s", timeText(l.P50), timeText(l.P99))
	}
	if l.Failed > 0 {
		text += fmt.Sprintf(", %.0f/s answered with an error", l.Failed)
	}
	return text
}

// wrongText sums up what is wrong now; "" is nothing.
func wrongText(s *follow.Sample) string {
	n := map[string]int{}
	for _, r := range s.Rows {
		if follow.Bad(r.Node.State) {
			n[r.Node.State]++
		} else if follow.Ails(r.Node) {
			n["stuck"]++
		}
	}
	for _, o := range s.Processes {
		if follow.Bad(o.State) {
			n[o.Daemon+" "+o.State]++
		}
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(n)) {
		if strings.Contains(what, " ") && n[what] == 1 {
			parts = append(parts, what)
			continue
		}
		parts = append(parts, fmt.Sprintf("%d %s", n[what], what))
	}
	return strings.Join(parts, ", ")
}

// main is the page that is shown first.
func (p *topPage) main(b *bytes.Buffer) {
	b.WriteString("\n")
	p.processes(b)
	p.lastFaults(b)
	b.WriteString("\n")
	p.actors(b)
}

var processColumns = []column{
	{title: "PROCESS/BRANCH", left: true}, {title: "PID", rank: 4}, {title: "STATE", left: true}, {title: "CPU%", rank: 1}, {title: "WAKE/S", rank: 3},
	{title: "RESIDENT", rank: 2}, {title: "CLIENTS", rank: 5}, {title: "CALLS/S"}, {title: "P50"}, {title: "P99"}, {title: "MSG/S", rank: 6},
	{title: "QUEUE"}, {title: "OLDEST", rank: 3}, {title: "OBJECTS", rank: 4}, {title: "FAILED"}, {title: "GOROUT", rank: 8}, {title: "FILES", rank: 8},
	{title: "UPTIME", rank: 7}, {title: "", left: true, fill: true, rank: 1},
}

// processes are the processes and branches: a line for each process that is none of one branch, and for each branch,
// with what its process uses where it has one. When there is little room, branches with nothing to say are left out.
func (p *topPage) processes(b *bytes.Buffer) {
	s := p.sample
	byName := map[string]follow.Process{}
	for _, o := range s.Processes {
		byName[o.Name] = o
	}
	var rows []tableRow
	isBranch := map[string]bool{}
	for _, br := range s.Branches {
		isBranch[br.Name] = true
	}
	for _, o := range s.Processes {
		if !isBranch[o.Name] {
			rows = append(rows, processRow(o.Daemon, o.State, &o, nil))
		}
	}
	room := p.left(b)/2 - 1
	quiet := 0
	for _, br := range s.Branches {
		var own *follow.Process
		if o, ok := byName[br.Name]; ok {
			own = &o
		}
		if own == nil && br.State == "off" || len(s.Branches) > room && br.Calm() {
			quiet++
			continue
		}
		name := "  " + br.Name
		rows = append(rows, processRow(name, br.State, own, &br))
	}
	table(b, &p.palette, processColumns, rows, p.width)
	if quiet > 0 {
		p.line(b, fmt.Sprintf("  and %d more, quiet or off", quiet), dim)
	}
}

func processRow(name, state string, o *follow.Process, br *follow.Branch) tableRow {
	cells := make([]cell, len(processColumns))
	set := func(title, text string, s style) {
		for i, c := range processColumns {
			if c.title == title {
				cells[i] = cell{text, s}
			}
		}
	}
	row := tableRow{cells: cells}
	if follow.Bad(state) {
		row.style = alarm
	} else if state == "off" || state == "idle" {
		row.style = dim
	}
	set("PROCESS/BRANCH", name, plain)
	set("STATE", state, plain)
	note := ""
	if o != nil {
		if o.PID != 0 {
			set("PID", fmt.Sprint(o.PID), plain)
		}
		if o.Actors > 0 {
			set("CPU%", fmt.Sprintf("%.1f", 100*o.CPU), plain)
			set("WAKE/S", fmt.Sprintf("%.0f", o.Wakeups), plain)
			set("RESIDENT", bytesText(o.RSS), plain)
			set("CLIENTS", fmt.Sprint(o.Clients), plain)
			set("MSG/S", rateText(o.Messages), plain)
			set("GOROUT", fmt.Sprint(o.Goroutines), plain)
			set("FILES", fmt.Sprint(o.Descriptors), plain)
			set("UPTIME", timeText(o.Uptime), plain)
		}
		note = o.Error
	}
	if br != nil {
		if br.Calls.Count > 0 || br.Calls.Rate > 0 {
			set("CALLS/S", rateText(br.Calls.Rate), plain)
			set("P50", timeText(br.Calls.P50), plain)
			s := plain
			if br.Calls.P99 >= 1 {
				s = caution
			}
			set("P99", timeText(br.Calls.P99), s)
		}
		set("MSG/S", rateText(br.Messages), plain)
		if br.Depth > 0 {
			set("QUEUE", fmt.Sprint(br.Depth), plain)
			set("OLDEST", timeText(br.Age), plain)
		}
		if br.Objects > 0 {
			set("OBJECTS", fmt.Sprint(br.Objects), plain)
		}
		if br.Restarts > 0 {
			set("FAILED", fmt.Sprint(br.Restarts), caution)
		}
		if br.Ailing > 0 && row.style == plain {
			row.style = alarm
			note = fmt.Sprintf("%d in trouble", br.Ailing)
		}
		if follow.Bad(br.State) && br.LastError != "" {
			note = br.LastError
		}
	}
	set("", clean(note), plain)
	return row
}

// rateText leaves the zeros out, so that what happens stands out.
func rateText(r float64) string {
	switch {
	case r == 0:
		return ""
	case r < 9.95:
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}

// text shows lines from where one has scrolled to.
func (p *topPage) text(b *bytes.Buffer, lines []string) {
	p.lines, p.visible = len(lines), p.left(b)
	from := min(p.state.scroll, max(0, len(lines)-p.visible))
	for _, l := range lines[from:min(len(lines), from+p.visible)] {
		p.line(b, l, plain)
	}
}
