package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"virtree/actors"
	"virtree/actors/follow"
	"virtree/supervisors"
)

// quietLimit is how many quiet siblings are shown before the rest is only counted.
const quietLimit = 12

// treeLine is one row of the drawn tree.
type treeLine struct {
	cells [8]string
	bad   bool
}

var treeHead = [8]string{"TREE", "PID", "STATE", "FOR", "QUEUE", "DOING", "FAILED", "NOTE"}

// printTree draws the picture for people.
func printTree(w io.Writer, p *actors.Picture, width int, all bool) {
	fmt.Fprintln(w, headline(p))
	lines := []treeLine{{cells: treeHead}, lineOf(p.Tree, "", p)}
	lines = append(lines, below(p.Tree, "", p, all)...)
	if all {
		for _, process := range p.Processes {
			for _, top := range process.Servers {
				l := lineOf(top, "", p)
				l.cells[0] = process.Name + ":" + l.cells[0]
				lines = append(lines, l)
				lines = append(lines, below(top, "", p, all)...)
			}
		}
	}
	widths := [8]int{}
	for _, l := range lines {
		for i, c := range l.cells {
			widths[i] = max(widths[i], textWidth(c))
		}
	}
	palette := paletteFor(os.Stdout)
	for _, l := range lines {
		var b strings.Builder
		for i, c := range l.cells {
			b.WriteString(c)
			if i < len(l.cells)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-textWidth(c)+2))
			}
		}
		text := cut(strings.TrimRight(clean(b.String()), " "), width)
		if l.bad {
			text = palette.paint(text, alarm)
		}
		fmt.Fprintln(w, text)
	}
}

// headline is the whole on one line.
func headline(p *actors.Picture) string {
	actorsSeen, clients, lost := 0, 0, 0
	var rss uint64
	p.Tree.Walk(func(n *supervisors.Node, _ int) {
		if n.Kind != "job" && n.State != "off" {
			actorsSeen++
		}
		lost += n.Abandoned
	})
	for _, process := range p.Processes {
		rss += process.RSS
		for _, top := range process.Servers {
			top.Walk(func(n *supervisors.Node, _ int) {
				if n.Kind == "client" {
					clients++
				}
			})
		}
	}
	text := fmt.Sprintf("%s: %s, %s, %s, %s resident", p.Mode, count(len(p.Processes), "process"), count(actorsSeen, "actor"), count(clients, "client"), bytesText(rss))
	if lost > 0 {
		text += fmt.Sprintf(", %d abandoned", lost)
	}
	if p.Root != "" {
		text += ", below " + p.Root
	}
	return text
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// below draws the children of a node; prefix is what stands left of them.
func below(n *supervisors.Node, prefix string, p *actors.Picture, all bool) (lines []treeLine) {
	shown := n.Children
	hidden, quiet := 0, 0
	if !all && len(shown) > quietLimit && n.Kind != "supervisor" && n.Kind != "host" {
		shown = nil
		for _, c := range n.Children {
			if calm(c) {
				if quiet++; quiet > quietLimit {
					hidden++
					continue
				}
			}
			shown = append(shown, c)
		}
	}
	for i, c := range shown {
		branch, deeper := "├─ ", "│  "
		if i == len(shown)-1 && hidden == 0 {
			branch, deeper = "└─ ", "   "
		}
		lines = append(lines, lineOf(c, prefix+branch, p))
		lines = append(lines, below(c, prefix+deeper, p, all)...)
	}
	if hidden > 0 {
		lines = append(lines, treeLine{cells: [8]string{fmt.Sprintf("%s└─ and %d more, all quiet", prefix, hidden)}})
	}
	return lines
}

// calm: nothing in it is worth a line.
func calm(n *supervisors.Node) bool {
	yes := true
	n.Walk(func(n *supervisors.Node, _ int) {
		yes = yes && n.State == "running" && n.Busy == 0 && n.Depth == 0 && n.Restarts == 0 && n.Abandoned == 0 && n.Kind != "job"
	})
	return yes
}

func lineOf(n *supervisors.Node, prefix string, p *actors.Picture) treeLine {
	name := n.Name
	switch {
	case n.Kind == "branch" || n.Kind == "process":
		if b, ok := supervisors.Host.Find(n.Name); ok {
			name += " (" + b.Daemon + ")"
		}
	case n.Title != "":
		name = n.Kind + " " + n.Title
		if n.Name != n.Title {
			name += " (" + short(n.Name) + ")"
		}
	case n.Kind != "" && n.Kind != n.Name && n.Kind != "object" && n.Kind != "supervisor" && n.Kind != "host":
		name = n.Kind + " " + n.Name
	}
	l := treeLine{bad: follow.Ails(n)}
	l.cells[0] = prefix + name
	if n.OSPid != 0 {
		l.cells[1] = fmt.Sprint(n.OSPid)
	}
	l.cells[2] = n.State
	if n.For > 0 {
		l.cells[3] = timeText(n.For)
	}
	if n.Depth > 0 {
		l.cells[4] = fmt.Sprintf("%d for %s", n.Depth, timeText(n.Age))
	}
	if n.Doing != "" {
		l.cells[5] = fmt.Sprintf("%s for %s", strings.TrimPrefix(n.Doing, "*"), timeText(n.Busy))
	}
	var failed []string
	if n.Restarts > 0 {
		failed = append(failed, fmt.Sprint(n.Restarts))
	}
	if n.Abandoned > 0 {
		failed = append(failed, fmt.Sprintf("%d abandoned", n.Abandoned))
	}
	l.cells[6] = strings.Join(failed, ", ")
	var notes []string
	if n.Kind == "process" || n.Kind == "supervisor" || n.Kind == "branch" && n.OSPid != 0 {
		for _, process := range p.Processes {
			if process.PID == n.OSPid && process.RSS > 0 && n.OSPid != 0 {
				notes = append(notes, fmt.Sprintf("up %s, %s, %d goroutines, %d files", timeText(process.Uptime), bytesText(process.RSS), process.Goroutines, process.Descriptors))
			}
		}
	}
	if n.LastError != "" {
		notes = append(notes, "last error: "+strings.ReplaceAll(n.LastError, "\n", " "))
	}
	l.cells[7] = strings.Join(notes, "; ")
	return l
}

// short is enough of a UUID to tell it from others, and the number that a successor of a stuck actor has behind it.
func short(name string) string {
	id, successor, _ := strings.Cut(name, "~")
	if len(id) != 36 {
		return name
	}
	if successor != "" {
		return id[:8] + "~" + successor
	}
	return id[:8]
}

// timeText is a length of time in three or four characters.
func timeText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

func bytesText(n uint64) string {
	switch mib := float64(n) / (1 << 20); {
	case mib >= 1024:
		return fmt.Sprintf("%.1f GiB", mib/1024)
	case mib >= 10:
		return fmt.Sprintf("%.0f MiB", mib)
	default:
		return fmt.Sprintf("%.1f MiB", cmp.Or(mib, 0))
	}
}
