package qmp

import "context"

// Status is query-status: whether the virtual CPUs run, and why not.
type Status struct {
	Running bool   `json:"running"`
	Status  string `json:"status"` // "running", "paused", "prelaunch", "inmigrate", "shutdown", "io-error", ...
}

// QueryStatus asks whether the guest runs.
func QueryStatus(ctx context.Context, x Executor) (Status, error) {
	var s Status
	err := x.Execute(ctx, "query-status", nil, &s)
	return s, err
}

// Cont starts the virtual CPUs.
func Cont(ctx context.Context, x Executor) error { return x.Execute(ctx, "cont", nil, nil) }

// Stop stops the virtual CPUs.
func Stop(ctx context.Context, x Executor) error { return x.Execute(ctx, "stop", nil, nil) }

// SystemPowerdown presses the ACPI power button.
func SystemPowerdown(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "system_powerdown", nil, nil)
}

// SystemReset presses the reset button.
func SystemReset(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "system_reset", nil, nil)
}

// SystemWakeup wakes a guest that suspended itself to memory.
func SystemWakeup(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "system_wakeup", nil, nil)
}

// Quit ends QEMU. The answer comes before the end.
func Quit(ctx context.Context, x Executor) error { return x.Execute(ctx, "quit", nil, nil) }

// SetAction changes what happens on reboot, shutdown, panic or watchdog; "" leaves one as it is.
func SetAction(ctx context.Context, x Executor, reboot, shutdown, panic, watchdog string) error {
	args := map[string]string{}
	for k, v := range map[string]string{"reboot": reboot, "shutdown": shutdown, "panic": panic, "watchdog": watchdog} {
		if v != "" {
			args[k] = v
		}
	}
	return x.Execute(ctx, "set-action", args, nil)
}

// CurrentMachine is query-current-machine.
type CurrentMachine struct {
	WakeupSuspendSupport bool `json:"wakeup-suspend-support"`
}

// QueryCurrentMachine asks whether a suspended guest can be woken.
func QueryCurrentMachine(ctx context.Context, x Executor) (CurrentMachine, error) {
	var m CurrentMachine
	err := x.Execute(ctx, "query-current-machine", nil, &m)
	return m, err
}

// HumanMonitorCommand runs a line of the human monitor and returns what it prints. cpu < 0 leaves the current one.
func HumanMonitorCommand(ctx context.Context, x Executor, line string, cpu int) (string, error) {
	args := map[string]any{"command-line": line}
	if cpu >= 0 {
		args["cpu-index"] = cpu
	}
	var out string
	err := x.Execute(ctx, "human-monitor-command", args, &out)
	return out, err
}

// RTCResetReinjection forgets the clock ticks that the guest missed.
func RTCResetReinjection(ctx context.Context, x Executor) error {
	return x.Execute(ctx, "rtc-reset-reinjection", nil, nil)
}
