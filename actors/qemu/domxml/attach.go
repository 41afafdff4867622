package domxml

import (
	"slices"

	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

// attachable are the kinds a stored definition can be given without defining it anew.
var attachable = []string{"disk", "interface", "sound", "hostdev", "lease", "controller", "serial", "parallel", "console", "channel", "filesystem", "rng", "memory", "redirdev", "shmem", "watchdog", "input", "vsock"}

// Attach puts a device into a definition and gives it an address; live also gives it an alias and adds no buses. It
// returns what is new, in the order it has to be plugged in: a controller before the device that needs it.
func Attach(d *libvirtxml.Domain, dev *Device, env Env, live bool) ([]*Device, error) {
	if !live && !slices.Contains(attachable, dev.Kind) {
		return nil, liberr.New(liberr.FromQemu, liberr.OperationUnsupported, "persistent attach of device '%s' is not supported", dev.Kind)
	}
	n, err := dev.node()
	if err != nil {
		return nil, err
	}
	var added []*Device
	err = edit(d, func(root *node) error {
		def := treeOf(root)
		def.env = &env
		if err := def.knowMachine(); err != nil {
			return err
		}
		if err := def.refuseTwin(n); err != nil {
			return err
		}
		def.reread()
		before := slices.Clone(def.devices.Kids)
		def.devices.Add(n)
		def.sortDisks()
		if err := def.settle(live); err != nil {
			return err
		}
		var last []*Device
		for _, k := range def.devices.Kids {
			if slices.Contains(before, k) {
				continue
			}
			if live {
				def.assignAlias(k)
			}
			one, err := newDevice(k.Clone())
			if err != nil {
				return err
			}
			if k == n {
				last = append(last, one)
			} else {
				added = append(added, one)
			}
		}
		added = append(added, last...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

// reread does what libvirt's way of changing a stored definition does to it, a trip through its text: controllers are
// grouped anew. A running domain is changed in place.
func (def *definition) reread() {
	if !def.root.Has("id") {
		def.groupControllers()
	}
}

// settle places whatever has no place yet.
func (def *definition) settle(live bool) error {
	def.numberControllers()
	def.hostdevControllers()
	for _, name := range []string{"serial", "parallel"} {
		def.numberPorts(name)
	}
	def.numberLateConsoles()
	if err := def.driveAddresses(); err != nil {
		return err
	}
	def.impliedControllers()
	for _, c := range def.devices.All("controller") {
		if err := def.controllerDefaults(c); err != nil {
			return err
		}
	}
	def.ccidAddresses()
	if !live {
		if err := def.assignAddresses(); err != nil {
			return err
		}
		if err := def.settleModules(); err != nil {
			return err
		}
		return def.validate()
	}
	if err := def.virtioSerialAddresses(); err != nil {
		return err
	}
	set, err := def.buildSet(false)
	if err != nil {
		return err
	}
	if err := def.placeAll(set, false); err != nil {
		return err
	}
	if err := def.usbAddresses(); err != nil {
		return err
	}
	if err := def.memorySlots(); err != nil {
		return err
	}
	return def.settleModules()
}

// settleModules recounts the memory after a module came or went.
func (def *definition) settleModules() error {
	modules := def.devices.All("memory")
	if len(modules) == 0 {
		return nil
	}
	if def.root.Kid("maxMemory") == nil {
		return qemuUnsupported("cannot use/hotplug a memory device when domain 'maxMemory' is not defined")
	}
	if err := def.checkMemory(); err != nil {
		return err
	}
	return def.settleMemory()
}

// numberLateConsoles gives a port to a console that came later.
func (def *definition) numberLateConsoles() {
	for i, c := range def.devices.All("console") {
		t := c.Ensure("target")
		t.SetDefault("type", "serial")
		t.SetDefault("port", utoa(i))
	}
}

// refuseTwin refuses a device there can be only one of, and one that is there already.
func (def *definition) refuseTwin(n *node) error {
	switch n.Name {
	case "disk":
		dev := n.Kid("target").Get("dev")
		for _, o := range def.devices.All("disk") {
			if o.Kid("target").Get("dev") == dev {
				return operationInvalid("target %s already exists", dev)
			}
		}
	case "controller":
		for _, o := range def.devices.All("controller") {
			if n.Has("index") && o.Get("type") == n.Get("type") && o.Get("index") == n.Get("index") {
				return operationInvalid("controller index='%s' already exists", n.Get("index"))
			}
		}
	case "hostdev", "shmem":
		if def.match(n) != nil {
			return operationInvalid("device is already in the domain configuration")
		}
	case "serial", "parallel", "channel", "console":
		if def.matchChardev(n) != nil && (n.Name == "channel" || n.Kid("target").Has("port")) {
			return operationInvalid("chardev already exists")
		}
	case "filesystem":
		for _, o := range def.devices.All("filesystem") {
			if o.Kid("target").Get("dir") == n.Kid("target").Get("dir") {
				return operationInvalid("Target already exists")
			}
		}
	case "lease":
		if def.match(n) != nil {
			return operationInvalid("Lease %s in lockspace %s already exists", n.KidText("key"), n.KidText("lockspace"))
		}
	case "watchdog":
		if def.devices.Kid("watchdog") != nil {
			return operationInvalid("domain already has a watchdog")
		}
	case "vsock":
		if def.devices.Kid("vsock") != nil {
			return operationInvalid("domain already has a vsock device")
		}
	case "smartcard":
		if def.devices.Kid("smartcard") != nil {
			return qemuUnsupported("this QEMU binary lacks multiple smartcard support")
		}
	}
	return nil
}

// AssignAddresses gives an address to every device of a definition that has none, adding the controllers that takes.
func AssignAddresses(d *libvirtxml.Domain, env Env) error {
	return edit(d, func(root *node) error {
		def := treeOf(root)
		def.env = &env
		if err := def.knowMachine(); err != nil {
			return err
		}
		return def.settle(false)
	})
}
