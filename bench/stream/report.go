package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// memoryLimit is how much more resident memory than before any daemon may have had while streams ran, in KiB.
const memoryLimit = 48 << 10

// report prints what was measured and says of each promise whether it held.
func report(w io.Writer, p *plan, systems []*system) (broken bool) {
	byName := map[string]*system{}
	fmt.Fprintf(w, "%d MiB by virsh, seconds (MiB/s; processor seconds of the daemons), median\n\n%-17s", p.size>>20, "")
	for _, s := range systems {
		byName[s.name] = s
		fmt.Fprintf(w, "%24s", s.name)
	}
	fmt.Fprintln(w)
	for _, t := range p.transfers {
		fmt.Fprintf(w, "%-17s", t.name)
		for _, s := range systems {
			m := median(seconds(s.took[t.name]))
			fmt.Fprintf(w, "%10.2f (%5.0f; %4.2f)", m, float64(p.size>>20)/m, median(seconds(s.cpu[t.name])))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%-17s", "memory, MiB more")
	for _, s := range systems {
		fmt.Fprintf(w, "%24.1f", float64(s.peak()-s.peak0)/1024)
	}
	fmt.Fprintln(w, "\n\npromises")
	promise := func(text string, value, bound float64) {
		word := "held"
		if value > bound {
			word, broken = "BROKEN", true
		}
		fmt.Fprintf(w, "  %-52s %6.2f <= %-5g %s\n", text, value, bound, word)
	}
	for _, t := range p.transfers {
		for _, pair := range []struct {
			a, b  string
			bound float64
		}{{"single", "libvirtd", 1}, {"direct", "libvirtd", 1}, {"proxy", "direct", 1.15}} {
			if a, b := byName[pair.a], byName[pair.b]; a != nil && b != nil {
				promise(fmt.Sprintf("%s: time of %s, to %s's", t.name, pair.a, pair.b), ratio(a.took[t.name], b.took[t.name]), pair.bound)
			}
		}
	}
	for _, s := range systems {
		if s.name != "libvirtd" {
			promise(s.name+": more memory while streams run, MiB", float64(s.peak()-s.peak0)/1024, memoryLimit/1024)
		}
	}
	return broken
}

// ratio is the median of the rounds' ratios.
func ratio(a, b []time.Duration) float64 {
	var all []float64
	for i := range a {
		all = append(all, a[i].Seconds()/b[i].Seconds())
	}
	return median(all)
}

func seconds(all []time.Duration) (s []float64) {
	for _, d := range all {
		s = append(s, d.Seconds())
	}
	return s
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	if n := len(all); n%2 == 1 {
		return all[n/2]
	} else if n > 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return 0
}
