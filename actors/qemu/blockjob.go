package qemu

import (
	"context"
	"fmt"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// blockJob is one job of QEMU on one disk, from its start until what it changed stands in the definitions.
//
//	running --concluded--> settled          pull, commit of lower layers
//	running --ready--> mirrored --pivot, abort--> concluded --> settled     copy, commit of the active layer
type blockJob struct {
	id    string // QEMU's: "pull-vda-libvirt-2-format"
	disk  string // target
	kind  int32  // virDomainBlockJobType
	speed uint64 // bytes per second; 0: no limit
	ready bool   // what is written goes to both sides
	pivot bool   // asked to finish by going over to the other side
	abort bool   // asked to end

	flags     uint32                             // of the call that started it
	base, top uint                               // numbers of layers, where the kind has them; 0 is none
	mirror    *libvirtxml.DomainDiskSource       // of a copy: the other side
	format    string                             // its format
	backing   *libvirtxml.DomainDiskBackingStore // what lies under it
	settling  bool
	waiting   []*call.Request // who asked for the end and waits for it
}

// blockDisk finds a disk of the running guest.
func (d *domain) blockDisk(path string) (*libvirtxml.Domain, *libvirtxml.DomainDisk, error) {
	def, err := d.liveDef()
	if err != nil {
		return nil, nil, err
	}
	disk := findDisk(def, path)
	if disk == nil {
		return nil, nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "disk '%s' not found in domain", path)
	}
	return def, disk, nil
}

// blockJobOf is the job of a disk, or libvirt's refusal.
func (d *domain) blockJobOf(path string) (*blockJob, error) {
	_, disk, err := d.blockDisk(path)
	if err != nil {
		return nil, err
	}
	job := d.blockJobs[diskTarget(disk)]
	if job == nil {
		return nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "disk %s does not have an active block job", diskTarget(disk))
	}
	return job, nil
}

// freeDisk refuses a second job on one disk.
func (d *domain) freeDisk(disk *libvirtxml.DomainDisk) error {
	if d.blockJobs[diskTarget(disk)] != nil {
		return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "disk '%s' already in active block job", diskTarget(disk))
	}
	if disk.Device == "lun" {
		return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "block jobs are not supported on vhostuser disk '%s'", diskTarget(disk))
	}
	return nil
}

// startBlockJob hands a job to QEMU. plan is called when the domain is free for it; it looks at the definition and
// makes the job and the commands that start it.
func (d *domain) startBlockJob(ctx actor.Context, r *call.Request, plan func(d *domain) (*blockJob, func(ctx context.Context, mon *qmp.Client, undo *kit.Undo) error, error)) error {
	if err := d.running(); err != nil {
		return err
	}
	var job *blockJob
	var mon *qmp.Client
	var start func(ctx context.Context, mon *qmp.Client, undo *kit.Undo) error
	var run *instance
	d.start(ctx, &task{
		kind: jobModify, req: r,
		begin: func(d *domain, _ actor.Context) (err error) {
			if mon, err = d.monitor(); err != nil {
				return err
			}
			if job, start, err = plan(d); err != nil {
				return err
			}
			run = d.run
			def, err := d.live.Def()
			if err != nil {
				return err
			}
			run.devices.nextNode = max(run.devices.nextNode, firstNode(def)) // numbers of images that go are not used again
			if d.blockJobs == nil {
				d.blockJobs = map[string]*blockJob{}
			}
			d.blockJobs[job.disk] = job // from now on: QEMU may tell of it before it answers
			d.saveStatus(ctx)
			return nil
		},
		run: func(jc context.Context, undo *kit.Undo) (any, error) { return nil, start(jc, mon, undo) },
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			if d.run != run {
				return nil, liberr.New(liberr.FromQemu, liberr.OperationFailed, "domain is no longer running")
			}
			if job.mirror != nil || job.kind == virt.DomainBlockJobTypeActiveCommit {
				d.showMirror(ctx, job)
			}
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			if job != nil && d.blockJobs[job.disk] == job {
				delete(d.blockJobs, job.disk)
				d.saveStatus(ctx)
			}
			return err
		},
	})
	return nil
}

// speedBytes is a bandwidth in bytes per second.
func speedBytes(bandwidth uint64, bytes bool) (uint64, error) {
	if bytes {
		return bandwidth, nil
	}
	const most = 1<<63 - 1
	if bandwidth > most>>20 {
		return 0, liberr.New(liberr.FromQemu, liberr.Overflow, "bandwidth must be less than %d", uint64(most>>20))
	}
	return bandwidth << 20, nil
}

