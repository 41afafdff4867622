package follow

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"virtree/actors"
	"virtree/supervisors"
)

// Sample is the tree at one moment, and what happened in it since the look before. Rates are per second of the process's
// own clock; those of a process that is new are 0.
type Sample struct {
	At        time.Time       `json:"at"`
	Mode      string          `json:"mode"`
	Root      string          `json:"root,omitempty"`
	Processes []Process       `json:"processes"`
	Branches  []Branch        `json:"branches"`
	Guests    map[string]int  `json:"guests"` // domains by state, in virsh's words; "unknown" for those that are not loaded
	Clients   int             `json:"clients"`
	Actors    int             `json:"actors"`
	Messages  float64         `json:"messages_per_second"`
	Calls     Latency         `json:"calls"` // of all branches
	Records   []Record        `json:"troubles,omitempty"`
	Rows      []Row           `json:"-"` // every actor
	Picture   *actors.Picture `json:"-"`
}

// Process is what one process uses.
type Process struct {
	Name        string  `json:"name"`
	Daemon      string  `json:"daemon"`
	State       string  `json:"state"`
	Error       string  `json:"error,omitempty"`
	PID         int     `json:"pid,omitempty"`
	Uptime      float64 `json:"uptime"`
	CPU         float64 `json:"cpu"`     // processors in use
	Wakeups     float64 `json:"wakeups"` // per second
	Messages    float64 `json:"messages_per_second"`
	RSS         uint64  `json:"rss"`
	Heap        uint64  `json:"heap"`
	Goroutines  int     `json:"goroutines"`
	Threads     int     `json:"threads"`
	Descriptors int     `json:"descriptors"`
	Clients     int     `json:"clients"`
	Actors      int     `json:"actors"`
}

// Branch is the sum of a branch.
type Branch struct {
	Name        string         `json:"name"`
	Daemon      string         `json:"daemon,omitempty"`
	State       string         `json:"state"`
	PID         int            `json:"pid,omitempty"` // of its process, where it has one of its own
	For         float64        `json:"for,omitempty"`
	LastError   string         `json:"last_error,omitempty"`
	Objects     int            `json:"objects"`
	Lives       map[string]int `json:"lives,omitempty"` // objects by what they are in
	Jobs        int            `json:"jobs"`
	Depth       int            `json:"depth"` // messages that wait, in all its mailboxes
	Age         float64        `json:"age"`   // of the one that waits longest
	Busy        float64        `json:"busy"`  // of the message that is in hand longest
	Restarts    int            `json:"restarts"`
	Ailing      int            `json:"ailing"` // actors that are stuck, failed, quarantined or abandoned
	Quarantined int            `json:"quarantined"`
	Messages    float64        `json:"messages_per_second"`
	Calls       Latency        `json:"calls"`
}

// Calm: there is nothing to say of it now.
func (b *Branch) Calm() bool {
	return (b.State == "running" || b.State == "idle" || b.State == "off") &&
		b.Calls.Count == 0 && b.Depth == 0 && b.Ailing == 0 && b.Restarts == 0 && b.Jobs == 0
}

// Row is one actor.
type Row struct {
	Process string
	Branch  string // "" for what stands beside the branches
	Node    *supervisors.Node
	Rate    float64 // messages per second
}

// SlowFrom is when a message in hand is no call being served any more but somebody's trouble.
const SlowFrom = 2.0

// Bad tells whether a state calls for somebody to look.
func Bad(state string) bool {
	switch state {
	case "running", "off", "idle", "stopping", "starting":
		return false
	}
	return true
}

// Ails: in a bad state, or in one message for too long.
func Ails(n *supervisors.Node) bool {
	return Bad(n.State) || n.Busy >= SlowFrom && n.Kind != "job"
}

