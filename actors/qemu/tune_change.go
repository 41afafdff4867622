package qemu

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// change is one change of a domain's definitions, with what it takes to make it true of a running guest.
type change struct {
	flags uint32 // CURRENT, LIVE, CONFIG; what else is in there is ignored
	// check refuses the change before anything is done; it sees each definition that is to change.
	check func(def *libvirtxml.Domain, live bool) error
	// effect changes the running guest, in a job; def is the live definition before the change. mon may be
	// nil where needsMonitor is false. It may complete what edit needs.
	effect       func(ctx context.Context, mon *qmp.Client, def *libvirtxml.Domain) error
	needsMonitor bool
	// edit changes a copy of each definition.
	edit func(def *libvirtxml.Domain, live bool) error
	// after continues in Receive, when all is done.
	after func(d *domain, ctx actor.Context, aff affect)
	reply protocol.Encoder
}

// change makes a change, as one job of the domain: the guest first, the stored definition last, so that
// a definition never promises what the guest refused.
func (d *domain) change(ctx actor.Context, r *call.Request, c change) error {
	aff, err := d.targets(c.flags)
	if err != nil {
		return err
	}
	var live, config *libvirtxml.Domain
	if aff.live {
		if live, err = d.live.Def(); err != nil {
			return err
		}
	}
	if aff.config {
		if config, err = d.config.Def(); err != nil {
			return err
		}
	}
	if c.check != nil {
		if config != nil {
			if err := c.check(config, false); err != nil {
				return err
			}
		}
		if live != nil {
			if err := c.check(live, true); err != nil {
				return err
			}
		}
	}
	var mon *qmp.Client
	if aff.live {
		if c.needsMonitor {
			if mon, err = d.monitor(); err != nil {
				return err
			}
		} else {
			mon = d.run.mon
		}
	}
	drv, name := d.drv, d.name
	type edited struct{ live, config *document }
	var base *document
	d.start(ctx, &task{
		kind: jobModify, req: r,
		prepare: func(d *domain) {
			var stored *document
			if base, stored, err = d.turnOf(aff); err != nil {
				return
			}
			if base != nil {
				live, err = base.Def()
			}
			if stored != nil && err == nil {
				config, err = stored.Def()
			}
		},
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			var out edited
			if err != nil {
				return nil, err
			}
			if live != nil && c.effect != nil {
				if err := c.effect(jc, mon, live); err != nil {
					return nil, err
				}
			}
			var err error
			if live != nil {
				if out.live, err = c.apply(live, true, &drv.xmlEnv); err != nil {
					return nil, err
				}
			}
			if config == nil {
				return out, nil
			}
			if out.config, err = c.apply(config, false, &drv.xmlEnv); err != nil {
				return nil, err
			}
			text, err := out.config.Stored()
			if err != nil {
				return nil, err
			}
			return out, drv.storeConfig(name, text)
		},
		apply: func(d *domain, ctx actor.Context, v any) (protocol.Encoder, error) {
			out := v.(edited)
			if out.live != nil && d.live != nil {
				d.renewLive(ctx, base, out.live)
			}
			if out.config != nil {
				d.config = out.config
			}
			d.tell(ctx)
			if c.after != nil && (out.live == nil || d.active()) {
				c.after(d, ctx, aff)
			}
			return c.reply, nil
		},
	})
	return nil
}

func (c *change) apply(from *libvirtxml.Domain, live bool, env *domxml.Env) (*document, error) {
	def, err := domxml.Clone(from)
	if err != nil {
		return nil, err
	}
	if err := c.edit(def, live); err != nil {
		return nil, err
	}
	return newDocument(def, env), nil
}

// tuned publishes new values of tunables, as clients that watch them expect.
func (d *domain) tuned(ctx actor.Context, params ...protocol.TypedParam) {
	if len(params) > 0 {
		d.publish(ctx, virt.DomainEventIDTunable, tail{&protocol.DomainEventCallbackTunableMsg{Dom: d.ref(), Params: params}})
	}
}

// cpuTune gives a definition's cputune to write to.
func cpuTune(def *libvirtxml.Domain) *libvirtxml.DomainCPUTune {
	if def.CPUTune == nil {
		def.CPUTune = &libvirtxml.DomainCPUTune{}
	}
	return def.CPUTune
}

// dropEmptyTune takes an element that says nothing out of the definition.
func dropEmptyTune(def *libvirtxml.Domain) {
	t := def.CPUTune
	if t == nil {
		return
	}
	if t.Shares == nil && t.Period == nil && t.Quota == nil && t.GlobalPeriod == nil && t.GlobalQuota == nil && t.EmulatorPeriod == nil &&
		t.EmulatorQuota == nil && t.IOThreadPeriod == nil && t.IOThreadQuota == nil && len(t.VCPUPin) == 0 && t.EmulatorPin == nil &&
		len(t.IOThreadPin) == 0 && len(t.VCPUSched) == 0 && t.EmulatorSched == nil && len(t.IOThreadSched) == 0 && len(t.CacheTune) == 0 && len(t.MemoryTune) == 0 {
		def.CPUTune = nil
	}
}

func invalidArg(format string, args ...any) *liberr.Error {
	return liberr.New(liberr.FromQemu, liberr.InvalidArg, format, args...)
}
