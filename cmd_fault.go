package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/supervisors"
)

// Exit codes of fault and release, beside exitNothing.
const (
	exitUnknown supervisors.ExitCode = 3 // no actor of that name, or several
	exitRefused supervisors.ExitCode = 4 // the process does not allow faults, or the actor is not quarantined
)

// faultDefaults say what a fault is when nothing else was said.
var faultDefaults = map[string]struct {
	lasts time.Duration
	times int
	what  string
}{
	"panic": {0, 1, "let the actor panic; --times in a row"},
	"stall": {10 * time.Second, 1, "let the actor wait --for so long in one message; 0 is for ever"},
	"spin":  {10 * time.Second, 1, "let the actor burn a processor --for so long; 0 is for ever"},
	"flood": {0, 10_000, "send the actor --times messages, each of which takes it --for so long"},
	"exit":  {0, 1, "let the actor end its process"},
	"fatal": {0, 1, "let the actor run into an error that ends a Go process"},

	"nilmap":      {0, 1, "let the actor write to a map that is nil; --times in a row"},
	"alloc":       {10 * time.Second, 256, "let the actor take --times MiB of memory, and hold them --for so long"},
	"goroutines":  {10 * time.Second, 10_000, "let the actor leak --times goroutines"},
	"descriptors": {10 * time.Second, 1_000, "let the actor leak --times descriptors"},
	"closefd":     {0, 1, "let the actor close a file twice, when another has its number"},
	"stealfd":     {0, 1, "let the actor close by number the connections of the client whose process id is --times"},
	"overflow":    {0, 1, "let the actor use up its stack, which ends a Go process"},
	"mapwrite":    {0, 1, "let the actor write to a map from several goroutines, which ends a Go process"},
}

// faultCommand makes trouble in one actor of a tree that was started with --allow-faults.
func faultCommand(code *supervisors.ExitCode) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fault",
		Short: "make trouble in one actor, for tests of how the rest bears it",
		Long: "Make trouble in one actor of a tree that was started with --allow-faults.\n\n" +
			"PATH is the id of an actor, the title of an object (a domain's name), or the name of a branch or client; where\n" +
			"several processes have one of that name, process:PATH.\n\n" +
			"Exit code 0: the actor has the fault in its queue; 2: no tree runs; 3: no such actor; 4: faults are not allowed.",
	}
	var root string
	cmd.PersistentFlags().StringVar(&root, "root", "", "prefix of all paths and sockets, as given to run")
	for _, kind := range slices.Sorted(maps.Keys(faultDefaults)) {
		d := faultDefaults[kind]
		m := &actors.MakeFault{Kind: kind}
		sub := &cobra.Command{
			Use: kind + " PATH", Short: d.what, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				return atActor(root, args[0], code, func(v *actors.Visitor, p *actors.Process, n *supervisors.Node) error {
					m.ID = n.ID
					if err := v.Fault(p, m); err != nil {
						*code = exitTrouble
						if isRefusal(err) {
							*code = exitRefused
						}
						return err
					}
					fmt.Fprintf(os.Stdout, "%s in %s of %s (pid %d)\n", kind, n.ID, p.Daemon, p.PID)
					return nil
				})
			},
		}
		sub.Flags().DurationVar(&m.For, "for", d.lasts, "how long")
		sub.Flags().IntVar(&m.Times, "times", d.times, "how many")
		cmd.AddCommand(sub)
	}
	return cmd
}

// releaseCommand ends a quarantine.
func releaseCommand(code *supervisors.ExitCode) *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "release PATH",
		Short: "try an object or a branch again that was quarantined after repeated failures",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return atActor(root, args[0], code, func(v *actors.Visitor, p *actors.Process, n *supervisors.Node) error {
				if err := v.Release(p, n.ID); err != nil {
					*code = exitRefused
					return err
				}
				fmt.Fprintf(os.Stdout, "%s of %s (pid %d) is tried again\n", n.ID, p.Daemon, p.PID)
				return nil
			})
		},
	}
	rootFlag(cmd, &root)
	return cmd
}

// atActor finds the actor that is meant and the process to ask.
func atActor(root, path string, code *supervisors.ExitCode, do func(*actors.Visitor, *actors.Process, *supervisors.Node) error) error {
	return visit(root, code, func(v *actors.Visitor) error {
		p, n, err := v.Picture().Find(path)
		if err != nil {
			*code = exitUnknown
			return err
		}
		return do(v, p, n)
	})
}
