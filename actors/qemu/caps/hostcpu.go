package caps

import (
	"encoding/binary"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// hostData reads the processor's own CPUID and, where it can, the registers that hold features.
func hostData() cpuData {
	d := cpuData{}
	if !haveCPUID {
		return d
	}
	get := func(in, sub uint32) registers {
		a, b, c, dd := cpuidex(in, sub)
		return registers{a, b, c, dd}
	}
	for _, base := range []uint32{0, 0x80000000} {
		top := get(base, 0)[0]
		if top < base || top > base+0x100 {
			continue
		}
		for in := base; in <= top; in++ {
			d.set(leaf{in: in}, get(in, 0))
		}
	}
	// Only the leaves whose parts hold features are read further.
	if r, ok := d[leaf{in: 7}]; ok {
		for sub := uint32(1); sub <= min(r[0], 8); sub++ {
			d.set(leaf{in: 7, subin: sub}, get(7, sub))
		}
	}
	if _, ok := d[leaf{in: 0xd}]; ok {
		d.set(leaf{in: 0xd, subin: 1}, get(0xd, 1))
	}
	if r, ok := d[leaf{in: 0x14}]; ok {
		for sub := uint32(1); sub <= min(r[0], 8); sub++ {
			d.set(leaf{in: 0x14, subin: sub}, get(0x14, sub))
		}
	}
	m := x86Map()
	for name, index := range map[string]uint32{"arch-capabilities": 0x10a, "core-capability": 0xcf} {
		if f := m.byName[name]; f != nil && d.contains(f.data) {
			if v, err := readMSR(index); err == nil {
				d.set(leaf{msr: true, in: index}, registers{0: uint32(v), 3: uint32(v >> 32)})
			}
		}
	}
	return d
}

// readMSR reads a register that says what the processor can do: from KVM, which shows such registers without a
// guest, or from the processor when its driver is loaded.
func readMSR(index uint32) (uint64, error) {
	if v, err := kvmMSR(index); err == nil {
		return v, nil
	}
	f, err := os.Open("/dev/cpu/0/msr")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var b [8]byte
	if _, err := f.ReadAt(b[:], int64(index)); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// TSC is the clock counter of the processor.
type TSC struct {
	Frequency uint64 // Hz
	Scaling   bool   // KVM can show guests another frequency
}

// hostCPU is what the host's processor is, which does not change while we run.
type hostCPU struct {
	*NamedCPU
	data cpuData
	sig  signature
	tsc  *TSC
}

var thisHost = sync.OnceValue(func() *hostCPU {
	m := x86Map()
	h := &hostCPU{data: hostData()}
	h.sig = h.data.signature()
	if c, err := m.decode(h.data, decoding{host: true}); err == nil {
		h.NamedCPU = c
	}
	if h.data.contains(m.byName["invtsc"].data) && !h.data.empty() {
		h.tsc = hostTSC()
	}
	return h
})

// The ioctls of /dev/kvm that are used here.
const (
	kvmCreateVM       = 0xae01
	kvmCheckExtension = 0xae03
	kvmCreateVCPU     = 0xae41
	kvmGetTSCkHz      = 0xaea3
	kvmGetMSRs        = 0xc008ae88

	kvmCapNrVCPUs    = 9
	kvmCapTSCControl = 60
	kvmCapMaxVCPUs   = 66
)

func kvmIoctl(fd int, request uint, arg int) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

func openKVM() (int, error) {
	return unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// MaxKVMCPUs is how many virtual CPUs KVM gives a guest at most.
func MaxKVMCPUs() (int, error) {
	fd, err := openKVM()
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if n, err := kvmIoctl(fd, kvmCheckExtension, kvmCapMaxVCPUs); err == nil && n > 0 {
		return n, nil
	}
	return kvmIoctl(fd, kvmCheckExtension, kvmCapNrVCPUs)
}

// hostTSC asks KVM for the frequency by way of a virtual machine that never runs.
func hostTSC() *TSC {
	kvm, err := openKVM()
	if err != nil {
		return nil
	}
	defer unix.Close(kvm)
	vm, err := kvmIoctl(kvm, kvmCreateVM, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(vm)
	vcpu, err := kvmIoctl(vm, kvmCreateVCPU, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(vcpu)
	khz, err := kvmIoctl(vcpu, kvmGetTSCkHz, 0)
	if err != nil || khz <= 0 {
		return nil
	}
	scaling, _ := kvmIoctl(kvm, kvmCheckExtension, kvmCapTSCControl)
	return &TSC{Frequency: uint64(khz) * 1000, Scaling: scaling > 0}
}

// expansionData turns QEMU's expansion of its best model into bits. migratable leaves out what QEMU says does not
// survive migration.
func (m *cpuMap) expansionData(e *CPUExpansion, migratable bool) cpuData {
	d := cpuData{}
	var sig signature
	number := func(v any) uint {
		switch n := v.(type) {
		case float64:
			return uint(n)
		case string:
			u, _ := strconv.ParseUint(n, 0, 32)
			return uint(u)
		}
		return 0
	}
	for name, v := range e.Props {
		switch name {
		case "family":
			sig.family = number(v)
		case "model":
			sig.model = number(v)
		case "stepping":
			sig.stepping = number(v)
		case "vendor":
			if s, ok := v.(string); ok {
				d.set(leaf{}, vendorBits(s))
			}
		default:
			if on, is := v.(bool); !is || !on || migratable && e.Migratable != nil && !e.Migratable[name] {
				continue
			}
			if f := m.byName[name]; f != nil {
				d.add(f.data)
			}
		}
	}
	d.setSignature(sig)
	return d
}

// HostModel is what host-model means for a domain type: QEMU's best CPU as the nearest model it can run. nil when the
// binary has none. migratable is the form that a guest is started with; the other is what domain capabilities show.
func (c *Caps) HostModel(virtType string, migratable bool) (*NamedCPU, error) {
	e := c.HostCPU[accelerator(virtType)]
	if e == nil || c.Arch != "x86_64" && c.Arch != "i686" {
		return nil, nil
	}
	m := x86Map()
	named, err := m.decode(m.expansionData(e, migratable), decoding{models: c.CPUs[accelerator(virtType)], migratable: migratable})
	if err != nil {
		return nil, err
	}
	if !c.knowsMSRFeatures() {
		kept := named.Features[:0]
		for _, f := range named.Features {
			if !m.byName[f.Name].msr {
				kept = append(kept, f)
			}
		}
		named.Features = kept
	}
	return named, nil
}

// knowsMSRFeatures: Compat: libvirt asks only the 64 bit CPU types what they have, and without that answer distrusts the
// features that live in registers.
func (c *Caps) knowsMSRFeatures() bool { return c.Arch == "x86_64" }
