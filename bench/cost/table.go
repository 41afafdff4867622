package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// print writes the tables.
func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "load of the machine at the start: %s\n", r.Load)
	if len(r.Pieces) > 0 {
		printPieces(w, r.Pieces)
	}
	if len(r.Idle) > 0 {
		r.printIdle(w)
	}
	if len(r.Memory) > 0 {
		r.printMemory(w)
	}
	for _, why := range r.Skipped {
		fmt.Fprintln(w, "left out:", why)
	}
}

func columns(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func (r *result) printIdle(w io.Writer) {
	fmt.Fprintln(w, "\nwake-ups a second, median of the windows")
	t := columns(w)
	fmt.Fprint(t, "\t")
	rates := map[string][]float64{}
	var names []string
	for i, st := range r.Idle {
		fmt.Fprintf(t, "%s\t", st.Name)
		for _, v := range st.Rates {
			if rates[v.Process] == nil {
				rates[v.Process] = make([]float64, len(r.Idle))
				names = append(names, v.Process)
			}
			rates[v.Process][i] = v.PerSec
		}
	}
	fmt.Fprintln(t)
	for _, name := range names {
		fmt.Fprintf(t, "%s\t", name)
		for _, v := range rates[name] {
			fmt.Fprintf(t, "%.2f\t", v)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
}

// slope is what one more thing costs a process, in KiB, by the least squares through what was weighed.
func slope(all []weight, of string) (perOne float64, ok bool) {
	var n, sx, sy, sxx, sxy float64
	for _, v := range all {
		if v.Of != of {
			continue
		}
		x, y := float64(v.N), float64(v.Private)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; n > 1 && d != 0 {
		return (n*sxy - sx*sy) / d, true
	}
	return 0, false
}

func (r *result) printMemory(w io.Writer) {
	fmt.Fprintln(w, "\nmemory: at rest, MiB; then KiB for each further one")
	t := columns(w)
	grows := []string{definedDomain, runningGuest, connection}
	fmt.Fprint(t, "\tPSS\tprivate\t")
	for _, of := range grows {
		fmt.Fprintf(t, "%s\t", of)
	}
	fmt.Fprintln(t)
	for _, name := range slices.Sorted(maps.Keys(r.Memory)) {
		all := r.Memory[name]
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t", name, float64(all[0].PSS)/1024, float64(all[0].Private)/1024)
		for _, of := range grows {
			if v, ok := slope(all, of); ok {
				fmt.Fprintf(t, "%.1f\t", v)
			} else {
				fmt.Fprint(t, "\t")
			}
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
}
