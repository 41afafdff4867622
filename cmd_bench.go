package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"virtree/bench/isolation"
	"virtree/supervisors"
)

// benchCommand holds the measurements that anybody may repeat on his own host. They run beside whatever runs there, in
// namespaces of their own.
//
// The harness starts this binary again for the boxes and helpers it needs; main sees to that.
func benchCommand(code *supervisors.ExitCode) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "measure this virtree, beside libvirtd where it is installed",
	}
	cmd.AddCommand(benchIsolationCommand(code))
	return cmd
}

func benchIsolationCommand(code *supervisors.ExitCode) *cobra.Command {
	var out, systems, only, from string
	var smoke, check bool
	var rounds, guests int
	cmd := &cobra.Command{
		Use:   "isolation",
		Short: "what everybody else feels when one thing is in trouble: faults x places x systems",
		Long: "Make faults in one thing at a time and measure what calls on everything else feel: in one process, split, and in\n" +
			"libvirtd where the fault comes from outside. Prints a table and writes isolation.json and isolation.html.\n\n" +
			"Exit code 0: measured; 1: with --check, something was not contained.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rep, err := isolation.Load(from)
			if from == "" {
				rep, err = runIsolation(systems, only, smoke, rounds, guests)
			}
			if err != nil {
				return err
			}
			rep.Table(os.Stdout)
			if err := rep.Write(out); err != nil {
				return err
			}
			fmt.Printf("written: %s, %s\n", filepath.Join(out, "isolation.json"), filepath.Join(out, "isolation.html"))
			if check && !rep.Contained() {
				*code = exitTrouble
				return errors.New("a fault was not contained")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "bench/results", "folder for isolation.json and isolation.html")
	f.StringVar(&systems, "systems", "", "comma-separated: libvirtd, single, split")
	f.StringVar(&only, "only", "", "regular expression for \"fault, place\": only those rows")
	f.StringVar(&from, "from", "", "isolation.json of an earlier run: print and draw that again")
	f.BoolVar(&smoke, "smoke", false, "some rows, once, in two minutes")
	f.BoolVar(&check, "check", false, "exit with 1 when a fault was not contained by virtree")
	f.IntVar(&rounds, "rounds", 0, "how often each row is visited; 0: as planned")
	f.IntVar(&guests, "guests", 0, "running guests in each system; 0: as planned")
	return cmd
}

func runIsolation(systems, only string, smoke bool, rounds, guests int) (*isolation.Report, error) {
	if os.Getenv("VIRTREE_BIN") == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		os.Setenv("VIRTREE_BIN", exe)
	}
	p := isolation.Whole()
	if smoke {
		p = isolation.Smoke()
	}
	if err := p.Choose(systems, only, rounds, guests); err != nil {
		return nil, err
	}
	p.Progress = progressLine()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rep, err := isolation.Run(ctx, p)
	fmt.Fprint(os.Stderr, "\r\x1b[K")
	return rep, err
}

// progressLine says what is being done, on one line of a terminal; elsewhere now and then.
func progressLine() func(done, all int, what string) {
	st, err := os.Stderr.Stat()
	terminal := err == nil && st.Mode()&os.ModeCharDevice != 0
	began, last := time.Now(), time.Time{}
	return func(done, all int, what string) {
		line := fmt.Sprintf("[%s] %s", time.Since(began).Round(time.Second), what)
		if all > 0 {
			const width = 24
			full := width * done / all
			line = fmt.Sprintf("[%s%s] %d/%d %s %s", strings.Repeat("#", full), strings.Repeat(".", width-full), done, all, time.Since(began).Round(time.Second), what)
		}
		switch {
		case terminal:
			fmt.Fprintf(os.Stderr, "\r\x1b[K%.110s", line)
		case time.Since(last) > 10*time.Second:
			last = time.Now()
			fmt.Fprintln(os.Stderr, line)
		}
	}
}
