package qemu

import "virtree/wire/virt"

// life is a domain's state and the reason for it, as virDomainGetState tells them.
//
//	         start                     suspend, STOP
//	shutoff ------> running <------------------------> paused
//	   ^              |  ^  \             cont, RESUME
//	   |   SHUTDOWN   |  |   \ SUSPEND
//	   |              v  |    v
//	   +---------- shutdown  pmsuspended
//	   |  process ends: from any state
//	   +--- crashed (on_crash=preserve keeps the process)
type life struct{ State, Reason int32 }

// name is the state as virsh calls it.
func (l life) name() string {
	switch l.State {
	case virt.DomainRunning:
		return "running"
	case virt.DomainBlocked:
		return "idle"
	case virt.DomainPaused:
		return "paused"
	case virt.DomainShutdown:
		return "in shutdown"
	case virt.DomainShutoff:
		return "shut off"
	case virt.DomainCrashed:
		return "crashed"
	case virt.DomainPmsuspended:
		return "pmsuspended"
	}
	return "no state"
}

// shutoff and the like are the states in which a domain comes to rest.
var (
	lifeShutoff = life{virt.DomainShutoff, virt.DomainShutoffUnknown}
	lifeBooted  = life{virt.DomainRunning, virt.DomainRunningBooted}
)

// lifecycleEvent is what clients hear of a transition.
type lifecycleEvent struct{ Event, Detail int32 }

// trigger is what changes a life.
type trigger uint8

const (
	triggerResumed     trigger = iota // vCPUs run
	triggerStopped                    // vCPUs stand still
	triggerShutdown                   // the guest is powered off, the process stands
	triggerPMSuspended                // the guest sleeps (S3)
	triggerWoken                      // and woke up
	triggerCrashed                    // the guest kernel panicked
	triggerEnded                      // the process is gone
)

// on is the state machine: what a trigger makes of a life, and what clients hear. reason is the reason of
// the new state, as far as the trigger leaves it open; detail that of the event.
func (l life) on(t trigger, reason, detail int32) (life, []lifecycleEvent) {
	switch t {
	case triggerResumed:
		if l.State == virt.DomainRunning {
			return l, nil
		}
		return life{virt.DomainRunning, reason}, []lifecycleEvent{{virt.DomainEventResumed, detail}}
	case triggerStopped:
		if l.State != virt.DomainRunning {
			return l, nil
		}
		return life{virt.DomainPaused, reason}, []lifecycleEvent{{virt.DomainEventSuspended, detail}}
	case triggerShutdown:
		if l.State == virt.DomainShutdown || l.State == virt.DomainShutoff {
			return l, nil
		}
		return life{virt.DomainShutdown, virt.DomainShutdownUnknown}, []lifecycleEvent{{virt.DomainEventShutdown, detail}}
	case triggerPMSuspended:
		if l.State == virt.DomainPmsuspended {
			return l, nil
		}
		return life{virt.DomainPmsuspended, virt.DomainPmsuspendedUnknown}, []lifecycleEvent{{virt.DomainEventPmsuspended, detail}}
	case triggerWoken:
		if l.State != virt.DomainPmsuspended {
			return l, nil
		}
		return life{virt.DomainRunning, virt.DomainRunningWakeup}, []lifecycleEvent{{virt.DomainEventStarted, virt.DomainEventStartedWakeup}}
	case triggerCrashed:
		return life{virt.DomainCrashed, virt.DomainCrashedPanicked}, []lifecycleEvent{{virt.DomainEventCrashed, virt.DomainEventCrashedPanicked}}
	case triggerEnded:
		if l.State == virt.DomainShutoff {
			return l, nil
		}
		return life{virt.DomainShutoff, reason}, []lifecycleEvent{{virt.DomainEventStopped, detail}}
	}
	return l, nil
}

// endOf tells how a process that went away by itself counts: after a SHUTDOWN as a shutdown, else as a
// crash, with libvirt's odd pair of names for it.
func (l life) endOf() (reason, detail int32) {
	if l.State == virt.DomainShutdown {
		return virt.DomainShutoffShutdown, virt.DomainEventStoppedShutdown
	}
	if l.State == virt.DomainCrashed {
		return virt.DomainShutoffCrashed, virt.DomainEventStoppedCrashed
	}
	return virt.DomainShutoffCrashed, virt.DomainEventStoppedFailed
}

// shutoffDetail is the event detail for a reason of being shut off.
func shutoffDetail(reason int32) int32 {
	switch reason {
	case virt.DomainShutoffShutdown:
		return virt.DomainEventStoppedShutdown
	case virt.DomainShutoffDestroyed, virt.DomainShutoffDaemon:
		return virt.DomainEventStoppedDestroyed
	case virt.DomainShutoffCrashed:
		return virt.DomainEventStoppedCrashed
	case virt.DomainShutoffMigrated:
		return virt.DomainEventStoppedMigrated
	case virt.DomainShutoffSaved:
		return virt.DomainEventStoppedSaved
	case virt.DomainShutoffFromSnapshot:
		return virt.DomainEventStoppedFromSnapshot
	}
	return virt.DomainEventStoppedFailed
}
