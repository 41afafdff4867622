package qemu

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/agent"
	"virtree/actors/qemu/qmp"
	"virtree/supervisors"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// domain owns one guest: its definitions, its job queue, its process. All fields belong to Receive; jobs
// get copies, and documents, which nobody changes.
type domain struct {
	// Constant after start.
	drv    *shared
	uuid   protocol.UUID
	parent *actor.PID
	seed   *seed // what the branch read at its own start; used once
	log    zerolog.Logger

	// What it is.
	name      string
	config    *document // persistent definition; nil for a transient domain
	live      *document // non-nil exactly while the domain is active
	origin    *document // what the run was started from; nil for an adopted one
	last      *document // the persistent definition that was undefined while the guest runs
	taints    []string  // what was done to this run that its maker cannot answer for
	autostart bool
	saved     bool // has a managed save image
	updated   bool // config was changed while the guest ran

	// What it does.
	life life
	run  *instance // non-nil exactly while a process is ours, also while it starts and ends
	rt   runtimeState

	consoles consoles

	snaps        snapshotList
	blockJobs    map[string]*blockJob // by the target of their disk
	async        *asyncJob            // the long job that runs
	completed    *asyncJob            // the last one that ended well, until a client has asked for it
	migrateSpeed uint64               // MiB/s, what a client has set
	agentWait    *int32               // what commands of the guest agent may take; nil: libvirt's default

	queue    *kit.Queue[*task]
	tasks    map[uint64]*task // running, by the job's serial
	sweeping bool

	stash kit.Stash     // messages before it is loaded from disk
	hurry chan struct{} // closed when the first one comes; nil: nothing to hurry
	gone  bool          // forgotten: only answers that it is not there
}

// instance is one run of the guest's process.
type instance struct {
	serial        uint64 // tells messages of this run from those of an earlier one
	id            int32
	proc          *process
	mon           *qmp.Client
	agent         *agent.Client // nil until the guest agent is first spoken to
	dir           string        // libDir
	ending        bool          // a job is taking it down
	brokeAt       time.Time     // when its monitor was last given up
	quiet         bool          // its end is no shutdown: the guest lives on in an image
	started       bool          // the start was applied; before that events are kept
	early         []qmp.Event
	cpuTime       uint64 // as it was read at cpuRead
	cpuRead       time.Time
	release       func()     // lets the daemon go idle
	devices       comings    // devices that come and go while it runs
	saving, dirty bool       // a status file is being written; another one is due
	noted         bool       // the status file may say already what the next one would
	isDown        bool       // the guest is powered off and its process stands: it stops and runs on without the guest
	rebooting     bool       // the next SHUTDOWN is a reboot that was asked for
	paused        int32      // reason for the STOP that a job is about to cause
	resume        int32      // reason for the RESUME likewise
	owner         *actor.PID // autodestroy: the client this domain dies with
}

func newDomain(drv *shared, parent *actor.PID, uuid protocol.UUID, name string, s *seed) *domain {
	return &domain{
		drv: drv, parent: parent, uuid: uuid, name: name, seed: s, life: lifeShutoff,
		log:   drv.env.Log.With().Str("domain", name).Stringer("uuid", uuid).Logger(),
		queue: kit.NewQueue(drv.conf.MaxQueued, admit),
		tasks: map[uint64]*task{}, migrateSpeed: maxBandwidth,
	}
}

// Receive is the domain's table of contents.
func (d *domain) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *call.Call:
		if !d.hold(ctx) {
			d.call(ctx, m)
		}
	case *kit.Done[any]:
		d.jobDone(ctx, m)
	case *monitorEvent:
		d.monitorEvent(ctx, m)
	case *asyncOver:
		d.asyncOver(ctx, m)
	case *monitorLost:
		d.monitorLost(ctx, m)
	case *sampleWhere:
		d.sampleWhere(ctx)
	case *reclaimLocks:
		d.reclaimLocks(ctx)
	case *sweepTick:
		d.sweep(ctx, time.Now())
	case *define:
		if !d.hold(ctx) {
			d.define(ctx, m)
		}
	case *create:
		if !d.hold(ctx) {
			d.create(ctx, m)
		}
	case *rename:
		if !d.hold(ctx) {
			d.rename(ctx, m)
		}
	case *autostart:
		if !d.hold(ctx) {
			d.autostartNow(ctx)
		}
	case *consoleOver:
		d.consoleOver(m)
	case *call.StreamEnded:
		d.streamEnded(ctx, m)
	case *actor.Started:
		supervisors.Describe(ctx, supervisors.Facts{Title: d.name, Kind: "domain"})
		d.load(ctx)
	case *actor.Terminated:
		d.clientGone(ctx, m.Who)
	case *actor.Stopping, *actor.Restarting:
		d.abandon(ctx)
	default:
		kit.Unhandled(ctx, m)
	}
}

// call serves one call, unless the domain has just ceased to be.
func (d *domain) call(ctx actor.Context, c *call.Call) {
	if d.gone {
		call.CloseFDs(c.FDs)
		call.NewRequest(ctx, c).Fail(noDomain(d.uuid, d.name))
		return
	}
	domainRoutes.Serve(d, ctx, c, liberr.FromQemu)
}

