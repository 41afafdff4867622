package command

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/qmp"
)

// plugBoard is a guest with free places for every kind of device.
const plugBoard = `
<domain type='qemu'>
  <name>plug</name><uuid>b57d1a3e-0000-4000-8000-0000000000ff</uuid>
  <maxMemory slots='4' unit='MiB'>1024</maxMemory>
  <memory unit='MiB'>256</memory>
  <vcpu current='1'>3</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <features><acpi/></features>
  <cpu mode='custom'><model>qemu64</model><numa><cell id='0' cpus='0-2' memory='256' unit='MiB'/></numa></cpu>
  <devices>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/><target dev='sda' bus='scsi'/><readonly/>
      <alias name='scsi0-0-0-0'/><address type='drive' controller='0' bus='0' target='0' unit='0'/>
    </disk>
    <controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>
%s    <controller type='usb' index='0' model='qemu-xhci'><alias name='usb'/>
      <address type='pci' domain='0' bus='0' slot='10' function='0'/></controller>
    <controller type='scsi' index='0' model='virtio-scsi'><alias name='scsi0'/>
      <address type='pci' domain='0' bus='0' slot='11' function='0'/></controller>
    <controller type='virtio-serial' index='0'><alias name='virtio-serial0'/>
      <address type='pci' domain='0' bus='0' slot='12' function='0'/></controller>
    <memballoon model='none'/>
  </devices>
</domain>`

func board(t *testing.T) *libvirtxml.Domain {
	var ports strings.Builder
	for i := 1; i <= 8; i++ {
		fmt.Fprintf(&ports, "    <controller type='pci' index='%d' model='pcie-root-port'><target chassis='%d' port='0x%x'/><alias name='pci.%d'/>"+
			"<address type='pci' domain='0' bus='0' slot='%d' function='0'/></controller>\n", i, i, 16+i, i, i)
	}
	return parseText(t, fmt.Sprintf(plugBoard, ports.String()))
}

// device parses one device the way a client would send it.
func device[T any](t *testing.T, text string) *T {
	t.Helper()
	d := new(T)
	u, ok := any(d).(interface{ Unmarshal(string) error })
	if !ok {
		t.Fatalf("%T cannot be parsed", d)
	}
	if err := u.Unmarshal(text); err != nil {
		t.Fatal(err)
	}
	return d
}

func pciAt(bus int) string {
	return fmt.Sprintf("<address type='pci' domain='0' bus='%d' slot='0' function='0'/>", bus)
}

// apply sends the commands of a plug as production would.
func apply(t *testing.T, q *guest, p *Plug) {
	t.Helper()
	for _, s := range p.Steps {
		var fds []int
		if s.File != nil {
			fds = append(fds, int(s.File.File.Fd()))
		}
		if err := q.ExecuteFDs(t.Context(), s.Execute, s.Arguments, nil, fds...); err != nil {
			t.Fatalf("%s %s: %v", s.Execute, s.Arguments, err)
		}
	}
}

func applyAll(t *testing.T, q *guest, list []QMP) {
	t.Helper()
	for _, c := range list {
		if err := q.Execute(t.Context(), c.Execute, c.Arguments, nil); err != nil {
			t.Fatalf("%s %s: %v", c.Execute, c.Arguments, err)
		}
	}
}

// gone waits until QEMU says that a device has left.
func gone(t *testing.T, q *guest) {
	t.Helper()
	q.await(t, "DEVICE_DELETED", func(e qmp.Event) bool {
		var d struct{ Device string }
		return e.Name == "DEVICE_DELETED" && e.Decode(&d) == nil && d.Device != ""
	})
}

