package branch

import (
	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/metrics"
	"virtree/supervisors/paths"
)

// Env is what a branch knows of the world around it. It is made once per process and never changes.
type Env struct {
	Paths paths.Paths
	Log   zerolog.Logger

	// Branch returns the actor of a branch ("network", "logd"), in this process or behind its socket; nil
	// when the tree has no such branch.
	Branch func(name string) *actor.PID

	// Hold keeps the process from its idle exit until the returned function is called: a running domain,
	// an active network. It may be called from any goroutine.
	Hold func(why string) (release func())

	// Figures is where a branch enters what it has to show at a scrape; nil in a process that is not scraped.
	Figures *metrics.Sources

	// Faults tells whether the tree was started with --allow-faults.
	Faults bool
}
