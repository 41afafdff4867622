package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"virtree/actors"
	"virtree/actors/follow"
	"virtree/supervisors"
)

// Exit codes of the commands that look. They go from good to bad, for scripts.
const (
	exitTrouble supervisors.ExitCode = 1 // something in the tree is stuck, dead, failed, quarantined or abandoned
	exitNothing supervisors.ExitCode = 2 // no tree runs here
)

// answerLimit is how long a process may take to describe itself.
const answerLimit = 2 * time.Second

// addLookCommands puts the commands that look into a running tree, and the one that troubles it, below the main one.
func addLookCommands(cmd *cobra.Command, code *supervisors.ExitCode) {
	cmd.AddCommand(treeLookCommand(code), topCommand(code), webCommand(), metricsCommand(code), faultCommand(code), releaseCommand(code), modeCommand(code), stockCommand(code), benchCommand(code))
}

// visit opens the tree below root for one command.
func visit(root string, code *supervisors.ExitCode, look func(v *actors.Visitor) error) error {
	v, err := actors.NewVisitor(root, answerLimit)
	if err != nil {
		return err
	}
	defer v.Close()
	if len(v.Sockets()) == 0 {
		*code = exitNothing
		return fmt.Errorf("no process of a tree has a socket in %s", v.Dir())
	}
	return look(v)
}

func rootFlag(cmd *cobra.Command, root *string) {
	cmd.Flags().StringVar(root, "root", "", "prefix of all paths and sockets, as given to run")
}

func treeLookCommand(code *supervisors.ExitCode) *cobra.Command {
	var root string
	var asJSON, watch, all bool
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "show the running tree: branches, processes, objects, queues, restarts, errors",
		Long: "Show the running tree.\n\n" +
			"Exit code 0: all is well; 1: something is stuck, dead, failed, quarantined or abandoned; 2: no tree runs.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return visit(root, code, func(v *actors.Visitor) error {
				if watch {
					return everySecond(func(w io.Writer) { printTree(w, v.Picture(), width(), all) })
				}
				p := v.Picture()
				if troubled(p) {
					*code = exitTrouble
				}
				if asJSON {
					return printJSON(os.Stdout, p)
				}
				printTree(os.Stdout, p, width(), all)
				return nil
			})
		},
	}
	rootFlag(cmd, &root)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "draw again each second until Ctrl-C")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "show all of many quiet objects, and the actors beside the tree")
	return cmd
}

func metricsCommand(code *supervisors.ExitCode) *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "print the figures of all processes in the Prometheus text format",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return visit(root, code, func(v *actors.Visitor) error {
				page, err := v.Metrics()
				_, _ = os.Stdout.Write(page)
				if err != nil {
					*code = exitTrouble
				}
				return err
			})
		},
	}
	rootFlag(cmd, &root)
	return cmd
}

// printJSON leaves out the processes' own trees: they are in the one tree.
func printJSON(w io.Writer, p *actors.Picture) error {
	for _, process := range p.Processes {
		process.Tree = nil
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(p)
}

func troubled(p *actors.Picture) (yes bool) {
	p.Tree.Walk(func(n *supervisors.Node, _ int) { yes = yes || follow.Ails(n) })
	for _, process := range p.Processes {
		yes = yes || follow.Bad(process.State)
	}
	return yes
}

// everySecond draws a screen again and again until it is interrupted.
func everySecond(draw func(w io.Writer)) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	s := openScreen(os.Stdout)
	defer s.close()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.show(draw)
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
	}
}

// width of the terminal; 0 where there is none and nothing is cut.
func width() int {
	ws, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(ws.Col)
}

// height of the terminal, less a line for the cursor.
func height() int {
	ws, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Row == 0 {
		return 0
	}
	return int(ws.Row) - 1
}

// isRefusal tells a process that does not allow faults from one that could not.
func isRefusal(err error) bool {
	var r *actors.FaultsRefused
	return errors.As(err, &r)
}
