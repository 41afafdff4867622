package qemu

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/lockd"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Where leases touch what else happens to a domain.

// leases finds out what a starting guest is to hold, and sees to it that it does not outlive the start's failure: what is
// added to undo here is undone after the process was ended.
func (p *launchPlan) leases(ctx context.Context, undo *kit.Undo) error {
	if p.drv.locks == nil {
		return nil
	}
	var err error
	if p.locked, err = p.drv.conf.locks.wanted(ctx, p.def); err != nil {
		return err
	}
	undo.Add("let go of leases", func(context.Context) error {
		p.drv.locks.end(p.uuid)
		return nil
	})
	return nil
}

// adoptLocks makes a guest known that was found running.
func (s *shared) adoptLocks(ctx context.Context, def *libvirtxml.Domain, proc *process) {
	if s.locks == nil {
		return
	}
	conf := s.conf.locks
	conf.require = false // it runs already
	want, err := conf.wanted(ctx, def)
	if err != nil {
		s.env.Log.Error().Err(err).Str("domain", def.Name).Msg("cannot tell which leases the guest is to hold")
	}
	s.locks.begin(parseUUID(def.UUID), proc, want)
}

// holdDisk acquires the lease of the image of a disk that comes to a running guest, before QEMU opens it.
func (s *shared) holdDisk(ctx context.Context, u protocol.UUID, undo *kit.Undo, d *libvirtxml.DomainDisk) error {
	if s.locks == nil {
		return nil
	}
	return s.locks.grow(ctx, u, undo, s.conf.locks.ofDisk(ctx, d))
}

// releaseDisk lets go of it when QEMU has closed it.
func (s *shared) releaseDisk(ctx context.Context, u protocol.UUID, d *libvirtxml.DomainDisk) {
	if s.locks != nil {
		s.locks.shrink(ctx, u, s.conf.locks.ofDisk(ctx, d))
	}
}

// holdImage acquires the lease of an image that will be written to in the name of disk d.
func (s *shared) holdImage(ctx context.Context, u protocol.UUID, undo *kit.Undo, d *libvirtxml.DomainDisk, to *libvirtxml.DomainDiskSource) error {
	if s.locks == nil || d == nil {
		return nil
	}
	return s.locks.grow(ctx, u, undo, s.conf.locks.ofSource(ctx, to, d))
}

// releaseImage lets go of it.
func (s *shared) releaseImage(ctx context.Context, u protocol.UUID, d *libvirtxml.DomainDisk, from *libvirtxml.DomainDiskSource) {
	if s.locks != nil && d != nil {
		s.locks.shrink(ctx, u, s.conf.locks.ofSource(ctx, from, d))
	}
}

// releaseOthers lets go of all images of a disk before a block job but the one that the guest writes to after it.
func (s *shared) releaseOthers(ctx context.Context, u protocol.UUID, before, after *libvirtxml.DomainDisk) {
	if s.locks == nil || before == nil || after == nil {
		return
	}
	keep := s.conf.locks.ofDisk(ctx, after)
	drop := func(src *libvirtxml.DomainDiskSource) {
		for _, l := range s.conf.locks.ofSource(ctx, src, before) {
			if len(keep) == 0 || !sameLease(keep[0], l) {
				s.locks.shrink(ctx, u, []lockd.Lease{l})
			}
		}
	}
	if before.Mirror != nil {
		drop(before.Mirror.Source)
	}
	for _, layer := range chain(before) {
		drop(layer.source)
	}
}

// holdLease acquires what a new <lease> element names.
func (j *deviceJob) holdLease(ctx context.Context, undo *kit.Undo, l *libvirtxml.DomainLease) error {
	if j.drv.locks == nil {
		return nil
	}
	one, err := leaseOf(l)
	if err != nil {
		return err
	}
	return j.drv.locks.grow(ctx, j.uuid, undo, []lockd.Lease{one})
}

