package storage

import (
	"context"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/supervisors"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// How long storage may take before a job is given up. What copies data has no limit: it ends with the pool's actor.
const (
	briefly   = 30 * time.Second // one volume, one folder, one file of ours
	refreshIn = 5 * time.Minute
)

// pool owns one storage pool. All fields belong to Receive; jobs get definitions and volumes, which nobody changes.
type pool struct {
	// Constant after start.
	env    *branch.Env
	store  store
	parent *actor.PID
	uuid   protocol.UUID
	name   string
	seed   *seed // what the branch read at its own start; nil after a restart
	fresh  bool  // there is nothing on disk
	log    zerolog.Logger

	// What it is.
	backend    backend.Backend
	def        *def.Pool // what it is, or was when it was last active
	next       *def.Pool // the stored definition, where another one is in use
	active     bool
	persistent bool
	autostart  bool

	volumes  map[string]*volume // nil while it is not active
	sorted   []*def.Volume      // by name; nil: to be made again
	listed   []byte             // the answer to who lists them all; nil: to be made again
	touched  map[string]bool
	watching func()   // ends the watch; nil while there is none
	heard    []string // names that changed and are to be looked at
	looking  bool

	// What it does.
	works    map[uint64]*work // running, by the job's serial
	busy     *work            // the one that is about the pool as a whole
	queue    []turn
	changes  int // jobs that change volumes
	sessions map[uint64]string
	token    uint64

	stash kit.Stash // calls before it is loaded from disk
	gone  bool      // forgotten: only answers that it is not there
}

// volume is one as the pool knows it.
type volume struct {
	*def.Volume      // nil while it is being made
	uses        int  // as a source, by uploads
	making      bool // its name is taken
}

// turn waits until nothing else concerns the pool as a whole.
type turn struct {
	req   *call.Request
	plan  func(ctx actor.Context) (*work, error)
	looks bool // as work's
}

// work is one call in a job. apply runs in Receive when the job went well and makes the answer; failed runs in Receive
// when it did not, also when the actor ends before the job does.
type work struct {
	name   string
	req    *call.Request // nil when nobody waits
	limit  time.Duration
	change bool // it changes volumes: the pool must not go away under it
	stops  bool // the pool is going away: nothing new may begin
	run    func(ctx context.Context, undo *kit.Undo) (any, error)
	apply  func(ctx actor.Context, out any) (protocol.Encoder, error)
	failed func(ctx actor.Context, err error)
	looks  bool // it only looks at the storage: the end of the pool does not wait for it

	running *kit.Running
}

func newPool(env *branch.Env, parent *actor.PID, d *def.Pool, b backend.Backend, s *seed, fresh bool) *pool {
	return &pool{
		env: env, store: store{env.Paths}, parent: parent, uuid: d.UUID, name: d.Name, seed: s, fresh: fresh, backend: b, def: d,
		log:   env.Log.With().Str("pool", d.Name).Stringer("uuid", d.UUID).Logger(),
		works: map[uint64]*work{}, sessions: map[uint64]string{},
	}
}

// Receive is the pool's table of contents.
func (p *pool) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call.Call, *define, *create, *autostart, *lend, *borrow:
		if !p.stash.Hold(ctx) {
			p.serve(ctx)
		}
	case *done:
		p.done(ctx, m)
	case *folderChanged:
		p.folderChanged(ctx, m)
	case *call.StreamEnded:
		p.streamEnded(ctx, m)
	case *returned:
		p.unuse(m.volume)
	case *actor.Started:
		supervisors.Describe(ctx, supervisors.Facts{Title: p.name, Kind: "pool"})
		p.load(ctx)
	case *actor.Stopping, *actor.Restarting:
		p.abandon(ctx)
	default:
		kit.Unhandled(ctx, m)
	}
}

func (p *pool) serve(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call.Call:
		if p.gone {
			call.CloseFDs(m.FDs)
			call.NewRequest(ctx, m).Fail(p.isGone())
			return
		}
		poolRoutes.Serve(p, ctx, m, from)
	case *define:
		p.define(ctx, m)
	case *create:
		p.create(ctx, m)
	case *autostart:
		p.autostartNow(ctx)
	case *lend:
		p.lend(ctx, m)
	case *borrow:
		p.borrow(ctx, m)
	}
}

// begin runs a work's job.
func (p *pool) begin(ctx actor.Context, w *work) {
	if w.change {
		p.changes++
	}
	secrets := p.secrets(ctx.ActorSystem().Root)
	run := kit.Job[any]{Name: w.name, Timeout: w.limit, Run: func(jc context.Context, undo *kit.Undo) (any, error) {
		return w.run(backend.WithSecrets(jc, secrets), undo)
	}}.Start(ctx)
	w.running = run
	p.works[run.Serial] = w
}

// overtake has what only looks at the storage, which may hang, end or not begin.
func (p *pool) overtake(cause error) {
	p.queue = slices.DeleteFunc(p.queue, func(t turn) bool {
		if t.looks && t.req != nil {
			t.req.Fail(liberr.From(from, cause))
		}
		return t.looks
	})
	for _, w := range p.works {
		if w.looks {
			w.running.Cancel(cause)
		}
	}
}

