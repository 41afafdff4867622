package actors

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"virtree/supervisors"
)

// Picture is a whole host: all processes, and one tree made of what each says.
type Picture struct {
	Root      string            `json:"root,omitempty"` // prefix of all paths
	Mode      string            `json:"mode"`           // single, split (below one root process), daemons (each by itself), mixed, off
	Tree      *supervisors.Node `json:"tree"`
	Processes []*Process        `json:"processes"`
}

// Names of processes that hold a tree of their own.
const (
	monolith  = "libvirtd"
	splitRoot = supervisors.RootName
)

// Picture asks all processes and puts their answers together.
func (v *Visitor) Picture() *Picture {
	return v.PictureOf(v.Processes())
}

// PictureOf puts together what processes have answered.
func (v *Visitor) PictureOf(processes []*Process) *Picture {
	return &Picture{Root: v.paths.Root, Mode: modeOf(processes), Tree: merge(processes), Processes: processes}
}

func modeOf(processes []*Process) string {
	has := func(name string) bool {
		return slices.ContainsFunc(processes, func(p *Process) bool { return p.Name == name })
	}
	others := slices.ContainsFunc(processes, func(p *Process) bool { return p.Name != monolith && p.Name != splitRoot })
	switch {
	case len(processes) == 0:
		return "off"
	case has(monolith) && (others || has(splitRoot)):
		return "mixed"
	case has(monolith):
		return "single"
	case has(splitRoot):
		return "split"
	}
	return "daemons"
}

// merge makes one tree. The top is the monolith's or the root process's where there is one; else the branches, each a
// daemon that the service manager started, hang below a top that stands for the host.
func merge(processes []*Process) *supervisors.Node {
	var top *supervisors.Node
	for _, name := range []string{splitRoot, monolith} {
		for _, p := range processes {
			if p.Name == name && top == nil {
				top = topOf(p)
			}
		}
	}
	if top == nil {
		top = &supervisors.Node{Name: supervisors.RootName, ID: supervisors.RootName, Kind: "host", State: "running"}
		if len(processes) == 0 {
			top.State = "off"
		}
		for _, b := range supervisors.Host {
			top.Children = append(top.Children, &supervisors.Node{Name: b.Name, ID: supervisors.RootName + "/" + b.Name, Kind: "branch", State: "off"})
		}
	}
	for _, p := range processes {
		if p.Name != splitRoot && p.Name != monolith {
			hang(top, p)
		}
	}
	return top
}

// topOf is a process's own tree, or what stands for it when it is silent.
func topOf(p *Process) *supervisors.Node {
	if p.Tree == nil {
		return &supervisors.Node{Name: supervisors.RootName, ID: supervisors.RootName, Kind: "supervisor", State: p.State, OSPid: p.PID, LastError: p.Error}
	}
	top := clone(p.Tree)
	top.OSPid = p.PID
	return top
}

// clone copies a tree, so that what is hung into it does not show in the process's own.
func clone(n *supervisors.Node) *supervisors.Node {
	c := *n
	c.Children = nil
	for _, child := range n.Children {
		c.Children = append(c.Children, clone(child))
	}
	return &c
}

// hang puts the process of a branch where the branch is.
func hang(top *supervisors.Node, p *Process) {
	i := slices.IndexFunc(top.Children, func(n *supervisors.Node) bool {
		return n.Name == p.Name && (n.Kind == "process" || n.State == "off")
	})
	if i < 0 { // a branch beside the one that the top runs itself: a host between two modes
		top.Children = append(top.Children, &supervisors.Node{Name: p.Name, ID: supervisors.RootName + "/" + p.Name, Kind: "process"})
		i = len(top.Children) - 1
	}
	n := top.Children[i]
	n.Kind, n.OSPid = "process", cmp.Or(p.PID, n.OSPid)
	if p.Tree == nil {
		// Its keeper, if it has one, knows better why nobody is there.
		if n.State == "" || n.State == "off" || n.State == "running" {
			n.State = p.State
		}
		n.LastError = cmp.Or(p.Error, n.LastError)
		return
	}
	if n.State == "off" || n.State == "" {
		n.State = "running"
	}
	only := &supervisors.Node{Children: []*supervisors.Node{n}}
	only.Graft(p.Name, p.Tree)
}

// Find finds the actor that somebody means by a path: its id, or the title of an object, or the name of a branch, a
// client, anything. Where that is not one actor, "process:path" says in which process. The result names the process to ask.
func (p *Picture) Find(path string) (*Process, *supervisors.Node, error) {
	type hit struct {
		process *Process
		node    *supervisors.Node
	}
	var best []hit
	rank := 0
	only, rest, explicit := strings.Cut(path, ":")
	if explicit = explicit && slices.ContainsFunc(p.Processes, func(o *Process) bool { return o.Name == only }); explicit {
		path = rest
	}
	for _, process := range p.Processes {
		if process.Tree == nil || explicit && process.Name != only {
			continue
		}
		for _, top := range append([]*supervisors.Node{process.Tree}, process.Servers...) {
			top.Walk(func(n *supervisors.Node, _ int) {
				r := match(n, path)
				if r == 0 || r < rank || n.Kind == "job" || n.State == "abandoned" || n.State == "off" {
					return
				}
				// The keeper of a process and the branch in it have the same id: the branch is meant.
				if !explicit && process.Name == splitRoot && slices.ContainsFunc(p.Processes, func(o *Process) bool { return o != process && o.Name == n.Name && o.Tree != nil }) {
					return
				}
				// Every process has a root: the one above all is meant.
				if !explicit && process.Name != splitRoot && process.Name != monolith && n.ID == supervisors.RootName && p.Mode == "split" {
					return
				}
				if r > rank {
					best, rank = nil, r
				}
				best = append(best, hit{process, n})
			})
		}
	}
	switch len(best) {
	case 0:
		return nil, nil, fmt.Errorf("nothing in the tree is called %q", path)
	case 1:
		return best[0].process, best[0].node, nil
	}
	var names []string
	for _, h := range best {
		names = append(names, h.process.Name+":"+h.node.ID)
	}
	return nil, nil, fmt.Errorf("%q may be %s", path, strings.Join(names, ", "))
}

// lives are the numbers in an id by which the successors of actors that were given up are told from them.
var lives = regexp.MustCompile(`~[0-9]+(/|$)`)

// withoutLives is the id that the first of them had.
func withoutLives(id string) string { return lives.ReplaceAllString(id, "$1") }

// match says how well a path names a node: 0 not at all, then by name, by title, by id, of which the first life's will do.
func match(n *supervisors.Node, path string) int {
	switch path {
	case "":
		return 0
	case n.ID, withoutLives(n.ID):
		return 3
	case n.Title:
		return 2
	case n.Name:
		return 1
	}
	return 0
}
