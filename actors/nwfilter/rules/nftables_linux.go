package rules

import "context"

// Options of NFTables.
type Options struct {
	// Warn hears what an operator should know, such as bridges whose frames the kernel does not show to the IP hooks.
	// May be nil.
	Warn func(message string)
}

// NFTables is the backend for the network namespace of the thread that calls it first.
func NFTables(o Options) Backend { return &nftablesBackend{options: o} }

type nftablesBackend struct{ options Options }

func (b *nftablesBackend) Apply(context.Context, ...*Program) error { return nil }
func (b *nftablesBackend) Remove(context.Context, ...string) error  { return nil }
func (b *nftablesBackend) Ports(context.Context) ([]string, error)  { return nil, nil }
