package isolation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"virtree/bench/internal/lab"
)

// visitOf makes a visit of a second before and a second under the fault. Each call takes what took says.
func visitOf(probes []*probe, took func(p *probe, at time.Duration) (time.Duration, bool)) *visit {
	v := &visit{began: 1e12, fault: 1e12 + 1e9, lifted: 1e12 + 2e9, ended: 1e12 + 2e9}
	for _, p := range probes {
		for at := time.Duration(0); at < 2*time.Second; at += 10 * time.Millisecond {
			d, ok := took(p, at-time.Second)
			v.samples = append(v.samples, sample{probe: p, due: v.began + int64(at), took: int64(d), ok: ok, why: "no"})
		}
	}
	return v
}

func TestVerdicts(t *testing.T) {
	probes := []*probe{{name: probeDomain, group: groupCalls}, {name: probeNetwork, group: groupCalls}, {name: probePing, group: groupPing}, {name: probeSick, group: groupSick}}
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		row  Row
		took func(p *probe, at time.Duration) (time.Duration, bool)
		more func(v *visit)
		says string // part of the reason; "": contained
	}{
		"all as before is contained":              {says: ""},
		"twice as slow is contained":              {took: func(_ *probe, at time.Duration) (time.Duration, bool) { return pick(at, 2*ms, 4*ms), true }},
		"four times as slow is not":               {took: func(_ *probe, at time.Duration) (time.Duration, bool) { return pick(at, 2*ms, 8*ms), true }, says: "p99 of calls 8.0 ms, was 2.0 ms"},
		"four times as slow, below the floor, is": {took: func(_ *probe, at time.Duration) (time.Duration, bool) { return pick(at, ms/10, 4*ms/10), true }},
		"keepalive counts like calls": {took: func(p *probe, at time.Duration) (time.Duration, bool) {
			return pick(at, ms, 9*ms*is(p, probePing)+ms), true
		}, says: "p99 of keepalive"},
		"one failed call is one too many": {took: func(p *probe, at time.Duration) (time.Duration, bool) {
			return ms, at != 300*ms || p.name != probeDomain
		}, says: "1 calls failed"},
		"a failed call before the fault is not the fault's":     {took: func(_ *probe, at time.Duration) (time.Duration, bool) { return ms, at != -300*ms }},
		"the faulty object may fail":                            {took: func(p *probe, _ time.Duration) (time.Duration, bool) { return ms, p.name != probeSick }},
		"the branch's own calls may fail":                       {row: Row{Place: InNet}, took: func(p *probe, _ time.Duration) (time.Duration, bool) { return ms, p.name != probeNetwork }},
		"the calls of another branch may not":                   {row: Row{Place: InStorage}, took: func(p *probe, _ time.Duration) (time.Duration, bool) { return ms, p.name != probeNetwork }, says: "100 calls failed"},
		"a lost event is noticed":                               {more: func(v *visit) { v.wanted, v.events = 10, 9 }, says: "1 of 10 events lost"},
		"a guest that ended is noticed":                         {more: func(v *visit) { v.guests, v.lost = 10, 1 }, says: "1 guests ended"},
		"a call that is answered after the end of the fault is": {took: func(_ *probe, at time.Duration) (time.Duration, bool) { return pick(at, ms, time.Second), true }, says: "1.0 s"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.took == nil {
				c.took = func(*probe, time.Duration) (time.Duration, bool) { return ms, true }
			}
			v := visitOf(probes, c.took)
			if c.more != nil {
				c.more(v)
			}
			cell := newCell()
			cell.add(c.row, lab.Single, probeSick, v)
			cell.judge(Limits{Ratio: 3, Floors: map[string]time.Duration{groupCalls: ms, groupPing: ms}}, nil)
			if c.says == "" && !cell.Contained || c.says != "" && !strings.Contains(strings.Join(cell.Reasons, "; "), c.says) {
				t.Errorf("contained %v: %q", cell.Contained, cell.Reasons)
			}
		})
	}
}

func pick(at, before, after time.Duration) time.Duration {
	if at < 0 {
		return before
	}
	return after
}

func is(p *probe, name string) time.Duration {
	if p.name == name {
		return 1
	}
	return 0
}

