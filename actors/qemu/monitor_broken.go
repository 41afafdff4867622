package qemu

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/qemu/qmp"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// A QEMU that says what is no QMP has a guest that runs on all the same. libvirt keeps it, and fails all that needs its monitor
// until the guest is destroyed; here the connection is opened anew, which makes QEMU begin a new conversation.

// monitorBroken parts with a monitor that cannot be understood.
func (d *domain) monitorBroken(ctx actor.Context, cause error) {
	run := d.run
	run.mon = nil // its goroutines have ended
	wait := time.Duration(0)
	if time.Since(run.brokeAt) < reconnectPause*10 {
		wait = reconnectPause // it does so again and again
	}
	run.brokeAt = time.Now()
	d.log.Error().Err(cause).Msg("QEMU says what is no QMP, and is connected to anew")
	d.publish(ctx, virt.DomainEventIDControlError, &protocol.DomainEventControlErrorMsg{Dom: d.ref()})
	d.reconnect(ctx, wait)
}

// reconnected is a monitor that was opened anew, and what QEMU does.
type reconnected struct {
	mon    *qmp.Client
	status qmp.Status
}

// tryMonitor opens the monitor. The end of one that was never any good is not told to the domain.
func tryMonitor(ctx context.Context, path string, h qmp.Handler) (*reconnected, error) {
	const (
		trial = iota
		good
		over
	)
	var state atomic.Int32
	closed := h.Closed
	h.Closed = func(err error) {
		if !state.CompareAndSwap(trial, over) {
			closed(err)
		}
	}
	mon, err := qmp.Dial(ctx, path, h)
	if err != nil {
		return nil, err
	}
	status, err := qmp.QueryStatus(ctx, mon)
	if err == nil && !state.CompareAndSwap(trial, good) {
		err = mon.Err()
	}
	if err != nil {
		_ = mon.Close()
		return nil, err
	}
	return &reconnected{mon, status}, nil
}

// reconnectPause is the time between two attempts to reach a monitor.
const reconnectPause = time.Second

// heardAgain corrects what the domain was thought to do by what a QEMU says that is connected to anew: what it said meanwhile
// is lost.
func (d *domain) heardAgain(ctx actor.Context, now qmp.Status) {
	switch next := reconcile(d.life, now); {
	case next == d.life:
	case next.State == virt.DomainRunning:
		d.turn(ctx, triggerResumed, next.Reason, resumedDetail(next.Reason))
	case next.State == virt.DomainPaused:
		d.turn(ctx, triggerStopped, next.Reason, suspendedDetail(next.Reason))
	case next.State == virt.DomainShutdown:
		d.shutdownEvent(ctx, qmp.Event{Name: "SHUTDOWN"})
	default:
		d.life = next
		d.tell(ctx)
		d.saveStatus(ctx)
	}
}