// blockJobArgs are what all jobs are told: to make their changes by themselves and to stay until we have looked.
func blockJobArgs(job *blockJob, device string) map[string]any {
	args := map[string]any{"job-id": job.id, "device": device, "auto-finalize": true, "auto-dismiss": false}
	if job.speed > 0 {
		args["speed"] = job.speed
	}
	return args
}

// blockJobEvent follows a job as QEMU tells of it.
func (d *domain) blockJobEvent(ctx actor.Context, ev qmp.Event) {
	var data struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	if ev.Decode(&data) != nil {
		return
	}
	for _, job := range d.blockJobs {
		if job.id == data.ID {
			d.blockJobStatus(ctx, job, data.Status)
			return
		}
	}
}

// blockJobStatus takes QEMU's word for how a job is doing.
func (d *domain) blockJobStatus(ctx actor.Context, job *blockJob, status string) {
	switch status {
	case "ready":
		if !job.ready {
			job.ready = true
			d.showMirror(ctx, job)
			d.tellBlockJob(ctx, job, virt.DomainBlockJobReady)
		}
	case "concluded":
		d.settle(ctx, job)
	}
}

// tellBlockJob publishes both forms of the event, the older one first.
func (d *domain) tellBlockJob(ctx actor.Context, job *blockJob, status int32) {
	path := ""
	if def, err := d.live.Def(); err == nil {
		if disk := findDisk(def, job.disk); disk != nil {
			path = diskPath(disk)
		}
	}
	d.publish(ctx, virt.DomainEventIDBlockJob, &protocol.DomainEventBlockJobMsg{Dom: d.ref(), Path: path, Type: job.kind, Status: status})
	d.publish(ctx, virt.DomainEventIDBlockJob2, tail{&protocol.DomainEventBlockJob2Msg{Dom: d.ref(), Dst: job.disk, Type: job.kind, Status: status}})
}

// settle takes the outcome of a job that QEMU has concluded: into the definitions, and away from QEMU.
func (d *domain) settle(ctx actor.Context, job *blockJob) {
	if job.settling {
		return
	}
	job.settling = true
	run, drv, uuid := d.run, d.drv, d.uuid
	var mon *qmp.Client
	var before *libvirtxml.DomainDisk
	d.start(ctx, &task{
		kind: jobModify, name: "finish block job",
		begin: func(d *domain, _ actor.Context) (err error) {
			if mon, err = d.monitor(); err != nil {
				return err
			}
			_, before, err = d.blockDisk(job.disk)
			return err
		},
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			complaint := ""
			jobs, err := qmp.QueryJobs(jc, mon)
			if err != nil {
				return nil, err
			}
			for _, j := range jobs {
				if j.ID == job.id {
					complaint = j.Error
				}
			}
			if err := qmp.JobDismiss(jc, mon, job.id); err != nil {
				return nil, err
			}
			out := &settled{complaint: complaint, ok: complaint == "" && !job.cancelled()}
			out.disk, out.dropped = job.outcome(before, out.ok)
			drv.releaseOthers(jc, uuid, before, out.disk)
			for _, l := range out.dropped {
				dropNodes(jc, mon, before, l)
				if l.path != "" {
					_ = giveBack(l.path)
				}
			}
			return out, nil
		},
		apply: func(d *domain, ctx actor.Context, out any) (protocol.Encoder, error) {
			if d.run == run && d.live != nil {
				d.settledBlockJob(ctx, job, out.(*settled))
			}
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			d.log.Error().Err(err).Str("job", job.id).Msg("cannot finish a block job")
			delete(d.blockJobs, job.disk)
			d.saveStatus(ctx)
			d.answerBlockJob(job, err)
			return err
		},
	})
}

// cancelled tells whether a concluded job was ended by a client. A mirror that is ended counts as done for QEMU.
func (j *blockJob) cancelled() bool { return j.abort && !j.pivot }

// settled is what became of a job.
type settled struct {
	ok        bool
	complaint string
	disk      *libvirtxml.DomainDisk // as it is now
	dropped   []chainLayer           // images that are not part of it any more
}

func (d *domain) settledBlockJob(ctx actor.Context, job *blockJob, s *settled) {
	delete(d.blockJobs, job.disk)
	var old libvirtxml.DomainDisk
	def, err := d.live.Clone()
	if err != nil {
		d.answerBlockJob(job, err)
		return
	}
	for i := range def.Devices.Disks {
		if diskTarget(&def.Devices.Disks[i]) == job.disk {
			old = def.Devices.Disks[i]
			def.Devices.Disks[i] = *s.disk
		}
	}
	d.live = newDocument(def, &d.drv.xmlEnv)
	d.saveStatus(ctx)
	if s.ok && job.pivot {
		d.pivotConfig(ctx, job.disk, &old, s.disk)
	} else if s.ok && (job.kind == virt.DomainBlockJobTypePull || job.kind == virt.DomainBlockJobTypeCommit) {
		d.shortenConfig(ctx, job.disk, s.disk)
	}
	status := int32(virt.DomainBlockJobCompleted)
	switch {
	case s.ok:
	case job.abort:
		status = virt.DomainBlockJobCanceled
	default:
		status = virt.DomainBlockJobFailed
	}
	d.tellBlockJob(ctx, job, status)
	switch {
	case job.pivot && !s.ok:
		d.answerBlockJob(job, liberr.New(liberr.FromQemu, liberr.OperationFailed, "block job '%s' failed while pivoting: %s", job.id, s.complaint))
	default:
		d.answerBlockJob(job, nil)
	}
}

