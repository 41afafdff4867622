package supervisors

import "time"

// Restart says how often and how fast a child is restarted.
type Restart struct {
	Intensity int           // failures forgiven within Period; one more and its supervisor gives up
	Period    time.Duration // how long a failure is remembered
	First     time.Duration // delay after the first failure in Period; doubles with each further one
	Max       time.Duration // cap of the delay; 0 = First is the delay always
	Parole    time.Duration // a child that was given up is tried again after so long; 0 = only when somebody asks
}

// Defaults for what does not say otherwise.
var (
	// ObjectRestart is for actors: coming back costs microseconds, and one that fails again and again has bad state.
	ObjectRestart = Restart{Intensity: 5, Period: time.Minute, First: 10 * time.Millisecond, Max: 5 * time.Second}
	// BranchRestart is for branches in a process: many failures of objects must not become one of their branch.
	BranchRestart = Restart{Intensity: 8, Period: time.Minute, First: 20 * time.Millisecond, Max: 5 * time.Second, Parole: time.Minute}
	// ProcessRestart is for branches that are processes: exec and initialization count too, so it is more patient. The first
	// restart hardly waits, since all callers of the driver do; the last of the forgiven ones comes after half a minute.
	ProcessRestart = Restart{Intensity: 12, Period: time.Minute, First: 10 * time.Millisecond, Max: 10 * time.Second, Parole: time.Minute}
)

// Verdict is what a supervisor does about a failure.
type Verdict struct {
	GiveUp bool
	Delay  time.Duration // before the restart, or before parole when giving up (0 = no parole)
}

// History is one child's record. It is pure: time comes in, a verdict comes out.
//
//	          Fail, forgiven              Fail, once too often
//	running ----------------> waiting    --------------------> given up
//	   ^   <---- Delay -----     |                                 |
//	   +------------------------------------- Release, parole -----+
type History struct {
	policy   Restart
	failures []time.Time // within Period, oldest first; at most Intensity+1
	total    int
	givenUp  bool
}

// NewHistory starts a clean record.
func NewHistory(p Restart) *History { return &History{policy: p} }

// Fail records a failure. Time must not go backwards; if it does, the failure counts as now.
func (h *History) Fail(now time.Time) Verdict {
	h.total++
	keep := 0
	for keep < len(h.failures) && now.Sub(h.failures[keep]) >= h.policy.Period {
		keep++
	}
	h.failures = append(h.failures[keep:], now)
	if h.givenUp || len(h.failures) > h.policy.Intensity {
		h.givenUp = true
		return Verdict{GiveUp: true, Delay: h.policy.Parole}
	}
	return Verdict{Delay: h.policy.delay(len(h.failures))}
}

// GiveUp is the verdict for a child that must not be restarted whatever its record.
func (h *History) GiveUp() Verdict {
	h.givenUp = true
	return Verdict{GiveUp: true, Delay: h.policy.Parole}
}

// delay before the n-th restart in a row.
func (p Restart) delay(n int) time.Duration {
	d := p.First
	for ; n > 1 && d < p.Max; n-- {
		d *= 2
	}
	if p.Max > 0 {
		d = min(d, p.Max)
	}
	return d
}

// Release forgets all failures: somebody asked for another try, or parole began.
func (h *History) Release() {
	h.failures, h.givenUp = nil, false
}

// GivenUp reports that the last verdict was to give up.
func (h *History) GivenUp() bool { return h.givenUp }

// Total is the number of failures ever.
func (h *History) Total() int { return h.total }
