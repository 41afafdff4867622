package qemu

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/caps"
	"virtree/actors/qemu/command"
	"virtree/actors/qemu/domxml"
	"virtree/actors/qemu/qmp"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// attach serves virDomainAttachDeviceFlags.
func (j *deviceJob) attach(ctx context.Context, undo *kit.Undo, xml string) error {
	mac := ""
	if j.config != nil {
		dev, err := j.parse(xml, j.config)
		if err != nil {
			return err
		}
		if mac, err = macOf(dev); err != nil {
			return err
		}
		def, err := j.editConfig()
		if err != nil {
			return err
		}
		if err := memoryFits(def, dev); err != nil {
			return err
		}
		if err := bootFits(def, dev); err != nil {
			return err
		}
		if _, err := domxml.Attach(def, dev, j.drv.xmlEnv, false); err != nil {
			return err
		}
		j.edited = def
	}
	if j.live == nil {
		return nil
	}
	dev, err := j.parse(xml, j.live)
	if err != nil {
		return err
	}
	if mac != "" { // one that was made up is the same in both definitions
		dev.Interfaces[0].MAC = &libvirtxml.DomainInterfaceMAC{Address: mac}
	}
	if disk := j.drive(dev); disk != nil {
		return j.changeMedium(ctx, undo, disk, &dev.Disks[0], false)
	}
	return j.plugIn(ctx, undo, dev)
}

func macOf(dev *domxml.Device) (string, error) {
	if dev.Kind != "interface" || len(dev.Interfaces) == 0 || dev.Interfaces[0].MAC == nil {
		return "", nil
	}
	return dev.Interfaces[0].MAC.Address, nil
}

// drive finds the drive that the document means to put a medium into: attaching a disk to a removable drive that is
// there changes its medium.
func (j *deviceJob) drive(dev *domxml.Device) *libvirtxml.DomainDisk {
	if dev.Kind != "disk" || dev.Disks[0].Device != "cdrom" && dev.Disks[0].Device != "floppy" {
		return nil
	}
	return diskByTarget(j.live, diskTarget(&dev.Disks[0]))
}

func diskByTarget(def *libvirtxml.Domain, target string) *libvirtxml.DomainDisk {
	for i := range def.Devices.Disks {
		if d := &def.Devices.Disks[i]; diskTarget(d) == target {
			return d
		}
	}
	return nil
}

func diskBus(d *libvirtxml.DomainDisk) string {
	if d.Target == nil {
		return ""
	}
	return d.Target.Bus
}

// plugIn puts a device into the running guest, with the controllers it takes.
func (j *deviceJob) plugIn(ctx context.Context, undo *kit.Undo, dev *domxml.Device) error {
	if err := j.attachable(dev); err != nil {
		return err
	}
	if err := j.valid(dev); err != nil {
		return err
	}
	def, err := domxml.Clone(j.live)
	if err != nil {
		return err
	}
	if err := j.presentDisk(ctx, dev); err != nil {
		return err
	}
	host := j.hostSide(def)
	if dev.Kind == "interface" {
		if err := host.claimPort(ctx, &dev.Interfaces[0], undo); err != nil {
			return err
		}
	}
	added, err := j.place(def, dev)
	if err != nil {
		return err
	}
	if dev.Kind == "lease" {
		if err := j.holdLease(ctx, undo, &dev.Leases[0]); err != nil {
			return err
		}
		j.now = def
		return nil // QEMU has no part in it
	}
	c, err := j.drv.caps.Get(ctx, def.Devices.Emulator)
	if err != nil {
		return err
	}
	p := &plugging{deviceJob: j, def: def, caps: c, host: host}
	defer p.host.closeFiles()
	for _, a := range added {
		if one := only(a); one != nil {
			if err := p.plan(ctx, undo, one.kind, one.name()); err != nil {
				return err
			}
		}
	}
	if err := p.run(ctx, undo); err != nil {
		return err
	}
	if err := p.learn(ctx); err != nil {
		return err
	}
	j.now = def
	name := p.plugged[len(p.plugged)-1] // Compat: a controller that comes along is not announced
	j.events = append(j.events, func(d *domain, ctx actor.Context) { d.deviceAdded(ctx, name) })
	return nil
}

