package qemu

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// asyncJob is a long job as clients see it: what it does, how far it is, how to end it. The domain and the job's own
// goroutine share it, so what changes is atomic or a channel.
type asyncJob struct {
	name      string // in the status file: "save", "dump", "snapshot"
	title     string // in messages: "domain save"
	operation int32  // virDomainJobOperation
	started   time.Time
	ended     time.Time
	memory    bool // a dump of memory alone, which QEMU cannot stop

	progress  atomic.Pointer[jobProgress]
	complaint atomic.Pointer[string] // QEMU's own words on a failure, where an event brings them
	aborted   atomic.Bool
	tell      func() // tells the domain that the work is done
	wake      chan struct{}
}

// jobProgress is a job's progress as QEMU told it. It is a value.
type jobProgress struct {
	migration *qmp.MigrationInfo
	dump      *qmp.DumpStatus
}

func (j *asyncJob) note(info qmp.MigrationInfo) { j.progress.Store(&jobProgress{migration: &info}) }

// poke makes the job look at QEMU again.
func (j *asyncJob) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (j *asyncJob) canceled() error {
	return liberr.New(liberr.FromQemu, liberr.OperationAborted, "job '%s' canceled by client", j.title)
}

// checkAborted refuses to begin what a client has ended already.
func (j *asyncJob) checkAborted() error {
	if j.aborted.Load() {
		return j.canceled()
	}
	return nil
}

// goOn lets a guest run again after a job that stopped it. A QEMU that is gone needs nothing.
func (j *asyncJob) goOn(ctx context.Context, mon *qmp.Client) error {
	if err := qmp.Cont(ctx, mon); err != nil && mon.Err() == nil {
		return err
	}
	return nil
}

// startAsync queues a long job and keeps what clients see of it while it runs.
func (d *domain) startAsync(ctx actor.Context, job *asyncJob, t *task) {
	job.wake = make(chan struct{}, 1)
	begin, apply, failed := t.begin, t.apply, t.failed
	t.begin = func(d *domain, ctx actor.Context) error {
		if begin != nil {
			if err := begin(d, ctx); err != nil {
				return err
			}
		}
		job.started = time.Now()
		d.async = job
		if d.run != nil {
			d.run.resume = d.resumeAfter(job)
		}
		d.saveStatus(ctx)
		return nil
	}
	root, self := ctx.ActorSystem().Root, ctx.Self()
	job.tell = func() { root.Send(self, &asyncOver{job}) }
	over := func(d *domain, ctx actor.Context, ok bool) {
		if d.async != job {
			return // it never began
		}
		d.async = nil
		if ok {
			d.asyncOver(ctx, &asyncOver{job})
		}
		d.saveStatus(ctx)
	}
	t.apply = func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
		over(d, ctx, true)
		return apply(d, ctx, out)
	}
	t.failed = func(d *domain, ctx actor.Context, err error) error {
		over(d, ctx, false)
		if failed != nil {
			return failed(d, ctx, err)
		}
		return err
	}
	d.start(ctx, t)
}

// asyncOver tells that a job has done its work, before it lets the guest go on.
type asyncOver struct{ job *asyncJob }

// Urgent keeps it in order with the events of QEMU.
func (*asyncOver) Urgent() bool { return true }

// asyncOver publishes a completed job, once.
func (d *domain) asyncOver(ctx actor.Context, m *asyncOver) {
	job := m.job
	if p := job.progress.Load(); p == nil || p.migration == nil || !job.ended.IsZero() {
		return
	}
	job.ended = time.Now()
	d.completed = job
	d.publish(ctx, virt.DomainEventIDJobCompleted, tail{&protocol.DomainEventCallbackJobCompletedMsg{Dom: d.ref(), Params: job.params(true)}})
}

// resumeAfter is why the guest runs again when the job fails.
func (d *domain) resumeAfter(job *asyncJob) int32 {
	if job.name == "save" {
		return virt.DomainRunningSaveCanceled
	}
	return virt.DomainRunningUnpaused
}

