package isolation

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strings"

	"virtree/bench/internal/lab"
)

// The page is one file without outside assets: plots are SVG made here, colours follow the reader's light or dark scheme.

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

type (
	pageData struct {
		*Report
		Floor    string
		Scores   []pageScore
		Chapters []*pageChapter
	}
	pageScore struct {
		Kind               lab.Kind
		Label              string
		Good, All, Percent int
	}
	pageChapter struct {
		Name, About string
		Rows        []pageRow
	}
	pageRow struct {
		ID, Name string
		Place    Place
		Cells    []pageCell
	}
	pageCell struct {
		Kind                           lab.Kind
		Label                          string
		C                              *Cell
		Class, Mark, Short, Why, Facts template.HTML
		Plot                           template.HTML
		None                           string
	}
)

func (rep *Report) page() ([]byte, error) {
	d := pageData{Report: rep, Floor: millis(float64(rep.Floor) / 1e6)}
	for _, kind := range rep.Systems {
		s := pageScore{Kind: kind, Label: labels[kind]}
		s.Good, s.All = rep.Count(kind)
		s.Percent = 100 * s.Good / max(1, s.All)
		d.Scores = append(d.Scores, s)
	}
	for i, row := range rep.Rows {
		if len(d.Chapters) == 0 || d.Chapters[len(d.Chapters)-1].Name != row.Chapter {
			d.Chapters = append(d.Chapters, &pageChapter{Name: row.Chapter, About: row.About})
		}
		r := pageRow{ID: fmt.Sprintf("f%d", i), Name: row.Name, Place: row.Place}
		if row.Place == Nowhere {
			r.Place = ""
		}
		for _, kind := range rep.Systems {
			r.Cells = append(r.Cells, rep.cell(row, kind))
		}
		at := d.Chapters[len(d.Chapters)-1]
		at.Rows = append(at.Rows, r)
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, d)
	return b.Bytes(), err
}

func (rep *Report) cell(row *Result, kind lab.Kind) pageCell {
	c := row.Cells[kind]
	p := pageCell{Kind: kind, Label: labels[kind], C: c, None: "cannot be made here: there are no actors"}
	switch {
	case c == nil && kind == lab.Single && row.Place == InProxy:
		p.None = "there is no proxy in one process"
	case c == nil && kind == lab.Single:
		p.None = "the branch has no process of its own"
	}
	if c == nil {
		return p
	}
	text := func(s string) template.HTML { return template.HTML(template.HTMLEscapeString(s)) } //nolint:gosec // escaped here
	p.Class, p.Mark = "bad", "✗"
	if c.Contained {
		p.Class, p.Mark = "good", "✓"
	} else {
		p.Why = text(strings.Join(c.Reasons, "; "))
	}
	calls, ping := c.Fault[groupCalls], c.Fault[groupPing]
	switch {
	case c.Failed > 0:
		p.Short = text(fmt.Sprintf("%d of %d calls failed", c.Failed, calls.Calls+ping.Calls+c.Fault[groupMonitor].Calls+c.Fault[groupOpen].Calls))
	case c.Broke != "" && c.Broke != groupCalls:
		p.Short = text(fmt.Sprintf("%s %s, ×%.1f", c.Broke, millis(c.Fault[c.Broke].P99), c.BrokeBy))
	case calls.Calls > 0:
		p.Short = text(fmt.Sprintf("%s, ×%.1f", millis(calls.P99), calls.P99/math.Max(c.Base, 1e-3)))
	}
	var rows, facts []string
	for _, g := range groups {
		if q, f := c.Quiet[g], c.Fault[g]; f.Calls > 0 {
			rows = append(rows, fmt.Sprintf("<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>", g, millis(q.P99), millis(f.P99), millis(f.P999), millis(f.Max)))
		}
	}
	fact := func(name, format string, args ...any) {
		facts = append(facts, name+" <b>"+template.HTMLEscapeString(fmt.Sprintf(format, args...))+"</b>")
	}
	fact("failed", "%d", c.Failed)
	if c.Events > 0 {
		fact("events lost", "%d of %d", c.EventsLost, c.Events)
	}
	fact("guests ended", "%d of %d", c.GuestsLost, c.Guests)
	if c.Recovery != -2 {
		fact("recovery", "%s", c.recovered())
	}
	fact("memory", "%d → %d MiB", c.Memory>>10, c.MemoryPeak>>10)
	if c.Recovery == -1 && len(c.Sick) > 0 {
		fact("the faulty object's callers hear", "%.120s", c.Sick[len(c.Sick)-1])
	}
	if c.Noted != "" {
		facts = append(facts, template.HTMLEscapeString(c.Noted))
	}
	p.Facts = template.HTML("<table><tr><th></th><th>p99 before</th><th>p99</th><th>p99.9</th><th>longest</th></tr>" + strings.Join(rows, "") + "</table>" + //nolint:gosec // escaped above
		strings.Join(facts, " · "))
	p.Plot = rep.plot(row, c)
	return p
}