// presentDisk looks at the images of a new disk, follows their chain and numbers them.
func (j *deviceJob) presentDisk(ctx context.Context, dev *domxml.Device) error {
	if dev.Kind != "disk" {
		return nil
	}
	d := &dev.Disks[0]
	if !hasMedium(d) && d.Device != "cdrom" {
		return liberr.New(liberr.FromDomain, liberr.NoSource, "%s", diskTarget(d))
	}
	if err := j.drv.resolveVolume(ctx, d); err != nil {
		return err
	}
	j.takeNodes(d)
	if err := checkImage(d); err != nil {
		return err
	}
	if hasMedium(d) {
		if err := followChain(d); err != nil {
			return err
		}
	}
	for b := d.BackingStore; b != nil && b.Source != nil; b = b.BackingStore {
		if b.Index == 0 {
			b.Index = j.nextNode
			j.nextNode++
		}
	}
	return nil
}

// plugging is one device on its way into QEMU, behind the controllers it needs.
type plugging struct {
	*deviceJob
	def     *libvirtxml.Domain // with the new devices in it
	caps    *caps.Caps
	host    *launchPlan // what the host has to provide
	fdset   int
	steps   []plugStep
	plugged []string // names of the devices for the event
	disks   []*libvirtxml.DomainDisk
	nics    []*libvirtxml.DomainInterface
	ptys    map[string]string
}

// plugStep is one command. guest is set from the moment on from which the guest sees the device.
type plugStep struct {
	command.PlugStep
	guest bool
}

// plan prepares the host for one device and collects its commands.
func (p *plugging) plan(ctx context.Context, undo *kit.Undo, kind, alias string) error {
	one := findKind(p.def.Devices, kind, alias)
	if one == nil {
		return liberr.New(liberr.FromQemu, liberr.InternalError, "device '%s' is not in the definition", alias)
	}
	if err := p.provide(ctx, undo, one); err != nil {
		return err
	}
	if d, ok := one.device.(*libvirtxml.DomainDisk); ok {
		p.host.drv.settleDisk(d)
		if err := p.host.secrets(ctx, append(command.SecretsOfDisk(d), command.TLSSecretsOfDisk(d, &p.host.rt)...)); err != nil {
			return err
		}
	}
	rt := p.host.rt
	rt.NextNode, rt.NextFDSet = p.nextNode, p.fdset
	plug, err := command.DevicePlug(p.def, p.caps, rt, one.device)
	if err != nil {
		return err
	}
	seen := false
	for _, s := range plug.Steps {
		seen = seen || s.Execute == "device_add"
		if s.Execute == "add-fd" {
			p.fdset++
		}
		p.steps = append(p.steps, plugStep{s, seen})
	}
	name := alias
	if kind == "memory" {
		name = "mem" + alias // Compat: the event names the memory behind the module
	}
	p.plugged = append(p.plugged, name)
	switch d := one.device.(type) {
	case *libvirtxml.DomainDisk:
		p.disks = append(p.disks, d)
	case *libvirtxml.DomainInterface:
		p.nics = append(p.nics, d)
	}
	return nil
}

func findKind(l *libvirtxml.DomainDeviceList, kind, alias string) *piece {
	for _, p := range pieces(l) {
		if p.kind == kind && p.name() == alias {
			return &p
		}
	}
	return nil
}

// run sends the commands: first everything the guest cannot see, so that it can all be taken back, then the devices.
func (p *plugging) run(ctx context.Context, undo *kit.Undo) error {
	var order []plugStep
	for _, guest := range []bool{false, true} {
		for _, s := range p.steps {
			if s.guest == guest {
				order = append(order, s)
			}
		}
	}
	for _, s := range order {
		if err := p.send(ctx, s); err != nil {
			p.keepControllers()
			return err
		}
		if u := s.Undo; u != nil && (u.Execute != "device_del" || !p.controller(s)) {
			undo.Add(u.Execute, func(ctx context.Context) error { return p.mon.Execute(ctx, u.Execute, u.Arguments, nil) })
		}
		if s.Execute == "device_add" && p.controller(s) {
			p.done = append(p.done, pluggedID(s))
		}
	}
	p.done = nil
	return nil
}

func pluggedID(s plugStep) string {
	id, _ := s.Arguments.Get("id")
	name, _ := id.(string)
	return name
}

// controller tells whether the step plugs a controller that another device needed.
func (p *plugging) controller(s plugStep) bool {
	one := findAlias(p.def.Devices, pluggedID(s))
	return s.Execute == "device_add" && one != nil && one.kind == "controller" && len(p.plugged) > 1
}

