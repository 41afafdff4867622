package command

import (
	"fmt"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/caps"
	"virtree/wire/liberr"
)

// Plug is how a device gets into a running guest, and out of it again.
type Plug struct {
	Steps []PlugStep
}

// PlugStep is one command of a plug. When a later one fails, Undo takes it back; the steps are taken back from the last.
type PlugStep struct {
	QMP
	File *File // goes with the command over the monitor's socket
	Undo *QMP
}

// DevicePlug gives the commands that plug one device. def is the live definition the device will be part of: its
// controllers are where the device sits. The device is complete: address, alias and image numbers assigned.
func DevicePlug(def *libvirtxml.Domain, c *caps.Caps, rt Runtime, device any) (*Plug, error) {
	b := newBuilder(def, c, &rt)
	b.plug, b.fdset, b.nextNode = true, rt.NextFDSet, rt.NextNode
	if err := b.plugDevice(device); err != nil {
		return nil, err
	}
	return b.plugged(), nil
}

// plugged is what the builder collected, without what exists on a command line only.
func (b *builder) plugged() *Plug {
	p := &Plug{}
	for _, s := range b.steps {
		if s.command != "" {
			p.Steps = append(p.Steps, PlugStep{QMP{s.command, s.args}, s.file, s.undo})
		}
	}
	for _, c := range b.after {
		p.Steps = append(p.Steps, PlugStep{QMP: c})
	}
	return p
}

// DeviceJSON gives the arguments of device_add alone.
func DeviceJSON(def *libvirtxml.Domain, c *caps.Caps, rt Runtime, device any) (Props, error) {
	p, err := DevicePlug(def, c, rt, device)
	if err != nil {
		return nil, err
	}
	for _, s := range p.Steps {
		if s.Execute == "device_add" {
			return s.Arguments, nil
		}
	}
	return nil, internal("device has no guest side")
}

// Unplug gives the commands that take the device out: first the one that asks the guest, then those that free what
// served it on the host, for when QEMU has said that the device is gone.
func (p *Plug) Unplug() (ask []QMP, after []QMP) {
	taken := map[string]bool{} // what the plug itself took back again
	for _, s := range p.Steps {
		taken[s.Execute+s.Arguments.String()] = true
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		u := p.Steps[i].Undo
		switch {
		case u == nil, u.Execute == "closefd", taken[u.Execute+u.Arguments.String()]:
			// A descriptor that was taken by the device went with it.
		case u.Execute == "device_del":
			ask = append(ask, *u)
		default:
			after = append(after, *u)
		}
	}
	return ask, after
}

func cannot(format string, args ...any) error {
	return liberr.New(liberr.FromQemu, liberr.OperationUnsupported, format, args...)
}

func notPluggable(kind string) error {
	return cannot("live attach of device '%s' is not supported", kind)
}

func (b *builder) plugDevice(device any) error {
	switch d := device.(type) {
	case *libvirtxml.DomainDisk:
		return b.plugDisk(d)
	case *libvirtxml.DomainInterface:
		return b.nic(d)
	case *libvirtxml.DomainController:
		if d.Type != "scsi" {
			return cannot("'%s' controller cannot be hot plugged.", d.Type)
		}
		return b.controllerDevice(d)
	case *libvirtxml.DomainHostdev:
		return b.hostdev(d)
	case *libvirtxml.DomainRNG:
		return b.rng(d)
	case *libvirtxml.DomainMemorydev:
		return b.memoryDevice(d)
	case *libvirtxml.DomainInput:
		if d.Bus == "ps2" {
			return cannot("input device on bus '%s' cannot be hot plugged.", d.Bus)
		}
		return b.input(d)
	case *libvirtxml.DomainChannel:
		return b.channel(d)
	case *libvirtxml.DomainSerial:
		return b.serial(d)
	case *libvirtxml.DomainParallel:
		return b.parallel(d)
	case *libvirtxml.DomainConsole:
		return b.console(d, 1)
	case *libvirtxml.DomainRedirDev:
		return b.redirdev(d)
	case *libvirtxml.DomainShmem:
		return b.shmem(d)
	case *libvirtxml.DomainWatchdog:
		if d.Model != "i6300esb" {
			return cannot("hotplug of watchdog of model %s is not supported", d.Model)
		}
		b.add(step{command: "set-action", args: Props{{"watchdog", WatchdogAction(d.Action)}}})
		return b.watchdog(d)
	case *libvirtxml.DomainVSock:
		b.dev = &libvirtxml.DomainDeviceList{Controllers: b.dev.Controllers, VSock: d}
		return b.vsock()
	case *libvirtxml.DomainFilesystem:
		if d.Driver == nil || d.Driver.Type != "virtiofs" {
			return cannot("only virtiofs filesystems can be hotplugged")
		}
		return b.filesystem(d)
	case *libvirtxml.DomainMemBalloon:
		return notPluggable("memballoon")
	case *libvirtxml.DomainSound:
		return notPluggable("sound")
	case *libvirtxml.DomainVideo:
		return notPluggable("video")
	case *libvirtxml.DomainTPM:
		return notPluggable("tpm")
	case *libvirtxml.DomainGraphic:
		return notPluggable("graphics")
	}
	return notPluggable(fmt.Sprintf("%T", device))
}

func (b *builder) plugDisk(d *libvirtxml.DomainDisk) error {
	if d.Device == "floppy" {
		return cannot("floppy device hotplug isn't supported")
	}
	switch bus := targetOf(d).Bus; bus {
	case "virtio", "usb", "scsi", "sata":
	default:
		return cannot("disk bus '%s' cannot be hotplugged.", bus)
	}
	b.numberDisk(d)
	return b.disk(d)
}

// VCPUPlug plugs one virtual CPU. slot is what query-hotpluggable-cpus says of its place, in QEMU's order.
func VCPUPlug(id uint, cpuType string, slot Props) *Plug {
	name := fmt.Sprintf("vcpu%d", id)
	args := Props{{"driver", cpuType}, {"id", name}}
	args = append(args, slot...)
	return &Plug{Steps: []PlugStep{{QMP: QMP{"device_add", args}, Undo: &QMP{"device_del", Props{{"id", name}}}}}}
}

// IOThreadPlug adds an IO thread.
func IOThreadPlug(t *libvirtxml.DomainIOThread) *Plug {
	p := iothreadProps(t)
	if t.Poll != nil {
		p.optional("poll-max-ns", t.Poll.Max)
		p.optional("poll-grow", t.Poll.Grow)
		p.optional("poll-shrink", t.Poll.Shrink)
	}
	return &Plug{Steps: []PlugStep{{QMP: QMP{"object-add", p}, Undo: &QMP{"object-del", Props{{"id", iothreadName(t.ID)}}}}}}
}
