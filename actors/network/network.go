package network

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/call"
	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/supervisors"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// network owns one network: its definitions, its ports, its dnsmasq. All fields belong to Receive; jobs get copies, and
// definitions, which nobody changes.
type network struct {
	// Constant after start.
	drv    *shared
	uuid   protocol.UUID
	name   string
	parent *actor.PID
	seed   *seed // what the branch read at its own start; used once
	log    zerolog.Logger

	// What it is.
	config    *definition // persistent; nil for a transient network
	live      *status     // non-nil exactly while the network is active; replaced, never changed
	autostart bool
	ports     map[protocol.UUID]*port // of the live network

	// What runs.
	daemon  daemon
	release func() // lets the process go idle; non-nil while active
	looking bool   // a look after the firewall waits for its turn: one is enough

	queue *kit.Queue[*task]
	tasks map[uint64]*task // running, by the job's serial

	stash kit.Stash // messages before it is loaded
	gone  bool      // forgotten: only answers that it is not there
}

// seed is what the branch knows of a network when it makes its actor: for one that is new nothing but that, else what it
// read from disk. A restarted actor reads again.
type seed struct {
	fresh     bool
	config    *definition
	status    *status
	autostart bool
}

// task is one job of a network. They run one after the other.
type task struct {
	name string
	req  *call.Request // who is answered; nil when nobody asked
	// decide looks, when the task's turn has come, whether it may run and returns the blocking part, which runs in a
	// goroutine of its own and must not touch the network; nil when there is none.
	decide func(n *network) (work, error)
	// apply continues in Receive after a success, and makes the answer.
	apply func(n *network, ctx actor.Context, out any) (protocol.Encoder, error)
	// failed, if set, continues after a failure.
	failed func(n *network, ctx actor.Context, err error)
}

type work func(ctx context.Context, undo *kit.Undo) (any, error)

const (
	jobLimit  = 2 * time.Minute // of one task: dnsmasq's start and hooks are its longest parts
	maxQueued = 1024
)

func newNetwork(drv *shared, parent *actor.PID, uuid protocol.UUID, name string, s *seed) *network {
	return &network{
		drv: drv, parent: parent, uuid: uuid, name: name, seed: s,
		log:   drv.env.Log.With().Str("network", name).Stringer("uuid", uuid).Logger(),
		queue: kit.NewQueue(maxQueued, func(running []*task, _ *task) bool { return len(running) == 0 }),
		tasks: map[uint64]*task{}, ports: map[protocol.UUID]*port{},
	}
}

// Receive is the network's table of contents.
func (n *network) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call.Call, *define, *create, *autostart, *rulesTouched:
		if !n.stash.Hold(ctx) {
			n.serve(ctx)
		}
	case *kit.Done[any]:
		n.jobDone(ctx, m)
	case *dnsmasqEnded:
		n.dnsmasqEnded(ctx, m)
	case *dnsmasqDue:
		n.dnsmasqDue(ctx, m)
	case *actor.Started:
		supervisors.Describe(ctx, supervisors.Facts{Title: n.name, Kind: "network"})
		n.load(ctx)
	case *actor.Stopping, *actor.Restarting:
		n.abandon(ctx)
	default:
		kit.Unhandled(ctx, m)
	}
}

func (n *network) serve(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call.Call:
		if n.gone {
			call.CloseFDs(m.FDs)
			call.NewRequest(ctx, m).Fail(missing(n.ref()))
			return
		}
		networkRoutes.Serve(n, ctx, m, from)
	case *define:
		n.define(ctx, m)
	case *create:
		n.create(ctx, m)
	case *autostart:
		if n.live == nil && n.config != nil {
			n.startAs(ctx, nil, n.config, orderStart, nil)
		}
	case *rulesTouched:
		n.repairRules(ctx, m.zones)
	}
}