func TestANoisyMachineIsNotHeldAgainstAFault(t *testing.T) {
	calls := []*probe{{name: probeDomain, group: groupCalls}}
	noisy, lucky := newCell(), newCell()
	slowly := func(before, after time.Duration) func(*probe, time.Duration) (time.Duration, bool) {
		return func(_ *probe, at time.Duration) (time.Duration, bool) { return pick(at, before, after), true }
	}
	noisy.add(Row{}, lab.Single, "", visitOf(calls, slowly(20*time.Millisecond, 20*time.Millisecond)))
	lucky.add(Row{}, lab.Single, "", visitOf(calls, slowly(time.Millisecond, 20*time.Millisecond)))
	usual := usually([]*Cell{noisy, lucky})
	if lucky.judge(Limits{Ratio: 3}, usual); !lucky.Contained {
		t.Errorf("20 ms are usual: %v", lucky.Reasons)
	}
	if lucky.judge(Limits{Ratio: 3}, nil); lucky.Contained || lucky.Broke != groupCalls {
		t.Error("20 ms instead of 1 are contained")
	}
}

func TestRecoveryEndsWithTheLastCallThatWasNotServed(t *testing.T) {
	sick := []*probe{{name: probeSick, group: groupSick}}
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		took func(at time.Duration) (time.Duration, bool)
		want float64
	}{
		"nobody noticed":            {func(time.Duration) (time.Duration, bool) { return 3 * ms, true }, 3},
		"failed for 200 ms":         {func(at time.Duration) (time.Duration, bool) { return ms, at >= 200*ms }, 191},
		"stalled for 200 ms":        {func(at time.Duration) (time.Duration, bool) { return max(ms, 200*ms-at), true }, 200},
		"failing to the end":        {func(time.Duration) (time.Duration, bool) { return ms, false }, -1},
		"unwell before is not ours": {func(at time.Duration) (time.Duration, bool) { return ms, at >= 0 }, 1},
	} {
		if got := recovery(probeSick, visitOf(sick, func(_ *probe, at time.Duration) (time.Duration, bool) { return c.took(at) })); got != c.want {
			t.Errorf("%s: %v ms, want %v", name, got, c.want)
		}
	}
	v := visitOf(sick, func(_ *probe, at time.Duration) (time.Duration, bool) { return ms, at < 0 || at >= 300*ms })
	v.decided = v.fault + int64(250*ms)
	c := newCell()
	c.add(Row{Place: InDomain}, lab.Single, probeSick, v)
	if c.Recovery != 41 || c.recovered() != "41 ms after 250 ms" {
		t.Errorf("given up after 250 ms, and failing for 300: %q", c.recovered())
	}
}

func TestTheMatrixIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Matrix {
		title := (&Result{Name: r.Name, Place: r.Place}).Title()
		if seen[title] {
			t.Errorf("%s is there twice", title)
		}
		seen[title] = true
		if (r.Order == nil) == (r.Outside == "") {
			t.Errorf("%s: one of a fault inside and one outside", title)
		}
		if r.Order != nil && slices.Contains(r.Where, lab.Reference) {
			t.Errorf("%s: libvirtd has no actors", title)
		}
		if r.Chapter == "" || len(r.Where) == 0 {
			t.Errorf("%s: %+v", title, r)
		}
	}
	if n := len(Smoke().Rows); n < 8 || n > 15 {
		t.Errorf("the smoke run has %d rows", n)
	}
}

func TestThePageStandsByItself(t *testing.T) {
	rep := &Report{Systems: anyone, Ratio: 3, Rows: []*Result{{Chapter: "Bugs", Name: "panic <once>", Place: InDomain, Cells: map[lab.Kind]*Cell{}}}}
	c := newCell()
	c.add(Row{}, lab.Single, "", visitOf([]*probe{{name: probeDomain, group: groupCalls}}, func(_ *probe, at time.Duration) (time.Duration, bool) {
		return time.Millisecond, at != 300*time.Millisecond
	}))
	c.judge(Limits{Ratio: 3}, nil)
	rep.Rows[0].Cells[lab.Single] = c
	page, err := rep.page()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{"panic &lt;once&gt;", "<svg", "1 calls failed", "not contained", "cannot be made here"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"http://", "https://", "src=", "@import", "url("} {
		if strings.Contains(text, bad) {
			t.Errorf("the page asks for something outside: %s", bad)
		}
	}
}
