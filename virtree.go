package main

import (
	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/supervisors"
)

// treeCommand is the binary under its own name.
func treeCommand(code *supervisors.ExitCode) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "virtree",
		Short: "libvirt's daemons as one supervised tree",
	}
	cmd.AddCommand(runCommand(code))
	addLookCommands(cmd, code)
	return cmd
}

// runCommand runs the whole tree in the foreground.
func runCommand(code *supervisors.ExitCode) *cobra.Command {
	o := actors.Options{Daemon: "libvirtd"}
	var quiet bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "run the whole tree in the foreground: in one process, or with --split in one per branch",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			o.Verbose = !quiet
			*code = run(o)
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Split, "split", false, "one process per branch")
	f.StringVar(&o.Root, "root", "", "prefix of all paths and sockets")
	f.BoolVarP(&o.Listen, "listen", "l", false, "listen for TCP/IP connections")
	f.StringArrayVar(&o.Foreign, "foreign", nil, "driver that libvirt's own daemon serves: NAME or NAME=SOCKET (repeatable)")
	metricsFlags(cmd, &o)
	f.BoolVar(&o.Faults, "allow-faults", false, "obey `virtree fault`: for tests")
	f.BoolVarP(&quiet, "quiet", "q", false, "log warnings and errors only")
	return cmd
}
