package main

import (
	"fmt"
	"io"
	"math"
)

// promise is a number that the project has given its word for.
type promise struct {
	text  string
	value float64
	least bool // value must be at least the bound, else at most
	bound float64
}

// promises says of each whether it held in this run; what could not be measured is
// neither held nor broken.
func promises(w io.Writer, r *run) (broken bool) {
	p50 := func(s, op string, conns int) float64 {
		return number(r.Calls[s][op], conns, func(v result) float64 { return v.P50 })
	}
	// Of a round only neighbours in time are compared: what else the machine did in
	// that second hit both.
	rates := func(s, op string, conns int) float64 {
		ours, theirs := r.Calls[s][op][conns], r.Calls[baseline][op][conns]
		if len(ours.Rates) == 0 || len(ours.Rates) != len(theirs.Rates) {
			return math.NaN()
		}
		var all []float64
		for i := range ours.Rates {
			all = append(all, ours.Rates[i]/theirs.Rates[i])
		}
		return median(all)
	}
	cost := func(s, name string) float64 {
		v, ok := r.Costs[s][name]
		if !ok || v.Err != "" {
			return math.NaN()
		}
		return v.P50
	}
	var all []promise
	for _, op := range []string{"version", "lookup", "info", "xml"} {
		all = append(all, promise{op + ": p50 of one connection, to libvirtd's", p50("single", op, 1) / p50(baseline, op, 1), false, 0.5})
	}
	all = append(all, promise{"version: p50 of one connection, to a bare echo's", p50("single", "version", 1) / p50("echo", "version", 1), false, 2.5})
	for _, op := range []string{"version", "lookup", "info", "xml"} {
		for _, n := range []int{16, 64} {
			all = append(all, promise{fmt.Sprintf("%s: calls a second at %d connections, to libvirtd's", op, n), rates("single", op, n), true, 4})
		}
	}
	for _, op := range []string{"version", "lookup", "info", "xml"} {
		all = append(all, promise{op + ": p50 through the proxy, to direct", p50("proxy", op, 1) / p50("direct", op, 1), false, 1.6})
	}
	mib := func(s, moment string) float64 {
		u, ok := r.Memory[s][moment]
		if !ok {
			return math.NaN()
		}
		return float64(u.RSS) / 1024
	}
	all = append(all,
		promise{"start of a guest, to libvirtd's", cost("single", "start") / cost(baseline, "start"), false, 0.7},
		promise{fmt.Sprintf("list of %d domains, p50 to libvirtd's", r.Domains), p50("single", "list", 1) / p50(baseline, "list", 1), false, 0.5},
		promise{fmt.Sprintf("define of %d domains, p50 to libvirtd's", r.Domains), cost("single", "define") / cost(baseline, "define"), false, 1},
		promise{"resident memory of the idle tree in one process, MiB", mib("single", "idle"), false, 40},
		promise{"resident memory of idle virtqemud, MiB", mib("direct", "idle, virtqemud"), false, 25},
		promise{"more memory per defined domain, KiB", r.perDomain("single"), false, 32},
		promise{"first answer after exec, ms", cost("single", "first answer, empty") / 1e3, false, 100},
		promise{fmt.Sprintf("first answer with %d domains on disk, ms", r.Domains), cost("single", "first answer, defined") / 1e3, false, 1000},
	)
	fmt.Fprintln(w, "\npromises")
	for _, p := range all {
		word := "held"
		switch {
		case math.IsNaN(p.value) || math.IsInf(p.value, 0):
			word = "not measured"
		case p.least && p.value < p.bound, !p.least && p.value > p.bound:
			word, broken = "BROKEN", true
		}
		sign := "<="
		if p.least {
			sign = ">="
		}
		fmt.Fprintf(w, "  %-62s %8.2f %s %-6g %s\n", p.text, p.value, sign, p.bound, word)
	}
	return broken
}

func number(m map[int]result, conns int, pick func(result) float64) float64 {
	v, ok := m[conns]
	if !ok || v.Err != "" {
		return math.NaN()
	}
	return pick(v)
}
