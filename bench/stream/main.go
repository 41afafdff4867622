package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"virtree/bench/internal/lab"
)

func main() {
	lab.Enter()
	size := flag.Int64("size", 256, "of one transfer, MiB")
	rounds := flag.Int("rounds", 3, "how often each is measured")
	names := flag.String("systems", "libvirtd,single,direct,proxy", "what to measure")
	which := flag.String("transfers", "upload,download,sparse-upload,sparse-download", "what to measure of each")
	check := flag.Bool("check", false, "exit with 1 when a promise is broken")
	flag.Parse()
	broken, err := bench(context.Background(), *size, *rounds, strings.Split(*names, ","), strings.Split(*which, ","))
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if *check && broken {
		os.Exit(1)
	}
}

func bench(ctx context.Context, size int64, rounds int, names, transfers []string) (broken bool, err error) {
	var systems []*system
	defer func() {
		for _, s := range systems {
			s.close()
		}
	}()
	for _, n := range names {
		s, err := open(ctx, n, systems)
		if err != nil {
			return false, err
		}
		systems = append(systems, s)
	}
	dir, err := os.MkdirTemp("/tmp", "virtree-stream-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	p, err := newPlan(dir, size<<20, transfers)
	if err != nil {
		return false, err
	}
	for _, s := range systems {
		if err := s.prepare(ctx, p); err != nil {
			return false, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for round := range rounds {
		for _, t := range p.transfers {
			for i := range systems {
				s := systems[(i+round)%len(systems)]
				if err := s.measure(ctx, p, t); err != nil {
					return false, fmt.Errorf("%s: %s: %w", s.name, t.name, err)
				}
			}
		}
	}
	return report(os.Stdout, p, systems), nil
}
