package isolation

import (
	"fmt"
	"math"
	"slices"
	"time"

	"virtree/bench/internal/lab"
)

// Stats sums up the calls of one group in one kind of window. Times are in milliseconds.
type Stats struct {
	Calls  int     `json:"calls"`
	Failed int     `json:"failed,omitempty"`
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`
	P999   float64 `json:"p999"`
	Max    float64 `json:"max"`
}

// Cell is what one system did in one row, over all rounds.
type Cell struct {
	Quiet map[string]Stats `json:"quiet"` // by group
	Fault map[string]Stats `json:"fault"`

	Failed       int      `json:"failed"` // calls of the healthy rest, in the fault windows
	Errors       []string `json:"errors,omitempty"`
	Sick         []string `json:"sick,omitempty"` // what the faulty object's own callers were told
	Events       int      `json:"events"`         // that had to come
	EventsLost   int      `json:"events_lost"`    // of those
	Guests       int      `json:"guests"`
	GuestsLost   int      `json:"guests_lost"`
	Recovery     float64  `json:"recovery_ms"`           // the longest of the rounds; -1: not while it was watched; -2: does not apply
	GivenUp      float64  `json:"given_up_ms,omitempty"` // after the fault, when the daemon has given up what did not come back: recovery counts from then
	Memory       int64    `json:"memory_kib"`            // of the daemons, before
	MemoryPeak   int64    `json:"memory_peak_kib"`
	Ratio        float64  `json:"ratio"`           // the worst of calls and keepalive: p99 to quiet p99
	Broke        string   `json:"broke,omitempty"` // the group that suffered most beyond the limit
	BrokeBy      float64  `json:"broke_by,omitempty"`
	Base         float64  `json:"base_ms"`  // p99 of calls when quiet, just before or usually, whichever is more
	Limit        float64  `json:"limit_ms"` // what the p99 of calls may be
	Contained    bool     `json:"contained"`
	Reasons      []string `json:"reasons,omitempty"` // why not
	Noted        string   `json:"noted,omitempty"`
	Late         float64  `json:"late_p99"` // how late the load itself was
	Trouble      string   `json:"trouble,omitempty"`
	Trace        *Trace   `json:"trace,omitempty"` // of the first round
	quiet, fault map[string][]int64
	failedOf     map[string]int
	late         []int64
}

// Trace is the latency of the healthy rest's calls over time. Of each step of time the median and the longest, in
// microseconds; 0 where no call was due.
type Trace struct {
	Step  float64 `json:"step_ms"`
	Start float64 `json:"start_ms"` // of the first step, from the fault on
	End   float64 `json:"end_ms"`   // of the fault
	P50   []int64 `json:"p50"`
	Max   []int64 `json:"max"`
	Bad   []int   `json:"bad"` // failed calls
}

const traceStep = 20 * time.Millisecond

// Limits are what containment is judged by.
type Limits struct {
	Ratio  float64                  // of p99 under the fault to quiet p99
	Floors map[string]time.Duration // a p99 below that of its group is never held against anybody
}

// groups in the order of the report; the last is not the healthy rest.
var groups = []string{groupCalls, groupPing, groupMonitor, groupOpen}

func newCell() *Cell {
	return &Cell{Recovery: -2, quiet: map[string][]int64{}, fault: map[string][]int64{}, failedOf: map[string]int{}}
}

// visit is what one visit brought home.
type visit struct {
	began, fault, lifted, ended int64 // on the monotonic clock
	decided                     int64 // when what does not come back was given up; 0: it was not
	samples                     []sample
	late                        []int64
	events, wanted              int
	guests, lost                int
	memory, peak                int64
	noted                       string
}

// slow is where an answer of the faulty object stops counting as service.
const slow = 50 * time.Millisecond

// add takes a visit in. A call belongs to the window in which it was due; what is due after the end of the fault still
// belongs to the fault, whose echo it hears.
func (c *Cell) add(r Row, kind lab.Kind, recovers string, v *visit) {
	inside := r.inside(kind)
	if recovers != "" {
		if ms := recovery(recovers, v); ms < 0 || c.Recovery == -1 {
			c.Recovery = -1
		} else {
			c.Recovery = max(c.Recovery, ms)
		}
		if v.decided > 0 {
			c.GivenUp = max(c.GivenUp, math.Round(float64(v.decided-v.fault)/1e6))
		}
	}
	for _, s := range v.samples {
		if s.probe.name == recovers && s.due >= v.fault && !s.ok && len(c.Sick) < 5 && !slices.Contains(c.Sick, s.why) {
			c.Sick = append(c.Sick, s.why)
		}
		if inside[s.probe.name] {
			continue
		}
		g := s.probe.group
		if s.due < v.fault {
			if s.ok {
				c.quiet[g] = append(c.quiet[g], s.took)
			}
			continue
		}
		c.fault[g] = append(c.fault[g], s.took)
		if !s.ok {
			c.Failed++
			c.failedOf[g]++
			if e := s.probe.name + ": " + s.why; len(c.Errors) < 5 && !slices.Contains(c.Errors, e) {
				c.Errors = append(c.Errors, e)
			}
		}
	}
	if !inside[probeToggle] {
		c.Events += v.wanted
		c.EventsLost += max(0, v.wanted-v.events)
	}
	c.Guests, c.GuestsLost = max(c.Guests, v.guests), c.GuestsLost+v.lost
	if c.Memory == 0 {
		c.Memory = v.memory
	}
	c.MemoryPeak = max(c.MemoryPeak, v.peak)
	c.late = append(c.late, v.late...)
	if v.noted != "" {
		c.Noted = v.noted
	}
	if c.Trace == nil {
		c.Trace = trace(v, inside)
	}
}

// recovery is the time from the fault to the last answer of the faulty object that was none or slow, in milliseconds. When
// all were prompt, it is the longest of them; -1: it was unwell to the end. What was given up counts from that decision, before
// which there is nothing to recover.
func recovery(recovers string, v *visit) float64 {
	var last, longest, newest int64
	unwell, from := false, max(v.fault, v.decided)
	for _, s := range v.samples {
		if s.probe.name != recovers || s.due < v.fault {
			continue
		}
		bad := !s.ok || s.took >= int64(slow)
		if bad {
			last = max(last, s.due+s.took-from)
		}
		if s.due > newest {
			newest, unwell = s.due, bad
		}
		longest = max(longest, s.took)
	}
	switch {
	case unwell:
		return -1
	case last == 0:
		last = longest
	}
	return math.Round(float64(last)/1e3) / 1e3
}

func trace(v *visit, inside map[string]bool) *Trace {
	n := int((v.ended - v.began) / int64(traceStep))
	t := &Trace{Step: float64(traceStep) / 1e6, Start: float64(v.began-v.fault) / 1e6, End: float64(v.lifted-v.fault) / 1e6,
		P50: make([]int64, n), Max: make([]int64, n), Bad: make([]int, n)}
	steps := make([][]int64, n)
	for _, s := range v.samples {
		at := int((s.due - v.began) / int64(traceStep))
		if inside[s.probe.name] || s.probe.group == groupMonitor || s.probe.group == groupOpen || at < 0 || at >= n {
			continue
		}
		if !s.ok {
			t.Bad[at]++
		}
		steps[at] = append(steps[at], s.took)
	}
	for i, all := range steps {
		if len(all) > 0 {
			slices.Sort(all)
			t.P50[i], t.Max[i] = all[len(all)/2]/1e3, all[len(all)-1]/1e3
		}
	}
	return t
}

func stats(all []int64, failed int) Stats {
	slices.Sort(all)
	return Stats{Calls: len(all), Failed: failed, P50: percentile(all, 0.5), P99: percentile(all, 0.99), P999: percentile(all, 0.999), Max: percentile(all, 1)}
}

// percentile of sorted nanoseconds, in milliseconds.
func percentile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return math.Round(float64(sorted[max(i, 0)])/1e3) / 1e3
}

// usually is the p99 of each group in all quiet windows of a system, in milliseconds.
func usually(cells []*Cell) map[string]float64 {
	all := map[string]float64{}
	for _, g := range groups {
		var quiet []int64
		for _, c := range cells {
			quiet = append(quiet, c.quiet[g]...)
		}
		all[g] = stats(quiet, 0).P99
	}
	return all
}

// judge sums up and decides. What is quiet is what was quiet just before or what is usual for the system in this run,
// whichever is more: a second has too few calls for its p99 to be one number.
func (c *Cell) judge(l Limits, usual map[string]float64) {
	c.Quiet, c.Fault = map[string]Stats{}, map[string]Stats{}
	c.Reasons, c.Ratio, c.Broke, c.BrokeBy = nil, 0, "", 0
	say := func(format string, args ...any) { c.Reasons = append(c.Reasons, fmt.Sprintf(format, args...)) }
	if c.Trouble != "" {
		say("not measured: %s", c.Trouble)
	}
	if c.Failed > 0 {
		say("%d calls failed", c.Failed)
	}
	if c.EventsLost > 0 {
		say("%d of %d events lost", c.EventsLost, c.Events)
	}
	if c.GuestsLost > 0 {
		say("%d guests ended", c.GuestsLost)
	}
	for _, g := range groups {
		q, f := stats(c.quiet[g], 0), stats(c.fault[g], c.failedOf[g])
		c.Quiet[g], c.Fault[g] = q, f
		if f.Calls == 0 || q.Calls == 0 {
			continue
		}
		ratio := f.P99 / max(q.P99, usual[g])
		if g == groupCalls {
			c.Base = max(q.P99, usual[g])
			c.Limit = max(l.Ratio*c.Base, float64(l.Floors[g])/1e6)
		}
		if g == groupCalls || g == groupPing {
			c.Ratio = max(c.Ratio, math.Round(ratio*100)/100)
		}
		if floor := l.Floors[g]; ratio > l.Ratio && f.P99 > float64(floor)/1e6 {
			say("p99 of %s %s, was %s", g, millis(f.P99), millis(max(q.P99, usual[g])))
			c.worst(g, ratio)
		}
	}
	slices.Sort(c.late)
	c.Late = percentile(c.late, 0.99)
	c.Contained = len(c.Reasons) == 0
}

// judge decides about all cells, by what is usual for each system.
func (rep *Report) judge(l Limits) {
	for _, kind := range rep.Systems {
		var cells []*Cell
		for _, res := range rep.Rows {
			if c := res.Cells[kind]; c != nil {
				cells = append(cells, c)
			}
		}
		usual := usually(cells)
		for _, c := range cells {
			c.judge(l, usual)
		}
	}
}

// onlySlow says whether latency is all that is held against the fault.
func (c *Cell) onlySlow() bool {
	return !c.Contained && c.Trouble == "" && c.Failed == 0 && c.EventsLost == 0 && c.GuestsLost == 0
}

// worst keeps the group that suffered most.
func (c *Cell) worst(group string, ratio float64) {
	if ratio > c.BrokeBy {
		c.Broke, c.BrokeBy = group, math.Round(ratio*10)/10
	}
}

// millis writes a time for people.
func millis(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.1f s", ms/1e3)
	case ms >= 10:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f µs", ms*1e3)
}
