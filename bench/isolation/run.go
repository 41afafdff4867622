package isolation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtree/bench/internal/lab"
	"virtree/supervisors"
)

// Plan says how much is measured.
type Plan struct {
	Systems []lab.Kind
	Rows    []Row
	Rounds  int
	Guests  int           // of each system
	Quiet   time.Duration // before each fault
	Fault   time.Duration // that a fault is watched
	Tail    time.Duration // after it was lifted
	Drain   time.Duration // for answers after the last call
	Limit   time.Duration // of all rounds; what does not fit in is left out. 0: none
	Limits  Limits
	// Again is how often a row is measured anew that was contained but for its latency: what the machine did meanwhile does not
	// happen again, what the fault does will.
	Again int

	// Progress is told what is being done; nil: nobody is.
	Progress func(done, all int, what string)
}

// Whole is the plan for figures: a quarter of an hour.
func Whole() Plan {
	return Plan{Systems: anyone, Rows: Matrix, Rounds: 2, Guests: 30, Quiet: second, Fault: lasting, Tail: 300 * time.Millisecond,
		Drain: 3 * second, Limit: 15 * time.Minute,
		Limits: Limits{Ratio: 3, Floors: map[string]time.Duration{groupCalls: time.Millisecond, groupPing: time.Millisecond,
			groupMonitor: 20 * time.Millisecond, groupOpen: 20 * time.Millisecond}}}
}

// Smoke is the plan for a test: it is to notice that containment is broken, on a machine that does other things too. A
// stall of a second is felt by a third of the calls; the floors are far above what a busy machine does, and far below that.
func Smoke() Plan {
	p := Whole()
	p.Systems, p.Rounds, p.Guests, p.Limit = ours, 1, 5, 2*time.Minute
	p.Rows = nil
	for _, r := range Matrix {
		if r.Smoke {
			p.Rows = append(p.Rows, r)
		}
	}
	p.Again = 2
	p.Limits = Limits{Ratio: 3, Floors: map[string]time.Duration{groupCalls: 300 * time.Millisecond, groupPing: 300 * time.Millisecond,
		groupMonitor: 600 * time.Millisecond, groupOpen: 600 * time.Millisecond}}
	return p
}

// Choose narrows a plan: systems by name, rows by a regular expression for their titles; what is empty or 0 stays.
func (p *Plan) Choose(systems, rows string, rounds, guests int) error {
	if systems != "" {
		p.Systems = nil
		for name := range strings.SplitSeq(systems, ",") {
			kind := lab.Kind(name)
			if !slices.Contains(anyone, kind) {
				return fmt.Errorf("there is no system %q", name)
			}
			p.Systems = append(p.Systems, kind)
		}
	}
	if rows != "" {
		re, err := regexp.Compile(rows)
		if err != nil {
			return err
		}
		all := p.Rows
		p.Rows = nil
		for _, r := range all {
			if re.MatchString((&Result{Name: r.Name, Place: r.Place}).Title()) {
				p.Rows = append(p.Rows, r)
			}
		}
		if len(p.Rows) == 0 {
			return fmt.Errorf("no row matches %q", rows)
		}
	}
	if rounds > 0 {
		p.Rounds = rounds
	}
	if guests > 0 {
		p.Guests = guests
	}
	return nil
}

// Result is a row with what each system did.
type Result struct {
	Chapter string             `json:"chapter"`
	About   string             `json:"about"`
	Name    string             `json:"fault"`
	Place   Place              `json:"place"`
	Ends    bool               `json:"ends_process,omitempty"`
	Cells   map[lab.Kind]*Cell `json:"systems"`
	row     Row
}

// Report is all that was measured.
type Report struct {
	Date    time.Time         `json:"date"`
	Took    float64           `json:"took_s"`
	Host    string            `json:"host"`
	Cores   int               `json:"cores"`
	Systems []lab.Kind        `json:"systems"`
	Labels  map[string]string `json:"labels"`
	Guests  int               `json:"guests"`
	Rounds  int               `json:"rounds"`
	Ratio   float64           `json:"ratio"`
	Floor   time.Duration     `json:"floor_ns"` // of the p99 of calls
	Rows    []*Result         `json:"rows"`
	Skipped []string          `json:"skipped,omitempty"`
	Missed  int               `json:"missed,omitempty"` // visits that the time did not suffice for
}

