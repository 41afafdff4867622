package main

import (
	"bytes"
	"fmt"
	"math"
)

// colors tell the systems apart, also for people who do not see red and green apart.
var colors = map[string]string{
	"echo": "#999999", "libvirtd": "#D55E00", "single": "#0072B2", "direct": "#009E73", "proxy": "#CC79A7",
}

var labels = map[string]string{
	"echo": "bare echo", "libvirtd": "libvirtd 9.0.0", "single": "virtree, one process",
	"direct": "virtree split, virtqemud-sock", "proxy": "virtree split, through the proxy",
}

// picture is an SVG under construction.
type picture struct {
	bytes.Buffer
	w, h float64
}

func newPicture(w, h float64, title, sub string) *picture {
	p := &picture{w: w, h: h}
	fmt.Fprintf(p, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %g %g" font-family="sans-serif" font-size="13">`+"\n", w, h, w, h)
	fmt.Fprintf(p, `<rect width="%g" height="%g" fill="white"/>`+"\n", w, h)
	p.text(20, 30, "start", 18, "#222", title)
	p.text(20, 50, "start", 12, "#666", sub)
	return p
}

func (p *picture) text(x, y float64, anchor string, size float64, color, s string) {
	fmt.Fprintf(p, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%g" fill="%s">%s</text>`+"\n", x, y, anchor, size, color, s)
}

func (p *picture) line(x1, y1, x2, y2 float64, color string, width float64) {
	fmt.Fprintf(p, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"/>`+"\n", x1, y1, x2, y2, color, width)
}

func (p *picture) bar(x, y, w, h float64, color string) {
	fmt.Fprintf(p, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, w, h, color)
}

func (p *picture) end() []byte {
	p.WriteString("</svg>\n")
	return p.Bytes()
}

func (p *picture) legend(order []string, x, y float64) {
	for _, s := range order {
		p.bar(x, y-10, 12, 12, colors[s])
		p.text(x+18, y, "start", 12, "#222", labels[s])
		x += 34 + 6.6*float64(len(labels[s]))
	}
}

// logAxis maps values between two powers of ten to pixels, with lines at 1, 2 and 5.
type logAxis struct{ lo, hi, from, to float64 }

func newLogAxis(values []float64, from, to float64) logAxis {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 && !math.IsNaN(v) {
			lo, hi = math.Min(lo, v), math.Max(hi, v)
		}
	}
	if math.IsInf(lo, 0) {
		lo, hi = 1, 10
	}
	return logAxis{lo / 2.5, hi * 1.8, from, to}
}

func (a logAxis) at(v float64) float64 {
	return a.from + (math.Log(v)-math.Log(a.lo))/(math.Log(a.hi)-math.Log(a.lo))*(a.to-a.from)
}

func (a logAxis) ticks() []float64 {
	var all []float64
	for e := math.Floor(math.Log10(a.lo)); e <= math.Ceil(math.Log10(a.hi)); e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v >= a.lo && v <= a.hi {
				all = append(all, v)
			}
		}
	}
	return all
}

// short writes 1500 as 1.5k.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.3gk", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// groups draws one panel of grouped dots on a logarithmic scale, which has no zero
// that a bar could stand on; the whisker, where there is one, goes up to a second value.
func (p *picture) groups(x, y, w, h float64, title string, names, order []string, value, whisker func(group, system string) float64) {
	var values []float64
	for _, g := range names {
		for _, s := range order {
			values = append(values, value(g, s))
			if whisker != nil {
				values = append(values, whisker(g, s))
			}
		}
	}
	axis := newLogAxis(values, y+h, y)
	p.text(x, y-8, "start", 13, "#222", title)
	for _, t := range axis.ticks() {
		p.line(x, axis.at(t), x+w, axis.at(t), "#e4e4e4", 1)
		p.text(x-6, axis.at(t)+4, "end", 11, "#666", short(t))
	}
	step := w / float64(len(names))
	for i, g := range names {
		var present []string
		for _, s := range order {
			if v := value(g, s); v > 0 && !math.IsNaN(v) {
				present = append(present, s)
			}
		}
		bw := math.Min((step-14)/float64(max(len(present), 1)), 36)
		left := x + float64(i)*step + (step-bw*float64(len(present)))/2
		for j, s := range present {
			v := value(g, s)
			bx := left + float64(j)*bw
			p.line(bx+bw/2, axis.at(v), bx+bw/2, y+h, "#eeeeee", 2)
			top := v
			if whisker != nil {
				if q := whisker(g, s); q > v {
					top = q
					mid := bx + bw/2
					p.line(mid, axis.at(v), mid, axis.at(q), "#333", 1)
					p.line(mid-4, axis.at(q), mid+4, axis.at(q), "#333", 1)
				}
			}
			fmt.Fprintf(p, `<circle cx="%.1f" cy="%.1f" r="6" fill="%s"/>`+"\n", bx+bw/2, axis.at(v), colors[s])
			if top > v {
				// Above the whisker it would be read as the whisker's value.
				p.text(bx+bw/2, axis.at(v)+17, "middle", 9, "#333", short(v))
			} else {
				p.text(bx+bw/2, axis.at(v)-9, "middle", 9, "#333", short(v))
			}
		}
		p.text(x+float64(i)*step+step/2, y+h+18, "middle", 12, "#222", g)
	}
	p.line(x, y+h, x+w, y+h, "#888", 1)
}

func latencyPlot(r *run, order []string) []byte {
	p := newPicture(1000, 460, "Latency of a call, one connection", "Dots: median in microseconds, on a logarithmic scale; whiskers: 99th percentile. Lower is better.")
	get := func(pick func(result) float64) func(string, string) float64 {
		return func(op, s string) float64 { return number(r.Calls[s][op], 1, pick) }
	}
	p.groups(60, 100, 920, 290, "", named(r), order, func(g, s string) float64 { return get(func(v result) float64 { return v.P50 })(unnamed(g), s) },
		func(g, s string) float64 { return get(func(v result) float64 { return v.P99 })(unnamed(g), s) })
	p.legend(order, 60, 440)
	return p.end()
}

func throughputPlot(r *run, order []string) []byte {
	conns := r.connections()
	h := 240.0
	p := newPicture(1000, 130+float64(len(conns))*(h+70), "Calls a second", "Median of the rounds, on a logarithmic scale, one call in flight per connection. Higher is better.")
	for i, n := range conns {
		title := fmt.Sprintf("%d connections", n)
		if n == 1 {
			title = "1 connection"
		}
		p.groups(60, 100+float64(i)*(h+70), 920, h, title, named(r), order, func(g, s string) float64 {
			return number(r.Calls[s][unnamed(g)], n, func(v result) float64 { return v.Rate })
		}, nil)
	}
	p.legend(order, 60, 110+float64(len(conns))*(h+70))
	return p.end()
}

var opNames = map[string]string{"version": "library version", "lookup": "lookup by name", "info": "domain info", "xml": "domain XML"}

func named(r *run) []string {
	var all []string
	for _, op := range operationOrder {
		if n := opNames[op]; n != "" {
			all = append(all, n)
		} else {
			all = append(all, fmt.Sprintf("list of %d domains", r.Domains))
		}
	}
	return all
}

func unnamed(name string) string {
	for op, n := range opNames {
		if n == name {
			return op
		}
	}
	return "list"
}
