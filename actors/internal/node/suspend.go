package node

import (
	"context"
	"os/exec"
	"strconv"

	"github.com/godbus/dbus/v5"

	"virtree/wire/liberr"
)

// SuspendTarget is virNodeSuspendTarget.
type SuspendTarget uint32

const (
	SuspendMem SuspendTarget = iota
	SuspendDisk
	SuspendHybrid
)

// minSuspendSeconds is the shortest sleep: less, and the clock may ring before the host sleeps.
const minSuspendSeconds = 60

// suspendKinds by target: the login manager's question, the word of the capabilities, the error's words, the command.
var suspendKinds = []struct{ ask, capability, words, command string }{
	SuspendMem:    {"CanSuspend", "suspend_mem", "Suspend-to-RAM", "pm-suspend"},
	SuspendDisk:   {"CanHibernate", "suspend_disk", "Suspend-to-Disk", "pm-hibernate"},
	SuspendHybrid: {"CanHybridSleep", "suspend_hybrid", "Hybrid-Suspend", "pm-suspend-hybrid"},
}

// SuspendCapabilities names the ways in which the host can sleep, as the capabilities list them. The login manager is
// asked; a host without one sleeps in no way.
func (n Node) SuspendCapabilities(ctx context.Context) []string {
	can := n.canSuspend(ctx)
	var list []string
	for i, kind := range suspendKinds {
		if can[i] {
			list = append(list, kind.capability)
		}
	}
	return list
}

func (n Node) canSuspend(ctx context.Context) (can [3]bool) {
	if !n.exists("/run/dbus/system_bus_socket") {
		return can
	}
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return can
	}
	defer bus.Close()
	manager := bus.Object("org.freedesktop.login1", "/org/freedesktop/login1")
	for i, kind := range suspendKinds {
		var answer string
		call := manager.CallWithContext(ctx, "org.freedesktop.login1.Manager."+kind.ask, dbus.FlagNoAutoStart)
		if call.Store(&answer) != nil {
			return can
		}
		can[i] = answer == "yes"
	}
	return can
}

// Suspend is virNodeSuspendForDuration: it sets the clock that wakes the host and sends it to sleep in the background.
func (n Node) Suspend(ctx context.Context, target SuspendTarget, seconds uint64) error {
	if int(target) >= len(suspendKinds) {
		return liberr.New(liberr.FromNone, liberr.InvalidArg, "Invalid suspend target")
	}
	kind := suspendKinds[target]
	if !n.canSuspend(ctx)[target] {
		return liberr.New(liberr.FromNone, liberr.ArgumentUnsupported, "%s", kind.words)
	}
	if seconds < minSuspendSeconds {
		return liberr.New(liberr.FromNone, liberr.InvalidArg, "Suspend duration is too short")
	}
	out, err := exec.CommandContext(ctx, "rtcwake", "-m", "no", "-s", strconv.FormatUint(seconds, 10)).CombinedOutput()
	if err != nil {
		return liberr.New(liberr.FromNone, liberr.InternalError, "cannot set the wake-up clock: %v: %s", err, out)
	}
	cmd := exec.Command(kind.command)
	if err := cmd.Start(); err != nil {
		return liberr.System(liberr.FromNone, err, "Cannot suspend the host")
	}
	go cmd.Wait() // ends when the host is awake again; nobody waits for it
	return nil
}