// TestPlugReal plugs a device of each kind into a QEMU that has not run yet, where devices come and go without a guest
// that has to agree, and takes it out again.
func TestPlugReal(t *testing.T) {
	c := realCaps(t)
	def := board(t)
	var rt Runtime
	q := start(t, c, def, func(r *Runtime) { rt = *r })
	dir := t.TempDir()
	base, top := filepath.Join(dir, "base.img"), filepath.Join(dir, "top.qcow2")
	plain, stick := filepath.Join(dir, "plain.img"), filepath.Join(dir, "stick.img")
	makeImage(t, base)
	makeImage(t, plain)
	makeImage(t, stick)
	if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %v: %s", err, out)
	}
	rt.NICs = map[string]NIC{"net1": {Tap: taps(t, 2)}}
	log, err := os.OpenFile(filepath.Join(dir, "channel.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	rt.Logs = map[string]*os.File{"channel0": log}
	rt.NextNode = 10

	disk := device[libvirtxml.DomainDisk](t, `<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>
		<source file='`+top+`'/><backingStore type='file'><format type='raw'/><source file='`+base+`'/><backingStore/></backingStore>
		<target dev='vda' bus='virtio'/><iotune><total_iops_sec>100</total_iops_sec><total_iops_sec_max>200</total_iops_sec_max>
		<total_iops_sec_max_length>2</total_iops_sec_max_length></iotune><alias name='virtio-disk0'/>`+pciAt(1)+`</disk>`)
	if next := AssignDiskNodes(disk, rt.NextNode); next != 12 {
		t.Errorf("two images end at %d, want 12", next)
	}
	tests := []struct {
		name   string
		guest  bool // the guest has to let go of it
		device any
	}{
		{"disk with a backing image", true, disk},
		{"scsi disk", false, device[libvirtxml.DomainDisk](t, `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='`+plain+`'/>
			<target dev='sdb' bus='scsi'/><alias name='scsi0-0-0-1'/><address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>`)},
		{"usb disk", false, device[libvirtxml.DomainDisk](t, `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='`+stick+`'/>
			<target dev='sdc' bus='usb'/><alias name='usb-disk2'/><address type='usb' bus='0' port='1'/></disk>`)},
		{"user network", true, device[libvirtxml.DomainInterface](t, `<interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/>
			<alias name='net0'/>`+pciAt(2)+`</interface>`)},
		{"tap with two queues", true, device[libvirtxml.DomainInterface](t, `<interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/>
			<model type='virtio'/><driver queues='2'/><alias name='net1'/>`+pciAt(3)+`</interface>`)},
		{"rng", true, device[libvirtxml.DomainRNG](t, `<rng model='virtio'><backend model='builtin'/><alias name='rng0'/>`+pciAt(4)+`</rng>`)},
		{"scsi controller", true, device[libvirtxml.DomainController](t, `<controller type='scsi' index='1' model='virtio-scsi'><alias name='scsi1'/>`+pciAt(5)+`</controller>`)},
		{"channel with a log", false, device[libvirtxml.DomainChannel](t, `<channel type='unix'><source mode='bind' path='`+dir+`/ch.sock'/><target type='virtio' name='a.b.0'/>
			<log file='/x.log'/><alias name='channel0'/><address type='virtio-serial' controller='0' bus='0' port='1'/></channel>`)},
		{"usb tablet", false, device[libvirtxml.DomainInput](t, `<input type='tablet' bus='usb'><alias name='input0'/><address type='usb' bus='0' port='2'/></input>`)},
		{"dimm", true, device[libvirtxml.DomainMemorydev](t, `<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target>
			<alias name='dimm0'/><address type='dimm' slot='0'/></memory>`)},
		{"watchdog", true, device[libvirtxml.DomainWatchdog](t, `<watchdog model='i6300esb' action='dump'><alias name='watchdog0'/>`+pciAt(6)+`</watchdog>`)},
		{"shared memory", true, device[libvirtxml.DomainShmem](t, `<shmem name='cmdtest-`+filepath.Base(dir)+`' role='peer'><model type='ivshmem-plain'/><size unit='M'>1</size>
			<alias name='shmem0'/>`+pciAt(7)+`</shmem>`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := DevicePlug(def, c, rt, tt.device)
			if err != nil {
				t.Fatal(err)
			}
			apply(t, q, p)
			rt.NextNode += 10
			rt.NextFDSet++
			if tt.device == any(disk) {
				applyAll(t, q, []QMP{*Throttle(disk)})
			}
			ask, after := p.Unplug()
			if s, ok := tt.device.(*libvirtxml.DomainShmem); ok {
				t.Cleanup(func() { os.Remove("/dev/shm/" + s.Name) })
			}
			applyAll(t, q, ask)
			if tt.guest {
				return // leaves only with a guest's consent, and there is none yet
			}
			gone(t, q)
			applyAll(t, q, after)
		})
	}
	t.Run("medium", func(t *testing.T) {
		drive := def.Devices.Disks[0]
		drive.Source = &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: plain}, Index: 90}
		p, err := InsertMedium(def, c, rt, &drive)
		if err != nil {
			t.Fatal(err)
		}
		open, _ := EjectMedium(def, &def.Devices.Disks[0], true)
		applyAll(t, q, open)
		apply(t, q, p)
		open, after := EjectMedium(def, &drive, true)
		applyAll(t, q, open)
		applyAll(t, q, after)
	})
	t.Run("io thread", func(t *testing.T) {
		shrink := uint(4)
		p := IOThreadPlug(&libvirtxml.DomainIOThread{ID: 3, Poll: &libvirtxml.DomainIOThreadPoll{Shrink: &shrink}})
		apply(t, q, p)
		_, after := p.Unplug()
		applyAll(t, q, after)
	})
	t.Run("vcpu", func(t *testing.T) {
		var slots []struct {
			Type  string          `json:"type"`
			Path  string          `json:"qom-path"`
			Props json.RawMessage `json:"props"`
		}
		if err := q.Execute(t.Context(), "query-hotpluggable-cpus", nil, &slots); err != nil {
			t.Fatal(err)
		}
		for _, s := range slots {
			if s.Path != "" {
				continue
			}
			var at map[string]uint
			if err := json.Unmarshal(s.Props, &at); err != nil {
				t.Fatal(err)
			}
			var slot Props
			for _, k := range []string{"node-id", "socket-id", "die-id", "core-id", "thread-id"} {
				if v, ok := at[k]; ok {
					slot.Set(k, v)
				}
			}
			apply(t, q, VCPUPlug(2, s.Type, slot))
			return
		}
		t.Fatal("no free place for a CPU")
	})
}