// alone runs what is about the pool as a whole: plan is asked when it is its turn, and may refuse.
func (p *pool) alone(ctx actor.Context, r *call.Request, plan func(ctx actor.Context) (*work, error)) {
	p.queue = append(p.queue, turn{req: r, plan: plan})
	p.nextTurn(ctx)
}

func (p *pool) nextTurn(ctx actor.Context) {
	for p.busy == nil && len(p.queue) > 0 {
		t := p.queue[0]
		p.queue = p.queue[1:]
		w, err := t.plan(ctx)
		switch {
		case err != nil && t.req != nil:
			t.req.Fail(liberr.From(from, err))
		case err == nil && w != nil:
			w.req, p.busy = t.req, w
			p.begin(ctx, w)
		}
	}
}

// done applies the outcome of a job and answers the call.
func (p *pool) done(ctx actor.Context, m *done) {
	w := p.works[m.Serial]
	if w == nil { // of an earlier life of this actor
		return
	}
	delete(p.works, m.Serial)
	p.over(w)
	err := m.Err
	var ret protocol.Encoder
	if err == nil && w.apply != nil {
		ret, err = w.apply(ctx, m.Value)
	}
	if err != nil {
		if w.failed != nil {
			w.failed(ctx, err)
		}
		if w.req == nil {
			p.log.Error().Err(err).Str("job", w.name).Msg("storage job failed")
		}
	}
	if w.req != nil {
		w.req.Finish(ret, asError(err)) // does nothing where apply has answered
	}
	p.nextTurn(ctx)
}

func (p *pool) over(w *work) {
	if w.change {
		p.changes--
	}
	if p.busy == w {
		p.busy = nil
	}
}

func asError(err error) error {
	if err == nil {
		return nil
	}
	return liberr.From(from, err)
}

// abandon lets go of what this life of the actor holds; the pool stays as it is.
func (p *pool) abandon(ctx actor.Context) {
	kit.CancelJobs(ctx)
	err := liberr.New(from, liberr.OperationFailed, "the management of storage pool '%s' was restarted", p.name)
	works, queue := p.works, p.queue
	p.works, p.queue, p.busy = nil, nil, &work{} // nothing may begin any more
	for _, w := range works {
		if w.failed != nil {
			w.failed(ctx, err)
		}
		if w.req != nil {
			w.req.Fail(err)
		}
	}
	for _, t := range queue {
		if t.req != nil {
			t.req.Fail(err)
		}
	}
	p.stash.Refuse(ctx, err)
	p.unwatch()
}

// requireActive is libvirt's refusal of what needs an active pool.
func (p *pool) requireActive() error {
	if !p.active || p.busy != nil && p.busy.stops {
		return liberr.New(from, liberr.OperationInvalid, "storage pool '%s' is not active", p.name)
	}
	return nil
}

func (p *pool) requireQuiet() error {
	if p.changes > 0 {
		return liberr.New(from, liberr.InternalError, "pool '%s' has asynchronous jobs running.", p.name)
	}
	return nil
}

func (p *pool) isGone() *liberr.Error {
	return liberr.New(from, liberr.NoStoragePool, "no storage pool with matching uuid '%s' (%s)", p.uuid, p.name)
}

// stored is the definition that a start with the host uses.
func (p *pool) stored() *def.Pool {
	if p.next != nil {
		return p.next
	}
	return p.def
}

func (p *pool) ref() protocol.StoragePool { return protocol.StoragePool{Name: p.name, UUID: p.uuid} }

// tell keeps the branch's view up to date.
func (p *pool) tell(ctx actor.Context) {
	ctx.Send(p.parent, &summaryChanged{summary{UUID: p.uuid, Def: p.def, Active: p.active, Persistent: p.persistent, Autostart: p.autostart}})
	supervisors.Describe(ctx, supervisors.Facts{Title: p.name, Kind: "pool", Life: supervisors.Activity(p.active)})
}

func (p *pool) forget(ctx actor.Context) {
	p.gone = true
	ctx.Send(p.parent, &forgotten{p.uuid}) // which ends this actor
}

// callbackID is the size of the id that the client's actor puts before an event.
const callbackID = 4

func (p *pool) lifecycle(ctx actor.Context, event int32) {
	p.log.Info().Int32("event", event).Bool("active", p.active).Bool("persistent", p.persistent).Msg("storage pool changed")
	p.publish(ctx, virt.StoragePoolEventIDLifecycle, &protocol.StoragePoolEventLifecycleMsg{Pool: p.ref(), Event: event})
}

func (p *pool) refreshed(ctx actor.Context) {
	p.publish(ctx, virt.StoragePoolEventIDRefresh, &protocol.StoragePoolEventRefreshMsg{Pool: p.ref()})
}

func (p *pool) publish(ctx actor.Context, id int32, m protocol.Encoder) {
	ctx.Send(p.parent, &published{&call.Event{Object: "storage_pool", ID: id, UUID: p.uuid, Name: p.name, Payload: m.AppendXDR(nil)[callbackID:]}})
}