// migrationEvent hears what QEMU says of a migration under way.
func (d *domain) migrationEvent(ctx actor.Context, ev qmp.Event) {
	switch ev.Name {
	case "MIGRATION":
		if d.async != nil {
			d.async.poke()
		}
	case "DUMP_COMPLETED":
		if d.async != nil {
			var data struct {
				Error *string `json:"error"`
			}
			if ev.Decode(&data) == nil && data.Error != nil {
				d.async.complaint.Store(data.Error)
			}
			d.async.poke()
		}
	case "MIGRATION_PASS":
		var data struct {
			Pass int32 `json:"pass"`
		}
		if ev.Decode(&data) == nil {
			d.publish(ctx, virt.DomainEventIDMigrationIteration, tail{&protocol.DomainEventCallbackMigrationIterationMsg{Dom: d.ref(), Iteration: data.Pass}})
		}
	}
}

// abortJob serves virDomainAbortJob.
func (d *domain) abortJob(ctx actor.Context, r *call.Request, _ *protocol.DomainAbortJobArgs) error {
	return d.abort(ctx, r, 0)
}

func (d *domain) abortJobFlags(ctx actor.Context, r *call.Request, a *protocol.DomainAbortJobFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainAbortJobPostcopy, liberr.FromQemu, "qemuDomainAbortJobFlags"); err != nil {
		return err
	}
	return d.abort(ctx, r, a.Flags)
}

func (d *domain) abort(ctx actor.Context, r *call.Request, flags uint32) error {
	if err := d.running(); err != nil {
		return err
	}
	job := d.async
	switch {
	case job == nil:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "no job is active on the domain")
	case flags&virt.DomainAbortJobPostcopy != 0:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "current job is not outgoing migration in post-copy mode")
	case job.memory:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot abort memory-only dump")
	}
	mon, err := d.monitor()
	if err != nil {
		return err
	}
	job.aborted.Store(true)
	d.start(ctx, &task{
		kind: jobAbort, req: r, limit: monitorTimeout,
		run: func(jc context.Context, _ *kit.Undo) (any, error) { return nil, qmp.MigrateCancel(jc, mon) },
	})
	return nil
}

// jobInfo serves virDomainGetJobInfo. QEMU is asked beside the job that runs.
func (d *domain) jobInfo(ctx actor.Context, r *call.Request, _ *protocol.DomainGetJobInfoArgs) error {
	if err := d.running(); err != nil {
		return err
	}
	return d.withProgress(ctx, r, func(job *asyncJob) protocol.Encoder {
		ret := &protocol.DomainGetJobInfoRet{Type: virt.DomainJobNone}
		if job == nil {
			return ret
		}
		ret.Type = virt.DomainJobUnbounded
		ret.TimeElapsed = job.elapsed()
		ret.MemTotal, ret.MemProcessed, ret.MemRemaining = job.amounts()
		ret.DataTotal, ret.DataProcessed, ret.DataRemaining = ret.MemTotal, ret.MemProcessed, ret.MemRemaining
		return ret
	})
}

// withProgress answers about the job that runs, with fresh numbers.
func (d *domain) withProgress(ctx actor.Context, r *call.Request, answer func(job *asyncJob) protocol.Encoder) error {
	job := d.async
	if job == nil {
		r.Reply(answer(nil))
		return nil
	}
	mon, err := d.monitor()
	if err != nil {
		return err
	}
	d.start(ctx, &task{
		kind: jobQuery, req: r, limit: monitorTimeout,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			if job.memory {
				st, err := qmp.QueryDump(jc, mon)
				if err == nil {
					job.progress.Store(&jobProgress{dump: &st})
				}
				return nil, err
			}
			info, err := qmp.QueryMigrate(jc, mon)
			if err == nil && info.Status != "" {
				job.note(info)
			}
			return nil, err
		},
		apply: func(*domain, actor.Context, any) (protocol.Encoder, error) { return answer(job), nil },
	})
	return nil
}

func (d *domain) jobStats(ctx actor.Context, r *call.Request, a *protocol.DomainGetJobStatsArgs) error {
	const completed, keep = virt.DomainJobStatsCompleted, virt.DomainJobStatsKeepCompleted
	if err := call.CheckFlags(a.Flags, completed|keep, liberr.FromQemu, "qemuDomainGetJobStats"); err != nil {
		return err
	}
	if a.Flags&completed != 0 {
		job := d.completed
		if job == nil {
			r.Reply(&protocol.DomainGetJobStatsRet{Type: virt.DomainJobNone})
			return nil
		}
		if a.Flags&keep == 0 {
			d.completed = nil
		}
		r.Reply(&protocol.DomainGetJobStatsRet{Type: virt.DomainJobCompleted, Params: job.params(true)})
		return nil
	}
	if err := d.running(); err != nil {
		return err
	}
	return d.withProgress(ctx, r, func(job *asyncJob) protocol.Encoder {
		if job == nil {
			return &protocol.DomainGetJobStatsRet{Type: virt.DomainJobNone}
		}
		return &protocol.DomainGetJobStatsRet{Type: virt.DomainJobUnbounded, Params: job.params(false)}
	})
}