func (d *domain) answerBlockJob(job *blockJob, err error) {
	for _, r := range job.waiting {
		r.Finish(nil, err)
	}
	job.waiting = nil
}

// pivotConfig lets the persistent definition follow a disk that went over to another image, if it named the old one,
// or the volume that this is.
func (d *domain) pivotConfig(ctx actor.Context, target string, old, now *libvirtxml.DomainDisk) {
	if d.config == nil {
		return
	}
	def, err := d.config.Clone()
	if err != nil {
		return
	}
	changed := false
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		if diskTarget(disk) != target || diskPath(disk) != diskPath(old) && !sameVolume(disk.Source, old.Source) {
			continue
		}
		disk.Source, disk.Encryption = configSource(now.Source), nil // what the new image is encrypted with stands in its source
		disk.BackingStore = nil                                      // found again on the image at the next start
		if b := now.BackingStore; b != nil && b.Source == nil {
			disk.BackingStore = &libvirtxml.DomainDiskBackingStore{}
		}
		if now.Driver != nil {
			if disk.Driver == nil {
				disk.Driver = &libvirtxml.DomainDiskDriver{Name: "qemu"}
			}
			disk.Driver.Type = now.Driver.Type
		}
		changed = true
	}
	if changed {
		d.replaceConfig(ctx, def)
	}
}

// shortenConfig takes images that a disk does not need any more out of the persistent definition, if it names the same disk
// and what lies below it: the next start must not want images that may be gone.
func (d *domain) shortenConfig(ctx actor.Context, target string, now *libvirtxml.DomainDisk) {
	if d.config == nil {
		return
	}
	def, err := d.config.Clone()
	if err != nil {
		return
	}
	disk := findDisk(def, target)
	if disk == nil || disk.BackingStore == nil || disk.BackingStore.Source == nil ||
		diskPath(disk) != diskPath(now) && !sameVolume(disk.Source, now.Source) {
		return
	}
	disk.BackingStore = storedChain(now.BackingStore)
	d.replaceConfig(ctx, def)
}

// replaceConfig makes a definition the persistent one, because of what happened to the guest and not because a client
// said so.
func (d *domain) replaceConfig(ctx actor.Context, def *libvirtxml.Domain) {
	doc := newDocument(def, &d.drv.xmlEnv)
	text, err := doc.Stored()
	if err != nil {
		d.log.Error().Err(err).Msg("cannot print the definition")
		return
	}
	d.config = doc
	drv, name := d.drv, d.name
	d.aside(ctx, &task{name: "store the definition",
		run: func(context.Context, *kit.Undo) (any, error) { return nil, drv.storeConfig(name, text) },
		failed: func(d *domain, _ actor.Context, err error) error {
			d.log.Error().Err(err).Msg("cannot store the definition")
			return err
		}})
}

// blockJobInfo serves virDomainGetBlockJobInfo.
func (d *domain) blockJobInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetBlockJobInfoArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainBlockJobInfoBandwidthBytes, liberr.FromQemu, "qemuDomainGetBlockJobInfo"); err != nil {
		return err
	}
	_, disk, err := d.blockDisk(a.Path)
	if err != nil {
		return err
	}
	job := d.blockJobs[diskTarget(disk)]
	if job == nil {
		r.Reply(&protocol.DomainGetBlockJobInfoRet{})
		return nil
	}
	bytes := a.Flags&virt.DomainBlockJobInfoBandwidthBytes != 0
	kind, id, ready := job.kind, job.id, job.ready
	return d.query(ctx, r, func(jc context.Context, mon *qmp.Client) (protocol.Encoder, error) {
		list, err := qmp.QueryBlockJobs(jc, mon)
		if err != nil {
			return nil, err
		}
		for _, j := range list {
			if j.Device != id {
				continue
			}
			ret := &protocol.DomainGetBlockJobInfoRet{Found: 1, Type: kind, Bandwidth: j.Speed, Cur: j.Offset, End: j.Len}
			if !bytes {
				ret.Bandwidth = (j.Speed + 1<<20 - 1) >> 20
			}
			// Clients take "all done" for ready, and nothing to do for a job that has not begun.
			switch {
			case ret.End == 0 && ready:
				ret.Cur, ret.End = 1, 1
			case ret.Cur == ret.End && ret.End > 0 && !ready && (kind == virt.DomainBlockJobTypeCopy || kind == virt.DomainBlockJobTypeActiveCommit):
				ret.Cur--
			case ret.End == 0:
				ret.End = 1
			}
			return ret, nil
		}
		return &protocol.DomainGetBlockJobInfoRet{}, nil
	})
}