// Size of a plot, and what its axis spans.
const (
	plotW, plotH           = 380.0, 132.0
	plotL, plotT           = 38.0, 6.0
	plotR, plotB           = 6.0, 18.0
	leastMicros, mostMicro = 50.0, 2e7
)

func plotY(us float64) float64 {
	us = math.Min(math.Max(us, leastMicros), mostMicro)
	share := math.Log(us/leastMicros) / math.Log(mostMicro/leastMicros)
	return plotT + (plotH-plotT-plotB)*(1-share)
}

// plot draws a cell's trace. The axis of time is the same for all systems of a row.
func (rep *Report) plot(row *Result, c *Cell) template.HTML {
	if c.Trace == nil {
		return ""
	}
	from, to := math.Inf(1), math.Inf(-1)
	for _, o := range row.Cells {
		if t := o.Trace; t != nil {
			from, to = math.Min(from, t.Start), math.Max(to, t.Start+t.Step*float64(len(t.P50)))
		}
	}
	x := func(ms float64) float64 { return plotL + (plotW-plotL-plotR)*(ms-from)/(to-from) }
	t := c.Trace
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="latency over time">`, plotW, plotH)
	bottom := plotH - plotB
	fmt.Fprintf(&b, `<rect class="band" x="%.1f" y="%g" width="%.1f" height="%g"/>`, x(0), plotT, x(t.End)-x(0), bottom-plotT)
	for us, name := range map[float64]string{1e2: "0.1 ms", 1e3: "1 ms", 1e4: "10 ms", 1e5: "0.1 s", 1e6: "1 s", 1e7: "10 s"} {
		fmt.Fprintf(&b, `<path class="g" d="M%g %.1fH%g"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`, plotL, plotY(us), plotW-plotR, plotL-4, plotY(us)+3, name)
	}
	fmt.Fprintf(&b, `<path class="edge" d="M%.1f %gV%gM%.1f %gV%g"/>`, x(0), plotT, bottom, x(t.End), plotT, bottom)
	step := 500.0
	for (to-from)/step > 8 {
		step *= 2
	}
	for ms := math.Ceil(from/step) * step; ms <= to; ms += step {
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle">%gs</text>`, x(ms), plotH-5, ms/1e3)
	}
	if c.Limit > 0 {
		y := plotY(c.Limit * 1e3)
		fmt.Fprintf(&b, `<path class="limit" d="M%g %.1fH%g"/>`, plotL, y, plotW-plotR)
	}
	var top, low, mid strings.Builder
	pen := "M"
	var back []string
	for i := range t.P50 {
		if t.P50[i] == 0 {
			continue
		}
		at := x(t.Start + (float64(i)+0.5)*t.Step)
		fmt.Fprintf(&mid, "%s%.1f %.1f", pen, at, plotY(float64(t.P50[i])))
		fmt.Fprintf(&top, "%s%.1f %.1f", pen, at, plotY(float64(t.Max[i])))
		back = append(back, fmt.Sprintf("L%.1f %.1f", at, plotY(float64(t.P50[i]))+1))
		pen = "L"
	}
	for i := len(back) - 1; i >= 0; i-- {
		low.WriteString(back[i])
	}
	fmt.Fprintf(&b, `<path class="env" d="%s%sZ"/><path class="mid" d="%s"/>`, top.String(), low.String(), mid.String())
	var bad strings.Builder
	for i, n := range t.Bad {
		if n > 0 {
			fmt.Fprintf(&bad, "M%.1f %gv8", x(t.Start+(float64(i)+0.5)*t.Step), plotT)
		}
	}
	if bad.Len() > 0 {
		fmt.Fprintf(&b, `<path class="fail" d="%s"/>`, bad.String())
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers and our own words
}
