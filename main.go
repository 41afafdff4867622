// Command virtree is libvirt's daemons as one binary: by its name or its first argument it is virtree,
// the tool that runs and shows a whole tree, or one of the daemons: libvirtd, virtqemud, virtproxyd ...
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/actors/network"
	"virtree/actors/storage/apart"
	"virtree/bench/isolation"
	"virtree/supervisors"
)

func main() {
	if code, was := network.LeaseHelper(os.Args, os.Getenv, os.Stdout); was { // dnsmasq runs us under that name
		os.Exit(code)
	}
	if apart.Main(os.Args) { // the storage branch runs us for storage that may hang
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "bench" {
		isolation.Enter() // a benchmark runs us for its boxes and helpers
	}
	name := filepath.Base(os.Args[0])
	args := os.Args[1:]
	if !slices.Contains(actors.Daemons(), name) && len(args) > 0 && slices.Contains(actors.Daemons(), args[0]) {
		name, args = args[0], args[1:]
	}
	var cmd *cobra.Command
	var code supervisors.ExitCode
	if slices.Contains(actors.Daemons(), name) {
		cmd = daemonCommand(name, &code)
	} else {
		cmd = treeCommand(&code)
	}
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	if err := cmd.Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: error: %v\n", name, err)
		if code == supervisors.ExitOK {
			code = supervisors.ExitInit
		}
	}
	os.Exit(int(code))
}
