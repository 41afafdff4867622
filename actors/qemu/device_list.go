package qemu

import (
	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/domxml"
)

// piece is one device inside a definition. device points into the definition.
type piece struct {
	kind    string // the element's name
	alias   *libvirtxml.DomainAlias
	address *libvirtxml.DomainAddress
	device  any
}

// name is the device's alias, by which QEMU and clients know it.
func (one *piece) name() string {
	if one.alias == nil {
		return ""
	}
	return one.alias.Name
}

// pieces lists what can be plugged in or out, or stands in the way of it.
func pieces(l *libvirtxml.DomainDeviceList) []piece {
	var out []piece
	for i := range l.Disks {
		d := &l.Disks[i]
		out = append(out, piece{"disk", d.Alias, d.Address, d})
	}
	for i := range l.Controllers {
		d := &l.Controllers[i]
		out = append(out, piece{"controller", d.Alias, d.Address, d})
	}
	for i := range l.Filesystems {
		d := &l.Filesystems[i]
		out = append(out, piece{"filesystem", d.Alias, d.Address, d})
	}
	for i := range l.Interfaces {
		d := &l.Interfaces[i]
		out = append(out, piece{"interface", d.Alias, d.Address, d})
	}
	for i := range l.Smartcards {
		d := &l.Smartcards[i]
		out = append(out, piece{"smartcard", d.Alias, d.Address, d})
	}
	out = append(out, lines(l)...)
	for i := range l.Inputs {
		d := &l.Inputs[i]
		out = append(out, piece{"input", d.Alias, d.Address, d})
	}
	for i := range l.TPMs {
		d := &l.TPMs[i]
		out = append(out, piece{"tpm", d.Alias, d.Address, d})
	}
	for i := range l.Sounds {
		d := &l.Sounds[i]
		out = append(out, piece{"sound", d.Alias, d.Address, d})
	}
	for i := range l.Videos {
		d := &l.Videos[i]
		out = append(out, piece{"video", d.Alias, d.Address, d})
	}
	for i := range l.Hostdevs {
		d := &l.Hostdevs[i]
		out = append(out, piece{"hostdev", d.Alias, d.Address, d})
	}
	for i := range l.RedirDevs {
		d := &l.RedirDevs[i]
		out = append(out, piece{"redirdev", d.Alias, d.Address, d})
	}
	for i := range l.Hubs {
		d := &l.Hubs[i]
		out = append(out, piece{"hub", d.Alias, d.Address, d})
	}
	for i := range l.Watchdogs {
		d := &l.Watchdogs[i]
		out = append(out, piece{"watchdog", d.Alias, d.Address, d})
	}
	if d := l.MemBalloon; d != nil {
		out = append(out, piece{"memballoon", d.Alias, d.Address, d})
	}
	for i := range l.RNGs {
		d := &l.RNGs[i]
		out = append(out, piece{"rng", d.Alias, d.Address, d})
	}
	for i := range l.Panics {
		d := &l.Panics[i]
		out = append(out, piece{"panic", d.Alias, d.Address, d})
	}
	for i := range l.Shmems {
		d := &l.Shmems[i]
		out = append(out, piece{"shmem", d.Alias, d.Address, d})
	}
	for i := range l.Memorydevs {
		d := &l.Memorydevs[i]
		out = append(out, piece{"memory", d.Alias, d.Address, d})
	}
	if d := l.VSock; d != nil {
		out = append(out, piece{"vsock", d.Alias, d.Address, d})
	}
	return out
}

// lines lists the character devices. The first console often is the first serial line once more, and comes behind it.
func lines(l *libvirtxml.DomainDeviceList) []piece {
	var out []piece
	for i := range l.Serials {
		d := &l.Serials[i]
		out = append(out, piece{"serial", d.Alias, d.Address, d})
	}
	for i := range l.Parallels {
		d := &l.Parallels[i]
		out = append(out, piece{"parallel", d.Alias, d.Address, d})
	}
	for i := range l.Channels {
		d := &l.Channels[i]
		out = append(out, piece{"channel", d.Alias, d.Address, d})
	}
	for i := range l.Consoles {
		d := &l.Consoles[i]
		out = append(out, piece{"console", d.Alias, d.Address, d})
	}
	return out
}

// findAlias finds a device by its alias; nil when there is none.
func findAlias(l *libvirtxml.DomainDeviceList, alias string) *piece {
	for _, p := range pieces(l) {
		if p.name() == alias {
			return &p
		}
	}
	return nil
}

