package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// gracePeriod is how long a QEMU may take to end after SIGTERM, as long as libvirt waits.
const gracePeriod = 10 * time.Second

// destroyCall serves virDomainDestroyFlags. It waits behind nothing: the process is taken down, and every
// job that was talking to it ends with that.
func (d *domain) destroyCall(ctx actor.Context, r *call.Request, flags uint32) error {
	if err := call.CheckFlags(flags, virt.DomainDestroyGraceful|virt.DomainDestroyRemoveLogs, liberr.FromQemu, "qemuDomainDestroyFlags"); err != nil {
		return err
	}
	if err := d.requireActive(); err != nil {
		return err
	}
	graceful := flags&virt.DomainDestroyGraceful != 0
	d.end(ctx, r, !graceful, virt.DomainShutoffDestroyed, flags&virt.DomainDestroyRemoveLogs != 0)
	return nil
}

// end takes the process down and what belonged to it away. reason is why the domain is shut off then.
func (d *domain) end(ctx actor.Context, r *call.Request, force bool, reason int32, removeLog bool) {
	run, proc := d.run, d.run.proc
	first := !run.ending
	run.ending = true
	leftovers := d.leftovers()
	d.aside(ctx, &task{
		name: "remoteDispatchDomainDestroy", req: r,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			if err := proc.End(jc, gracePeriod, force); err != nil {
				if errors.Is(err, context.DeadlineExceeded) {
					return nil, liberr.New(liberr.FromQemu, liberr.SystemError, "Failed to terminate process %d with SIGTERM: Device or resource busy", proc.pid)
				}
				return nil, err
			}
			leftovers.forget()
			leftovers.clean(removeLog)
			return nil, nil
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			d.ended(ctx, run, reason)
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			if first && d.run == run {
				run.ending = false // it is still there, and may be tried again
			}
			return err
		},
	})
}

// ended makes the domain inactive. It is called once per run, however many waited for the end.
func (d *domain) ended(ctx actor.Context, run *instance, reason int32) {
	if d.run != run || d.live == nil {
		return
	}
	detail := shutoffDetail(reason)
	if reason == virt.DomainShutoffCrashed {
		_, detail = d.life.endOf()
	}
	next, _ := d.life.on(triggerEnded, reason, detail)
	d.life = next
	d.live, d.origin, d.last, d.run, d.taints = nil, nil, nil, nil, nil
	d.endBlockJobs()
	d.closeConsoles()
	if run.mon != nil {
		_ = run.mon.Close()
	}
	if run.agent != nil {
		run.agent.Close()
	}
	if run.proc != nil {
		run.proc.Close()
	}
	run.release()
	if run.owner != nil {
		ctx.Unwatch(run.owner)
	}
	d.log.Info().Int32("id", run.id).Int32("reason", reason).Msg("domain stopped")
	if d.config != nil {
		d.tell(ctx)
	}
	d.lifecycle(ctx, virt.DomainEventStopped, detail)
	if d.config == nil {
		d.forget(ctx)
	}
}

// leftovers is what a run leaves on the host.
type leftovers struct {
	drv    *shared
	name   string
	holder string
	paths  []string
	ports  []int
	files  []string // that were given to the guest
	nics   []libvirtxml.DomainInterface
	given  []libvirtxml.DomainHostdev // devices of the host
	log    string
	tpm    bool // its state goes, unless the domain is defined
}

// leftovers lists what the current run has on the host.
func (d *domain) leftovers() *leftovers {
	lib := d.drv.env.Paths.DriverLib("qemu")
	short := command.ShortName(int(d.run.id), d.name)
	l := &leftovers{
		drv: d.drv, name: d.name, holder: d.uuid.String(),
		paths: []string{d.run.dir, filepath.Join(lib, "channel", "target", "domain-"+short), filepath.Join(lib, "ram", short)},
		log:   filepath.Join(d.drv.env.Paths.DriverLog("qemu"), d.name+".log"),
	}
	if def, err := d.live.Def(); err == nil {
		l.ports = displayPorts(def)
		l.nics = def.Devices.Interfaces
		l.given = def.Devices.Hostdevs
		l.tpm = forgetsTPM(def, 0)
		if !d.drv.guest.self() && relabels(def) {
			l.files = guestFiles(def)
		}
	}
	return l
}

// forget removes what is kept from run to run, of a domain of which this was the last.
func (l *leftovers) forget() {
	if l.tpm {
		stopTPM(l.drv, l.name)
		l.drv.dropTransientTPM(l.name, l.holder)
	}
}

// clean removes it all. What cannot be removed does no harm to the next start, which removes it again.
func (l *leftovers) clean(removeLog bool) {
	l.drv.locks.end(parseUUID(l.holder))
	_ = os.Remove(l.drv.statusPath(l.name))
	_ = os.Remove(l.drv.pidPath(l.name))
	stopTPM(l.drv, l.name)
	for _, path := range l.files {
		if err := giveBack(path); err != nil {
			l.drv.env.Log.Warn().Err(err).Str("domain", l.name).Str("path", path).Msg("cannot give a file back to its owner")
		}
	}
	for _, path := range l.paths {
		if path != "" {
			_ = os.RemoveAll(path)
		}
	}
	for _, n := range l.ports {
		l.drv.vnc.Release(n, l.holder)
	}
	for i := range l.nics {
		l.drv.releaseNIC(&l.nics[i])
	}
	l.drv.returnHostdevs(l.name, l.given)
	if removeLog {
		_ = os.Remove(l.log)
	}
}

// watchProcess ends the domain when its process is gone, whoever made it go.
func (d *domain) watchProcess(ctx actor.Context) {
	run, proc := d.run, d.run.proc
	root, self := ctx.ActorSystem().Root, ctx.Self()
	go func() {
		if proc.Wait(context.Background()) == nil {
			root.Send(self, &monitorLost{run: run.serial, err: errExited})
		}
	}()
}

// monitorLost is the end of QEMU, announced by its monitor or by the kernel: the first of the two counts.
// One that hangs up and lives on cannot be managed any more and is taken down, as libvirt does.
func (d *domain) monitorLost(ctx actor.Context, m *monitorLost) {
	run := d.run
	if run == nil || run.serial != m.run || !run.started || run.ending {
		return
	}
	var garbage *qmp.ProtocolError
	if errors.As(m.err, &garbage) && run.proc.Alive() {
		d.monitorBroken(ctx, m.err)
		return
	}
	reason, _ := d.life.endOf()
	d.log.Info().AnErr("cause", m.err).Msg("QEMU is gone")
	d.end(ctx, nil, true, reason, false)
}

// clientGone destroys a domain that was to die with its client.
func (d *domain) clientGone(ctx actor.Context, who *actor.PID) {
	if d.run == nil || d.run.owner == nil || d.run.owner.Id != who.Id || d.run.ending {
		return
	}
	d.log.Info().Msg("the client that this domain dies with is gone")
	d.end(ctx, nil, true, virt.DomainShutoffDestroyed, false)
}
