package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"virtree/actors/follow"
	"virtree/supervisors"
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

// recent is how long a fault is worth a line on the first page.
const recent = 15 * time.Minute

func (p *topPage) lastFaults(b *bytes.Buffer) {
	records := p.sample.Records
	shown := 3
	if p.height > 40 || p.height == 0 {
		shown = 6
	}
	first := true
	for i := len(records) - 1; i >= 0 && i >= len(records)-shown; i-- {
		r := records[i]
		if p.sample.At.Sub(r.At) > recent {
			break
		}
		if first {
			first = false
			b.WriteString("\n")
			p.line(b, "LAST FAULTS (f shows all)", bold)
		}
		p.line(b, "  "+recordText(r), recordStyle(r, p.sample.At))
	}
}

// recordStyle: what just happened or still is so is red.
func recordStyle(r follow.Record, now time.Time) style {
	switch {
	case r.Kind == supervisors.TroubleStuck && r.Over.IsZero(), now.Sub(r.At) < time.Minute && r.Over.IsZero():
		return alarm
	case !r.Over.IsZero():
		return dim
	}
	return caution
}

func recordText(r follow.Record) string {
	who := r.Actor
	if r.Title != "" {
		who = r.Title + " (" + shortID(r.Actor) + ")"
	}
	text := fmt.Sprintf("%s %-10s %s", r.At.Local().Format("15:04:05"), r.Kind, who)
	if r.Message != "" {
		text += " in " + strings.TrimPrefix(r.Message, "*")
	}
	text += ": " + r.Reason
	if !r.Over.IsZero() {
		text += "; back after " + timeText(r.Over.Sub(r.At).Seconds()) + " more"
	}
	return clean(text)
}

// shortID cuts the UUID at the end of an actor's id.
func shortID(id string) string {
	if i := strings.LastIndexByte(id, '/'); i >= 0 {
		return id[:i+1] + short(id[i+1:])
	}
	return id
}

var actorColumns = []column{
	{title: "PROCESS", left: true, rank: 5}, {title: "ACTOR", left: true}, {title: "STATE", left: true}, {title: "LIFE", left: true, rank: 4},
	{title: "QUEUE"}, {title: "OLDEST", rank: 2}, {title: "BUSY", rank: 1}, {title: "MSG/S"}, {title: "FAILED", rank: 3}, {title: "DOING", left: true, fill: true, rank: 6},
}

func (p *topPage) actors(b *bytes.Buffer) {
	st := p.state
	rows := st.rows(p.sample)
	title := "ACTORS by " + sortNames[st.sort]
	if st.reverse {
		title += ", reversed"
	}
	if st.branch != "" {
		title += ", of " + st.branch
	}
	if st.typing {
		title += ", named: " + clean(st.filter) + "_"
	} else if st.filter != "" {
		title += fmt.Sprintf(", named %q", clean(st.filter))
	}
	if !st.idle && st.filter == "" && st.branch == "" {
		title += ", the idle ones hidden"
	}
	p.line(b, fmt.Sprintf("%s: %d of %d", title, len(rows), len(p.sample.Rows)), bold)
	if st.actor != "" {
		if i := slices.IndexFunc(rows, func(r follow.Row) bool { return rowKey(r) == st.actor }); i >= 0 {
			st.chosen = i
		}
	}
	st.chosen = min(st.chosen, max(0, len(rows)-1))
	p.lines, p.visible = len(rows), max(1, p.left(b)-1)
	from := window(st.chosen, len(rows), p.visible)
	var out []tableRow
	for i, r := range rows[from:min(len(rows), from+p.visible)] {
		row := actorRow(r)
		if p.height > 0 && from+i == st.chosen {
			row.selected = true
			if st.chosen > 0 {
				st.actor = rowKey(r)
			}
		}
		out = append(out, row)
	}
	if len(rows) > 0 {
		table(b, &p.palette, actorColumns, out, p.width)
	}
}

// window is the first line to show so that the chosen one is seen.
func window(chosen, lines, visible int) int {
	return min(max(0, chosen-visible+1), max(0, lines-visible))
}

func actorRow(r follow.Row) tableRow {
	n := r.Node
	row := tableRow{cells: []cell{
		{text: r.Process}, {text: cut(called(n), 40)}, {text: n.State}, {text: clean(n.Life)}, {}, {}, {}, {text: rateText(r.Rate)}, {}, {},
	}}
	if n.Depth > 0 {
		row.cells[4].text, row.cells[5].text = fmt.Sprint(n.Depth), timeText(n.Age)
	}
	if n.Busy > 0 {
		row.cells[6].text = timeText(n.Busy)
	}
	if n.Restarts > 0 {
		row.cells[8] = cell{fmt.Sprint(n.Restarts), caution}
	}
	row.cells[9].text = clean(strings.TrimPrefix(n.Doing, "*"))
	switch {
	case follow.Ails(n):
		row.style = alarm
		if n.Doing == "" {
			row.cells[9].text = clean(n.LastError)
		}
	case n.Busy >= busyFrom || n.Depth > 0:
		row.style = caution
	}
	return row
}

