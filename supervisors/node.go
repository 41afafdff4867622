package supervisors

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Node is one line of the picture of a running tree. Durations are in seconds, for whatever reads the JSON.
type Node struct {
	Name      string  `json:"name"`            // last part of the id
	Title     string  `json:"title,omitempty"` // for people, where the name is a UUID
	Kind      string  `json:"kind"`            // supervisor, branch, process, job, or what the actor's maker called it
	ID        string  `json:"id"`              // of the actor
	Address   string  `json:"address,omitempty"`
	OSPid     int     `json:"pid,omitempty"`
	State     string  `json:"state"`
	For       float64 `json:"for,omitempty"`   // how long in that state
	Life      string  `json:"life,omitempty"`  // what an object is in, in its own terms; a domain's as virsh calls it
	Depth     int     `json:"depth"`           // messages waiting
	Age       float64 `json:"age"`             // of the one that waits longest
	Busy      float64 `json:"busy,omitempty"`  // how long the message in hand has taken
	Doing     string  `json:"doing,omitempty"` // its type
	Processed uint64  `json:"processed"`
	Refused   uint64  `json:"refused,omitempty"`
	MaxDepth  int     `json:"max_depth"`
	Restarts  int     `json:"restarts"`
	Abandoned int     `json:"abandoned,omitempty"`
	LastError string  `json:"last_error,omitempty"`
	Children  []*Node `json:"children,omitempty"`
}

// Find returns the node with an id ("root/qemu"), in this tree or grafted into it.
func (n *Node) Find(id string) *Node {
	if n.ID == id {
		return n
	}
	for _, c := range n.Children {
		if f := c.Find(id); f != nil {
			return f
		}
	}
	return nil
}

// Walk visits the node and all below, parents first.
func (n *Node) Walk(visit func(n *Node, depth int)) { n.walk(visit, 0) }

func (n *Node) walk(visit func(*Node, int), depth int) {
	visit(n, depth)
	for _, c := range n.Children {
		c.walk(visit, depth+1)
	}
}

// Graft puts the picture that a branch's own process gave below the node of that process.
func (n *Node) Graft(branch string, root *Node) {
	for _, c := range n.Children {
		if c.Name != branch {
			continue
		}
		c.Children = root.Children
		if len(root.Children) == 1 && root.Children[0].Name == branch { // root/qemu of a process that is root/qemu here
			inner := root.Children[0]
			c.Children, c.Depth, c.Age, c.Busy, c.Doing = inner.Children, inner.Depth, inner.Age, inner.Busy, inner.Doing
			c.Processed, c.Refused, c.MaxDepth, c.Abandoned = inner.Processed, inner.Refused, inner.MaxDepth, inner.Abandoned
			c.Restarts += inner.Restarts
			c.LastError = cmp.Or(inner.LastError, c.LastError)
			if inner.State != "running" {
				c.State = inner.State
			}
		}
	}
}

// Collect draws the tree as it is now. It asks no actor: mailboxes and supervisors publish what it needs, so a stuck
// actor is drawn like any other. Actors outside the tree (futures' helpers, the guard) are left out.
func (t *Tree) Collect() *Node {
	board := boardOf(t.system)
	nodes := map[string]*Node{}
	root := t.node(nodes, RootName)
	for _, a := range t.observe() {
		if a.ID != RootName && !strings.HasPrefix(a.ID, RootName+"/") {
			continue
		}
		n := t.node(nodes, a.ID)
		n.Depth, n.Age, n.Busy, n.Doing = a.Depth, a.Oldest.Seconds(), a.Busy.Seconds(), a.Current
		n.Processed, n.Refused, n.MaxDepth = a.Processed, a.Refused, a.MaxDepth
		n.Kind = a.Kind
		switch {
		case a.Abandoned:
			n.State = "abandoned"
		case a.Stopping:
			n.State = "stopping"
		case a.Suspended:
			n.State = "failed"
		default:
			n.State = "running"
		}
	}
	// A supervisor also knows children that have no actor at the moment. What an actor said of itself, or that it was
	// abandoned, means nothing once the actor is gone.
	board.supervised.Range(func(id, v any) bool {
		f := v.(Facts)
		t.apply(nodes, id.(string), f, f.State == "abandoned")
		return true
	})
	board.own.Range(func(id, v any) bool { t.apply(nodes, id.(string), v.(Facts), true); return true })
	t.jobs(nodes)
	for _, b := range t.opts.Spec { // branches that do not run are part of the picture
		n := t.node(nodes, RootName+"/"+b.Name)
		if n.State == "" {
			n.State = "off"
		}
		n.Kind = cmp.Or(n.Kind, "branch")
	}
	root.Kind = "supervisor"
	order := map[string]int{}
	for i, b := range t.opts.Spec {
		order[RootName+"/"+b.Name] = i + 1
	}
	root.finish(order)
	return root
}

