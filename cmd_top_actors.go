package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"virtree/actors/follow"
	"virtree/supervisors"
)

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
