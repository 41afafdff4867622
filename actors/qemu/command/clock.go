package command

import (
	"strconv"
	"time"
)

// clock is the real time clock, and how timers make up for ticks a guest missed.
func (b *builder) clock() error {
	c := b.def.Clock
	k := keyval{}
	if c == nil {
		b.arg("-rtc", "base=utc")
		return nil
	}
	switch c.Offset {
	case "", "utc":
		k.set("base", "utc")
	case "localtime":
		k.set("base", "localtime")
	case "timezone":
		k.set("base", "localtime")
		b.env = append(b.env, "TZ="+c.TimeZone)
	case "variable":
		base := b.rt.Now
		if base.IsZero() {
			return internal("clock offset 'variable' needs the time of the start")
		}
		// Compat: local wall clock time is passed as if it were UTC, which is what a guest with such a clock shows.
		if c.Basis == "localtime" {
			_, off := base.Zone()
			base = base.Add(time.Duration(off) * time.Second)
		}
		adjust, _ := strconv.ParseInt(c.Adjustment, 10, 64)
		k.set("base", base.UTC().Add(time.Duration(adjust)*time.Second).Format(rtcTime))
	case "absolute":
		k.set("base", time.Unix(int64(c.Start), 0).UTC().Format(rtcTime))
	default:
		return unsupported("unsupported clock offset '%s'", c.Offset)
	}
	for _, t := range c.Timer {
		if t.Name != "rtc" {
			continue
		}
		switch t.Track {
		case "guest":
			k.set("clock", "vm")
		case "wall":
			k.set("clock", "host")
		}
		if t.TickPolicy == "catchup" {
			k.set("driftfix", "slew")
		}
	}
	b.arg("-rtc", k.String())
	for _, t := range c.Timer {
		switch t.Name {
		case "pit":
			if t.TickPolicy == "delay" || t.TickPolicy == "discard" {
				b.arg("-global", "kvm-pit.lost_tick_policy="+t.TickPolicy)
			}
		case "hpet":
			if t.Present == "no" {
				b.bare("-no-hpet")
			}
		}
	}
	return nil
}

const rtcTime = "2006-01-02T15:04:05"

// power: QEMU never exits by itself when the guest shuts down, the driver decides. What a reset or a crash does is set
// over the monitor, since it can change while the guest runs.
func (b *builder) power() error {
	b.bare("-no-shutdown")
	if b.features().ACPI == nil && b.isX86() {
		b.bare("-no-acpi")
	}
	pm := b.def.PM
	if pm == nil {
		return nil
	}
	device := "PIIX4_PM"
	if b.isQ35() {
		device = "ICH9-LPC"
	}
	disable := func(prop, enabled string) {
		switch enabled {
		case "yes":
			b.arg("-global", device+"."+prop+"=0")
		case "no":
			b.arg("-global", device+"."+prop+"=1")
		}
	}
	if pm.SuspendToMem != nil {
		disable("disable_s3", pm.SuspendToMem.Enabled)
	}
	if pm.SuspendToDisk != nil {
		disable("disable_s4", pm.SuspendToDisk.Enabled)
	}
	return nil
}
