package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"virtree/actors/follow"
	"virtree/supervisors"
)

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
