package main

import (
	"fmt"
	"io"
	"math"
	"sort"
	"strings"
)

var operationOrder = []string{"version", "lookup", "info", "xml", "list"}

const baseline = "libvirtd"

// ratio prints a value against libvirtd's.
func ratio(v, base float64) string {
	if base == 0 || math.IsNaN(base) || math.IsNaN(v) {
		return ""
	}
	return fmt.Sprintf("%.2f", v/base)
}

// table prints all numbers, each system's beside its ratio to libvirtd's.
func table(w io.Writer, r *run, order []string) {
	cell := func(v float64, s string) string {
		if s != "" {
			return fmt.Sprintf("%9.1f %6s", v, "x"+s)
		}
		return fmt.Sprintf("%9.1f %6s", v, "")
	}
	head := func(title string) {
		fmt.Fprintf(w, "\n%-26s", title)
		for _, s := range order {
			fmt.Fprintf(w, " | %-16s", s)
		}
		fmt.Fprintf(w, "\n%s\n", strings.Repeat("-", 26+19*len(order)))
	}
	row := func(title string, get func(system string) (float64, string)) {
		fmt.Fprintf(w, "%-26s", title)
		base, _ := get(baseline)
		for _, s := range order {
			v, note := get(s)
			switch {
			case note != "":
				fmt.Fprintf(w, " | %16.16s", note)
			case math.IsNaN(v):
				fmt.Fprintf(w, " | %16s", "-")
			case s == baseline:
				fmt.Fprintf(w, " | %s", cell(v, ""))
			default:
				fmt.Fprintf(w, " | %s", cell(v, ratio(v, base)))
			}
		}
		fmt.Fprintln(w)
	}
	calls := func(op string, conns int, pick func(result) float64) func(string) (float64, string) {
		return func(s string) (float64, string) {
			res, ok := r.Calls[s][op][conns]
			if !ok {
				return math.NaN(), ""
			}
			if res.Err != "" {
				return math.NaN(), res.Err
			}
			return pick(res), ""
		}
	}
	for _, conns := range r.connections() {
		head(fmt.Sprintf("%d connections", conns))
		for _, op := range operationOrder {
			row(op+" p50, us", calls(op, conns, func(v result) float64 { return v.P50 }))
			row(op+" p99, us", calls(op, conns, func(v result) float64 { return v.P99 }))
			row(op+" calls/s", calls(op, conns, func(v result) float64 { return v.Rate }))
		}
	}
	head("costs, ms")
	for _, cost := range []string{"connect and open", "define", "start", "destroy", "first answer, empty", "first answer, defined"} {
		for _, q := range []string{"p50", "p99"} {
			if q == "p99" && strings.HasPrefix(cost, "first") {
				continue
			}
			row(cost+" "+q, func(s string) (float64, string) {
				res, ok := r.Costs[s][cost]
				if !ok {
					return math.NaN(), ""
				}
				if q == "p99" {
					return res.P99 / 1e3, res.Err
				}
				return res.P50 / 1e3, res.Err
			})
		}
	}
	head("memory, MiB")
	for _, m := range r.moments() {
		row(m+" RSS", func(s string) (float64, string) {
			u, ok := r.Memory[s][m]
			if !ok {
				return math.NaN(), ""
			}
			return float64(u.RSS) / 1024, ""
		})
		row(m+" PSS", func(s string) (float64, string) {
			u, ok := r.Memory[s][m]
			if !ok {
				return math.NaN(), ""
			}
			return float64(u.PSS) / 1024, ""
		})
	}
	row("KiB per defined domain", func(s string) (float64, string) { return r.perDomain(s), "" })
}

func (r *run) perDomain(s string) float64 {
	idle, ok := r.Memory[s]["idle"]
	if !ok || r.Domains == 0 || s == "echo" {
		return math.NaN()
	}
	return float64(r.Memory[s]["defined"].RSS-idle.RSS) / float64(r.Domains)
}

func (r *run) connections() []int {
	seen := map[int]bool{}
	for _, ops := range r.Calls {
		for _, conns := range ops {
			for n := range conns {
				seen[n] = true
			}
		}
	}
	var all []int
	for n := range seen {
		all = append(all, n)
	}
	sort.Ints(all)
	return all
}

func (r *run) moments() []string {
	seen := map[string]bool{}
	var all []string
	for _, m := range r.Memory {
		for k := range m {
			if !seen[k] {
				seen[k] = true
				all = append(all, k)
			}
		}
	}
	rank := func(s string) int {
		for i, p := range []string{"idle", "defined", "after"} {
			if strings.HasPrefix(s, p) {
				return 2*i + strings.Count(s, ",")
			}
		}
		return 9
	}
	sort.Slice(all, func(i, j int) bool { return rank(all[i]) < rank(all[j]) })
	return all
}