// keepControllers leaves controllers in the definition that are in the guest although the device they were for is not.
//
// Compat: a guest need not let go of one; libvirt leaves it too.
func (p *plugging) keepControllers() {
	kept := p.done
	p.done = nil
	if len(kept) == 0 {
		return
	}
	def, err := domxml.Clone(p.live)
	if err != nil {
		return
	}
	for _, alias := range kept {
		if one := findAlias(p.def.Devices, alias); one != nil {
			def.Devices.Controllers = append(def.Devices.Controllers, *one.device.(*libvirtxml.DomainController))
			p.events = append(p.events, func(d *domain, ctx actor.Context) { d.deviceAdded(ctx, alias) })
		}
	}
	p.now = def
}

// send runs one command, with the descriptor that belongs to it.
func (p *plugging) send(ctx context.Context, s plugStep) error {
	var fds []int
	if s.File != nil {
		fd, err := descriptor(s.File.File)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	if s.Execute != "chardev-add" {
		return p.mon.ExecuteFDs(ctx, s.Execute, s.Arguments, nil, fds...)
	}
	var made struct {
		PTY string `json:"pty"`
	}
	if err := p.mon.ExecuteFDs(ctx, s.Execute, s.Arguments, &made, fds...); err != nil {
		return err
	}
	if id, _ := s.Arguments.Get("id"); made.PTY != "" {
		if name, ok := id.(string); ok {
			if p.ptys == nil {
				p.ptys = map[string]string{}
			}
			p.ptys[strings.TrimPrefix(name, "char")] = made.PTY
		}
	}
	return nil
}

// descriptor is the number of a file that stays open and in its mode, which Fd would change.
func descriptor(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	n := -1
	err = raw.Control(func(fd uintptr) { n = int(fd) })
	return n, err
}

// learn completes the definition with what QEMU chose, and tells QEMU what device_add cannot.
func (p *plugging) learn(ctx context.Context) error {
	fillPtys(p.def, p.ptys)
	for i := range p.def.Devices.Consoles {
		if c := &p.def.Devices.Consoles[i]; c.Target != nil && c.Target.Type != "serial" {
			c.TTY = "" // Compat: which only a console on a serial line shows
		}
	}
	for _, d := range p.disks {
		if q := command.Throttle(d); q != nil {
			if err := p.mon.Execute(ctx, q.Execute, q.Arguments, nil); err != nil {
				return err
			}
		}
	}
	for _, n := range p.nics {
		if n.Link != nil && n.Link.State == "down" {
			q := command.LinkState(n, false)
			if err := p.mon.Execute(ctx, q.Execute, q.Arguments, nil); err != nil {
				return err
			}
		}
	}
	if !slices.ContainsFunc(p.steps, func(s plugStep) bool { return isMemory(p.def, pluggedID(s)) }) {
		return nil
	}
	if err := p.memoryBases(ctx); err != nil {
		return err
	}
	return p.currentMemory(ctx, p.def)
}

// currentMemory writes down how much memory the guest has now that a module came or went.
func (j *deviceJob) currentMemory(ctx context.Context, def *libvirtxml.Domain) error {
	if def.Memory == nil {
		return nil
	}
	now := memoryKiB(def.Memory.Value, def.Memory.Unit)
	if hasBalloon(def) {
		bytes, err := qmp.QueryBalloon(ctx, j.mon)
		if err != nil {
			return err
		}
		now = bytes >> 10
	}
	def.CurrentMemory = &libvirtxml.DomainCurrentMemory{Value: uint(now), Unit: "KiB"}
	return nil
}

func isMemory(def *libvirtxml.Domain, alias string) bool {
	one := findAlias(def.Devices, alias)
	return alias != "" && one != nil && one.kind == "memory"
}

// memoryBases asks where the modules are in the guest's memory.
func (p *plugging) memoryBases(ctx context.Context) error {
	var list []struct {
		Data struct {
			ID   string `json:"id"`
			Addr uint64 `json:"addr"`
		} `json:"data"`
	}
	if err := p.mon.Execute(ctx, "query-memory-devices", nil, &list); err != nil {
		return err
	}
	for _, m := range list {
		if one := findAlias(p.def.Devices, m.Data.ID); one != nil && one.kind == "memory" && one.address != nil && one.address.DIMM != nil {
			base := m.Data.Addr
			one.address.DIMM.Base = &base
		}
	}
	return nil
}

func (d *domain) deviceAdded(ctx actor.Context, alias string) {
	d.publish(ctx, virt.DomainEventIDDeviceAdded, tail{&protocol.DomainEventCallbackDeviceAddedMsg{Dom: d.ref(), DevAlias: alias}})
}