func (j *deviceJob) releaseLease(ctx context.Context, l *libvirtxml.DomainLease) {
	if one, err := leaseOf(l); err == nil {
		j.drv.locks.shrink(ctx, j.uuid, []lockd.Lease{one})
	}
}

// restLocks lets go of the leases of a guest that QEMU stopped, for whatever reason.
func (d *domain) restLocks(ctx actor.Context) {
	if d.drv.locks == nil || d.run == nil || d.run.mon == nil || d.run.ending {
		return
	}
	l, u, mon := d.drv.locks, d.uuid, d.run.mon
	d.aside(ctx, &task{name: "release leases", limit: time.Minute, run: func(jc context.Context, _ *kit.Undo) (any, error) {
		l.rest(jc, u, mon)
		return nil, nil
	}})
}

// reclaimLocks sees to it that lockd knows of the leases of a guest that runs, and does what the definition says when somebody
// else has them by now.
func (d *domain) reclaimLocks(ctx actor.Context) {
	if d.drv.locks == nil || !d.active() || d.run == nil || d.run.ending {
		return
	}
	l, u, run, log := d.drv.locks, d.uuid, d.run, d.log
	var x qmp.Executor
	if run.mon != nil {
		x = run.mon
	}
	d.aside(ctx, &task{
		name: "reclaim leases", limit: rejoinLimit,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			return nil, retry(jc, func(ctx context.Context) error { return l.reclaim(ctx, u, x) })
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			d.watchLocks(ctx)
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			log.Error().Err(err).Msg("the guest runs without the leases on its disks")
			if d.run == run && !run.ending && d.active() && errors.Is(err, liberr.ResourceBusy) {
				d.locksGone(ctx)
			}
			d.watchLocks(ctx)
			return err
		},
	})
}

// locksGone does what on_lockfailure says. The guest is paused where it says nothing: two guests that write to one image
// spoil it.
func (d *domain) locksGone(ctx actor.Context) {
	text, err := d.live.XML(0)
	action := ""
	if err == nil {
		action = between(text, "<on_lockfailure>", "</on_lockfailure>")
	}
	switch action {
	case "ignore":
	case "poweroff":
		d.end(ctx, nil, true, virt.DomainShutoffFailed, false)
	default: // restart too: it could not start again
		mon := d.run.mon
		if mon == nil {
			return
		}
		d.aside(ctx, &task{name: "pause without leases", limit: monitorTimeout, run: func(jc context.Context, _ *kit.Undo) (any, error) {
			return nil, qmp.Stop(jc, mon)
		}})
	}
}

// lockWatch asks the branch to watch lockd, since a guest holds leases.
type lockWatch struct{}

// reclaimLocks tells a domain that lockd has started anew.
type reclaimLocks struct{}

func (d *domain) watchLocks(ctx actor.Context) {
	if d.drv.locks != nil {
		ctx.Send(d.parent, &lockWatch{})
	}
}

func (dr *driver) watchLocks(ctx actor.Context) {
	if pid := dr.shared.env.Branch("lockd"); dr.lockd == nil && pid != nil {
		dr.lockd = pid
		ctx.Watch(pid)
	}
}

// locksLost is the end of somebody who was watched. If it is lockd's it lets all guests acquire their leases again, which starts lockd again and watches it.
func (dr *driver) locksLost(ctx actor.Context, who *actor.PID) {
	if !who.Equal(dr.lockd) {
		return
	}
	dr.lockd = nil
	if !dr.shared.locks.any() {
		return
	}
	for _, e := range dr.ByUUID {
		if e.ID >= 0 {
			ctx.Send(e.PID, &reclaimLocks{})
		}
	}
}

// orOwn is err if it is libvirt's already, else other with err as its cause.
func orOwn(err error, other *liberr.Error) error {
	var own *liberr.Error
	if errors.As(err, &own) {
		return own
	}
	return other.WithCause(err)
}