func (d *domain) blockJobSpeed(ctx actor.Context, r *call.Request, a *protocol.DomainBlockJobSetSpeedArgs) error {
	if err := call.CheckFlags(a.Flags, virt.DomainBlockJobSpeedBandwidthBytes, liberr.FromQemu, "qemuDomainBlockJobSetSpeed"); err != nil {
		return err
	}
	speed, err := speedBytes(a.Bandwidth, a.Flags&virt.DomainBlockJobSpeedBandwidthBytes != 0)
	if err != nil {
		return err
	}
	job, err := d.blockJobOf(a.Path)
	if err != nil {
		return err
	}
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error { return qmp.BlockJobSetSpeed(jc, mon, job.id, speed) },
		func(*domain, actor.Context) (protocol.Encoder, error) {
			job.speed = speed
			return nil, nil
		})
}

// blockJobAbort serves virDomainBlockJobAbort: the end of a job, or with pivot the change to the other side. It is
// answered when the job is over, unless the client wants to hear of that by the event.
func (d *domain) blockJobAbort(ctx actor.Context, r *call.Request, a *protocol.DomainBlockJobAbortArgs) error {
	const async, pivot = virt.DomainBlockJobAbortAsync, virt.DomainBlockJobAbortPivot
	if err := call.CheckFlags(a.Flags, async|pivot, liberr.FromQemu, "qemuDomainBlockJobAbort"); err != nil {
		return err
	}
	job, err := d.blockJobOf(a.Path)
	if err != nil {
		return err
	}
	mirrors := job.kind == virt.DomainBlockJobTypeCopy || job.kind == virt.DomainBlockJobTypeActiveCommit
	over := a.Flags&pivot != 0
	switch {
	case job.abort || job.pivot:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "block job on disk '%s' is still being ended", job.disk)
	case over && !mirrors:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "job type '%s' does not support pivot", blockJobNames[job.kind])
	case over && !job.ready:
		return liberr.New(liberr.FromQemu, liberr.BlockCopyActive, "block job '%s' not ready for pivot yet", job.id)
	}
	wait := a.Flags&async == 0
	var mon *qmp.Client
	d.start(ctx, &task{
		kind: jobModify, req: r,
		begin: func(d *domain, _ actor.Context) (err error) {
			if mon, err = d.monitor(); err != nil {
				return err
			}
			if d.blockJobs[job.disk] != job {
				return liberr.New(liberr.FromQemu, liberr.InvalidArg, "disk %s does not have an active block job", job.disk)
			}
			job.pivot, job.abort = over, !over
			d.saveStatus(ctx)
			return nil
		},
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			if over {
				return nil, qmp.JobComplete(jc, mon, job.id)
			}
			return nil, qmp.JobCancel(jc, mon, job.id)
		},
		apply: func(d *domain, _ actor.Context, _ any) (protocol.Encoder, error) {
			if wait && d.blockJobs[job.disk] == job {
				job.waiting = append(job.waiting, r)
				return nil, errStillOpen
			}
			return nil, nil
		},
		failed: func(_ *domain, _ actor.Context, err error) error {
			job.pivot, job.abort = false, false
			return err
		},
	})
	return nil
}

// blockJobNames are libvirt's words for the kinds.
var blockJobNames = []string{"", "pull", "copy", "commit", "active-commit", "backup"}

// endBlockJobs answers who waits for the end of jobs when the guest is gone.
func (d *domain) endBlockJobs() {
	for _, job := range d.blockJobs {
		d.answerBlockJob(job, liberr.New(liberr.FromQemu, liberr.OperationFailed, "domain is no longer running"))
	}
	d.blockJobs = nil
}

func blockJobID(kind int32, disk string, index uint) string {
	name := blockJobNames[kind]
	if kind == virt.DomainBlockJobTypeActiveCommit {
		name = "commit"
	}
	return fmt.Sprintf("%s-%s-libvirt-%d-format", name, disk, index)
}

// absolute tells a path from a name that QEMU would look up.
func absolute(path string) bool { return strings.HasPrefix(path, "/") }