// Look asks all processes and compares what they say with what they said before.
func (f *Follower) Look() *Sample {
	words, now := f.gather(), time.Now()
	processes := make([]*actors.Process, 0, len(words))
	for _, w := range words {
		processes = append(processes, w.process)
	}
	slices.SortFunc(processes, func(a, b *actors.Process) int { return strings.Compare(a.Name, b.Name) })
	p := f.source.PictureOf(processes)
	f.replaced(words, p.Mode, now)
	f.remember(words)
	s := &Sample{At: now, Mode: p.Mode, Root: p.Root, Picture: p, Guests: map[string]int{}, Records: slices.Clone(f.records)}
	branches := map[string]*Branch{}
	for _, n := range p.Tree.Children {
		b := &Branch{Name: n.Name, State: n.State, PID: n.OSPid, For: n.For, LastError: n.LastError, Lives: map[string]int{}}
		if spec, ok := supervisors.Host.Find(n.Name); ok {
			b.Daemon = spec.Daemon
		}
		branches[n.Name] = b
		b.sum(n)
	}
	calls := tick{}
	for socket, w := range words {
		s.process(w.process, f.last[socket].process, branches, calls)
	}
	slices.SortFunc(s.Processes, func(a, b Process) int { return strings.Compare(a.Name, b.Name) })
	f.latencies(s, branches, calls)
	for _, n := range p.Tree.Children { // in the tree's order
		if b := branches[n.Name]; b != nil {
			s.Branches = append(s.Branches, *b)
			delete(branches, n.Name)
		}
	}
	if q := p.Tree.Find(supervisors.RootName + "/qemu"); q != nil {
		for _, n := range q.Children {
			if n.Kind == "domain" && n.State != "abandoned" {
				s.Guests[cmp.Or(n.Life, "unknown")]++
			}
		}
	}
	f.last = maps.Clone(words)
	return s
}

// sum adds up a branch's actors.
func (b *Branch) sum(branch *supervisors.Node) {
	branch.Walk(func(n *supervisors.Node, depth int) {
		if n.Kind == "job" {
			b.Jobs++
			return
		}
		if depth == 1 && n.State != "abandoned" {
			b.Objects++
			if n.Life != "" {
				b.Lives[n.Life]++
			}
		}
		b.Depth += n.Depth
		b.Age, b.Busy = max(b.Age, n.Age), max(b.Busy, n.Busy)
		b.Restarts += n.Restarts
		if Ails(n) {
			b.Ailing++
		}
		if n.State == "quarantined" {
			b.Quarantined++
		}
	})
}

// process adds a process to the sample. before is what it said at the last look, nil when it is new.
func (s *Sample) process(p, before *actors.Process, branches map[string]*Branch, calls tick) {
	row := Process{
		Name: p.Name, Daemon: p.Daemon, State: p.State, Error: p.Error, PID: p.PID, Uptime: p.Uptime,
		RSS: p.RSS, Heap: p.Heap, Goroutines: p.Goroutines, Threads: p.Threads, Descriptors: p.Descriptors,
	}
	seconds := 0.0
	if before != nil && before.PID == p.PID && before.Tree != nil && p.Tree != nil {
		seconds = p.Uptime - before.Uptime
	}
	per := func(now, then float64) float64 {
		if seconds <= 0 || now < then {
			return 0
		}
		return (now - then) / seconds
	}
	handled := map[string]uint64{}
	if seconds > 0 {
		row.CPU, row.Wakeups = per(p.CPU, before.CPU), per(float64(p.Wakeups), float64(before.Wakeups))
		each(before, func(n *supervisors.Node) { handled[n.ID] = n.Processed })
		calls.add(p.Calls, before.Calls, seconds)
	}
	each(p, func(n *supervisors.Node) {
		if n.State == "off" || n.Kind == "job" || n.Kind == "inspector" {
			return
		}
		if n.Kind == "client" {
			row.Clients++
		}
		row.Actors++
		r := Row{Process: p.Name, Branch: branchOf(n.ID), Node: n}
		if then, known := handled[n.ID]; known {
			r.Rate = per(float64(n.Processed), float64(then))
		}
		row.Messages += r.Rate
		if b := branches[r.Branch]; b != nil {
			b.Messages += r.Rate
		}
		s.Rows = append(s.Rows, r)
	})
	s.Clients += row.Clients
	s.Actors += row.Actors
	s.Messages += row.Messages
	s.Processes = append(s.Processes, row)
}

// each visits every actor of a process.
func each(p *actors.Process, visit func(n *supervisors.Node)) {
	if p.Tree == nil {
		return
	}
	for _, top := range append([]*supervisors.Node{p.Tree}, p.Servers...) {
		top.Walk(func(n *supervisors.Node, _ int) { visit(n) })
	}
}

// branchOf is the branch that an actor belongs to, "" for what stands beside or above them.
func branchOf(id string) string {
	rest, ok := strings.CutPrefix(id, supervisors.RootName+"/")
	if !ok {
		return ""
	}
	branch, _, _ := strings.Cut(rest, "/")
	branch, _, _ = strings.Cut(branch, "#")
	return branch
}

func itoa(n int) string { return strconv.Itoa(n) }