// actor is all that is known of the selected one.
func (p *topPage) actor(b *bytes.Buffer) {
	rows := p.state.rows(p.sample)
	var r follow.Row
	switch i := slices.IndexFunc(rows, func(r follow.Row) bool { return rowKey(r) == p.state.actor }); {
	case i >= 0:
		r = rows[i]
	case p.state.chosen < len(rows):
		r = rows[p.state.chosen]
	default:
		p.line(b, "it is gone", dim)
		return
	}
	p.state.actor = rowKey(r)
	n := r.Node
	text := []string{
		"", called(n), "",
		"id          " + clean(n.ID) + " in process " + r.Process,
		"state       " + n.State + sinceText(n.For),
	}
	add := func(name, value string) {
		if value != "" {
			text = append(text, pad(name, 12, false)+clean(value))
		}
	}
	add("life", n.Life)
	add("queue", fmt.Sprintf("%d now, %d at most so far", n.Depth, n.MaxDepth))
	if n.Depth > 0 {
		add("oldest", timeText(n.Age))
	}
	if n.Doing != "" {
		add("doing", fmt.Sprintf("%s for %s", n.Doing, timeText(n.Busy)))
	}
	add("handled", fmt.Sprintf("%d messages, %.1f/s now", n.Processed, r.Rate))
	if n.Refused > 0 {
		add("refused", fmt.Sprintf("%d messages, because the queue was full", n.Refused))
	}
	if n.Restarts > 0 {
		add("failed", fmt.Sprintf("%d times", n.Restarts))
	}
	add("last error", n.LastError)
	for _, c := range n.Children {
		if c.Kind == "job" {
			add("job", fmt.Sprintf("%s, %s for %s", c.Name, c.State, timeText(c.For)))
		}
	}
	records := 0
	for i := len(p.sample.Records) - 1; i >= 0 && records < 3; i-- {
		if t := p.sample.Records[i]; t.Process == r.Process && sameActor(t.Actor, n.ID) {
			records++
			text = append(text, "")
			text = append(text, recordLines(t)...)
		}
	}
	p.text(b, text)
}

// sameActor also finds what happened to predecessors under another generation of the name.
func sameActor(a, b string) bool {
	a, _, _ = strings.Cut(a, "~")
	b, _, _ = strings.Cut(b, "~")
	return a == b
}

func sinceText(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return " for " + timeText(seconds)
}

// text shows lines from where one has scrolled to.
func (p *topPage) text(b *bytes.Buffer, lines []string) {
	p.lines, p.visible = len(lines), p.left(b)
	from := min(p.state.scroll, max(0, len(lines)-p.visible))
	for _, l := range lines[from:min(len(lines), from+p.visible)] {
		p.line(b, l, plain)
	}
}

// faults lists all that went wrong, the last one first.
func (p *topPage) faults(b *bytes.Buffer) {
	records := p.sample.Records
	p.line(b, "", plain)
	if len(records) == 0 {
		p.line(b, "nothing went wrong that these processes remember", good)
		p.lines, p.visible = 0, 1
		return
	}
	p.line(b, "FAULTS, the last one first (Enter: its stack)", bold)
	p.lines, p.visible = len(records), max(1, p.left(b))
	p.state.chosen = min(p.state.chosen, len(records)-1)
	from := window(p.state.chosen, len(records), p.visible)
	for i := from; i < min(len(records), from+p.visible); i++ {
		r := records[len(records)-1-i]
		s := recordStyle(r, p.sample.At)
		if i == p.state.chosen {
			s = selected
		}
		p.line(b, recordText(r), s)
	}
}

func (p *topPage) stack(b *bytes.Buffer) {
	records := p.sample.Records
	if p.state.chosen >= len(records) {
		p.line(b, "it is forgotten", dim)
		return
	}
	p.text(b, append([]string{""}, recordLines(records[len(records)-1-p.state.chosen])...))
}

// recordLines is all of a record.
func recordLines(r follow.Record) []string {
	lines := []string{recordText(r)}
	for l := range strings.Lines(strings.TrimSpace(r.Stack)) {
		lines = append(lines, "    "+clean(strings.TrimRight(strings.ReplaceAll(l, "\t", "    "), "\n")))
	}
	if r.Stack == "" {
		lines = append(lines, "    (no stack: "+noStack(r.Kind)+")")
	}
	return lines
}

func noStack(kind string) string {
	switch kind {
	case supervisors.TroubleExit:
		return "the process ended; what it said last is in its log"
	case supervisors.TroubleAbandoned:
		return "see where it was stuck, before"
	case supervisors.TroubleQuarantine:
		return "see the crashes before"
	}
	return "none was found"
}

// weight puts what is wrong first, then what is busy for long.
func weight(n *supervisors.Node) float64 {
	w := 0.0
	if follow.Bad(n.State) {
		w = 1e9
	}
	if n.Busy >= busyFrom {
		w += n.Busy
	}
	return w
}

// called is the shortest name that tells an actor from others.
func called(n *supervisors.Node) string {
	switch {
	case n.Title != "":
		return clean(n.Kind + " " + n.Title)
	case n.Kind == "client" || n.Kind == "server":
		return clean(n.ID)
	case n.Kind == "" || n.Kind == "object" || n.Kind == n.Name || n.Kind == "supervisor":
		return clean(n.Name)
	}
	return clean(n.Kind + " " + n.Name)
}
