package main

import (
	"github.com/spf13/cobra"

	"virtree/actors"
	"virtree/supervisors"
	"virtree/supervisors/paths"
)

// stockCommand gives a host what libvirt's packages would have given it.
func stockCommand(code *supervisors.ExitCode) *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "stock",
		Short: "define the default network and the stock network filters, where they are missing",
		Long: "Define the network \"default\" (NAT on virbr0, 192.168.122.0/24) and the stock network filters (clean-traffic,\n" +
			"no-mac-spoofing ...) on a host that has none under their names. Daemons that run see them after a restart.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := actors.InstallStock(paths.System(root), cmd.OutOrStdout())
			if err != nil {
				*code = exitTrouble
			}
			return err
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "prefix of all paths")
	return cmd
}
