package actors

import (
	"fmt"
	"io"

	"virtree/actors/network"
	"virtree/actors/nwfilter"
	"virtree/supervisors/paths"
)

// InstallStock defines what libvirt's packages put on a host that has none of it: the network "default" and the stock
// filters. What is there under one of their names stays as it is. Daemons that run see it after a restart.
func InstallStock(p paths.Paths, out io.Writer) error {
	done, err := network.InstallDefault(p)
	if err != nil {
		return fmt.Errorf("network default: %w", err)
	}
	if done {
		fmt.Fprintln(out, "network default defined")
	}
	n, err := nwfilter.InstallStock(p)
	if n > 0 {
		fmt.Fprintf(out, "%d network filters defined\n", n)
	}
	return err
}
