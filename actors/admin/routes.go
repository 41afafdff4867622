package admin

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

const from = liberr.FromAdmin

// patience is how long a Daemon may take.
const patience = 30 * time.Second

// driver is the actor: calls in the hands of jobs, nothing else.
type driver struct {
	env     *branch.Env
	subject subject
	bus     branch.Bus // the program has no events; who subscribes hears nothing
	desk    branch.Desk
}

// subject is what the calls are about.
type subject struct {
	Daemon
	log Logging
}

// New makes the actor.
func New(env *branch.Env, daemon Daemon, log Logging) actor.Producer {
	return func() actor.Actor {
		return &driver{env: env, subject: subject{daemon, log}, desk: branch.NewDesk(from, "admin server")}
	}
}

// Receive serves calls.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) || d.desk.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *call.Call:
		branch.Serve(&d.desk, routes, d, ctx, m)
	default:
		kit.Unhandled(ctx, m)
	}
}

// routes is the table of contents.
var routes = call.NewTable(
	call.Answer(protocol.AdminConnectOpen, (*driver).open),
	call.Answer(protocol.AdminConnectClose, (*driver).close),
	call.Answer(protocol.AdminConnectGetLibVersion, (*driver).version),
	route(protocol.AdminConnectListServers, listServers),
	route(protocol.AdminConnectLookupServer, lookupServer),
	route(protocol.AdminServerGetThreadpoolParameters, threadpool),
	route(protocol.AdminServerSetThreadpoolParameters, setThreadpool),
	route(protocol.AdminServerGetClientLimits, limits),
	route(protocol.AdminServerSetClientLimits, setLimits),
	route(protocol.AdminServerUpdateTLSFiles, updateTLS),
	route(protocol.AdminServerListClients, listClients),
	route(protocol.AdminServerLookupClient, lookupClient),
	route(protocol.AdminClientGetInfo, clientInfo),
	route(protocol.AdminClientClose, disconnect),
	route(protocol.AdminConnectGetLoggingOutputs, outputs),
	route(protocol.AdminConnectSetLoggingOutputs, setOutputs),
	route(protocol.AdminConnectGetLoggingFilters, filters),
	route(protocol.AdminConnectSetLoggingFilters, setFilters),
	route(protocol.AdminConnectSetDaemonTimeout, setTimeout),
)

// route runs a handler as a job.
func route[A, R any, PA call.Decodable[A], PR call.Encodable[R]](p protocol.Proc[A, R], h func(context.Context, subject, PA) (PR, error)) call.Route[*driver] {
	return branch.Job(p, patience, func(d *driver) (*branch.Desk, subject) { return &d.desk, d.subject }, h)
}

// libVersion is the version of libvirt that the daemons speak for: 9.0.0.
const libVersion = 9_000_000

func (d *driver) open(_ actor.Context, _ *call.Request, a *protocol.AdminConnectOpenArgs) (*protocol.Void, error) {
	return &protocol.Void{}, call.CheckFlags(a.Flags, 0, from, "adminDispatchConnectOpen")
}

// close is answered before the client's actor closes the connection.
func (d *driver) close(actor.Context, *call.Request, *protocol.Void) (*protocol.Void, error) {
	return &protocol.Void{}, nil
}

func (d *driver) version(actor.Context, *call.Request, *protocol.Void) (*protocol.AdminConnectGetLibVersionRet, error) {
	return &protocol.AdminConnectGetLibVersionRet{LibVer: libVersion}, nil
}
