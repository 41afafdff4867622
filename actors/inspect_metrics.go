package actors

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"virtree/actors/internal/metrics"
	"virtree/supervisors"
)

// figures makes Prometheus metrics of pictures, and of what the parts of the process count themselves. Actors come and go,
// and with each its counters; what a counter has once counted must stay counted, so the sums are kept here.
type figures struct {
	sources *metrics.Sources // of the process; set before the first page

	mu       sync.Mutex // guards the rest: a look that was given up for lost may come back beside its successor
	registry *prometheus.Registry
	size     int               // of the last page
	last     map[string]counts // by id of an actor, as of the last picture
	sums     map[group]counts  // since the start
	process  *Process          // the picture to make metrics of
}

// group is what one line of metrics is about: all actors of one kind in one branch.
type group struct{ branch, kind string }

type counts struct{ processed, refused, restarts uint64 }

func (c counts) plus(o counts) counts {
	return counts{c.processed + o.processed, c.refused + o.refused, c.restarts + o.restarts}
}

// since: an actor that has counted less than before is another one of the same name.
func (c counts) since(o counts) counts {
	if c.processed < o.processed || c.refused < o.refused || c.restarts < o.restarts {
		return c
	}
	return counts{c.processed - o.processed, c.refused - o.refused, c.restarts - o.restarts}
}

func newFigures() *figures {
	f := &figures{registry: prometheus.NewRegistry(), sources: &metrics.Sources{}, last: map[string]counts{}, sums: map[group]counts{}}
	f.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return f
}

// text is the page of a picture.
func (f *figures) text(p *Process) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.process = p
	page := metrics.NewPage(p.Daemon)
	page.Grow(f.size + f.size/16)
	f.tree(page)
	f.peers(page)
	f.sources.Write(page)
	families, err := f.registry.Gather() // of the language's runtime and of the process
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, family := range families {
		label(family, "daemon", p.Daemon)
		if _, err := expfmt.MetricFamilyToText(&b, family); err != nil {
			return nil, err
		}
	}
	page.Raw(b.Bytes())
	f.size = len(page.Bytes())
	return page.Bytes(), nil
}

// label puts a label on every line of a family.
func label(family *dto.MetricFamily, name, value string) {
	for _, m := range family.Metric {
		m.Label = append(m.Label, &dto.LabelPair{Name: &name, Value: &value})
		slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	}
}

// sum is what the picture says of one group.
type sum struct {
	states                 map[string]int
	depth, deepest         int
	age, busy              float64
	quarantined, abandoned int
}

