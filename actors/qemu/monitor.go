package qemu

import (
	"context"
	"encoding/json"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// monitorEvent takes one event of QEMU. Events of the start are kept until the start is applied, since
// clients must not hear of a domain that is not there yet.
func (d *domain) monitorEvent(ctx actor.Context, m *monitorEvent) {
	run := d.run
	if run == nil || run.serial != m.run {
		return // of a run that is over
	}
	if !run.started {
		run.early = append(run.early, m.event)
		return
	}
	d.qemuEvent(ctx, m.event)
}

// qemuEvent publishes the event as QEMU sent it and does what it means.
func (d *domain) qemuEvent(ctx actor.Context, ev qmp.Event) {
	d.passOn(ctx, ev)
	d.agentHears(ev.Name)
	switch ev.Name {
	case "RESUME":
		d.reclaimLocks(ctx)
		if d.run.isDown {
			return // on its way down, or to a reboot that clients hear of as such
		}
		reason := d.run.resume
		d.run.resume = virt.DomainRunningUnpaused
		if reason == 0 {
			reason = virt.DomainRunningUnpaused
		}
		d.turn(ctx, triggerResumed, reason, resumedDetail(reason))
	case "STOP":
		d.restLocks(ctx)
		if d.run.isDown {
			return
		}
		reason := d.run.paused
		d.run.paused = virt.DomainPausedUnknown
		d.turn(ctx, triggerStopped, reason, suspendedDetail(reason))
	case "SHUTDOWN":
		d.shutdownEvent(ctx, ev)
	case "RESET":
		d.publish(ctx, virt.DomainEventIDReboot, &protocol.DomainEventRebootMsg{Dom: d.ref()})
	case "SUSPEND":
		d.turn(ctx, triggerPMSuspended, 0, virt.DomainEventPmsuspendedMemory)
		d.publish(ctx, virt.DomainEventIDPmsuspend, &protocol.DomainEventPmsuspendMsg{Dom: d.ref()})
	case "SUSPEND_DISK":
		d.publish(ctx, virt.DomainEventIDPmsuspendDisk, &protocol.DomainEventPmsuspendDiskMsg{Dom: d.ref()})
	case "WAKEUP":
		d.turn(ctx, triggerWoken, 0, 0)
		d.publish(ctx, virt.DomainEventIDPmwakeup, &protocol.DomainEventPmwakeupMsg{Dom: d.ref()})
	case "MIGRATION", "MIGRATION_PASS", "DUMP_COMPLETED":
		d.migrationEvent(ctx, ev)
	case "JOB_STATUS_CHANGE":
		d.blockJobEvent(ctx, ev)
	case "GUEST_PANICKED":
		d.panicked(ctx)
	default:
		d.deviceEvent(ctx, ev)
	}
}

// resumedDetail is the event detail for a reason to run.
func resumedDetail(reason int32) int32 {
	switch reason {
	case virt.DomainRunningMigrated:
		return virt.DomainEventResumedMigrated
	case virt.DomainRunningRestored, virt.DomainRunningFromSnapshot:
		return virt.DomainEventResumedFromSnapshot
	}
	return virt.DomainEventResumedUnpaused
}

// suspendedDetail is the event detail for a reason to be paused.
func suspendedDetail(reason int32) int32 {
	switch reason {
	case virt.DomainPausedIoerror:
		return virt.DomainEventSuspendedIoerror
	case virt.DomainPausedWatchdog:
		return virt.DomainEventSuspendedWatchdog
	case virt.DomainPausedMigration:
		return virt.DomainEventSuspendedMigrated
	case virt.DomainPausedFromSnapshot:
		return virt.DomainEventSuspendedFromSnapshot
	}
	return virt.DomainEventSuspendedPaused
}

// shutdownEvent: the guest is off, and its process waits to be told what then. A reboot that was asked for
// through the power button begins anew; else on_poweroff decides, which mostly means the end.
func (d *domain) shutdownEvent(ctx actor.Context, ev qmp.Event) {
	var data qmp.ShutdownData
	_ = ev.Decode(&data)
	d.run.isDown = true
	if d.run.rebooting && !d.run.ending {
		d.run.rebooting = false
		d.restartGuest(ctx)
		return
	}
	if d.run.quiet {
		return
	}
	detail := int32(virt.DomainEventShutdownFinished)
	if ev.Data != nil {
		detail = virt.DomainEventShutdownHost
		if data.Guest {
			detail = virt.DomainEventShutdownGuest
		}
	}
	d.turn(ctx, triggerShutdown, 0, detail)
	if d.run.ending {
		return
	}
	def, err := d.live.Def()
	if err == nil && def.OnPoweroff == "restart" {
		d.restartGuest(ctx)
		return
	}
	d.end(ctx, nil, true, virt.DomainShutoffShutdown, false)
}

// restartGuest resets the machine of a guest that powered off, and lets it run again.
func (d *domain) restartGuest(ctx actor.Context) {
	mon, err := d.monitor()
	if err != nil {
		return
	}
	d.run.resume = virt.DomainRunningBooted
	d.aside(ctx, &task{name: "fake reboot", limit: monitorTimeout,
		run: func(jc context.Context, _ *kit.Undo) (any, error) {
			if err := qmp.SystemReset(jc, mon); err != nil {
				return nil, err
			}
			return nil, qmp.Cont(jc, mon)
		},
		apply: func(d *domain, ctx actor.Context, _ any) (protocol.Encoder, error) {
			if d.run != nil && d.active() {
				d.run.isDown = false
				d.life = lifeBooted
				d.tell(ctx)
				d.saveStatus(ctx)
			}
			return nil, nil
		},
		failed: func(d *domain, ctx actor.Context, err error) error {
			d.log.Error().Err(err).Msg("cannot restart the guest after its shutdown")
			if d.run != nil && d.run.started && !d.run.ending {
				d.end(ctx, nil, true, virt.DomainShutoffFailed, false)
			}
			return err
		}})
}

// panicked does what on_crash says.
func (d *domain) panicked(ctx actor.Context) {
	def, err := d.live.Def()
	action := ""
	if err == nil {
		action = def.OnCrash
	}
	d.turn(ctx, triggerCrashed, 0, 0)
	switch action {
	case "restart", "coredump-restart":
		d.life = lifeBooted
		d.restartGuest(ctx)
	case "preserve":
	default:
		d.end(ctx, nil, true, virt.DomainShutoffCrashed, false)
	}
}

// monitor is the way to QEMU, which a stuck one that was adopted does not open.
func (d *domain) monitor() (*qmp.Client, error) {
	if err := d.requireActive(); err != nil {
		return nil, err
	}
	if d.run.mon == nil {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationTimeout, "QEMU of domain '%s' does not answer", d.name)
	}
	return d.run.mon, nil
}

// passOn publishes the event in QEMU's own form, for clients of the qemu program.
func (d *domain) passOn(ctx actor.Context, ev qmp.Event) {
	msg := protocol.QemuDomainMonitorEventMsg{
		Dom: d.ref(), Event: ev.Name, Seconds: ev.Time.Unix(), Micros: uint32(ev.Time.Nanosecond() / 1000),
	}
	if ev.Data != nil {
		details := string(compact(ev.Data))
		msg.Details = &details
	}
	payload := msg.AppendXDR(nil)[4:] // the callback id is each client's own
	ctx.Send(d.parent, &published{&call.Event{Object: "domain", ID: call.EventMonitor, UUID: d.uuid, Name: ev.Name, Payload: payload}})
}

// compact takes the white space out of JSON, as libvirt's formatter writes it.
func compact(b json.RawMessage) []byte {
	var out []byte
	inString, escaped := false, false
	for _, c := range b {
		if !inString && (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
			continue
		}
		out = append(out, c)
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		}
	}
	return out
}
