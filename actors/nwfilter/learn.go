package nwfilter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/vishvananda/netlink"

	"virtree/actors/nwfilter/def"
	"virtree/actors/nwfilter/learn"
	"virtree/actors/nwfilter/rules"
)

// learner is a goroutine that watches a port. The branch's actor owns it.
//
//	binding lacks IP --> restricted rules, learner runs --address seen--> rules of the filter
//	                                         ^                                 |
//	                                         +---- last lease over (dhcp) -----+
//
// One that learns by DHCP goes on as long as the binding, for addresses are prolonged, replaced and given back.
type learner struct {
	how  method
	run  uint64
	quit chan struct{}
}

// stop ends it; nil is none.
func (l *learner) stop() {
	if l != nil {
		close(l.quit)
	}
}

// followsDHCP tells whether a port with these parameters gets its addresses by DHCP alone.
func followsDHCP(given def.Params) bool {
	_, fixed := given[varIP]
	v := given[varLearning]
	return !fixed && len(v) > 0 && strings.EqualFold(v[0], string(learnDHCP))
}

// took starts and stops learners, as the ports' new rules want it.
func (d *driver) took(ctx actor.Context, outcomes []outcome) {
	for _, o := range outcomes {
		p := d.ports[o.port]
		if p == nil {
			continue
		}
		want := o.how
		if want == learnNone && o.link && len(p.leases) > 0 && followsDHCP(p.given) {
			want = learnDHCP // for what becomes of the leases
		}
		switch {
		case !o.link:
			continue // a learner notices by itself
		case p.learner != nil && p.learner.how == want:
			continue
		}
		p.learner.stop()
		p.learner = nil
		if want != learnNone {
			p.learner = d.startLearner(ctx, p.binding, want)
		}
	}
}

// startLearner runs a learner that tells this actor what it sees.
func (d *driver) startLearner(ctx actor.Context, b *def.Binding, how method) *learner {
	d.runs++
	l := &learner{how: how, run: d.runs, quit: make(chan struct{})}
	root, self, name, run, quit := ctx.ActorSystem().Root, ctx.Self(), b.Port, l.run, l.quit
	link, below := name, false
	if how == learnAny && b.Link != "" {
		link, below = b.Link, true
	}
	mac := learn.MAC(b.MAC)
	go func() {
		w, err := learn.Open(link, mac, how == learnDHCP, below)
		if err == nil {
			go func() {
				<-quit
				w.Close()
			}()
			for err == nil {
				var s learn.Seen
				if s, err = w.Next(); err == nil {
					root.Send(self, &learned{port: name, run: run, lease: leaseOf(s), ended: s.Ended})
				}
			}
		}
		select {
		case <-quit: // nobody asks
		default:
			if errors.Is(err, learn.ErrGone) {
				err = nil
			}
			root.Send(self, &learnerEnded{port: name, run: run, err: err})
		}
	}()
	return l
}

func leaseOf(s learn.Seen) lease {
	l := lease{address: s.Address, server: s.Server}
	if s.DHCP && s.Lasts != learn.Forever {
		l.end = time.Now().Add(s.Lasts)
	}
	return l
}

// portOfRun returns the port whose learner that is, nil if it is not any more.
func (d *driver) portOfRun(name string, run uint64) *port {
	if p := d.ports[name]; p != nil && p.learner != nil && p.learner.run == run {
		return p
	}
	return nil
}

// learned takes what a learner has seen.
func (d *driver) learned(ctx actor.Context, m *learned) {
	p := d.portOfRun(m.port, m.run)
	if p == nil {
		return
	}
	leases, changed := p.leases, false
	if p.learner.how == learnAny {
		m.lease.end = time.Time{} // nobody will see it prolonged
	}
	if m.ended {
		leases = slices.DeleteFunc(slices.Clone(leases), func(l lease) bool { return l.address == m.lease.address })
		changed = len(leases) != len(p.leases)
	} else {
		leases, changed = addLease(leases, m.lease)
	}
	if p.learner.how == learnAny { // it has done its work
		p.learner.stop()
		p.learner = nil
	}
	d.setLeases(ctx, p, leases, changed)
}