// Labels of the systems, for people.
var labels = map[lab.Kind]string{lab.Reference: "libvirtd 9.0.0", lab.Single: "virtree, one process", lab.Split: "virtree, split"}

// Run carries a plan out.
func Run(ctx context.Context, p Plan) (*Report, error) {
	runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0))) // so that the load's thread never waits for a place to run
	began := time.Now()
	rep := &Report{Date: began.UTC().Truncate(time.Second), Cores: runtime.NumCPU(), Guests: p.Guests, Rounds: p.Rounds, Ratio: p.Limits.Ratio, Floor: p.Limits.Floors[groupCalls], Labels: map[string]string{}}
	rep.Host = hostName()
	var worlds []*world
	defer func() {
		for _, w := range worlds {
			w.close()
		}
	}()
	tell := p.Progress
	if tell == nil {
		tell = func(int, int, string) {}
	}
	for _, kind := range p.Systems {
		if why := lab.Missing(kind); why != "" {
			rep.Skipped = append(rep.Skipped, string(kind)+": "+why)
			continue
		}
		tell(0, 0, fmt.Sprintf("starting %s with %d guests", labels[kind], p.Guests))
		w, err := openWorld(ctx, kind, max(p.Guests, leastGuests))
		if err != nil {
			return nil, err
		}
		worlds = append(worlds, w)
		rep.Systems = append(rep.Systems, kind)
		rep.Labels[string(kind)] = labels[kind]
	}
	if len(worlds) == 0 {
		return nil, fmt.Errorf("nothing to measure: %s", strings.Join(rep.Skipped, "; "))
	}
	all := 0
	for _, r := range p.Rows {
		if why := r.missing(); why != "" {
			rep.Skipped = append(rep.Skipped, r.Name+": "+why)
			continue
		}
		res := &Result{Chapter: r.Chapter, About: r.About, Name: r.Name, Place: r.Place, Ends: r.Ends, Cells: map[lab.Kind]*Cell{}, row: r}
		for _, w := range worlds {
			if r.has(w.kind) {
				all += r.rounds(p)
			}
		}
		rep.Rows = append(rep.Rows, res)
	}
	for _, w := range worlds { // warms caches on both sides
		if _, err := w.visit(ctx, Row{Outside: outNothing, Place: Nowhere}, p, newCell()); err != nil {
			return nil, fmt.Errorf("%s: warming up: %w", w.kind, err)
		}
	}
	done := 0
	for round := range p.Rounds {
		for i, res := range rep.Rows {
			turn := round + i
			for _, w := range slices.Concat(worlds[turn%len(worlds):], worlds[:turn%len(worlds)]) {
				if !res.row.has(w.kind) || round >= res.row.rounds(p) {
					continue
				}
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				done++
				if p.Limit > 0 && time.Since(began) > p.Limit {
					rep.Missed++
					continue
				}
				tell(done, all, fmt.Sprintf("%s in %s: %s", res.Name, res.Place, labels[w.kind]))
				c := res.Cells[w.kind]
				if c == nil {
					c = newCell()
					res.Cells[w.kind] = c
				}
				if err := w.measure(ctx, res.row, p, c); err != nil {
					return nil, err
				}
			}
		}
	}
	rep.judge(p.Limits)
	for range p.Again {
		for _, res := range rep.Rows {
			for _, w := range worlds {
				if c := res.Cells[w.kind]; c == nil || !c.onlySlow() {
					continue
				}
				tell(done, all, fmt.Sprintf("once more: %s in %s: %s", res.Name, res.Place, labels[w.kind]))
				c := newCell()
				if err := w.measure(ctx, res.row, p, c); err != nil {
					return nil, err
				}
				res.Cells[w.kind] = c
			}
		}
		rep.judge(p.Limits)
	}
	rep.Took = time.Since(began).Round(time.Second).Seconds()
	return rep, nil
}

