package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"virtree/bench/internal/lab"
)

// piece is one line of a benchmark.
type piece struct {
	Name   string
	Nanos  float64
	Bytes  float64
	Allocs float64
	More   map[string]float64 `json:",omitempty"` // figures of its own, by unit
}

// packages hold the pieces: what is measured is internal to them.
var packages = []string{"./actors/internal/mailbox", "./actors/internal/kit", "./actors/qemu", "./actors/client", "./wire/remoting"}

// pieces runs the benchmarks called Cost of all packages, one after the other.
func pieces(ctx context.Context, small bool) ([]piece, error) {
	progress("pieces: go test -bench")
	benchtime, times := "200ms", "3"
	if small {
		benchtime, times = "20ms", "1"
	}
	args := append([]string{"test", "-p", "1", "-run", "^$", "-bench", "^BenchmarkCost", "-benchmem", "-benchtime", benchtime, "-count", times}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = lab.ModuleRoot(), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	return fastest(parse(bytes.NewReader(out))), nil
}

// fastest keeps the quickest run of each piece: what the machine does beside it only ever adds.
func fastest(all []piece) (kept []piece) {
	at := map[string]int{}
	for _, p := range all {
		i, known := at[p.Name]
		switch {
		case !known:
			at[p.Name] = len(kept)
			kept = append(kept, p)
		case p.Nanos < kept[i].Nanos:
			kept[i] = p
		}
	}
	return kept
}

// parse reads what go test prints: a name, a count, then pairs of a figure and its unit.
func parse(r io.Reader) (all []piece) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "BenchmarkCost") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(f[0], "BenchmarkCost"), "-") // -2: processors
		p := piece{Name: strings.NewReplacer("_", " ", "/", ": ").Replace(name)}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				break
			}
			switch f[i+1] {
			case "ns/op":
				p.Nanos = v
			case "B/op":
				p.Bytes = v
			case "allocs/op":
				p.Allocs = v
			default:
				if p.More == nil {
					p.More = map[string]float64{}
				}
				p.More[f[i+1]] = v
			}
		}
		all = append(all, p)
	}
	return all
}

func printPieces(w io.Writer, all []piece) {
	fmt.Fprintln(w, "\npieces")
	t := columns(w)
	fmt.Fprint(t, "\tns\tB\tallocations\t\n")
	for _, p := range all {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t", p.Name, p.Nanos, p.Bytes, p.Allocs)
		for _, unit := range slices.Sorted(maps.Keys(p.More)) {
			fmt.Fprintf(t, "%.0f %s\t", p.More[unit], unit)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
}
