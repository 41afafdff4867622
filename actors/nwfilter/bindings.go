package nwfilter

import (
	"context"
	"maps"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/nwfilter/def"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// createBinding gives a port a filter.
func (d *driver) createBinding(ctx actor.Context, r *call.Request, a *protocol.NwfilterBindingCreateXMLArgs) error {
	if err := call.CheckFlags(a.Flags, virt.NwfilterBindingCreateValidate, from, "nwfilterBindingCreateXML"); err != nil {
		return err
	}
	if d.env.Paths.Session {
		return liberr.New(from, liberr.OperationInvalid, "Can't define NWFilter bindings in session mode")
	}
	doc, validate := a.XML, a.Flags&virt.NwfilterBindingCreateValidate != 0
	d.parse(ctx, r, func() (any, error) { return def.ParseBinding(doc, validate) }, func(ctx actor.Context, out any) {
		b := out.(*def.Binding)
		d.begin(ctx, &change{name: "create network filter binding", req: r, decide: func() (plan, error) { return d.planCreate(b) }})
	})
	return nil
}

// planCreate makes the port's rules and then keeps the binding. Compat: a port whose link is not there is bound without
// rules, and its filter may be missing.
func (d *driver) planCreate(b *def.Binding) (plan, error) {
	if d.ports[b.Port] != nil {
		return plan{}, liberr.New(from, liberr.OperationFailed, "binding '%s' already exists", b.Port)
	}
	p := &port{binding: b, given: b.Params}
	w, filters := p.wish(), d.filters
	var outcomes []outcome
	t := d.tools
	return plan{
		work: func(ctx context.Context) (err error) {
			kept, err := t.store.loadLeases()
			if err != nil {
				t.env.Log.Error().Err(err).Msg("leases were left out")
			}
			w.leases = leasesOf(b, kept)
			if outcomes, err = t.install(ctx, filters, []wish{w}, true); err != nil {
				return err
			}
			if outcomes[0].link {
				p.binding = withMAC(b)
			}
			p.leases = w.leases
			if err = t.store.saveBinding(p.binding); err != nil {
				if e := t.remove(ctx, b.Port); e != nil {
					t.env.Log.Error().Err(e).Str("port", b.Port).Msg("rules of a binding that was not stored could not be taken back")
				}
			}
			return err
		},
		apply: func(ctx actor.Context) {
			d.ports[b.Port] = p
			d.held()
			d.took(ctx, outcomes)
			d.remind(ctx, p)
			d.env.Log.Info().Str("port", b.Port).Str("filter", b.Filter).Str("owner", b.OwnerName).Bool("link", outcomes[0].link).Msg("network filter binding created")
		},
		ret: &protocol.NwfilterBindingCreateXMLRet{Nwfilter: bindingWire(b)},
	}, nil
}

// withMAC adds the variable that libvirt adds to a binding when it gets rules.
func withMAC(b *def.Binding) *def.Binding {
	if _, given := b.Params[varMAC]; given {
		return b
	}
	c := *b
	c.Params = maps.Clone(b.Params)
	c.Params[varMAC] = []string{b.Address()}
	return &c
}

func bindingWire(b *def.Binding) protocol.NwfilterBinding {
	return protocol.NwfilterBinding{Portdev: b.Port, Filtername: b.Filter}
}

func (d *driver) deleteBinding(ctx actor.Context, r *call.Request, a *protocol.NwfilterBindingDeleteArgs) error {
	name := a.Nwfilter.Portdev
	d.begin(ctx, &change{name: "delete network filter binding", req: r, decide: func() (plan, error) {
		p, err := d.portOf(name)
		if err != nil {
			return plan{}, err
		}
		t := d.tools
		return plan{
			// The file goes last: a binding without rules is made whole at the next start, rules without a binding go.
			work: func(ctx context.Context) error {
				if err := t.remove(ctx, name); err != nil {
					return err
				}
				return t.store.dropBinding(name)
			},
			apply: func(actor.Context) {
				p.learner.stop()
				if p.timer != nil {
					p.timer.Stop()
				}
				delete(d.ports, name)
				d.held()
				d.env.Log.Info().Str("port", name).Str("filter", p.binding.Filter).Msg("network filter binding deleted")
			},
		}, nil
	}})
	return nil
}

func (d *driver) portOf(name string) (*port, error) {
	if p := d.ports[name]; p != nil {
		return p, nil
	}
	return nil, liberr.New(from, liberr.NoNwfilterBinding, "no nwfilter binding for port dev '%s'", name)
}
