package command

import "libvirt.org/go/libvirtxml"

// watchdogs: QEMU has one action for all of them.
func (b *builder) watchdogs() error {
	if len(b.dev.Watchdogs) == 0 {
		return nil
	}
	err := each(b.dev.Watchdogs, func(w *libvirtxml.DomainWatchdog) error { return b.watchdog(w) })
	if err != nil {
		return err
	}
	b.arg("-watchdog-action", WatchdogAction(b.dev.Watchdogs[0].Action))
	return nil
}

func (b *builder) watchdog(w *libvirtxml.DomainWatchdog) error {
	if w.Model == "itco" {
		return nil // part of the chip set
	}
	p := Props{{"driver", w.Model}, {"id", aliasOf(w.Alias)}}
	if err := b.at(&p, w.Address, w.ACPI); err != nil {
		return err
	}
	return b.device(p)
}

// WatchdogAction is QEMU's word for what a watchdog does. To dump, QEMU pauses the guest and the driver does the rest.
func WatchdogAction(action string) string {
	switch action {
	case "":
		return "reset"
	case "dump":
		return "pause"
	}
	return action
}
