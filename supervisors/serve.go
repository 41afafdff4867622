package supervisors

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// ServeOptions of Serve.
type ServeOptions struct {
	Log    zerolog.Logger
	Idle   *Idle         // nil = never idle
	Limit  time.Duration // of the whole shutdown; zero = 60 s. After it, and 2 s more, the process ends itself
	Reload func()        // before the branches are told; nil = nothing
	// Serving is called when all branches are up, before READY is said.
	Serving func()
	// Leaving is called as the shutdown begins: close the listeners, so that new clients meet the next daemon.
	Leaving func()

	signals chan os.Signal // in tests
	exit    func(int)
}

// Serve runs a daemon from READY to its end and returns the exit code for main: it waits for a signal (TERM and INT stop
// in order, a second INT at once, HUP reloads), for the idle timeout, or for the tree to fail.
func Serve(t *Tree, o ServeOptions) ExitCode {
	o.defaults()
	if o.signals == nil {
		o.signals = make(chan os.Signal, 8)
		signal.Notify(o.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		defer signal.Stop(o.signals)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	manager := Notifier{o.Log}
	go manager.Watchdog(ctx, t.Alive)
	var expired <-chan struct{} // looked at from READY on
	begun := func() {}
	if o.Idle != nil {
		begun = o.Idle.Hold("starting")
	}
	ready := t.Ready()
	for {
		select {
		case <-ready:
			ready = nil
			begun()
			if o.Idle != nil {
				expired = o.Idle.Expired()
			}
			o.Serving()
			manager.Ready("serving")
		case s := <-o.signals:
			if s != syscall.SIGHUP {
				return o.stop(t, manager, s.String())
			}
			manager.Reloading()
			o.Reload()
			t.Reload()
			manager.Ready("serving")
		case <-expired:
			return o.stop(t, manager, "idle")
		case <-t.Done():
			manager.Stopping()
			return CodeOf(t.Err())
		}
	}
}

func (o *ServeOptions) defaults() {
	if o.Limit == 0 {
		o.Limit = time.Minute
	}
	for _, f := range []*func(){&o.Reload, &o.Serving, &o.Leaving} {
		if *f == nil {
			*f = func() {}
		}
	}
	if o.exit == nil {
		o.exit = os.Exit
	}
}

func (o *ServeOptions) stop(t *Tree, manager Notifier, why string) ExitCode {
	o.Log.Info().Str("why", why).Msg("stopping")
	manager.Stopping()
	// Whatever hangs below, the process ends: a service manager that has to kill us would kill in no order at all.
	last := time.AfterFunc(o.Limit+2*time.Second, func() { o.exit(int(ExitOverdue)) })
	defer last.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), o.Limit)
	defer cancel()
	go func() { // impatience: a second Ctrl-C
		for {
			select {
			case s := <-o.signals:
				if s == syscall.SIGINT {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	o.Leaving()
	lost, err := t.Shutdown(ctx)
	if lost > 0 {
		o.Log.Error().Int("lost", lost).Msg("not all stopped in time")
	}
	return CodeOf(err)
}
