package nwfilter

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/nwfilter/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (d *driver) define(ctx actor.Context, r *call.Request, a *protocol.NwfilterDefineXMLArgs) error {
	return d.defineFlags(ctx, r, a.XML, 0)
}

func (d *driver) defineXMLFlags(ctx actor.Context, r *call.Request, a *protocol.NwfilterDefineXMLFlagsArgs) error {
	return d.defineFlags(ctx, r, a.XML, a.Flags)
}

// defineFlags makes a filter, or gives one a new definition. The document is read in a job.
func (d *driver) defineFlags(ctx actor.Context, r *call.Request, doc string, flags uint32) error {
	if err := call.CheckFlags(flags, virt.NwfilterDefineValidate, from, "nwfilterDefineXMLFlags"); err != nil {
		return err
	}
	if d.env.Paths.Session {
		return liberr.New(from, liberr.OperationInvalid, "Can't define NWFilters in session mode")
	}
	d.parse(ctx, r, func() (any, error) {
		f, err := def.ParseFilter(doc, flags&virt.NwfilterDefineValidate != 0)
		if err != nil {
			return nil, err
		}
		return newFilter(f), nil
	}, func(ctx actor.Context, out any) {
		f := out.(*filter)
		d.begin(ctx, &change{name: "define network filter", req: r, decide: func() (plan, error) { return d.planDefine(f) }})
	})
	return nil
}

// parse runs the reading of a document in a job.
func (d *driver) parse(ctx actor.Context, r *call.Request, read func() (any, error), then func(ctx actor.Context, out any)) {
	job := kit.Job[any]{Name: "read document", Timeout: patience, Run: func(context.Context, *kit.Undo) (any, error) { return read() }}
	d.desk.Do(ctx, job, func(ctx actor.Context, out any, err error) {
		if err != nil {
			r.Fail(liberr.From(from, err))
			return
		}
		then(ctx, out)
	})
}

// admit refuses a filter that contradicts others: their names and UUIDs, or by a loop.
func (c catalogue) admit(f *filter) error {
	if old := c.byUUID(f.UUID); old != nil && old.Name != f.Name {
		return liberr.New(from, liberr.OperationFailed, "filter with same UUID but different name ('%s') already exists", old.Name)
	}
	if old := c[f.Name]; old != nil && old.UUID != f.UUID {
		return liberr.New(from, liberr.OperationFailed, "filter '%s' already exists with uuid %s", f.Name, old.UUID)
	}
	if c.loops(f) {
		return liberr.New(from, liberr.OperationFailed, "filter would introduce a loop")
	}
	return nil
}

// planDefine applies a new definition to all ports that it concerns, then stores it. Compat: a filter that is new concerns
// none, not even those that refer to it in vain.
func (d *driver) planDefine(f *filter) (plan, error) {
	if err := d.filters.admit(f); err != nil {
		return plan{}, err
	}
	before, after, old := d.filters, d.filters.with(f), d.filters[f.Name]
	var wishes []wish
	if old != nil && old.sum != f.sum {
		wishes = d.wishes(func(p *port) bool { return after.reaches(p.binding.Filter, f.Name) })
	}
	var outcomes []outcome
	t := d.tools
	return plan{
		work: func(ctx context.Context) (err error) {
			if outcomes, err = t.install(ctx, after, wishes, false); err != nil {
				return err
			}
			if err = t.store.saveFilter(f.Filter); err != nil && len(wishes) > 0 {
				if _, e := t.install(ctx, before, wishes, true); e != nil {
					t.env.Log.Error().Err(e).Str("filter", f.Name).Msg("rules of a filter that was not stored could not be taken back")
				}
			}
			return err
		},
		apply: func(ctx actor.Context) {
			d.filters = after
			d.took(ctx, outcomes)
			d.env.Log.Info().Str("filter", f.Name).Str("uuid", f.UUID.String()).Int("ports", len(wishes)).Msg("network filter defined")
		},
		ret: &protocol.NwfilterDefineXMLRet{Nwfilter: f.wire()},
	}, nil
}

// undefine refuses a filter that a port uses whose link is there.
func (d *driver) undefine(ctx actor.Context, r *call.Request, a *protocol.NwfilterUndefineArgs) error {
	id := a.Nwfilter.UUID
	d.begin(ctx, &change{name: "undefine network filter", req: r, decide: func() (plan, error) {
		f, err := d.filterOf(id)
		if err != nil {
			return plan{}, err
		}
		wishes := d.wishes(func(p *port) bool { return d.filters.reaches(p.binding.Filter, f.Name) })
		t := d.tools
		return plan{
			work: func(context.Context) error {
				for _, w := range wishes {
					if linkExists(w.binding.Port) {
						return liberr.New(from, liberr.OperationInvalid, "nwfilter is in use")
					}
				}
				return t.store.dropFilter(f.Name)
			},
			apply: func(actor.Context) {
				d.filters = d.filters.without(f.Name)
				d.env.Log.Info().Str("filter", f.Name).Str("uuid", f.UUID.String()).Msg("network filter undefined")
			},
		}, nil
	}})
	return nil
}

// filterOf returns the filter of a UUID.
func (d *driver) filterOf(id protocol.UUID) (*filter, error) {
	if f := d.filters.byUUID(id); f != nil {
		return f, nil
	}
	return nil, liberr.New(from, liberr.NoNwfilter, "no nwfilter with matching uuid '%s'", id)
}