// setLeases takes a port's new leases, and makes its rules anew when its addresses have changed.
func (d *driver) setLeases(ctx actor.Context, p *port, leases []lease, changed bool) {
	p.leases = leases
	d.remind(ctx, p)
	t, name, keep := d.tools, p.binding.Port, followsDHCP(p.given)
	d.begin(ctx, &change{name: "apply what was learned", decide: func() (plan, error) {
		if d.ports[name] != p {
			return plan{}, nil
		}
		w, filters := p.wish(), d.filters
		var outcomes []outcome
		return plan{
			work: func(ctx context.Context) (err error) {
				if keep {
					if err := t.store.saveLeases(leaseKey(w.binding), w.leases); err != nil {
						t.env.Log.Error().Err(err).Msg("leases were not stored")
					}
				}
				if changed {
					if outcomes, err = t.install(ctx, filters, []wish{w}, true); err != nil {
						t.shut(ctx, w)
					}
				}
				return err
			},
			apply: func(ctx actor.Context) {
				d.took(ctx, outcomes)
				if changed {
					d.env.Log.Info().Str("port", name).Strs("addresses", addresses(w.leases)).Msg("the addresses of a port were learned")
				}
			},
			failed: func(_ actor.Context, err error) {
				d.env.Log.Error().Err(err).Str("port", name).Strs("addresses", addresses(w.leases)).Msg("no rules for what was learned; the port was shut")
			},
		}, nil
	}})
}

func addresses(leases []lease) (out []string) {
	for _, l := range leases {
		out = append(out, l.address.String())
	}
	return out
}

// shut takes a port off the network for which there are no rules: its link is set down, as libvirt does.
func (t *tools) shut(ctx context.Context, w wish) {
	l, err := netlink.LinkByName(w.binding.Port)
	if err == nil {
		err = netlink.LinkSetDown(l)
	}
	if err != nil { // the link has gone
		_ = t.backend.Remove(ctx, w.binding.Port)
	}
}

// learnerEnded closes a port whose address nobody can learn any more. One whose link is gone keeps what it had.
func (d *driver) learnerEnded(ctx actor.Context, m *learnerEnded) {
	p := d.portOfRun(m.port, m.run)
	if p == nil {
		return
	}
	p.learner = nil
	if m.err == nil || len(p.leases) > 0 {
		return
	}
	d.env.Log.Error().Err(m.err).Str("port", m.port).Msg("the address of a port cannot be learned; it passes nothing")
	t, w := d.tools, p.wish()
	d.begin(ctx, &change{name: "close a port", decide: func() (plan, error) {
		if d.ports[m.port] != p {
			return plan{}, nil
		}
		return plan{work: func(ctx context.Context) error {
			program, err := builtInProgram(w.binding, w.vars(), nothing)
			if err != nil {
				return err
			}
			return t.backend.Apply(ctx, []*rules.Program{program}...)
		}}, nil
	}})
}

// remind wakes the actor when the first of the port's leases ends.
func (d *driver) remind(ctx actor.Context, p *port) {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	var first time.Time
	for _, l := range p.leases {
		if !l.end.IsZero() && (first.IsZero() || l.end.Before(first)) {
			first = l.end
		}
	}
	if first.IsZero() {
		return
	}
	root, self, name := ctx.ActorSystem().Root, ctx.Self(), p.binding.Port
	p.timer = time.AfterFunc(time.Until(first), func() { root.Send(self, &leaseDue{name}) })
}

// leaseDue drops the leases that are over.
func (d *driver) leaseDue(ctx actor.Context, m *leaseDue) {
	p := d.ports[m.port]
	if p == nil {
		return
	}
	now := time.Now()
	left := slices.DeleteFunc(slices.Clone(p.leases), func(l lease) bool { return l.over(now) })
	d.setLeases(ctx, p, left, len(left) != len(p.leases))
}
