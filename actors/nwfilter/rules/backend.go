package rules

import "context"

// Backend holds the programs of ports in the kernel. Its methods may be called from any goroutine; they block for as long
// as the kernel takes.
type Backend interface {
	// Apply replaces what each of the ports had, all of them in one transaction: no packet sees a port without rules, and
	// after an error everything is as it was. Applying what is there already is cheap.
	Apply(ctx context.Context, programs ...*Program) error
	// Remove takes the rules of ports away. Ports without rules are no error.
	Remove(ctx context.Context, ports ...string) error
	// Ports lists the ports that have rules now, sorted.
	Ports(ctx context.Context) ([]string, error)
}
