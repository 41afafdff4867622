package follow

import (
	"time"

	"virtree/actors"
	"virtree/wire/meter"
)

// Latency is how long answered calls took. The rate is of the last look; the quantiles, in seconds, are of the last ten
// looks, since a quantile of few calls says nothing.
type Latency struct {
	Rate   float64 `json:"per_second"`
	Failed float64 `json:"failed_per_second"`
	Count  uint64  `json:"count"` // that the quantiles are of; 0: they are 0
	P50    float64 `json:"p50"`
	P99    float64 `json:"p99"`

	// Classes are the same by class of procedure; only of a branch.
	Classes map[string]Latency `json:"classes,omitempty"`
}

// tick is what was answered between two looks, by branch and class.
type tick map[callKind]answered

type callKind struct{ branch, class string }

type answered struct {
	buckets [len(meter.Bounds) + 1]uint64
	failed  uint64
	rate    float64
	bad     float64 // failed per second
}

// looksOfLatency is how many looks the quantiles are of.
const looksOfLatency = 10

// add puts in what a process has counted since it was asked before.
func (t tick) add(now, before []actors.Calls, seconds float64) {
	then := map[callKind]actors.Calls{}
	for _, c := range before {
		kind := callKind{c.Branch, c.Class}
		then[kind] = plus(then[kind], c) // several servers count the same kind
	}
	sums := map[callKind]actors.Calls{}
	for _, c := range now {
		kind := callKind{c.Branch, c.Class}
		sums[kind] = plus(sums[kind], c)
	}
	for kind, c := range sums {
		a := t[kind]
		n := uint64(0)
		for i := range min(len(c.Buckets), len(a.buckets)) {
			d := c.Buckets[i]
			if b := then[kind].Buckets; i < len(b) {
				d -= min(b[i], d)
			}
			a.buckets[i] += d
			n += d
		}
		failed := c.Failed - min(then[kind].Failed, c.Failed)
		a.failed += failed
		a.rate += float64(n) / seconds
		a.bad += float64(failed) / seconds
		t[kind] = a
	}
}

func plus(a, b actors.Calls) actors.Calls {
	sum := actors.Calls{Buckets: make([]uint64, max(len(a.Buckets), len(b.Buckets))), Failed: a.Failed + b.Failed}
	for i, n := range a.Buckets {
		sum.Buckets[i] += n
	}
	for i, n := range b.Buckets {
		sum.Buckets[i] += n
	}
	return sum
}

// latencies fills in what the last looks say of calls.
func (f *Follower) latencies(s *Sample, branches map[string]*Branch, now tick) {
	f.window = append(f.window, now)
	if n := len(f.window) - looksOfLatency; n > 0 {
		f.window = f.window[n:]
	}
	whole := answered{}
	byBranch, byKind := map[string]answered{}, map[callKind]answered{}
	for i, t := range f.window {
		for kind, a := range t {
			if i < len(f.window)-1 {
				a.rate, a.bad = 0, 0
			}
			whole = whole.plus(a)
			byBranch[kind.branch] = byBranch[kind.branch].plus(a)
			byKind[kind] = byKind[kind].plus(a)
		}
	}
	s.Calls = whole.latency()
	for name, a := range byBranch {
		if b := branches[name]; b != nil {
			b.Calls = a.latency()
			b.Calls.Classes = map[string]Latency{}
		}
	}
	for kind, a := range byKind {
		if b := branches[kind.branch]; b != nil {
			b.Calls.Classes[kind.class] = a.latency()
		}
	}
}

func (a answered) plus(b answered) answered {
	for i, n := range b.buckets {
		a.buckets[i] += n
	}
	a.failed += b.failed
	a.rate += b.rate
	a.bad += b.bad
	return a
}

func (a answered) latency() Latency {
	l := Latency{Rate: a.rate, Failed: a.bad, P50: quantile(a.buckets[:], 0.50), P99: quantile(a.buckets[:], 0.99)}
	for _, n := range a.buckets {
		l.Count += n
	}
	return l
}

// quantile is the duration, in seconds, below which the share q of what was counted lies; within a bucket evenly spread.
// Of nothing it is 0. What lies above the last bound is that bound.
func quantile(buckets []uint64, q float64) float64 {
	total := uint64(0)
	for _, n := range buckets {
		total += n
	}
	if total == 0 {
		return 0
	}
	want, below := q*float64(total), 0.0
	lower := time.Duration(0)
	for i, n := range buckets {
		if i >= len(meter.Bounds) {
			break
		}
		upper := meter.Bounds[i]
		if n > 0 && below+float64(n) >= want {
			return (lower + time.Duration(float64(upper-lower)*(want-below)/float64(n))).Seconds()
		}
		below += float64(n)
		lower = upper
	}
	return lower.Seconds()
}
