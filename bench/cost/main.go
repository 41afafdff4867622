package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"virtree/bench/internal/lab"
)

// plan says how much is measured.
type plan struct {
	window   time.Duration // of one count of wake-ups
	windows  int
	defined  []int // numbers of defined domains: the first two are those that wake-ups are counted with
	running  int
	conns    []int
	settling time.Duration // at most, until a process's memory rests
}

var (
	whole = plan{window: 6 * time.Second, windows: 5, defined: []int{1, 100, 500, 1000}, running: 20, conns: []int{500, 2000}, settling: 8 * time.Second}
	quick = plan{window: 2 * time.Second, windows: 3, defined: []int{1, 20, 60}, running: 2, conns: []int{50, 100}, settling: 3 * time.Second}
)

// result is all that was measured.
type result struct {
	Load    string              // of the machine when it began: a busy one makes the times longer
	Pieces  []piece             `json:",omitempty"`
	Idle    []idleState         `json:",omitempty"`
	Memory  map[string][]weight `json:",omitempty"` // by process
	Skipped []string            `json:",omitempty"`
}

func main() {
	lab.Enter()
	out := flag.String("out", "bench/results", "folder for cost.json and cost.txt")
	names := flag.String("systems", "libvirtd,single,split", "what to measure")
	only := flag.String("only", "pieces,idle,memory", "parts to measure")
	small := flag.Bool("quick", false, "a fraction of it: to see that it works, not to quote")
	flag.Parse()
	if err := run(context.Background(), *small, strings.Split(*names, ","), strings.Split(*only, ","), *out); err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, small bool, names, parts []string, out string) error {
	p := whole
	if small {
		p = quick
	}
	wanted := map[string]bool{}
	for _, name := range parts {
		wanted[name] = true
	}
	load, _ := os.ReadFile("/proc/loadavg")
	r := result{Load: strings.TrimSpace(string(load)), Memory: map[string][]weight{}}
	if wanted["pieces"] {
		var err error
		if r.Pieces, err = pieces(ctx, small); err != nil {
			return err
		}
	}
	if wanted["idle"] || wanted["memory"] {
		systems, skipped := openAll(ctx, names)
		defer closeAll(systems)
		r.Skipped = skipped
		if err := r.live(ctx, p, systems, wanted["idle"], wanted["memory"]); err != nil {
			return err
		}
	}
	var text bytes.Buffer
	r.print(io.MultiWriter(os.Stdout, &text))
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for name, b := range map[string][]byte{"cost.json": append(data, '\n'), "cost.txt": text.Bytes()} {
		if err := os.WriteFile(filepath.Join(out, name), b, 0o644); err != nil {
			return err
		}
	}
	fmt.Println("written to", out)
	return nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