// tree writes what the picture says of actors and jobs.
func (f *figures) tree(page *metrics.Page) {
	groups, jobs := f.sumUp()
	order := func(a, b group) int { return cmp.Or(cmp.Compare(a.branch, b.branch), cmp.Compare(a.kind, b.kind)) }
	byGroup := slices.SortedFunc(maps.Keys(groups), order)
	each := func(name, help string, value func(s *sum) float64) {
		page.Family("virtree_"+name, metrics.Gauge, help)
		for _, g := range byGroup {
			page.Value(value(groups[g]), "branch", g.branch, "kind", g.kind)
		}
	}
	page.Family("virtree_actors", metrics.Gauge, "Actors, by branch, kind and state.")
	for _, g := range byGroup {
		for _, state := range slices.Sorted(maps.Keys(groups[g].states)) {
			page.Value(float64(groups[g].states[state]), "branch", g.branch, "kind", g.kind, "state", state)
		}
	}
	each("mailbox_messages", "Messages that wait in the mailboxes of a kind of actor.", func(s *sum) float64 { return float64(s.depth) })
	each("mailbox_messages_max", "Messages in the deepest mailbox of a kind of actor.", func(s *sum) float64 { return float64(s.deepest) })
	each("mailbox_age_seconds", "How long the message has waited that waits longest.", func(s *sum) float64 { return s.age })
	each("actor_busy_seconds", "How long the message has been handled that takes longest.", func(s *sum) float64 { return s.busy })
	each("quarantined", "Actors that were given up after repeated failures.", func(s *sum) float64 { return float64(s.quarantined) })
	abandoned := map[string]int{}
	for g, s := range groups {
		abandoned[g.branch] += s.abandoned
	}
	page.Family("virtree_abandoned", metrics.Gauge, "Actors that do not come back and were replaced.")
	for _, branch := range slices.Sorted(maps.Keys(abandoned)) {
		page.Value(float64(abandoned[branch]), "branch", branch)
	}
	counted := func(name, help string, value func(c counts) uint64) {
		page.Family("virtree_"+name, metrics.Counter, help)
		for _, g := range slices.SortedFunc(maps.Keys(f.sums), order) {
			page.Count(value(f.sums[g]), "branch", g.branch, "kind", g.kind)
		}
	}
	counted("messages_total", "Messages handled, as far as they were seen at a scrape.", func(c counts) uint64 { return c.processed })
	counted("messages_refused_total", "Messages refused because a mailbox was full.", func(c counts) uint64 { return c.refused })
	counted("restarts_total", "Failures of actors and of branch processes.", func(c counts) uint64 { return c.restarts })
	page.Family("virtree_jobs", metrics.Gauge, "Running jobs; lost ones are past their deadline.")
	for _, j := range slices.SortedFunc(maps.Keys(jobs), order) {
		page.Value(float64(jobs[j]), "branch", j.branch, "state", j.kind)
	}
	page.Family("virtree_uptime_seconds", metrics.Gauge, "Age of the process.")
	page.Value(f.process.Uptime)
}

// peers writes what the picture says of links to other processes.
func (f *figures) peers(page *metrics.Page) {
	each := func(name, help string, value func(p *Peer) float64) {
		page.Family("virtree_peer_"+name, metrics.Gauge, help)
		for i := range f.process.Peers {
			if p := &f.process.Peers[i]; !strings.HasPrefix(p.Address, "unix-anonymous:") { // somebody who looks: each would be a line for ever
				page.Value(value(p), "peer", peerName(p.Address))
			}
		}
	}
	each("up", "Whether the link to another process of the tree is up.", func(p *Peer) float64 {
		if p.State == "up" {
			return 1
		}
		return 0
	})
	each("queued_messages", "Messages on their way to another process.", func(p *Peer) float64 { return float64(p.Queued) })
	each("requests", "Requests to another process that are not answered.", func(p *Peer) float64 { return float64(p.Requests) })
}

// sumUp groups the picture and moves the counters on. The second result counts jobs by branch and state.
func (f *figures) sumUp() (groups map[group]*sum, jobs map[group]int) {
	groups, jobs = map[group]*sum{}, map[group]int{}
	now := make(map[string]counts, len(f.last))
	visit := func(n *supervisors.Node, _ int) {
		g := group{branchOf(n.ID), n.Kind}
		if n.Kind == "job" {
			jobs[group{g.branch, n.State}]++
			return
		}
		s := groups[g]
		if s == nil {
			s = &sum{states: map[string]int{}}
			groups[g] = s
		}
		s.states[n.State]++
		s.depth += n.Depth
		s.deepest = max(s.deepest, n.Depth)
		s.age, s.busy = max(s.age, n.Age), max(s.busy, n.Busy)
		switch n.State {
		case "quarantined":
			s.quarantined++
		case "abandoned":
			s.abandoned++
		}
		c := counts{n.Processed, n.Refused, uint64(n.Restarts)}
		now[n.ID] = c
		f.sums[g] = f.sums[g].plus(c.since(f.last[n.ID]))
	}
	for _, top := range append([]*supervisors.Node{f.process.Tree}, f.process.Servers...) {
		top.Walk(visit)
	}
	f.last = now
	return groups, jobs
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
