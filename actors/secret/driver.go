package secret

import (
	"bytes"
	"context"
	"sort"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

const from = liberr.FromSecret

// patience is how long the disk may take.
const patience = time.Minute

// driver is the branch actor. All fields but the first two belong to Receive.
type driver struct {
	env   *branch.Env
	store store

	bus     branch.Bus
	seal    *sealer                   // nil until the folder was read
	secrets map[protocol.UUID]*object // objects are replaced, never changed: jobs may hold them
	stash   kit.Stash                 // what comes before the folder is read
	running *change                   // the change whose job runs
	job     uint64                    // the job's serial
	queue   []*change                 // the changes behind it, oldest first
}

// change is one call that changes a secret.
type change struct {
	req *call.Request
	// decide holds the call against the state; it runs in Receive when the changes before it are done. Its plan's
	// write runs in a job, apply in Receive when that went well; either may be nil.
	decide func() (plan, error)
	plan   plan
}

type plan struct {
	write func() error
	apply func(ctx actor.Context)
	ret   protocol.Encoder
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer {
	return func() actor.Actor {
		return &driver{env: env, store: newStore(env.Paths), bus: branch.Bus{Hold: env.Hold}}
	}
}

// Receive serves calls, subscriptions and the tree's own questions.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		d.load(ctx)
	case *actor.Stopping, *actor.Restarting:
		d.release(ctx)
	case *loadDone:
		d.loaded(ctx, m)
	case *writeDone:
		d.written(ctx, m)
	case *call.Call, *Ask:
		if !d.stash.Hold(ctx) {
			d.serve(ctx)
		}
	default:
		kit.Unhandled(ctx, m)
	}
}

func (d *driver) serve(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call.Call:
		routes.Serve(d, ctx, m, from)
	case *Ask:
		d.ask(ctx, m)
	}
}

// load reads the folder in a job.
func (d *driver) load(ctx actor.Context) {
	s, p := d.store, d.env.Paths
	kit.Job[*loaded]{Name: "read secrets", Timeout: patience, Run: func(context.Context, *kit.Undo) (*loaded, error) {
		seal, err := openSealer(p)
		if err != nil {
			return nil, err
		}
		l := &loaded{sealer: seal}
		l.secrets, l.broken = s.load(seal)
		return l, nil
	}}.Start(ctx)
}

// loaded takes what was read. Without a key there is no branch: it fails, and its supervisor tries again.
func (d *driver) loaded(ctx actor.Context, done *loadDone) {
	if done.Err != nil {
		panic(done.Err)
	}
	m := done.Value
	if m.broken != nil {
		d.env.Log.Error().Err(m.broken).Msg("secrets were left out")
	}
	d.seal = m.sealer
	before := d.secrets
	d.secrets = make(map[protocol.UUID]*object, len(m.secrets))
	for id, o := range before { // when this is not the first time
		if o.def.ephemeral {
			d.secrets[id] = o
		}
	}
	for _, o := range m.secrets {
		d.secrets[o.def.uuid] = o
	}
	d.stash.Release(ctx)
}

// begin runs a change when the ones before it are done.
func (d *driver) begin(ctx actor.Context, r *call.Request, decide func() (plan, error)) {
	d.queue = append(d.queue, &change{req: r, decide: decide})
	d.next(ctx)
}

// next starts changes until one of them needs a job.
func (d *driver) next(ctx actor.Context) {
	for d.running == nil && len(d.queue) > 0 {
		c := d.queue[0]
		d.queue = d.queue[1:]
		var err error
		if c.plan, err = c.decide(); err != nil {
			c.req.Fail(liberr.From(from, err))
			continue
		}
		if c.plan.write == nil {
			d.finish(ctx, c, nil)
			continue
		}
		d.running = c
		run := kit.Job[*written]{Name: "write secret", Timeout: patience, Run: func(context.Context, *kit.Undo) (*written, error) {
			return &written{c, c.plan.write()}, nil
		}}.Start(ctx)
		d.job = run.Serial
	}
}

// written ends a change. One that an earlier life of this actor began is answered too, and the disk read again.
func (d *driver) written(ctx actor.Context, done *writeDone) {
	m := done.Value
	switch {
	case d.running != nil && done.Serial == d.job:
		c, err := d.running, done.Err
		if err == nil {
			err = m.err
		}
		d.running = nil
		d.finish(ctx, c, err)
		d.next(ctx)
	case done.Err == nil:
		m.change.req.Finish(m.change.plan.ret, diskError(m.err))
		d.stash.Close()
		d.load(ctx)
	}
}

func (d *driver) finish(ctx actor.Context, c *change, err error) {
	if err != nil {
		c.req.Fail(diskError(err))
		return
	}
	c.req.Reply(c.plan.ret)
	if c.plan.apply != nil {
		c.plan.apply(ctx)
	}
}

func diskError(err error) error {
	if err == nil {
		return nil
	}
	return liberr.System(from, err, "cannot write the secret")
}

// release answers what this life of the actor will not. The change whose job runs is answered by the next one.
func (d *driver) release(ctx actor.Context) {
	gone := liberr.New(from, liberr.InternalError, "the secret driver is gone")
	for _, c := range d.queue {
		c.req.Fail(gone)
	}
	d.queue = nil
	d.stash.Refuse(ctx, gone)
}

// sorted returns the secrets by UUID.
func (d *driver) sorted() []*object {
	all := make([]*object, 0, len(d.secrets))
	for _, o := range d.secrets {
		all = append(all, o)
	}
	sort.Slice(all, func(i, j int) bool { return bytes.Compare(all[i].def.uuid[:], all[j].def.uuid[:]) < 0 })
	return all
}

// find returns the secret of that UUID.
func (d *driver) find(id protocol.UUID) (*object, error) {
	if o := d.secrets[id]; o != nil {
		return o, nil
	}
	return nil, liberr.New(from, liberr.NoSecret, "no secret with matching uuid '%s'", id)
}

// findUsage returns the secret that is used so; nothing is found for secrets without a use.
func (d *driver) findUsage(t int32, id string) *object {
	if id == "" {
		return nil
	}
	for _, o := range d.secrets {
		if o.def.usageType == t && o.def.usageID == id {
			return o
		}
	}
	return nil
}
