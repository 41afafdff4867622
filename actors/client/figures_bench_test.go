package client

import (
	"testing"
	"time"

	"virtree/wire/protocol"
)

// BenchmarkCall is one call of one client over a socket, to a branch that answers at once.
func BenchmarkCall(b *testing.B) {
	w := start(b, nil)
	c := w.open()
	ctx := b.Context()
	b.ReportAllocs()
	for range b.N {
		if err := lookup(ctx, c, "echo"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCount is what the figures add to a call.
func BenchmarkCount(b *testing.B) {
	w := start(b, nil)
	f := w.conf.Figures()
	proc := protocol.DomainLookupByName
	b.ReportAllocs()
	for range b.N {
		f.served(proc.Program, proc.Number, time.Now(), nil)
	}
}
