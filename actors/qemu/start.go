package qemu

import (
	"context"
	"time"

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

// startFlags are the flags of virDomainCreateWithFlags that the driver knows.
const startFlags = virt.DomainStartPaused | virt.DomainStartAutodestroy | virt.DomainStartBypassCache |
	virt.DomainStartForceBoot | virt.DomainStartValidate | virt.DomainStartResetNVRAM

// startTimeout bounds a start: QEMU on a loaded host takes its time, but a hung one must not hold the
// domain for ever.
const startTimeout = 5 * time.Minute

// launched is what a start yields: the definition with all that was chosen on the way, and the process.
type launched struct {
	def  *libvirtxml.Domain
	proc *process
	mon  *qmp.Client
	dir  string
	rt   runtimeState
}

// drop frees a start whose domain is gone.
func (l *launched) drop() {
	_ = l.mon.Close()
	l.proc.Close()
}

// runtimeState is what a running guest has beside its definition.
type runtimeState struct {
	vcpus []int // thread ids, by vCPU
}

// createCall serves virDomainCreate and virDomainCreateWithFlags.
func (d *domain) createCall(ctx actor.Context, r *call.Request, flags uint32, ret func() protocol.Encoder) error {
	if err := call.CheckFlags(flags, startFlags, liberr.FromQemu, "qemuDomainCreateWithFlags"); err != nil {
		return err
	}
	if d.active() {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is already running")
	}
	d.boot(ctx, r, d.config, flags, ret)
	return nil
}

// boot starts a process for doc. The caller has checked that none runs; whether one runs by the time the
// queue admits the job is checked again here.
func (d *domain) boot(ctx actor.Context, r *call.Request, doc *document, flags uint32, ret func() protocol.Encoder) {
	var from *restoring
	if doc == d.config && d.saved {
		from = &restoring{path: d.drv.savePath(d.name), managed: true, discard: flags&virt.DomainStartForceBoot != 0}
	}
	d.bootFrom(ctx, r, doc, from, flags, ret)
}

// bootFrom is boot with a state to go on from.
func (d *domain) bootFrom(ctx actor.Context, r *call.Request, doc *document, from *restoring, flags uint32, ret func() protocol.Encoder) {
	def, err := doc.Clone()
	if err != nil {
		if r != nil {
			r.Fail(err)
		}
		return
	}
	serial := uint64(d.drv.runs.Next())
	plan := &launchPlan{
		drv: d.drv, serial: serial, def: def, name: d.name, uuid: d.uuid,
		from:   from,
		paused: flags&virt.DomainStartPaused != 0, self: ctx.Self(), system: ctx.ActorSystem(),
	}
	transient := d.config == nil
	t := &task{
		kind: jobModify, name: "remoteDispatchDomainCreate", req: r, limit: startTimeout,
		run:     func(jc context.Context, undo *kit.Undo) (any, error) { return plan.launch(jc, undo) },
		discard: func(out any) { out.(*launched).drop() },
		apply: func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
			d.tellMissing(ctx, plan)
			return d.started(ctx, r, plan, doc, out.(*launched), flags, ret)
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			d.tellMissing(ctx, plan)
			d.startFailed(ctx, transient)
			return err
		},
	}
	if d.run != nil {
		// The process of the last run is still being taken down, or another start is under way: wait for it in
		// the queue and look again.
		d.start(ctx, &task{kind: jobModify, req: r, name: t.name,
			run: func(context.Context, *kit.Undo) (any, error) { return nil, nil },
			apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
				if d.active() {
					return nil, liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is already running")
				}
				d.bootFrom(ctx, r, doc, from, flags, ret)
				return nil, errStillOpen
			}})
		return
	}
	d.run = &instance{serial: serial, id: -1, release: d.drv.env.Hold("domain " + d.name)}
	d.start(ctx, t)
}

// started makes the domain active: everything before was invisible to clients.
func (d *domain) started(ctx actor.Context, r *call.Request, p *launchPlan, doc *document, l *launched, flags uint32, ret func() protocol.Encoder) (protocol.Encoder, error) {
	run := d.run
	run.id, run.proc, run.mon, run.dir, run.started = p.id, l.proc, l.mon, l.dir, true
	d.rt = l.rt
	d.live, d.origin = newDocument(l.def, &d.drv.xmlEnv), doc
	d.life = life{virt.DomainPaused, virt.DomainPausedStartingUp}
	if flags&virt.DomainStartAutodestroy != 0 && r != nil {
		run.owner = r.Client()
		ctx.Watch(run.owner)
	}
	d.watchProcess(ctx)
	d.watchLocks(ctx)
	d.guardGroup(ctx)
	d.agentAtStart(ctx)
	early := run.early
	run.early = nil
	if p.from != nil {
		d.restored(ctx, p, early)
		d.tell(ctx)
		d.saveStatus(ctx)
		d.log.Info().Int32("id", run.id).Int("pid", l.proc.pid).Msg("domain restored")
		if ret == nil {
			return nil, nil
		}
		return ret(), nil
	}
	if p.discarded {
		d.saved = false
	}
	run.resume = virt.DomainRunningBooted
	for _, ev := range early {
		d.qemuEvent(ctx, ev)
	}
	if p.paused {
		d.life = life{virt.DomainPaused, virt.DomainPausedUser}
	} else if d.life.State == virt.DomainPaused {
		d.life = lifeBooted
	}
	d.tell(ctx)
	d.saveStatus(ctx)
	d.log.Info().Int32("id", run.id).Int("pid", l.proc.pid).Msg("domain started")
	d.lifecycle(ctx, virt.DomainEventStarted, virt.DomainEventStartedBooted)
	if p.paused {
		d.lifecycle(ctx, virt.DomainEventSuspended, virt.DomainEventSuspendedPaused)
	}
	if ret == nil {
		return nil, nil
	}
	return ret(), nil
}

// startFailed puts the domain back to where it was before the start.
func (d *domain) startFailed(ctx actor.Context, transient bool) {
	if d.run != nil {
		d.run.release()
	}
	d.run, d.live = nil, nil
	d.life = life{virt.DomainShutoff, virt.DomainShutoffFailed}
	if transient {
		d.forget(ctx)
		return
	}
	d.tell(ctx)
}

// create serves virDomainCreateXML once the branch has found or made this domain.
func (d *domain) create(ctx actor.Context, m *create) {
	if d.gone {
		m.req.Fail(noDomain(d.uuid, d.name))
		return
	}
	if d.active() || d.run != nil && d.config == nil {
		m.req.Fail(liberr.New(liberr.FromDomain, liberr.OperationInvalid, "domain is already active as '%s'", d.name))
		return
	}
	if m.from != nil {
		d.bootFrom(ctx, m.req, m.doc, m.from, m.flags, nil)
		return
	}
	d.bootFrom(ctx, m.req, m.doc, nil, m.flags, func() protocol.Encoder {
		return &protocol.DomainCreateXMLRet{Dom: d.ref()}
	})
}

// autostartNow starts the domain because the host did.
func (d *domain) autostartNow(ctx actor.Context) {
	if d.active() || d.run != nil || d.config == nil || !d.autostart {
		return
	}
	d.boot(ctx, nil, d.config, 0, nil)
}

// xmlFlags is the part of virDomainXMLFlags that printing goes by.
func xmlFlags(flags uint32) domxml.FormatFlags {
	return domxml.FormatFlags(flags) & (domxml.Secure | domxml.Inactive | domxml.UpdateCPU | domxml.Migratable)
}
