package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/supervisors"
	"virtree/supervisors/paths"
)

// Exit codes of mode, beside 0.
const (
	exitHalfSwitched supervisors.ExitCode = 1 // two ways to run at once
	exitSwitchFailed supervisors.ExitCode = 3 // nothing has changed, or the error says what has
	exitNoSystemd    supervisors.ExitCode = 4 // switching needs systemd as PID 1, and root
)

// modeCommand shows or switches how this host runs its guests' management.
func modeCommand(code *supervisors.ExitCode) *cobra.Command {
	var root, unitsInto string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "mode [single|split|off]",
		Short: "show, or switch in one step, how this host runs",
		Long: "Show how this host runs, or switch it: single is libvirtd, one process; split is a process per branch\n" +
			"(" + branchesText() + ");\n" +
			"off takes virtree's units away and brings back what ran before the first switch. Guests run on.\n\n" +
			"A switch is refused on a host that runs in two ways at once, and taken back as a whole when a step fails.\n\n" +
			"Exit code 0: done; 1: half-switched; 3: the switch failed; 4: no systemd as PID 1, or not root.",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{modeSingle, modeSplit, modeOff},
		RunE: func(_ *cobra.Command, args []string) error {
			p := paths.System(root)
			binary, err := os.Executable()
			if err != nil {
				return err
			}
			units := unitSet{binary: binary, paths: p}
			var manager serviceManager = systemctl{}
			if !manager.Booted() || root != "" {
				manager = diskUnits{root}
			}
			switch {
			case unitsInto != "" && len(args) == 1:
				return writeUnits(unitsInto, units.files(args[0]))
			case len(args) == 0:
				return showMode(os.Stdout, manager, p, code)
			}
			if !dryRun && (!manager.Booted() || os.Geteuid() != 0) {
				*code = exitNoSystemd
				return fmt.Errorf("switching needs systemd as PID 1, and root; `virtree run` starts a tree without either")
			}
			w := &switcher{manager: manager, paths: p, units: units, out: os.Stdout, dryRun: dryRun}
			if err := w.to(args[0]); err != nil {
				*code = exitSwitchFailed
				if half := (*halfSwitched)(nil); errors.As(err, &half) {
					*code = exitHalfSwitched
				}
				return err
			}
			return nil
		},
	}
	rootFlag(cmd, &root)
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only say what would be done")
	cmd.Flags().StringVar(&unitsInto, "units", "", "only write the systemd units of the mode into this folder; for packagers")
	return cmd
}

func writeUnits(dir string, files []unitFile) error {
	for _, f := range files {
		if err := writeFile(filepath.Join(dir, f.name), []byte(f.text)); err != nil {
			return err
		}
	}
	return nil
}

// showMode prints what was found: the verdict first, then what it comes from.
func showMode(w io.Writer, m serviceManager, p paths.Paths, code *supervisors.ExitCode) error {
	s, err := look(m, p)
	if err != nil {
		return err
	}
	mode, ours, half := s.mode()
	switch {
	case half != nil:
		*code = exitHalfSwitched
		fmt.Fprintln(w, half.Error())
	case mode == modeOff:
		fmt.Fprintln(w, "off: no unit of virtree or of libvirt's own daemons is enabled or running")
	case ours:
		fmt.Fprintf(w, "%s: virtree's units\n", mode)
	default:
		fmt.Fprintf(w, "%s: libvirt's own daemons, not virtree's\n", mode)
	}
	if !m.Booted() {
		fmt.Fprintln(w, "systemd is not PID 1 here: what follows was read from disk, and nothing can be switched")
	}
	fmt.Fprintf(w, "\n%-28s %-8s %-9s %-7s %s\n", "UNIT", "OF", "ENABLED", "ACTIVE", "FILE")
	for _, name := range s.sorted() {
		u := s.units[name]
		if u.Path == "" {
			continue
		}
		fmt.Fprintf(w, "%-28s %-8s %-9s %-7s %s\n", name, pick(u.Ours, "virtree", "libvirt"), pick(u.Enabled, "yes", "no"), activity(m, u), u.Path)
	}
	return runningTree(w, p)
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func activity(m serviceManager, u unit) string {
	switch {
	case !m.Booted():
		return "-"
	case u.Failed:
		return "failed"
	}
	return pick(u.Active, "yes", "no")
}

// runningTree adds what runs, whoever started it.
func runningTree(w io.Writer, p paths.Paths) error {
	v, err := actors.NewVisitor(p.Root, answerLimit)
	if err != nil {
		return err
	}
	defer v.Close()
	picture := v.Picture()
	if picture.Mode == modeOff {
		fmt.Fprintln(w, "\nNo process of virtree runs here.")
		return nil
	}
	fmt.Fprintf(w, "\nvirtree runs: %s\n", headline(picture))
	for _, process := range picture.Processes {
		fmt.Fprintf(w, "  %-16s pid %-8d %s %s\n", process.Daemon, process.PID, process.State, process.Error)
	}
	return nil
}
