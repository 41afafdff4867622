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

// The calls that attach, detach and change devices. Each is one job: the stored definition is tried first, then the
// guest is changed, then the stored definition is written; the answer comes after that.

func (d *domain) attachDevice(ctx actor.Context, r *call.Request, a *protocol.DomainAttachDeviceArgs) error {
	return d.attach(ctx, r, a.XML, virt.DomainAffectLive)
}

func (d *domain) attachDeviceFlags(ctx actor.Context, r *call.Request, a *protocol.DomainAttachDeviceFlagsArgs) error {
	return d.attach(ctx, r, a.XML, a.Flags)
}

func (d *domain) attach(ctx actor.Context, r *call.Request, xml string, flags uint32) error {
	if err := call.CheckFlags(flags, affectFlags, liberr.FromQemu, "qemuDomainAttachDeviceLiveAndConfig"); err != nil {
		return err
	}
	return d.deviceTask(ctx, r, flags, func(j *deviceJob, jc context.Context, undo *kit.Undo) error {
		return j.attach(jc, undo, xml)
	})
}

func (d *domain) detachDevice(ctx actor.Context, r *call.Request, a *protocol.DomainDetachDeviceArgs) error {
	return d.detach(ctx, r, a.XML, virt.DomainAffectLive)
}

func (d *domain) detachDeviceFlags(ctx actor.Context, r *call.Request, a *protocol.DomainDetachDeviceFlagsArgs) error {
	return d.detach(ctx, r, a.XML, a.Flags)
}

func (d *domain) detach(ctx actor.Context, r *call.Request, xml string, flags uint32) error {
	if err := call.CheckFlags(flags, affectFlags, liberr.FromQemu, "qemuDomainDetachDeviceLiveAndConfig"); err != nil {
		return err
	}
	return d.deviceTask(ctx, r, flags, func(j *deviceJob, jc context.Context, _ *kit.Undo) error {
		return j.detach(jc, xml)
	})
}

func (d *domain) detachDeviceAlias(ctx actor.Context, r *call.Request, a *protocol.DomainDetachDeviceAliasArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainDetachDeviceAliasLiveAndConfig"); err != nil {
		return err
	}
	return d.deviceTask(ctx, r, a.Flags, func(j *deviceJob, jc context.Context, _ *kit.Undo) error {
		return j.detachAlias(jc, a.Alias)
	})
}

func (d *domain) updateDeviceFlags(ctx actor.Context, r *call.Request, a *protocol.DomainUpdateDeviceFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags|virt.DomainDeviceModifyForce, liberr.FromQemu, "qemuDomainUpdateDeviceFlags"); err != nil {
		return err
	}
	force := a.Flags&virt.DomainDeviceModifyForce != 0
	return d.deviceTask(ctx, r, a.Flags, func(j *deviceJob, jc context.Context, undo *kit.Undo) error {
		return j.update(jc, undo, a.XML, force)
	})
}

// deviceJob is one change of devices: what it works from and what comes of it. The definitions it is given belong to
// the domain and are only read. Between prepare and finish the job's goroutine owns it, but for heard.
type deviceJob struct {
	drv    *shared
	system *actor.ActorSystem
	self   *actor.PID
	name   string
	uuid   protocol.UUID
	flags  uint32

	err    error              // why it cannot even begin
	run    *instance          // which run it is about; its fields are not read here
	base   *document          // the live definition it began with
	live   *libvirtxml.Domain // of base; nil when the running guest is not affected
	config *libvirtxml.Domain // nil when the stored definition is not affected
	mon    *qmp.Client
	dir    string
	id     int32
	news   chan unplugNews

	now      *libvirtxml.Domain // the live definition as it is to be; nil: unchanged
	edited   *libvirtxml.Domain // the stored definition as it is to be
	stored   *document          // as it is on disk
	nextNode uint
	done     []string // aliases whose removal is finished
	events   []func(d *domain, ctx actor.Context)

	heard []string // Receive's: aliases of devices that left meanwhile
}

