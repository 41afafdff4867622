package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/supervisors"
)

// topCommand is the live screen of what is busy.
func topCommand(code *supervisors.ExitCode) *cobra.Command {
	var root string
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "show what is busy now, each second",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return visit(root, code, func(v *actors.Visitor) error {
				t := &top{look: v.Picture, now: time.Now}
				t.sample()
				if once {
					time.Sleep(time.Second) // rates need two looks
					t.sample()
					t.draw(os.Stdout, width(), 0)
					return nil
				}
				return everySecond(func(w io.Writer) {
					t.sample()
					t.draw(w, width(), height())
				})
			})
		},
	}
	rootFlag(cmd, &root)
	cmd.Flags().BoolVarP(&once, "once", "1", false, "look for a second, print, and leave")
	return cmd
}

// top compares each picture with the one before.
type top struct {
	look func() *actors.Picture
	now  func() time.Time

	at        time.Time
	picture   *actors.Picture
	processed map[string]uint64 // by process and id
	cpu       map[int]float64   // by process
	rows      []topRow          // of the last sample
	load      map[int]float64   // processors used, by process
	total     float64           // messages per second
}

type topRow struct {
	process string
	node    *supervisors.Node
	rate    float64 // messages handled per second
}

func (t *top) sample() {
	p, at := t.look(), t.now()
	seconds := at.Sub(t.at).Seconds()
	first := t.at.IsZero()
	processed, cpu, load := map[string]uint64{}, map[int]float64{}, map[int]float64{}
	t.rows, t.total = nil, 0
	for _, process := range p.Processes {
		cpu[process.PID] = process.CPU
		if before, ok := t.cpu[process.PID]; ok && process.CPU >= before {
			load[process.PID] = (process.CPU - before) / seconds
		}
		if process.Tree == nil {
			continue
		}
		for _, top := range append([]*supervisors.Node{process.Tree}, process.Servers...) {
			top.Walk(func(n *supervisors.Node, _ int) {
				if n.State == "off" || n.Kind == "job" || n.Kind == "inspector" {
					return
				}
				key := process.Socket + "\x00" + n.ID
				processed[key] = n.Processed
				row := topRow{process: process.Name, node: n}
				if before, ok := t.processed[key]; ok && n.Processed >= before && !first {
					row.rate = float64(n.Processed-before) / seconds
				}
				t.total += row.rate
				t.rows = append(t.rows, row)
			})
		}
	}
	slices.SortStableFunc(t.rows, func(a, b topRow) int {
		return cmp.Or(cmp.Compare(weight(b.node), weight(a.node)), cmp.Compare(b.node.Depth, a.node.Depth), cmp.Compare(b.rate, a.rate))
	})
	t.at, t.picture, t.processed, t.cpu, t.load = at, p, processed, cpu, load
}

// busyFrom is how long a message must have been in hand to count: what takes less is just a call being served.
const busyFrom = 0.05

// weight puts what is wrong first, then what is busy for long.
func weight(n *supervisors.Node) float64 {
	w := 0.0
	if bad(n.State) {
		w = 1e9
	}
	if n.Busy >= busyFrom {
		w += n.Busy
	}
	return w
}

const topFormat = "%-10s %6s %6s %9s %6s %6s %7s %8s"

func (t *top) draw(w io.Writer, width, height int) {
	fmt.Fprintln(w, cut(fmt.Sprintf("%s  %.0f messages/s  %s", headline(t.picture), t.total, t.at.Format("15:04:05")), width))
	fmt.Fprintln(w, cut(fmt.Sprintf(topFormat, "PROCESS", "PID", "CPU%", "RESIDENT", "GOROUT", "FILES", "CLIENTS", "UPTIME"), width))
	lines := 2
	for _, p := range t.picture.Processes {
		row := fmt.Sprintf(topFormat, p.Name, fmt.Sprint(p.PID), fmt.Sprintf("%.1f", 100*t.load[p.PID]), bytesText(p.RSS), fmt.Sprint(p.Goroutines), fmt.Sprint(p.Descriptors), fmt.Sprint(clientsOf(p)), timeText(p.Uptime))
		if p.State != "running" {
			row = fmt.Sprintf(topFormat, p.Name, fmt.Sprint(p.PID), "", "", "", "", "", "") + " " + p.State + ": " + p.Error
		}
		fmt.Fprintln(w, cut(row, width))
		lines++
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, cut(fmt.Sprintf("%-10s %-34s %-12s %6s %7s %7s %8s %6s  %s", "PROCESS", "ACTOR", "STATE", "QUEUE", "AGE", "BUSY", "MSG/S", "FAILED", "DOING"), width))
	lines += 3
	for _, r := range t.rows {
		if height > 0 && lines >= height {
			break
		}
		n := r.node
		if height == 0 && n.Depth == 0 && weight(n) == 0 && r.rate == 0 {
			continue // printed once: only what does something
		}
		fmt.Fprintln(w, cut(fmt.Sprintf("%-10s %-34s %-12s %6d %7s %7s %8.1f %6d  %s", r.process, cut(called(n), 34), n.State, n.Depth,
			orDash(n.Age), orDash(n.Busy), r.rate, n.Restarts, strings.TrimPrefix(n.Doing, "*")), width))
		lines++
	}
}

func clientsOf(p *actors.Process) (n int) {
	for _, top := range p.Servers {
		top.Walk(func(node *supervisors.Node, _ int) {
			if node.Kind == "client" {
				n++
			}
		})
	}
	return n
}

// called is the shortest name that tells an actor from others.
func called(n *supervisors.Node) string {
	switch {
	case n.Title != "":
		return n.Kind + " " + n.Title
	case n.Kind == "client" || n.Kind == "server":
		return n.ID
	case n.Kind == "" || n.Kind == "object" || n.Kind == n.Name || n.Kind == "supervisor":
		return n.Name
	}
	return n.Kind + " " + n.Name
}

func orDash(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return timeText(seconds)
}
