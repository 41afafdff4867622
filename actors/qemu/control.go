package qemu

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// What changes the state of a running guest: suspend, resume, reset, shutdown, reboot, wake-up.

// command runs one monitor command as a job of the domain.
func (d *domain) command(ctx actor.Context, r *call.Request, run func(ctx context.Context, mon *qmp.Client) error, apply func(d *domain, ctx actor.Context) (protocol.Encoder, error)) error {
	mon, err := d.monitor()
	if err != nil {
		return err
	}
	d.start(ctx, &task{
		kind: jobModify, req: r,
		run: func(jc context.Context, _ *kit.Undo) (any, error) { return nil, run(jc, mon) },
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			if apply == nil {
				return nil, nil
			}
			return apply(d, ctx)
		},
	})
	return nil
}

func (d *domain) suspend(ctx actor.Context, r *call.Request, _ *protocol.DomainSuspendArgs) error {
	if err := d.requireActive(); err != nil {
		return err
	}
	switch d.life.State {
	case virt.DomainPmsuspended:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is pmsuspended")
	case virt.DomainPaused:
		r.Reply(nil) // already, which is no error
		return nil
	}
	d.run.paused = virt.DomainPausedUser
	nics, log := d.nics(), d.log
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error {
		if err := qmp.Stop(jc, mon); err != nil {
			return err
		}
		if err := restNICs(nics); err != nil {
			log.Warn().Err(err).Msg("cannot take a macvtap of a paused guest down")
		}
		return nil
	},
		func(d *domain, ctx actor.Context) (protocol.Encoder, error) {
			if d.active() { // the STOP event came before the answer; this is for a QEMU that sends none
				d.turn(ctx, triggerStopped, virt.DomainPausedUser, virt.DomainEventSuspendedPaused)
			}
			return nil, nil
		})
}

func (d *domain) resume(ctx actor.Context, r *call.Request, _ *protocol.DomainResumeArgs) error {
	if err := d.requireActive(); err != nil {
		return err
	}
	switch d.life.State {
	case virt.DomainPmsuspended:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is pmsuspended")
	case virt.DomainRunning:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is already running")
	case virt.DomainCrashed, virt.DomainShutdown:
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is not paused")
	}
	d.run.resume = virt.DomainRunningUnpaused
	nics := d.nics()
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error {
		if err := wakeNICs(nics); err != nil {
			return err
		}
		if err := qmp.Cont(jc, mon); err != nil {
			return orOwn(err, liberr.New(liberr.FromQemu, liberr.OperationFailed, "resume operation failed"))
		}
		return nil
	}, func(d *domain, ctx actor.Context) (protocol.Encoder, error) {
		if d.active() {
			d.turn(ctx, triggerResumed, virt.DomainRunningUnpaused, virt.DomainEventResumedUnpaused)
		}
		return nil, nil
	})
}

func (d *domain) reset(ctx actor.Context, r *call.Request, a *protocol.DomainResetArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainReset"); err != nil {
		return err
	}
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error { return qmp.SystemReset(jc, mon) },
		func(d *domain, _ actor.Context) (protocol.Encoder, error) {
			if d.run != nil {
				d.run.rebooting = false
			}
			return nil, nil
		})
}

const (
	shutdownFlags = virt.DomainShutdownAcpiPowerBtn | virt.DomainShutdownGuestAgent
	rebootFlags   = virt.DomainRebootAcpiPowerBtn | virt.DomainRebootGuestAgent
)

func (d *domain) shutdown(ctx actor.Context, r *call.Request, _ *protocol.DomainShutdownArgs) error {
	return d.powerButton(ctx, r, 0, false)
}

func (d *domain) shutdownWithFlags(ctx actor.Context, r *call.Request, a *protocol.DomainShutdownFlagsArgs) error {
	if err := call.CheckFlags(a.Flags, shutdownFlags, liberr.FromQemu, "qemuDomainShutdownFlags"); err != nil {
		return err
	}
	return d.powerButton(ctx, r, a.Flags, false)
}

func (d *domain) reboot(ctx actor.Context, r *call.Request, a *protocol.DomainRebootArgs) error {
	if err := call.CheckFlags(a.Flags, rebootFlags, liberr.FromQemu, "qemuDomainReboot"); err != nil {
		return err
	}
	return d.powerButton(ctx, r, a.Flags, true)
}

// powerButton presses the guest's power button, or asks its agent. For a reboot the SHUTDOWN that follows
// begins the guest anew.
func (d *domain) powerButton(ctx actor.Context, r *call.Request, flags uint32, reboot bool) error {
	if !d.active() {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is not running")
	}
	if reboot && d.life.State != virt.DomainRunning && d.life.State != virt.DomainPaused {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "domain is not running")
	}
	const agent, button = virt.DomainShutdownGuestAgent, virt.DomainShutdownAcpiPowerBtn
	if flags&agent != 0 || flags == 0 && d.agentConnected() {
		done, err := d.agentShutdown(ctx, r, reboot, flags&button != 0 || flags == 0)
		if done || err != nil {
			return err
		}
	}
	return d.pressButton(ctx, r, reboot)
}

// pressButton presses it.
func (d *domain) pressButton(ctx actor.Context, r *call.Request, reboot bool) error {
	if err := d.requireActive(); err != nil {
		return err
	}
	d.run.rebooting = reboot
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error { return qmp.SystemPowerdown(jc, mon) }, nil)
}

func (d *domain) pmWakeup(ctx actor.Context, r *call.Request, a *protocol.DomainPMWakeupArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainPMWakeup"); err != nil {
		return err
	}
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error { return qmp.SystemWakeup(jc, mon) }, nil)
}

func (d *domain) injectNMI(ctx actor.Context, r *call.Request, a *protocol.DomainInjectNMIArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainInjectNMI"); err != nil {
		return err
	}
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error { return qmp.InjectNMI(jc, mon) }, nil)
}

func (d *domain) sendKey(ctx actor.Context, r *call.Request, a *protocol.DomainSendKeyArgs) error {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainSendKey"); err != nil {
		return err
	}
	hold := time.Duration(a.Holdtime) * time.Millisecond
	codes, set := a.Keycodes, a.Codeset
	return d.command(ctx, r, func(jc context.Context, mon *qmp.Client) error { return sendKeys(jc, mon, set, codes, hold) }, nil)
}
