package qemu

import (
	"context"
	"os"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/call"
	"virtree/actors/internal/node"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// vcpuThread is what the kernel tells of a virtual CPU's thread.
type vcpuThread struct {
	id     int
	time   uint64 // ns it ran
	cpu    int    // where it ran last
	wait   uint64 // ns it waited for something
	delay  uint64 // ns it was ready and did not run
	delays bool   // delay is known
}

// readThread reads what procfs knows of a thread.
func readThread(pid, tid, id int) (vcpuThread, error) {
	t := vcpuThread{id: id}
	dir := "/proc/" + itoa(pid) + "/task/" + itoa(tid)
	f, err := procStat(dir + "/stat")
	if err != nil {
		return t, err
	}
	user, _ := strconv.ParseUint(f[11], 10, 64)
	sys, _ := strconv.ParseUint(f[12], 10, 64)
	t.time = (user + sys) * (1e9 / clockTick)
	t.cpu, _ = strconv.Atoi(f[36])
	if b, err := os.ReadFile(dir + "/sched"); err == nil {
		t.wait = schedWait(string(b))
	}
	if b, err := os.ReadFile(dir + "/schedstat"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			t.delay, err = strconv.ParseUint(f[1], 10, 64)
			t.delays = err == nil
		}
	}
	return t, nil
}

// schedWait reads the time a thread waited out of its sched file, which says it in milliseconds.
func schedWait(text string) uint64 {
	for line := range strings.SplitSeq(text, "\n") {
		name, value, ok := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "se.statistics.wait_sum", "se.wait_sum", "wait_sum":
			if ms, err := strconv.ParseFloat(strings.TrimSpace(value), 64); ok && err == nil {
				return uint64(ms * 1e6)
			}
		}
	}
	return 0
}

// affinity lists the CPUs that a thread may run on.
func affinity(tid int) ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(tid, &set); err != nil {
		return nil, err
	}
	var cpus []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus, nil
}

// vcpus lists the virtual CPUs of a running guest: number, state, time, place and where it may run.
func (d *domain) vcpus(ctx actor.Context, r *call.Request, a *protocol.DomainGetVCPUsArgs) error {
	if a.Maxinfo < 0 || a.Maxinfo > protocol.RemoteVcpuinfoMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "maxinfo > REMOTE_VCPUINFO_MAX")
	}
	if a.Maplen < 0 || int64(a.Maxinfo)*int64(a.Maplen) > protocol.RemoteCpumapsMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "maxinfo * maplen > REMOTE_CPUMAPS_MAX")
	}
	if !d.active() {
		return liberr.New(liberr.FromQemu, liberr.OperationInvalid, "cannot retrieve vcpu information for inactive domain")
	}
	pid, tids, most, length := d.run.proc.pid, d.onlineThreads(), int(a.Maxinfo), int(a.Maplen)
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		ret := &protocol.DomainGetVCPUsRet{Cpumaps: make([]byte, 0, most*length)}
		for _, v := range tids[:min(most, len(tids))] {
			t, err := readThread(pid, v.tid, v.id)
			if err != nil {
				return nil, liberr.System(liberr.FromQemu, err, "cannot get vCPU placement & pCPU time")
			}
			ret.Info = append(ret.Info, protocol.VCPUInfo{Number: uint32(t.id), State: virt.VCPURunning, CPUTime: t.time, CPU: int32(t.cpu)})
			if length == 0 {
				continue
			}
			cpus, err := affinity(v.tid)
			if err != nil {
				return nil, liberr.System(liberr.FromNone, err, "cannot get CPU affinity of process %d", v.tid)
			}
			ret.Cpumaps = append(ret.Cpumaps, cpuMap(cpus, length)...)
		}
		ret.Cpumaps = append(ret.Cpumaps, make([]byte, most*length-len(ret.Cpumaps))...)
		return ret, nil
	})
	return nil
}

// vcpuTID is the thread of an online virtual CPU.
type vcpuTID struct{ id, tid int }

// onlineThreads pairs the virtual CPUs that are plugged in with their threads, which QEMU lists in the
// same order.
func (d *domain) onlineThreads() []vcpuTID {
	def, err := d.live.Def()
	if err != nil {
		return nil
	}
	var out []vcpuTID
	online := onlineVCPUs(def)
	for i, id := range online {
		if i < len(d.rt.vcpus) {
			out = append(out, vcpuTID{id, d.rt.vcpus[i]})
		}
	}
	return out
}

// onlineVCPUs lists the numbers of the virtual CPUs that are plugged in.
func onlineVCPUs(def *libvirtxml.Domain) []int {
	var out []int
	if def.VCPUs != nil && len(def.VCPUs.VCPU) > 0 {
		for i, v := range def.VCPUs.VCPU {
			if v.Enabled == "no" {
				continue
			}
			id := i
			if v.Id != nil {
				id = int(*v.Id)
			}
			out = append(out, id)
		}
		return out
	}
	for id := range currentVCPUs(def) {
		out = append(out, id)
	}
	return out
}