// alone wraps one device the way domxml takes it.
func alone(p *piece) *domxml.Device {
	l := libvirtxml.DomainDeviceList{}
	switch d := p.device.(type) {
	case *libvirtxml.DomainDisk:
		l.Disks = []libvirtxml.DomainDisk{*d}
	case *libvirtxml.DomainController:
		l.Controllers = []libvirtxml.DomainController{*d}
	case *libvirtxml.DomainFilesystem:
		l.Filesystems = []libvirtxml.DomainFilesystem{*d}
	case *libvirtxml.DomainInterface:
		l.Interfaces = []libvirtxml.DomainInterface{*d}
	case *libvirtxml.DomainSerial:
		l.Serials = []libvirtxml.DomainSerial{*d}
	case *libvirtxml.DomainParallel:
		l.Parallels = []libvirtxml.DomainParallel{*d}
	case *libvirtxml.DomainChannel:
		l.Channels = []libvirtxml.DomainChannel{*d}
	case *libvirtxml.DomainConsole:
		l.Consoles = []libvirtxml.DomainConsole{*d}
	case *libvirtxml.DomainInput:
		l.Inputs = []libvirtxml.DomainInput{*d}
	case *libvirtxml.DomainSound:
		l.Sounds = []libvirtxml.DomainSound{*d}
	case *libvirtxml.DomainHostdev:
		l.Hostdevs = []libvirtxml.DomainHostdev{*d}
	case *libvirtxml.DomainRedirDev:
		l.RedirDevs = []libvirtxml.DomainRedirDev{*d}
	case *libvirtxml.DomainWatchdog:
		l.Watchdogs = []libvirtxml.DomainWatchdog{*d}
	case *libvirtxml.DomainRNG:
		l.RNGs = []libvirtxml.DomainRNG{*d}
	case *libvirtxml.DomainShmem:
		l.Shmems = []libvirtxml.DomainShmem{*d}
	case *libvirtxml.DomainMemorydev:
		l.Memorydevs = []libvirtxml.DomainMemorydev{*d}
	case *libvirtxml.DomainVSock:
		l.VSock = d
	}
	return &domxml.Device{Kind: p.kind, DomainDeviceList: l}
}

// only gives the one device that a client's document has; nil for a kind that pieces does not list.
func only(dev *domxml.Device) *piece {
	for _, p := range pieces(&dev.DomainDeviceList) {
		if p.kind == dev.Kind {
			return &p
		}
	}
	return nil
}

// dropAlias takes the devices with an alias out of a definition: a serial line goes with the console that is the same.
func dropAlias(l *libvirtxml.DomainDeviceList, alias string) {
	is := func(a *libvirtxml.DomainAlias) bool { return a != nil && a.Name == alias }
	l.Disks = without(l.Disks, func(d *libvirtxml.DomainDisk) bool { return is(d.Alias) })
	l.Controllers = without(l.Controllers, func(d *libvirtxml.DomainController) bool { return is(d.Alias) })
	l.Filesystems = without(l.Filesystems, func(d *libvirtxml.DomainFilesystem) bool { return is(d.Alias) })
	l.Interfaces = without(l.Interfaces, func(d *libvirtxml.DomainInterface) bool { return is(d.Alias) })
	l.Serials = without(l.Serials, func(d *libvirtxml.DomainSerial) bool { return is(d.Alias) })
	l.Parallels = without(l.Parallels, func(d *libvirtxml.DomainParallel) bool { return is(d.Alias) })
	l.Channels = without(l.Channels, func(d *libvirtxml.DomainChannel) bool { return is(d.Alias) })
	l.Consoles = without(l.Consoles, func(d *libvirtxml.DomainConsole) bool { return is(d.Alias) })
	l.Inputs = without(l.Inputs, func(d *libvirtxml.DomainInput) bool { return is(d.Alias) })
	l.Hostdevs = without(l.Hostdevs, func(d *libvirtxml.DomainHostdev) bool { return is(d.Alias) })
	l.RedirDevs = without(l.RedirDevs, func(d *libvirtxml.DomainRedirDev) bool { return is(d.Alias) })
	l.Watchdogs = without(l.Watchdogs, func(d *libvirtxml.DomainWatchdog) bool { return is(d.Alias) })
	l.RNGs = without(l.RNGs, func(d *libvirtxml.DomainRNG) bool { return is(d.Alias) })
	l.Shmems = without(l.Shmems, func(d *libvirtxml.DomainShmem) bool { return is(d.Alias) })
	l.Memorydevs = without(l.Memorydevs, func(d *libvirtxml.DomainMemorydev) bool { return is(d.Alias) })
	if l.VSock != nil && is(l.VSock.Alias) {
		l.VSock = nil
	}
}

func without[T any](list []T, drop func(*T) bool) []T {
	var out []T
	for i := range list {
		if !drop(&list[i]) {
			out = append(out, list[i])
		}
	}
	return out
}