// begin brings a task to the queue.
func (n *network) begin(ctx actor.Context, t *task) {
	switch n.queue.Submit(t, time.Time{}) {
	case kit.Run:
		n.launch(ctx, t)
	case kit.Full:
		n.end(ctx, t, nil, liberr.New(from, liberr.ResourceBusy, "too many calls are waiting for network '%s'", n.name))
	}
}

// launch runs a task whose turn has come.
func (n *network) launch(ctx actor.Context, t *task) {
	run, err := t.decide(n)
	if err != nil || run == nil {
		n.next(ctx, t)
		n.end(ctx, t, nil, err)
		return
	}
	job := kit.Job[any]{Name: t.name, Timeout: jobLimit, Run: run}.Start(ctx)
	n.tasks[job.Serial] = t
}

func (n *network) jobDone(ctx actor.Context, done *kit.Done[any]) {
	t := n.tasks[done.Serial]
	if t == nil { // of an earlier life of this actor: what it did is on disk and in the kernel
		if n.stash.Ready() && !n.gone {
			n.stash.Close()
			n.load(ctx)
		}
		return
	}
	delete(n.tasks, done.Serial)
	n.end(ctx, t, done.Value, done.Err)
	n.next(ctx, t)
}

// next takes a task off the queue and starts the one behind it.
func (n *network) next(ctx actor.Context, t *task) {
	for _, s := range n.queue.Done(func(r *task) bool { return r == t }) {
		n.launch(ctx, s)
	}
}

// end applies the outcome of a task and answers.
func (n *network) end(ctx actor.Context, t *task, out any, err error) {
	var ret protocol.Encoder
	if err == nil && t.apply != nil {
		ret, err = t.apply(n, ctx, out)
	}
	if err != nil && t.failed != nil {
		t.failed(n, ctx, err)
	}
	switch {
	case t.req != nil && err != nil:
		t.req.Fail(liberr.From(from, err))
	case t.req != nil:
		t.req.Reply(ret)
	case err != nil && !errors.Is(err, kit.ErrActorGone):
		n.log.Error().Err(err).Str("job", t.name).Msg("network job failed")
	}
}

// abandon lets go of what the actor holds in this process; the network goes on. It is the end of the actor or, before a
// restart, of this instance of it.
func (n *network) abandon(ctx actor.Context) {
	kit.CancelJobs(ctx)
	n.daemon.stopWatch()
	if n.release != nil {
		n.release()
		n.release = nil
	}
	gone := liberr.New(from, liberr.OperationFailed, "the management of network '%s' was restarted", n.name)
	n.stash.Refuse(ctx, gone)
	for _, t := range n.queue.Drain() {
		if t.req != nil {
			t.req.Fail(gone)
		}
	}
	for _, t := range n.tasks {
		if t.req != nil {
			t.req.Fail(gone)
		}
	}
}

func (n *network) ref() protocol.Network { return protocol.Network{Name: n.name, UUID: n.uuid} }

func (n *network) life() life { return life{n.config != nil, n.live != nil} }

// liveDef is the definition of the active network, nil when it is not.
func (n *network) liveDef() *definition {
	if n.live == nil {
		return nil
	}
	return n.live.def
}

// current is the definition that describes the network now.
func (n *network) current() *definition {
	if n.live != nil {
		return n.live.def
	}
	return n.config
}

// tell keeps the branch's view of the network up to date.
func (n *network) tell(ctx actor.Context) {
	ctx.Send(n.parent, &summaryChanged{summary{
		Name: n.name, UUID: n.uuid, Active: n.live != nil, Persistent: n.config != nil, Autostart: n.autostart,
		Bridges: [2]string{ownBridgeName(n.config), ownBridgeName(n.liveDef())},
	}})
	supervisors.Describe(ctx, supervisors.Facts{Title: n.name, Kind: "network", Life: supervisors.Activity(n.live != nil)})
}

// forgetIfNothing ends a network that is neither defined nor active.
func (n *network) forgetIfNothing(ctx actor.Context) {
	if n.life() == (life{}) {
		n.gone = true
		ctx.Send(n.parent, &forgotten{n.uuid}) // which ends this actor; what is queued until then hears that it is gone
	}
}

