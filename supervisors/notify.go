package supervisors

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// Notifier talks to whoever started us, in sd_notify's words: systemd, or the tree whose branch we are; both listen on
// NOTIFY_SOCKET. Without one it says nothing.
type Notifier struct{ Log zerolog.Logger }

// Ready tells that the daemon serves; also the end of a reload.
func (n Notifier) Ready(status string) { n.say(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// Stopping tells that it has begun to stop.
func (n Notifier) Stopping() { n.say(daemon.SdNotifyStopping) }

// Reloading tells that it reads its configuration; Ready must follow. The time lets systemd tell it from an older one.
func (n Notifier) Reloading() {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	n.say(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, ts.Nano()/1000))
}

// Status is a line for people, in `systemctl status` and `virtree tree`.
func (n Notifier) Status(text string) { n.say("STATUS=" + text) }

// Watchdog says WATCHDOG=1 twice per interval as long as alive finds nothing wrong, until ctx ends. When the manager
// wants none, it returns at once.
func (n Notifier) Watchdog(ctx context.Context, alive func(context.Context) error) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	t := time.NewTicker(every / 2)
	defer t.Stop()
	for {
		check, cancel := context.WithTimeout(ctx, every/2)
		err := alive(check)
		cancel()
		if err == nil {
			n.say(daemon.SdNotifyWatchdog)
		} else if ctx.Err() == nil {
			n.Log.Error().Err(err).Msg("no sign of life, the watchdog is not fed")
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (n Notifier) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.Log.Warn().Err(err).Msg("cannot notify the service manager")
	}
}
