package actors

import (
	"bytes"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"virtree/supervisors"
)

// figures makes Prometheus metrics of pictures. Actors come and go, and with each its counters; what a counter has once
// counted must stay counted, so the sums are kept here. It belongs to the inspector.
type figures struct {
	registry *prometheus.Registry
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

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("virtree_"+name, help, labels, nil)
}

var (
	metricActors     = describe("actors", "Actors, by branch, kind and state.", "branch", "kind", "state")
	metricQueue      = describe("mailbox_messages", "Messages that wait in the mailboxes of a kind of actor.", "branch", "kind")
	metricDeepest    = describe("mailbox_messages_max", "Messages in the deepest mailbox of a kind of actor.", "branch", "kind")
	metricAge        = describe("mailbox_age_seconds", "How long the message has waited that waits longest.", "branch", "kind")
	metricBusy       = describe("actor_busy_seconds", "How long the message has been handled that takes longest.", "branch", "kind")
	metricProcessed  = describe("messages_total", "Messages handled, as far as they were seen at a scrape.", "branch", "kind")
	metricRefused    = describe("messages_refused_total", "Messages refused because a mailbox was full.", "branch", "kind")
	metricRestarts   = describe("restarts_total", "Failures of actors and of branch processes.", "branch", "kind")
	metricQuarantine = describe("quarantined", "Actors that were given up after repeated failures.", "branch", "kind")
	metricAbandoned  = describe("abandoned", "Actors that do not come back and were replaced.", "branch")
	metricJobs       = describe("jobs", "Running jobs; lost ones are past their deadline.", "branch", "state")
	metricPeerUp     = describe("peer_up", "Whether the link to another process of the tree is up.", "peer")
	metricPeerQueue  = describe("peer_queued_messages", "Messages on their way to another process.", "peer")
	metricPeerAsks   = describe("peer_requests", "Requests to another process that are not answered.", "peer")
	metricUptime     = describe("uptime_seconds", "Age of the process.")
)

func newFigures() *figures {
	f := &figures{registry: prometheus.NewRegistry(), last: map[string]counts{}, sums: map[group]counts{}}
	f.registry.MustRegister(f, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return f
}

// text is the metrics of a picture, each line with the daemon's name.
func (f *figures) text(p *Process) ([]byte, error) {
	f.process = p
	families, err := f.registry.Gather()
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
	return b.Bytes(), nil
}

// Describe implements prometheus.Collector: which lines there are depends on what runs.
func (f *figures) Describe(chan<- *prometheus.Desc) {}

// sum is what the picture says of one group.
type sum struct {
	states                 map[string]int
	depth, deepest         int
	age, busy              float64
	quarantined, abandoned int
}

// Collect implements prometheus.Collector.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	groups, jobs := f.sumUp()
	for g, s := range groups {
		for state, n := range s.states {
			gauge(metricActors, float64(n), g.branch, g.kind, state)
		}
		gauge(metricQueue, float64(s.depth), g.branch, g.kind)
		gauge(metricDeepest, float64(s.deepest), g.branch, g.kind)
		gauge(metricAge, s.age, g.branch, g.kind)
		gauge(metricBusy, s.busy, g.branch, g.kind)
		gauge(metricQuarantine, float64(s.quarantined), g.branch, g.kind)
	}
	abandoned := map[string]int{}
	for g, s := range groups {
		abandoned[g.branch] += s.abandoned
	}
	for branch, n := range abandoned {
		gauge(metricAbandoned, float64(n), branch)
	}
	for g, c := range f.sums {
		for d, v := range map[*prometheus.Desc]uint64{metricProcessed: c.processed, metricRefused: c.refused, metricRestarts: c.restarts} {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), g.branch, g.kind)
		}
	}
	for j, n := range jobs {
		gauge(metricJobs, float64(n), j.branch, j.kind)
	}
	for _, p := range f.process.Peers {
		if strings.HasPrefix(p.Address, "unix-anonymous:") {
			continue // somebody who looks; each would be a line for ever
		}
		up := 0.0
		if p.State == "up" {
			up = 1
		}
		gauge(metricPeerUp, up, p.Address)
		gauge(metricPeerQueue, float64(p.Queued), p.Address)
		gauge(metricPeerAsks, float64(p.Requests), p.Address)
	}
	gauge(metricUptime, f.process.Uptime)
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
