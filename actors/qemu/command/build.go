package command

import (
	"os"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/caps"
)

// Command is a QEMU to start.
type Command struct {
	Binary string
	Args   []string // without the binary
	Env    []string
	Files  []File // in order of their numbers, from FirstFD on without gaps: exec.Cmd.ExtraFiles

	// After are the commands that take away what QEMU needed for the start only. See also Setup.
	After []QMP
}

// File is a descriptor QEMU inherits, or gets over the monitor.
type File struct {
	Number int    // in QEMU; -1 when it is sent over the monitor
	Name   string // the name it has on the monitor
	File   *os.File
}

// FirstFD is the number of the first inherited descriptor.
const FirstFD = 3

// builder collects the steps of one command line or one plug.
type builder struct {
	def  *libvirtxml.Domain
	dev  *libvirtxml.DomainDeviceList
	caps *caps.Caps
	rt   *Runtime

	plug    bool            // steps will be sent over the monitor
	without map[string]bool // capabilities the definition takes away (qemu:capabilities)
	boot    bootOrder

	nodes    map[any]uint // number of each image, by *DomainDisk or *DomainDiskBackingStore
	nextNode uint         // first number that is free

	steps []step
	files []File
	after []QMP
	fdset int // next set number of -add-fd
	env   []string
}

func newBuilder(def *libvirtxml.Domain, c *caps.Caps, rt *Runtime) *builder {
	b := &builder{def: def, dev: def.Devices, caps: c, rt: rt, without: map[string]bool{}, nodes: map[any]uint{}}
	if b.dev == nil {
		b.dev = &libvirtxml.DomainDeviceList{}
	}
	if def.QEMUCapabilities != nil {
		for _, e := range def.QEMUCapabilities.Del {
			b.without[e.Name] = true
		}
	}
	return b
}

// fd passes a descriptor and returns how QEMU will know it: by number on a command line, by name on the monitor.
func (b *builder) fd(f *os.File, name string) string {
	if b.plug {
		b.add(step{command: "getfd", args: Props{{"fdname", name}}, file: &File{-1, name, f},
			undo: &QMP{"closefd", Props{{"fdname", name}}}})
		return name
	}
	n := FirstFD + len(b.files)
	b.files = append(b.files, File{n, name, f})
	return itoa(n)
}

// Build gives the command that starts the domain. The definition must be complete and live.
func Build(def *libvirtxml.Domain, c *caps.Caps, rt Runtime) (*Command, error) {
	b := newBuilder(def, c, &rt)
	b.boot = bootOrderOf(def)
	b.numberNodes()
	b.environment()
	for _, group := range b.groups() {
		if err := group(); err != nil {
			return nil, err
		}
	}
	binary := b.dev.Emulator
	if binary == "" {
		binary = c.Binary
	}
	return &Command{Binary: binary, Args: render(b.steps), Env: b.env, Files: b.files, After: b.after}, nil
}

// groups is the order of the command line. It is libvirt's, since the order of devices without an address is part of the
// guest ABI.
func (b *builder) groups() []func() error {
	return []func() error{
		b.identity,
		b.masterKey,
		b.reservations,
		b.firmwareNodes,
		b.machine,
		b.accelerator,
		b.cpu,
		b.loader,
		b.memory,
		b.smp,
		b.iothreads,
		b.numa,
		b.smbios,
		b.fwCfg,
		b.genID,
		b.noDisplay,
		b.monitor,
		b.clock,
		b.power,
		b.bootOptions,
		b.kernel,
		b.iommus,
		b.pciHoles,
		b.controllers,
		b.memoryDevices,
		b.hubs,
		b.disks,
		b.filesystems,
		b.interfaces,
		b.smartcards,
		b.serials,
		b.parallels,
		b.channels,
		b.consoles,
		b.tpms,
		b.inputs,
		b.audios,
		b.graphics,
		b.videos,
		b.sounds,
		b.watchdogs,
		b.redirdevs,
		b.hostdevs,
		b.incoming,
		b.balloon,
		b.rngs,
		b.coreInfo,
		b.launchSecurity,
		b.passthrough,
		b.sandbox,
		b.panics,
		b.shmems,
		b.vsock,
		b.messages,
	}
}

// each runs a builder over the devices of one kind.
func each[T any](list []T, build func(*T) error) error {
	for i := range list {
		if err := build(&list[i]); err != nil {
			return err
		}
	}
	return nil
}
