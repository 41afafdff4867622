package nwfilter

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/internal/nftwatch"
	"virtree/actors/nwfilter/def"
	"virtree/actors/nwfilter/rules"
	"virtree/wire/liberr"
)

const from = liberr.FromNwfilter

// tools are what jobs work with. They are constant and the same for all lives of the actor.
type tools struct {
	env     *branch.Env
	store   *store
	backend rules.Backend
}

// driver is the branch actor.
type driver struct {
	*tools
	bus     branch.Bus
	desk    branch.Desk
	changes changes

	filters catalogue
	ports   map[string]*port
	runs    uint64 // of learners
	watch   *nftwatch.Watch
	looking bool   // a repair of rules waits
	someone bool   // ... because another program has removed some
	release func() // of the hold on the process, while there are bindings
}

// New makes the branch actor.
func New(env *branch.Env) actor.Producer {
	return newDriver(env, rules.NFTables(rules.Options{Warn: func(m string) { env.Log.Warn().Msg(m) }}))
}

func newDriver(env *branch.Env, backend rules.Backend) actor.Producer {
	t := &tools{env, newStore(env.Paths), backend}
	return func() actor.Actor {
		return &driver{
			tools: t, desk: branch.NewDesk(from, "nwfilter driver"),
			filters: catalogue{}, ports: map[string]*port{},
		}
	}
}

// Receive serves calls, subscriptions, and what learners and the kernel tell.
func (d *driver) Receive(ctx actor.Context) {
	if d.bus.Receive(ctx) || d.desk.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *actor.Started:
		d.load(ctx)
	case *actor.Stopping, *actor.Restarting:
		d.end()
	case *call.Call:
		if !d.desk.Hold(ctx) {
			branch.Serve(&d.desk, routes, d, ctx, m)
		}
	case *learned:
		d.learned(ctx, m)
	case *learnerEnded:
		d.learnerEnded(ctx, m)
	case *leaseDue:
		d.leaseDue(ctx, m)
	case *rulesTouched:
		d.repair(ctx, m)
	default:
		kit.Unhandled(ctx, m)
	}
}

// found is what the driver finds at its start.
type found struct {
	filters  catalogue
	bindings map[string]*def.Binding
	leases   map[string][]lease // by key
	outcomes []outcome
	broken   error // names what was left out
}

// load reads the disk and makes the rules of all ports what they should be. Calls wait until it is done.
func (d *driver) load(ctx actor.Context) {
	t := d.tools
	if t.env.Paths.Session { // a user has no firewall
		d.desk.Release(ctx)
		return
	}
	job := kit.Job[any]{Name: "load network filters", Timeout: patience, Run: func(jc context.Context, _ *kit.Undo) (any, error) {
		f := &found{}
		err := t.store.alone(jc, func() error { t.find(jc, f); return nil })
		return f, err
	}}
	d.desk.Do(ctx, job, func(ctx actor.Context, out any, err error) {
		f, ok := out.(*found)
		if !ok { // there is no branch without its files: its supervisor tries again
			panic(err)
		}
		if f.broken != nil {
			d.env.Log.Error().Err(f.broken).Msg("network filters or bindings were left out")
		}
		d.filters = f.filters
		for name, b := range f.bindings {
			d.ports[name] = &port{binding: b, given: b.Params, leases: leasesOf(b, f.leases)}
		}
		d.took(ctx, f.outcomes)
		for _, p := range d.ports {
			d.remind(ctx, p)
		}
		d.held()
		d.watch = d.watchRules(ctx)
		d.desk.Release(ctx)
	})
}

// find is the job of load. A port whose rules cannot be made keeps those it has.
func (t *tools) find(ctx context.Context, f *found) {
	var errs [4]error
	f.filters, errs[0] = t.store.loadFilters()
	f.bindings, errs[1] = t.store.loadBindings()
	f.leases, errs[2] = t.store.loadLeases()
	var wishes []wish
	for _, name := range slices.Sorted(maps.Keys(f.bindings)) {
		b := f.bindings[name]
		wishes = append(wishes, wish{binding: b, given: b.Params, leases: leasesOf(b, f.leases)})
	}
	f.outcomes, errs[3] = t.installEach(ctx, f.filters, wishes)
	replaced, err := dropForeign(installed(f.outcomes))
	if replaced > 0 {
		t.env.Log.Info().Int("chains", replaced).Msg("rules that libvirtd made for bound ports were replaced")
	}
	f.broken = errors.Join(errors.Join(errs[:]...), err, t.dropStrays(ctx, f.bindings))
}

// dropStrays removes the rules of ports that have no binding, as of one that was being made when the process ended. A
// port that is still there is left alone: it may be another system's, such as a tree below another root.
func (t *tools) dropStrays(ctx context.Context, bindings map[string]*def.Binding) error {
	have, err := t.backend.Ports(ctx)
	if err != nil {
		return err
	}
	stray := slices.DeleteFunc(have, func(name string) bool { return bindings[name] != nil || linkExists(name) })
	if len(stray) == 0 {
		return nil
	}
	return t.remove(ctx, stray...)
}

// end lets go of everything that is not on disk or in the kernel.
func (d *driver) end() {
	d.watch.Close()
	for _, p := range d.ports {
		p.learner.stop()
		if p.timer != nil {
			p.timer.Stop()
		}
	}
	if d.release != nil {
		d.release()
		d.release = nil
	}
}

// held keeps the process from its idle exit while there are bindings: their rules are looked after.
func (d *driver) held() {
	switch {
	case len(d.ports) > 0 && d.release == nil:
		d.release = d.env.Hold("network filter bindings")
	case len(d.ports) == 0 && d.release != nil:
		d.release()
		d.release = nil
	}
}