// elapsed is the time since the job began, in ms.
func (j *asyncJob) elapsed() uint64 {
	end := j.ended
	if end.IsZero() {
		end = time.Now()
	}
	return uint64(end.Sub(j.started).Milliseconds())
}

// amounts are the bytes of memory: all, done, left.
func (j *asyncJob) amounts() (total, done, left uint64) {
	p := j.progress.Load()
	switch {
	case p == nil:
	case p.dump != nil:
		return p.dump.Total, p.dump.Completed, p.dump.Total - p.dump.Completed
	case p.migration.RAM != nil:
		m := p.migration.RAM
		return m.Total, m.Transferred, m.Remaining
	}
	return 0, 0, 0
}

// params is the job in libvirt's names and order.
func (j *asyncJob) params(done bool) []protocol.TypedParam {
	out := []protocol.TypedParam{paramInt(virt.DomainJobOperation, j.operation), paramULLong(virt.DomainJobTimeElapsed, j.elapsed())}
	p := j.progress.Load()
	total, processed, left := j.amounts()
	if p != nil && p.migration != nil && p.migration.Status == "completed" && done {
		out = append(out, paramULLong(virt.DomainJobDowntime, p.migration.DowntimeMS), paramULLong(virt.DomainJobSetupTime, p.migration.SetupMS))
	}
	out = append(out,
		paramULLong(virt.DomainJobDataTotal, total), paramULLong(virt.DomainJobDataProcessed, processed), paramULLong(virt.DomainJobDataRemaining, left),
		paramULLong(virt.DomainJobMemoryTotal, total), paramULLong(virt.DomainJobMemoryProcessed, processed), paramULLong(virt.DomainJobMemoryRemaining, left))
	if p == nil || p.migration == nil || p.migration.RAM == nil {
		return out
	}
	m := p.migration.RAM
	return append(out,
		paramULLong(virt.DomainJobMemoryBps, uint64(math.Max(0, m.Mbps)*1000*1000/8)),
		paramULLong(virt.DomainJobMemoryConstant, m.Duplicate), paramULLong(virt.DomainJobMemoryNormal, m.Normal),
		paramULLong(virt.DomainJobMemoryNormalBytes, m.NormalBytes), paramULLong(virt.DomainJobMemoryDirtyRate, m.DirtyPagesRate),
		paramULLong(virt.DomainJobMemoryIteration, m.DirtySyncCount), paramULLong(virt.DomainJobMemoryPostcopyReqs, m.PostcopyReqs),
		paramULLong(virt.DomainJobMemoryPageSize, m.PageSize))
}

// recoverJob ends a long job that the daemon died in, and lets a guest go on that stood still for it and for nothing
// else. before is the state that was written down.
func (a *adopted) recoverJob(ctx context.Context, job string, before life) {
	if job == "" || job == "none" {
		return
	}
	if info, err := qmp.QueryMigrate(ctx, a.mon); err == nil {
		switch info.Status {
		case "setup", "active", "device", "pre-switchover":
			_ = qmp.MigrateCancel(ctx, a.mon)
		}
	}
	if a.life.State != virt.DomainPaused {
		return
	}
	ours := before.State == virt.DomainRunning
	if before.State == virt.DomainPaused {
		switch before.Reason {
		case virt.DomainPausedSave, virt.DomainPausedDump, virt.DomainPausedSnapshot, virt.DomainPausedMigration:
			ours = true
		}
	}
	if !ours || qmp.Cont(ctx, a.mon) != nil {
		return
	}
	a.life = life{virt.DomainRunning, virt.DomainRunningUnpaused}
	if job == "save" {
		a.life.Reason = virt.DomainRunningSaveCanceled
	}
}
