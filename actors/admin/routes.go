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
	pending map[uint64]*call.Request
}

// subject is what the calls are about.
type subject struct {
	Daemon
	log Logging
}

// New makes the actor.
func New(env *branch.Env, daemon Daemon, log Logging) actor.Producer {
	return func() actor.Actor {
		return &driver{env: env, subject: subject{daemon, log}, pending: map[uint64]*call.Request{}}
	}
}

// answer is the result of a call's job.
type answer = kit.Done[protocol.Encoder]

// Receive serves calls.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Stopping, *actor.Restarting:
		for _, r := range d.pending {
			r.Fail(liberr.New(from, liberr.InternalError, "the admin server is gone"))
		}
		kit.CancelJobs(ctx)
	case *call.Call:
		routes.Serve(d, ctx, m, from)
	case *answer:
		if r := d.pending[m.Serial]; r != nil {
			delete(d.pending, m.Serial)
			r.Finish(m.Value, m.Err)
		}
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

type decodable[A any] interface {
	*A
	protocol.Decodable
}

type encodable[R any] interface {
	*R
	protocol.Encoder
}

// route runs a handler as a job.
func route[A, R any, PA decodable[A], PR encodable[R]](p protocol.Proc[A, R], h func(context.Context, subject, PA) (PR, error)) call.Route[*driver] {
	return call.Later(p, func(d *driver, ctx actor.Context, r *call.Request, a PA) error {
		s := d.subject
		run := kit.Job[protocol.Encoder]{
			Name:    "admin " + p.Name,
			Timeout: patience,
			Run: func(ctx context.Context, _ *kit.Undo) (protocol.Encoder, error) {
				ret, err := h(ctx, s, a)
				if err != nil {
					return nil, err
				}
				return ret, nil
			},
		}.Start(ctx)
		d.pending[run.Serial] = r
		return nil
	})
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
