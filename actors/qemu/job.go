package qemu

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// jobKind is what a job does to its domain; it decides beside which others it may run.
type jobKind uint8

const (
	jobQuery  jobKind = iota // asks QEMU something
	jobModify                // changes the domain
	jobAsync                 // long: migration, save, dump, snapshot, backup
	jobAbort                 // ends an async job
	jobAgent                 // asks the guest agent, beside everything but its like
)

// task is one job of a domain: what it is, the blocking part and what to make of the result.
type task struct {
	kind  jobKind
	name  string        // "remoteDispatchDomainSuspend": who holds the domain, in the message to who waits
	req   *call.Request // who is answered; nil when nobody asked
	limit time.Duration // of the blocking part; 0 means none
	// prepare, if set, runs in the domain's Receive when the task's turn has come: what it reads is not stale.
	prepare func(d *domain)
	// run is the blocking part, in a goroutine of its own; it must not touch the domain.
	run func(ctx context.Context, undo *kit.Undo) (any, error)
	// apply continues in the domain's Receive after a success, and makes the answer.
	apply func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error)
	// failed, if set, continues after a failure; the answer is what it returns.
	failed func(d *domain, ctx actor.Context, err error) error
	// discard frees a result that nobody will take.
	discard func(out any)
	// begin, if set, is called in Receive when the job's turn has come; its error ends the job.
	begin func(d *domain, ctx actor.Context) error

	serial uint64 // of the running job
}

// admit is libvirt's rule: one job that asks or changes at a time, and beside an async job those that
// do not fight with it.
func admit(running []*task, t *task) bool {
	async, plain, agent := false, false, false
	for _, r := range running {
		switch r.kind {
		case jobAsync:
			async = true
		case jobAgent:
			agent = true
		default:
			plain = true
		}
	}
	switch t.kind {
	case jobAsync:
		return !async && !plain
	case jobModify:
		return !async && !plain
	case jobAgent:
		return !agent
	default:
		return !plain
	}
}

// jobWait is how long a job waits for its turn; libvirt's QEMU_JOB_WAIT_TIME.
const jobWait = 30 * time.Second

// start brings a task to the queue, where it runs now, waits or is refused.
func (d *domain) start(ctx actor.Context, t *task) {
	if t.name == "" && t.req != nil {
		t.name = holderName(t.req.Proc)
	}
	switch d.queue.Submit(t, time.Now().Add(jobWait)) {
	case kit.Run:
		d.launch(ctx, t)
	case kit.Wait:
		d.armSweep(ctx)
	case kit.Full:
		d.refuse(ctx, t, liberr.New(liberr.FromQemu, liberr.OperationFailed,
			"cannot acquire state change lock (held by %s) due to max_queued limit", d.holder(t)))
	}
}

// launch runs the blocking part.
func (d *domain) launch(ctx actor.Context, t *task) {
	if t.prepare != nil {
		t.prepare(d)
	}
	running := kit.Job[any]{Name: t.name, Timeout: t.limit, Run: t.blocking(d, ctx), Discard: t.discard}.Start(ctx)
	t.serial = running.Serial
	d.tasks[t.serial] = t
}

// blocking is the blocking part, or the error of what comes before it.
func (t *task) blocking(d *domain, ctx actor.Context) func(context.Context, *kit.Undo) (any, error) {
	if t.begin == nil {
		return t.run
	}
	if err := t.begin(d, ctx); err != nil {
		return func(context.Context, *kit.Undo) (any, error) { return nil, err }
	}
	return t.run
}

// aside runs a task without the queue: what never waits behind anything.
func (d *domain) aside(ctx actor.Context, t *task) { d.launch(ctx, t) }

// jobDone applies a job's outcome and starts what waited for it.
func (d *domain) jobDone(ctx actor.Context, m *kit.Done[any]) {
	t := d.tasks[m.Serial]
	if t == nil {
		m.Discard()
		return
	}
	delete(d.tasks, m.Serial)
	d.conclude(ctx, t, m.Value, m.Err)
	for _, next := range d.queue.Done(func(o *task) bool { return o == t }) {
		d.launch(ctx, next)
	}
}

// conclude makes the answer of a finished task.
func (d *domain) conclude(ctx actor.Context, t *task, out any, err error) {
	var ret protocol.Encoder
	if err == nil && t.apply != nil {
		ret, err = t.apply(d, ctx, out)
	} else if err != nil {
		err = d.monitorError(err)
		if t.failed != nil {
			err = t.failed(d, ctx, err)
		}
	}
	if t.req != nil && err != errStillOpen {
		t.req.Finish(ret, err)
	}
}

// errStillOpen is what apply returns when the answer comes from elsewhere, later.
var errStillOpen = errors.New("answered later")

// refuse ends a task that never ran.
func (d *domain) refuse(ctx actor.Context, t *task, err error) {
	if t.failed != nil {
		err = t.failed(d, ctx, err)
	}
	if t.req != nil && err != errStillOpen {
		t.req.Fail(err)
	}
}

// sweep refuses what waited too long.
func (d *domain) sweep(ctx actor.Context, now time.Time) {
	d.sweeping = false
	for _, t := range d.queue.Sweep(now) {
		d.refuse(ctx, t, liberr.New(liberr.FromQemu, liberr.OperationTimeout,
			"cannot acquire state change lock (held by %s)", d.holder(t)))
	}
	if d.queue.Waiting() > 0 {
		d.armSweep(ctx)
	}
}

// sweepTick reminds a domain of the deadlines of its waiting jobs.
type sweepTick struct{}

// Urgent keeps deadlines before new work.
func (*sweepTick) Urgent() bool { return true }

// armSweep sets the timer while jobs wait, and only then: an idle domain wakes nobody.
func (d *domain) armSweep(ctx actor.Context) {
	if d.sweeping {
		return
	}
	d.sweeping = true
	root, self := ctx.ActorSystem().Root, ctx.Self()
	time.AfterFunc(time.Second, func() { root.Send(self, &sweepTick{}) })
}

// holder names the job that another one waits for, and the slot it fills.
func (d *domain) holder(t *task) string {
	slot, agent := "monitor", t.kind == jobAgent
	if agent {
		slot = "agent"
	}
	for _, r := range d.queue.Running() {
		if agent == (r.kind == jobAgent) {
			return slot + "=" + r.name
		}
	}
	return slot + "=<null>"
}

// holderName is the name under which libvirt's daemon runs a procedure: remoteDispatchDomainSuspend.
func holderName(p *protocol.Procedure) string {
	var b strings.Builder
	b.WriteString("remoteDispatch")
	for _, w := range strings.Split(p.Name, "_") {
		if w == "" {
			continue
		}
		switch w {
		case "XML", "UUID", "CPU", "ID", "OS", "FD", "FS", "IO", "PM", "NMI":
			b.WriteString(w)
		default:
			b.WriteString(w[:1] + strings.ToLower(w[1:]))
		}
	}
	return b.String()
}