func (t *Tree) observe() []ActorInfo {
	if t.opts.Observer == nil {
		return nil
	}
	return t.opts.Observer.Actors()
}

// node finds or makes a node, with all above it.
func (t *Tree) node(nodes map[string]*Node, id string) *Node {
	if n, ok := nodes[id]; ok {
		return n
	}
	n := &Node{Name: id, ID: id, Address: t.system.Address()}
	nodes[id] = n
	if i := strings.LastIndexByte(id, '/'); i >= 0 && id != RootName {
		n.Name = id[i+1:]
		parent := t.node(nodes, id[:i])
		parent.Children = append(parent.Children, n)
	}
	return n
}

func (t *Tree) apply(nodes map[string]*Node, id string, f Facts, mustLive bool) {
	if !strings.HasPrefix(id, RootName+"/") && id != RootName {
		return
	}
	if _, lives := nodes[id]; mustLive && !lives && t.opts.Observer != nil {
		return
	}
	n := t.node(nodes, id)
	n.Title, n.Kind, n.State = cmp.Or(f.Title, n.Title), cmp.Or(f.Kind, n.Kind), overlay(n.State, f.State)
	n.LastError, n.Life = cmp.Or(f.LastError, n.LastError), cmp.Or(f.Life, n.Life)
	n.Restarts += f.Restarts
	n.Abandoned = max(n.Abandoned, f.Abandoned)
	n.OSPid = cmp.Or(f.OSPid, n.OSPid)
	if !f.Since.IsZero() {
		n.For = time.Since(f.Since).Seconds()
	}
}

// overlay: what a mailbox knows goes before what was published, but for "running", which says the least.
func overlay(seen, published string) string {
	if published == "" || seen == "abandoned" || (seen == "stopping" && published == "running") {
		return seen
	}
	if seen == "failed" && published == "running" {
		return seen
	}
	return published
}

func (t *Tree) jobs(nodes map[string]*Node) {
	if t.opts.Observer == nil {
		return
	}
	for _, j := range t.opts.Observer.Jobs() {
		owner, ok := nodes[j.Owner]
		if !ok {
			continue
		}
		state := "running"
		if j.Lost {
			state = "lost"
		}
		owner.Children = append(owner.Children, &Node{
			Name: j.Name, Kind: "job", ID: j.Owner + "#" + j.Name, State: state, For: j.Since.Seconds(),
		})
	}
}

// finish sorts and names what has no name of its own: below a branch are objects.
func (n *Node) finish(order map[string]int) {
	slices.SortStableFunc(n.Children, func(a, b *Node) int {
		return cmp.Or(cmp.Compare(order[a.ID], order[b.ID]), strings.Compare(a.Name, b.Name))
	})
	for _, c := range n.Children {
		if c.Kind == "" {
			c.Kind = "object"
		}
		if c.State == "" {
			c.State = "running"
		}
		c.finish(order)
	}
}

var _ actor.SupervisorStrategy = (*topGuard)(nil)
