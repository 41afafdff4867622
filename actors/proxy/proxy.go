// Package proxy is the branch of virtproxyd: the daemon that has libvirtd's sockets, and the TCP and TLS
// ones, on a host where every driver is a process of its own.
//
// The relaying itself is done by the client actors: a call goes, undecoded, to the PID of the branch that
// serves it, whose address is another process's; remoting carries it. So the branch holds no state and
// serves no call. It exists so that the process has something to supervise and to show.
package proxy

import (
	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
)

// New makes the branch.
func New(*branch.Env) actor.Producer {
	return func() actor.Actor { return &proxy{} }
}

type proxy struct{}

// Receive refuses calls: none is for the proxy itself.
func (*proxy) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call.Call:
		call.CloseFDs(m.FDs)
		call.NewRequest(ctx, m).Fail(call.Unsupported(m.Proc))
	case *actor.Started, *actor.Stopping, *actor.Restarting:
	default:
		kit.Unhandled(ctx, m)
	}
}
