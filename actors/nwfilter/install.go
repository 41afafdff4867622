package nwfilter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"virtree/actors/nwfilter/def"
	"virtree/actors/nwfilter/rules"
	"virtree/wire/liberr"
)

// port is a binding and what came of it. The branch's actor owns it; jobs get what they need of it by value.
type port struct {
	binding *def.Binding // replaced, never changed
	given   def.Params   // the parameters as they came
	leases  []lease      // what was learned, oldest first
	learner *learner     // nil while nothing is learned
	timer   *time.Timer  // for the end of the first lease; nil when there is none
}

// wish is a port for which a job is to find the rules.
type wish struct {
	binding *def.Binding
	given   def.Params
	leases  []lease
	how     method // how its address is being learned now
}

func (p *port) wish() wish {
	w := wish{binding: p.binding, given: p.given, leases: p.leases}
	if p.learner != nil {
		w.how = p.learner.how
	}
	return w
}

// outcome is what became of a wish.
type outcome struct {
	port string
	link bool   // the port's link is there; without it there are no rules
	how  method // how the address must be learned now
}

// vars are the variables of a port.
func (w wish) vars() def.Params {
	vars := maps.Clone(w.given)
	if vars == nil {
		vars = def.Params{}
	}
	if _, given := vars[varMAC]; !given {
		vars[varMAC] = []string{w.binding.Address()}
	}
	if _, given := vars[varIP]; !given {
		for _, l := range w.leases {
			vars[varIP] = append(vars[varIP], l.address.String())
		}
	}
	return vars
}

// fulfil finds the rules of ports. A port that already learns its address keeps the rules it has meanwhile, unless anew
// says that they must be made again. The first port for which there are none decides about all.
func (c catalogue) fulfil(wishes []wish, anew bool) (programs []*rules.Program, outcomes []outcome, err error) {
	for _, w := range wishes {
		o := outcome{port: w.binding.Port, link: linkExists(w.binding.Port)}
		var p *rules.Program
		if o.link {
			if p, o.how, err = c.resolve(w.binding, w.vars()); err != nil {
				return nil, nil, err
			}
			if o.how != learnNone && (o.how != w.how || anew) {
				if p, err = restricted(w.binding, w.vars(), o.how); err != nil {
					return nil, nil, err
				}
			}
		}
		if p != nil {
			programs = append(programs, p)
		}
		outcomes = append(outcomes, o)
	}
	return programs, outcomes, nil
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

// install finds rules and brings them into the kernel, all or none.
func (t *tools) install(ctx context.Context, c catalogue, wishes []wish, anew bool) ([]outcome, error) {
	programs, outcomes, err := c.fulfil(wishes, anew)
	if err != nil || len(programs) == 0 {
		return outcomes, err
	}
	if err := t.backend.Apply(ctx, programs...); err != nil {
		return nil, kernelError(err)
	}
	return outcomes, nil
}

// installEach is install for ports that have nothing to do with each other: one for which there are no rules keeps what
// it has, and is named in the error.
func (t *tools) installEach(ctx context.Context, c catalogue, wishes []wish) (outcomes []outcome, broken error) {
	var programs []*rules.Program
	for _, w := range wishes {
		p, o, err := c.fulfil([]wish{w}, true)
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("port %s: %w", w.binding.Port, err))
			continue
		}
		programs, outcomes = append(programs, p...), append(outcomes, o...)
	}
	if len(programs) > 0 {
		broken = errors.Join(broken, t.backend.Apply(ctx, programs...))
	}
	return outcomes, broken
}

// installed are the ports that have rules now.
func installed(outcomes []outcome) (ports []string) {
	for _, o := range outcomes {
		if o.link {
			ports = append(ports, o.port)
		}
	}
	return ports
}

func kernelError(err error) error {
	var own *liberr.Error
	if errors.As(err, &own) {
		return err
	}
	return liberr.New(from, liberr.InternalError, "Failed to apply firewall rules: %s", err).WithCause(err)
}

// wishes lists what these ports are to have, in the order of their names.
func (d *driver) wishes(of func(*port) bool) (all []wish) {
	for _, name := range slices.Sorted(maps.Keys(d.ports)) {
		if p := d.ports[name]; of(p) {
			all = append(all, p.wish())
		}
	}
	return all
}