func (n *network) lifecycle(ctx actor.Context, event int32) {
	n.publish(ctx, virt.NetworkEventIDLifecycle, &protocol.NetworkEventLifecycleMsg{Net: n.ref(), Event: event})
}

// publish hands an event to the branch, without the callback id that its message begins with.
func (n *network) publish(ctx actor.Context, id int32, m protocol.Encoder) {
	ctx.Send(n.parent, &published{&call.Event{Object: "network", ID: id, UUID: n.uuid, Name: n.name, Payload: m.AppendXDR(nil)[4:]}})
}

// define makes the definition persistent: it is answered when it is on disk.
func (n *network) define(ctx actor.Context, m *define) {
	drv := n.drv
	n.begin(ctx, &task{
		name: "define", req: m.req,
		decide: func(*network) (work, error) {
			return func(context.Context, *kit.Undo) (any, error) { return nil, drv.storeConfig(m.def) }, nil
		},
		apply: func(n *network, ctx actor.Context, _ any) (protocol.Encoder, error) {
			_, event, _ := n.life().on(orderDefine, n.name)
			n.config = m.def
			n.tell(ctx)
			n.lifecycle(ctx, event)
			if m.req.Proc == protocol.NetworkDefineXML.Procedure {
				return &protocol.NetworkDefineXMLRet{Net: n.ref()}, nil
			}
			return &protocol.NetworkDefineXMLFlagsRet{Net: n.ref()}, nil
		},
		failed: func(n *network, ctx actor.Context, _ error) { n.forgetIfNothing(ctx) },
	})
}

// undefine takes the definition away; an active network goes on as a transient one.
func (n *network) undefine(ctx actor.Context, r *call.Request, _ *protocol.NetworkUndefineArgs) error {
	drv, name := n.drv, n.name
	n.begin(ctx, &task{
		name: "undefine", req: r,
		decide: func(n *network) (work, error) {
			if _, _, err := n.life().on(orderUndefine, name); err != nil {
				return nil, err
			}
			def, active := n.config, n.live != nil
			return func(context.Context, *kit.Undo) (any, error) {
				if err := drv.dropConfig(name); err != nil || active {
					return nil, err
				}
				drv.dropFiles(def)
				return nil, nil
			}, nil
		},
		apply: func(n *network, ctx actor.Context, _ any) (protocol.Encoder, error) {
			_, event, _ := n.life().on(orderUndefine, name)
			n.config, n.autostart = nil, false
			n.tell(ctx)
			n.lifecycle(ctx, event)
			n.forgetIfNothing(ctx)
			return nil, nil
		},
	})
	return nil
}

func (n *network) setAutostart(ctx actor.Context, r *call.Request, a *protocol.NetworkSetAutostartArgs) error {
	drv, name, on := n.drv, n.name, a.Autostart != 0
	n.begin(ctx, &task{
		name: "autostart", req: r,
		decide: func(n *network) (work, error) {
			if n.config == nil {
				return nil, liberr.New(from, liberr.OperationInvalid, "cannot set autostart for transient network")
			}
			if n.autostart == on {
				return nil, nil
			}
			return func(context.Context, *kit.Undo) (any, error) {
				if on {
					if err := disk.Symlink(drv.configPath(name), drv.autostartPath(name)); err != nil {
						return nil, liberr.System(from, err, "Failed to create symlink '%s' to '%s'", drv.autostartPath(name), drv.configPath(name))
					}
					return nil, nil
				}
				if err := disk.Remove(drv.autostartPath(name)); err != nil {
					return nil, liberr.System(from, err, "Failed to delete symlink '%s'", drv.autostartPath(name))
				}
				return nil, nil
			}, nil
		},
		apply: func(n *network, ctx actor.Context, _ any) (protocol.Encoder, error) {
			n.autostart = on
			n.tell(ctx)
			return nil, nil
		},
	})
	return nil
}
