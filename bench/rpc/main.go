package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"virtree/bench/internal/lab"
)

func main() {
	lab.Enter()
	enterEcho()
	out := flag.String("out", "bench/results", "folder for results.json and the plots")
	names := flag.String("systems", "echo,libvirtd,single,direct,proxy", "what to measure")
	quick := flag.Bool("quick", false, "a tenth of it: to see that it works, not to quote")
	check := flag.Bool("check", false, "exit with 1 when a promise is broken")
	flag.Parse()
	p := plan{rounds: 5, domains: 1000, starts: 15, restarts: 3, slice: 200 * time.Millisecond, conns: []int{1, 16, 64}}
	if *quick {
		p = plan{rounds: 2, domains: 100, starts: 2, restarts: 1, slice: 50 * time.Millisecond, conns: p.conns}
	}
	broken, err := bench(context.Background(), strings.Split(*names, ","), p, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if *check && broken {
		os.Exit(1)
	}
}

func bench(ctx context.Context, names []string, p plan, out string) (broken bool, err error) {
	systems, skipped := openSystems(ctx, names)
	defer func() {
		for i := len(systems) - 1; i >= 0; i-- {
			systems[i].close()
		}
	}()
	for _, why := range skipped {
		fmt.Fprintln(os.Stderr, "left out:", why)
	}
	if len(systems) == 0 {
		return false, fmt.Errorf("nothing to measure")
	}
	r, err := measure(ctx, systems, p)
	if err != nil {
		return false, err
	}
	r.Skipped = skipped
	var order []string
	for _, s := range systems {
		order = append(order, s.name)
	}
	table(os.Stdout, r, order)
	broken = promises(os.Stdout, r)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return broken, err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return broken, err
	}
	for name, data := range map[string][]byte{
		"results.json":   append(text, '\n'),
		"latency.svg":    latencyPlot(r, order),
		"throughput.svg": throughputPlot(r, order),
	} {
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			return broken, err
		}
	}
	fmt.Println("written to", out)
	return broken, nil
}