// deviceTask runs a change of devices as a job of the domain.
func (d *domain) deviceTask(ctx actor.Context, r *call.Request, flags uint32, work func(j *deviceJob, jc context.Context, undo *kit.Undo) error) error {
	j := &deviceJob{
		drv: d.drv, system: ctx.ActorSystem(), self: ctx.Self(), name: d.name, uuid: d.uuid, flags: flags,
		news: make(chan unplugNews, newsLimit),
	}
	name := ""
	if r == nil {
		name = "device removal"
	}
	d.start(ctx, &task{
		kind: jobModify, name: name, req: r,
		prepare: func(d *domain) { j.err = j.prepare(d) },
		run: func(jc context.Context, undo *kit.Undo) (any, error) {
			if j.err != nil {
				return nil, j.err
			}
			if err := work(j, jc, undo); err != nil {
				return nil, err
			}
			undo.Keep()
			return nil, j.store()
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			j.finish(d, ctx)
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			j.finish(d, ctx)
			if r == nil {
				d.log.Warn().Err(err).Msg("cannot finish the removal of a device")
			}
			return err
		},
	})
	return nil
}

// prepare takes what the job needs from the domain, in Receive.
func (j *deviceJob) prepare(d *domain) error {
	aff, err := d.affected(j.flags)
	if err != nil {
		return err
	}
	if aff.config {
		if j.config, err = d.config.Def(); err != nil {
			return err
		}
	}
	if !aff.live {
		return nil
	}
	if j.mon, err = d.monitor(); err != nil {
		return err
	}
	if j.live, err = d.live.Def(); err != nil {
		return err
	}
	j.run, j.base, j.dir, j.id = d.run, d.live, d.run.dir, d.run.id
	if d.run.devices.nextNode == 0 {
		d.run.devices.nextNode = firstNode(j.live)
	}
	j.nextNode = d.run.devices.nextNode
	d.run.devices.job = j
	return nil
}

// store writes the changed definition, before anybody is told.
func (j *deviceJob) store() error {
	if j.edited == nil {
		return nil
	}
	doc := newDocument(j.edited, &j.drv.xmlEnv)
	text, err := doc.Stored()
	if err != nil {
		return err
	}
	if err := j.drv.storeConfig(j.name, text); err != nil {
		return err
	}
	j.stored = doc
	return nil
}

// finish makes the outcome the domain's, in Receive. It does so after a failure too: what was done then could not be
// undone, and the definition says so.
func (j *deviceJob) finish(d *domain, ctx actor.Context) {
	if j.run != nil && d.run == j.run {
		d.run.devices.job = nil
		d.run.devices.nextNode = max(j.nextNode, d.run.devices.nextNode)
	}
	same := j.run != nil && d.run == j.run && d.live != nil && !d.run.ending
	if same && j.now != nil {
		d.renewLive(ctx, j.base, newDocument(j.now, &d.drv.xmlEnv))
	}
	if j.stored != nil {
		d.config = j.stored
		if d.active() {
			d.updated = true
		} else {
			d.config.rest()
		}
	}
	if !same {
		return
	}
	for _, e := range j.events {
		e(d, ctx)
	}
	for _, alias := range dropNames(j.heard, j.done) {
		d.finishRemoval(ctx, alias)
	}
}

// tell passes news to the job; a job that does not wait for any may leave them.
func (j *deviceJob) tell(n unplugNews) {
	select {
	case j.news <- n:
	default:
	}
}

// editConfig gives the stored definition to change.
func (j *deviceJob) editConfig() (*libvirtxml.Domain, error) {
	def, err := domxml.Clone(j.config)
	if err != nil {
		return nil, err
	}
	return def, nil
}

// parse reads the client's document for one of the definitions.
func (j *deviceJob) parse(xml string, def *libvirtxml.Domain) (*domxml.Device, error) {
	return domxml.ParseDevice([]byte(xml), def, j.drv.xmlEnv, 0)
}