func (d *domain) vcpusFlags(_ actor.Context, _ *call.Request, a *protocol.DomainGetVCPUsFlagsArgs) (*protocol.DomainGetVCPUsFlagsRet, error) {
	if err := call.CheckFlags(a.Flags, affectFlags|virt.DomainVCPUMaximum|virt.DomainVCPUGuest, liberr.FromQemu, "qemuDomainGetVcpusFlags"); err != nil {
		return nil, err
	}
	def, live, err := d.one(a.Flags)
	if err != nil {
		return nil, err
	}
	switch {
	case a.Flags&virt.DomainVCPUGuest != 0:
		if !live {
			return nil, liberr.New(liberr.FromQemu, liberr.InvalidArg, "vCPU count provided by the guest agent can only be requested for live domains")
		}
		return nil, d.noAgent()
	case a.Flags&virt.DomainVCPUMaximum != 0:
		return &protocol.DomainGetVCPUsFlagsRet{Num: int32(maxVCPUs(def))}, nil
	}
	return &protocol.DomainGetVCPUsFlagsRet{Num: int32(currentVCPUs(def))}, nil
}

func (d *domain) maxVCPUsCall(_ actor.Context, _ *call.Request, _ *protocol.DomainGetMaxVCPUsArgs) (*protocol.DomainGetMaxVCPUsRet, error) {
	def, err := d.liveDef()
	if err != nil {
		return nil, err
	}
	return &protocol.DomainGetMaxVCPUsRet{Num: int32(maxVCPUs(def))}, nil
}

// pinSet is where something with its own pinning may run: there, else where the whole guest may, else
// anywhere.
func pinSet(def *libvirtxml.Domain, own string) []int {
	if own == "" && def.VCPU != nil {
		own = def.VCPU.CPUSet
	}
	if own == "" {
		return node.Host().OnlineCPUs()
	}
	return cpuList(own)
}

func vcpuPin(def *libvirtxml.Domain, id int) string {
	if def.CPUTune != nil {
		for _, p := range def.CPUTune.VCPUPin {
			if int(p.VCPU) == id {
				return p.CPUSet
			}
		}
	}
	return ""
}

func emulatorPin(def *libvirtxml.Domain) string {
	if def.CPUTune != nil && def.CPUTune.EmulatorPin != nil {
		return def.CPUTune.EmulatorPin.CPUSet
	}
	return ""
}

func ioThreadPin(def *libvirtxml.Domain, id uint) string {
	if def.CPUTune != nil {
		for _, p := range def.CPUTune.IOThreadPin {
			if p.IOThread == id {
				return p.CPUSet
			}
		}
	}
	return ""
}

func (d *domain) vcpuPinInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetVCPUPinInfoArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainGetVcpuPinInfo"); err != nil {
		return err
	}
	if a.Ncpumaps < 0 || a.Maplen < 0 || int64(a.Ncpumaps)*int64(a.Maplen) > protocol.RemoteCpumapsMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "ncpumaps * maplen > REMOTE_CPUMAPS_MAX")
	}
	def, _, err := d.one(a.Flags)
	if err != nil {
		return err
	}
	most, length := int(a.Ncpumaps), int(a.Maplen)
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		n := min(most, maxVCPUs(def))
		ret := &protocol.DomainGetVCPUPinInfoRet{Num: int32(n), Cpumaps: make([]byte, 0, most*length)}
		for id := range n {
			ret.Cpumaps = append(ret.Cpumaps, cpuMap(pinSet(def, vcpuPin(def, id)), length)...)
		}
		ret.Cpumaps = append(ret.Cpumaps, make([]byte, (most-n)*length)...)
		return ret, nil
	})
	return nil
}

func (d *domain) emulatorPinInfo(ctx actor.Context, r *call.Request, a *protocol.DomainGetEmulatorPinInfoArgs) error {
	if err := call.CheckFlags(a.Flags, affectFlags, liberr.FromQemu, "qemuDomainGetEmulatorPinInfo"); err != nil {
		return err
	}
	if a.Maplen < 0 || a.Maplen > protocol.RemoteCpumapsMax {
		return liberr.New(liberr.FromRPC, liberr.InternalError, "maplen > REMOTE_CPUMAPS_MAX")
	}
	def, _, err := d.one(a.Flags)
	if err != nil {
		return err
	}
	length := int(a.Maplen)
	d.look(ctx, r, func(context.Context) (protocol.Encoder, error) {
		return &protocol.DomainGetEmulatorPinInfoRet{Cpumaps: cpuMap(pinSet(def, emulatorPin(def)), length), Ret: 1}, nil
	})
	return nil
}