// abandon lets go of what the actor holds in this process; the guest runs on. It is the end of the actor
// or, before a restart, of this instance of it.
func (d *domain) abandon(ctx actor.Context) {
	kit.CancelJobs(ctx)
	restarted := liberr.New(liberr.FromQemu, liberr.OperationFailed, "the management of domain '%s' was restarted", d.name)
	d.stash.Refuse(ctx, restarted)
	if d.run != nil {
		if d.run.mon != nil {
			_ = d.run.mon.Close()
		}
		if d.run.agent != nil {
			d.run.agent.Close()
		}
		if d.run.proc != nil {
			d.run.proc.Close()
		}
		if d.run.release != nil {
			d.run.release()
		}
		d.run = nil
	}
	for _, t := range d.queue.Drain() {
		d.refuse(ctx, t, restarted)
	}
	for _, t := range d.tasks {
		if t.req != nil {
			t.req.Fail(restarted)
		}
	}
}

// active tells whether the guest runs, as clients see it: a guest that is starting is not yet.
func (d *domain) active() bool { return d.live != nil }

// requireActive is libvirt's refusal of what needs a running guest.
func (d *domain) requireActive() error {
	if !d.active() {
		return liberr.New(liberr.FromDomain, liberr.OperationInvalid, "domain is not running")
	}
	return nil
}

// current is the definition that describes the domain now: the live one while it runs.
func (d *domain) current() *document {
	if d.live != nil {
		return d.live
	}
	return d.config
}

// ref is how the domain is named on the wire.
func (d *domain) ref() protocol.Domain {
	return protocol.Domain{Name: d.name, UUID: d.uuid, ID: d.id()}
}

func (d *domain) id() int32 {
	if d.live == nil || d.run == nil {
		return -1
	}
	return d.run.id
}

// tell keeps the branch's view of the domain up to date.
func (d *domain) tell(ctx actor.Context) {
	s := Summary{
		Name: d.name, UUID: d.uuid, ID: d.id(), State: d.life.State, Reason: d.life.Reason, Updated: d.updated,
		Persistent: d.config != nil, Autostart: d.autostart, Saved: d.saved, Snapshot: len(d.snaps.all) > 0,
	}
	ctx.Send(d.parent, &summaryChanged{s})
	d.describe(ctx)
}

// describe says what the domain is and how it is, to whoever looks at the tree.
func (d *domain) describe(ctx actor.Context) {
	supervisors.Describe(ctx, supervisors.Facts{Title: d.name, Kind: "domain", Life: d.life.name()})
}

// forget ends a domain that is neither defined nor active.
func (d *domain) forget(ctx actor.Context) {
	d.gone = true
	ctx.Send(d.parent, &forgotten{d.uuid}) // which ends this actor; what is queued until then hears that it is gone
}

// turn applies a trigger to the life, tells the branch and publishes the events.
func (d *domain) turn(ctx actor.Context, t trigger, reason, detail int32) {
	next, events := d.life.on(t, reason, detail)
	if next != d.life {
		d.life = next
		d.tell(ctx)
		d.saveStatus(ctx)
	}
	for _, e := range events {
		d.lifecycle(ctx, e.Event, e.Detail)
	}
}

// monitorError turns what a monitor command ended with into libvirt's error.
func (d *domain) monitorError(err error) error {
	var own *liberr.Error
	var qe *qmp.Error
	var garbage *qmp.ProtocolError
	switch {
	case errors.As(err, &own):
		return err
	case errors.As(err, &garbage):
		return liberr.New(liberr.FromQemu, liberr.InternalError, "cannot parse json %s: %s", garbage.Line, garbage.What).WithCause(err)
	case errors.As(err, &qe):
		return liberr.New(liberr.FromQemu, liberr.InternalError, "unable to execute QEMU command '%s': %s", qe.Command, qe.Desc).WithCause(err)
	case errors.Is(err, qmp.ErrClosed):
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "domain is no longer running").WithCause(err)
	case errors.Is(err, context.DeadlineExceeded):
		return liberr.New(liberr.FromQemu, liberr.OperationTimeout, "QEMU of domain '%s' did not answer in time", d.name).WithCause(err)
	}
	return liberr.From(liberr.FromQemu, err)
}

// noDomain is the answer about a domain that is not, or is not any more.
func noDomain(u protocol.UUID, name string) *liberr.Error {
	return liberr.New(liberr.FromQemu, liberr.NoDomain, "no domain with matching uuid '%s' (%s)", u, name)
}

// lifecycle publishes a lifecycle event.
func (d *domain) lifecycle(ctx actor.Context, event, detail int32) {
	d.publish(ctx, virt.DomainEventIDLifecycle, &protocol.DomainEventLifecycleMsg{Dom: d.ref(), Event: event, Detail: detail})
}

// publish hands an event to the branch. body is the event's message behind its callback id.
func (d *domain) publish(ctx actor.Context, id int32, body protocol.Encoder) {
	ctx.Send(d.parent, &published{&call.Event{Object: "domain", ID: id, UUID: d.uuid, Name: d.name, Payload: body.AppendXDR(nil)}})
}