// measure visits, and gets the daemon going again when the visit has failed. An error is one that nothing can be done about.
func (w *world) measure(ctx context.Context, r Row, p Plan, c *Cell) error {
	_, err := w.visit(ctx, r, p, c)
	if err == nil {
		return nil
	}
	c.Trouble = err.Error()
	if !w.well(ctx) {
		if err := w.revive(ctx); err != nil {
			return fmt.Errorf("%s cannot be started again after %q in %s: %w", w.kind, r.Name, r.Place, err)
		}
	}
	return nil
}

// well says whether the daemon answers over the connection for set-up.
func (w *world) well(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := dial(ctx, w.socket(), "qemu:///system")
	if err != nil {
		return false
	}
	c.Close()
	select {
	case <-w.client.Done():
		w.undial()
		return w.dial(ctx) == nil
	default:
		return true
	}
}

// visit measures one row in one system, once.
func (w *world) visit(ctx context.Context, r Row, p Plan, c *Cell) (*visit, error) {
	if !w.well(ctx) {
		return nil, errors.New("the daemon does not answer")
	}
	t, err := w.prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	defer t.end()
	if !w.connected() {
		return nil, errors.New("the callers cannot connect")
	}
	pids := w.target.DaemonPIDs()
	before := w.qemus()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would stop the load
	v := &visit{memory: resident(pids)}
	v.peak = v.memory
	window := p.Fault
	if r.Window > 0 {
		window = r.Window
	}
	v.began = nanotime()
	w.load.start()
	time.Sleep(p.Quiet)
	v.fault = nanotime()
	made := time.Now()
	if err := t.begin(); err != nil {
		w.load.stop(0)
		return nil, fmt.Errorf("the fault could not be made: %w", err)
	}
	for end := time.Now().Add(window); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		v.peak = max(v.peak, resident(pids))
	}
	v.lifted = nanotime()
	t.lift()
	time.Sleep(p.Tail)
	v.ended = nanotime()
	v.samples, v.late, v.events = w.load.stop(p.Drain)
	for _, s := range v.samples {
		if s.probe.name == probeToggle && s.ok {
			v.wanted++
		}
	}
	after := w.qemus()
	v.guests = len(before)
	for name, pid := range before {
		if after[name] != pid {
			v.lost++
		}
	}
	if t.noted != nil {
		v.noted = t.noted()
	}
	if at := w.givenUp(made); !at.IsZero() && !r.Ends {
		v.decided = v.fault + int64(at.Sub(made))
	}
	c.add(r, w.kind, t.recovers, v)
	if r.Ends && w.kind == lab.Single { // there is nobody who starts it again
		if !w.well(ctx) {
			return v, w.revive(ctx)
		}
	}
	return v, nil
}

// givenUp is when the daemon has given an actor up or, with the branch in it, a process, after the time began; zero: it has
// not.
func (w *world) givenUp(began time.Time) (at time.Time) {
	if w.visitor == nil {
		return at
	}
	for _, socket := range w.visitor.Sockets() {
		all, _ := w.visitor.Troubles(socket) // of a process that has ended there are none
		for _, t := range all {
			if (t.Kind == supervisors.TroubleAbandoned || t.Kind == supervisors.TroubleExit) && t.At.After(began) && t.At.After(at) {
				at = t.At
			}
		}
	}
	return at
}

// connected waits until all probes have their connections.
func (w *world) connected() bool {
	return lab.Await(context.Background(), func() bool {
		all := true
		w.load.do(func() {
			for _, c := range w.load.lines {
				all = all && c.phase == ready
			}
		})
		return all
	})
}

// hostName is the machine as far as it matters to the figures.
func hostName() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	model := "?"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for _, l := range strings.Split(string(b), "\n") {
			if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	return model + ", Linux " + unix.ByteSliceToString(u.Release[:])
}
