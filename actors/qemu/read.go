package qemu

import (
	"context"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// What is answered from the domain's last known state, while any job runs and whether or not QEMU
// answers.

// aside answers a call with what a goroutine finds out, without a job: for reads of /proc and the like.
func (d *domain) look(ctx actor.Context, r *call.Request, run func(context.Context) (protocol.Encoder, error)) {
	d.launch(ctx, &task{name: holderName(r.Proc), req: r, limit: monitorTimeout,
		run: func(jc context.Context, _ *kit.Undo) (any, error) { return run(jc) },
		apply: func(_ *domain, _ actor.Context, out any) (protocol.Encoder, error) {
			return out.(protocol.Encoder), nil
		},
	})
}

func (d *domain) info(ctx actor.Context, r *call.Request, _ *protocol.DomainGetInfoArgs) error {
	def, err := d.current().Def()
	if err != nil {
		return err
	}
	ret := &protocol.DomainGetInfoRet{State: byte(d.life.State), MaxMem: maxMemory(def), NrVirtCpu: uint16(currentVCPUs(def))}
	if !d.active() {
		ret.Memory = 0
		if def.CurrentMemory != nil {
			ret.Memory = memoryKiB(def.CurrentMemory.Value, def.CurrentMemory.Unit)
		}
		r.Reply(ret)
		return nil
	}
	ret.Memory = currentMemory(def)
	ns, err := d.run.cpu(time.Now()) // procfs answers at once, whatever the process does
	if err != nil {
		return liberr.New(liberr.FromQemu, liberr.OperationFailed, "cannot read cputime for domain").WithCause(err)
	}
	ret.CpuTime = ns
	r.Reply(ret)
	return nil
}

func maxMemory(def *libvirtxml.Domain) uint64 {
	if def.Memory == nil {
		return 0
	}
	return memoryKiB(def.Memory.Value, def.Memory.Unit)
}

func currentMemory(def *libvirtxml.Domain) uint64 {
	if !hasBalloon(def) || def.CurrentMemory == nil {
		return maxMemory(def)
	}
	return memoryKiB(def.CurrentMemory.Value, def.CurrentMemory.Unit)
}

func maxVCPUs(def *libvirtxml.Domain) int {
	if def.VCPU == nil {
		return 1
	}
	return int(def.VCPU.Value)
}

func currentVCPUs(def *libvirtxml.Domain) int {
	if def.VCPU != nil && def.VCPU.Current != 0 {
		return int(def.VCPU.Current)
	}
	return maxVCPUs(def)
}

// cpu is the guest's CPU time. The kernel counts it in ticks of 10 ms, so what was read within one is as
// good as new.
func (r *instance) cpu(now time.Time) (uint64, error) {
	if now.Sub(r.cpuRead) < time.Second/clockTick {
		return r.cpuTime, nil
	}
	ns, err := cpuTime(r.proc.pid)
	if err == nil {
		r.cpuTime, r.cpuRead = ns, now
	}
	return ns, err
}

// clockTick is the kernel's USER_HZ, which is 100 on every architecture Go runs on.
const clockTick = 100

// cpuTime is the time a process has spent, in nanoseconds.
func cpuTime(pid int) (uint64, error) {
	f, err := procStat("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	user, err := strconv.ParseUint(f[11], 10, 64)
	if err != nil {
		return 0, err
	}
	sys, err := strconv.ParseUint(f[12], 10, 64)
	return (user + sys) * (1e9 / clockTick), err
}

const xmlDescFlags = virt.DomainXMLSecure | virt.DomainXMLInactive | virt.DomainXMLUpdateCPU | virt.DomainXMLMigratable

func (d *domain) xmlDesc(_ actor.Context, _ *call.Request, a *protocol.DomainGetXMLDescArgs) (*protocol.DomainGetXMLDescRet, error) {
	if err := call.CheckFlags(a.Flags, xmlDescFlags, liberr.FromQemu, "qemuDomainGetXMLDesc"); err != nil {
		return nil, err
	}
	doc, flags := d.current(), xmlFlags(a.Flags)
	if a.Flags&virt.DomainXMLInactive != 0 {
		switch {
		case d.config != nil:
			doc = d.config
		case d.last != nil:
			doc = d.last
		}
	}
	if doc == d.config {
		flags |= domxml.Inactive
	}
	if doc == d.live && flags&domxml.Migratable != 0 {
		var err error
		if doc, err = d.migratable(); err != nil {
			return nil, err
		}
	}
	text, err := doc.XML(flags)
	if err != nil {
		return nil, err
	}
	return &protocol.DomainGetXMLDescRet{XML: text}, nil
}

// migratable is the live definition as another host is to start it: with the processor and the addresses
// that were asked for, not with what this host made of them.
func (d *domain) migratable() (*document, error) {
	from := d.origin
	if from == nil {
		from = d.config
	}
	def, err := d.live.Clone()
	if err != nil || from == nil {
		return d.live, err
	}
	asked, err := from.Def()
	if err != nil {
		return nil, err
	}
	if def.CPU = asked.CPU; def.CPU != nil && def.CPU.Mode == "custom" && def.CPU.Model != nil {
		cpu, model := *def.CPU, *def.CPU.Model
		model.Fallback, cpu.Model = "forbid", &model // what was translated once is not translated again
		def.CPU = &cpu
	}
	for i := range def.Devices.Disks {
		disk := &def.Devices.Disks[i]
		if i < len(asked.Devices.Disks) && disk.Driver != nil && asked.Devices.Disks[i].Driver != nil {
			driver := *disk.Driver
			driver.Type, driver.Cache = asked.Devices.Disks[i].Driver.Type, asked.Devices.Disks[i].Driver.Cache
			disk.Driver = &driver
		}
		if disk.Source != nil {
			disk.Source.Index = 0
		}
		for b := disk.BackingStore; b != nil; b = b.BackingStore {
			b.Index = 0
		}
	}
	for i := range def.Devices.Graphics {
		if i >= len(asked.Devices.Graphics) {
			break
		}
		to, was := &def.Devices.Graphics[i], &asked.Devices.Graphics[i]
		switch {
		case to.VNC != nil && was.VNC != nil:
			to.VNC.Listen, to.VNC.Listeners = was.VNC.Listen, was.VNC.Listeners
		case to.Spice != nil && was.Spice != nil:
			to.Spice.Listen, to.Spice.Listeners = was.Spice.Listen, was.Spice.Listeners
		}
	}
	return newDocument(def, &d.drv.xmlEnv), nil
}

func (d *domain) osType(actor.Context, *call.Request, *protocol.DomainGetOSTypeArgs) (*protocol.DomainGetOSTypeRet, error) {
	def, err := d.current().Def()
	if err != nil {
		return nil, err
	}
	t := "hvm"
	if def.OS != nil && def.OS.Type != nil {
		t = def.OS.Type.Type
	}
	return &protocol.DomainGetOSTypeRet{Type: t}, nil
}

func (d *domain) maxMemory(actor.Context, *call.Request, *protocol.DomainGetMaxMemoryArgs) (*protocol.DomainGetMaxMemoryRet, error) {
	def, err := d.current().Def()
	if err != nil {
		return nil, err
	}
	return &protocol.DomainGetMaxMemoryRet{Memory: maxMemory(def)}, nil
}

func (d *domain) hasManagedSave(_ actor.Context, _ *call.Request, a *protocol.DomainHasManagedSaveImageArgs) (*protocol.DomainHasManagedSaveImageRet, error) {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainHasManagedSaveImage"); err != nil {
		return nil, err
	}
	return &protocol.DomainHasManagedSaveImageRet{Result: truth(d.saved)}, nil
}

func (d *domain) controlInfo(_ actor.Context, _ *call.Request, a *protocol.DomainGetControlInfoArgs) (*protocol.DomainGetControlInfoRet, error) {
	if err := call.CheckFlags(a.Flags, 0, liberr.FromQemu, "qemuDomainGetControlInfo"); err != nil {
		return nil, err
	}
	if err := d.requireActive(); err != nil {
		return nil, err
	}
	ret := &protocol.DomainGetControlInfoRet{State: virt.DomainControlOk}
	switch {
	case d.run.mon == nil:
		ret.State = virt.DomainControlError
		ret.Details = virt.DomainControlErrorReasonMonitor
	case len(d.queue.Running()) > 0:
		ret.State = virt.DomainControlJob
	}
	return ret, nil
}

// messages serves virDomainGetMessages: what taints the guest.
func (d *domain) messages(_ actor.Context, _ *call.Request, a *protocol.DomainGetMessagesArgs) (*protocol.DomainGetMessagesRet, error) {
	if err := call.CheckFlags(a.Flags, virt.DomainMessageDeprecation|virt.DomainMessageTainting, liberr.FromQemu, "qemuDomainGetMessages"); err != nil {
		return nil, err
	}
	ret := &protocol.DomainGetMessagesRet{}
	if a.Flags == 0 || a.Flags&virt.DomainMessageTainting != 0 {
		for _, t := range d.taints {
			ret.Msgs = append(ret.Msgs, "tainted: "+t)
		}
	}
	return ret, nil
}

// taint notes once that something was done which its maker cannot answer for.
func (d *domain) taint(what string) {
	for _, t := range d.taints {
		if t == what {
			return
		}
	}
	d.taints = append(d.taints, what)
	d.log.Warn().Str("taint", what).Msg("domain is tainted")
}

func truth(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
