package qemu

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/qmp"
	"virtree/wire/virt"
)

func TestBalloonFigures(t *testing.T) {
	got := balloonFigures(qmp.BalloonStats{LastUpdate: 7, Stats: map[string]uint64{
		"stat-swap-in": 2048, "stat-free-memory": math.MaxUint64, "stat-total-memory": 4096, "stat-major-faults": 3, "stat-new-thing": 1,
	}})
	want := []memoryStat{{virt.DomainMemoryStatSwapIn, 2}, {virt.DomainMemoryStatMajorFault, 3}, {virt.DomainMemoryStatAvailable, 4}, {virt.DomainMemoryStatLastUpdate, 7}}
	if !reflect.DeepEqual(got, want) {
		t.Error(got)
	}
}

func TestDeviceIDs(t *testing.T) {
	for _, c := range [][3]string{
		{"drive-virtio-disk0", "", "drive-virtio-disk0"},
		{"", "/machine/peripheral/virtio-disk0/virtio-backend", "virtio-disk0"},
		{"", "ide0-0-0", "ide0-0-0"},
		{"", "/machine/peripheral/usb-disk1", "usb-disk1"},
	} {
		if got := deviceID(c[0], c[1]); got != c[2] {
			t.Errorf("%q %q: %q", c[0], c[1], got)
		}
	}
}

func TestLinkCounters(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:      1       2    3    4    0     0          0         0       5       6    7    8    0     0       0          0
 vnet0:     10      20   30   40    0     0          0         0      50      60   70   80    0     0       0          0
`
	got, err := linkStats(text, "vnet0")
	want := linkFigures{bytes: [2]int64{10, 50}, packets: [2]int64{20, 60}, errs: [2]int64{30, 70}, drop: [2]int64{40, 80}}
	if err != nil || got != want {
		t.Error(got, err)
	}
	if _, err := linkStats(text, "vnet"); err == nil || err.Error() != "internal error: /proc/net/dev: Interface not found" {
		t.Error(err)
	}
}

func TestImageSizes(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw")
	if err := os.WriteFile(raw, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := imageSizes(raw, "raw"); err != nil || s.capacity != 5000 || s.physical != 5000 || s.allocation%512 != 0 {
		t.Error(s, err)
	}
	head := make([]byte, 600)
	copy(head, "QFI\xfb")
	binary.BigEndian.PutUint64(head[24:], 1<<30)
	qcow := filepath.Join(dir, "qcow2")
	if err := os.WriteFile(qcow, head, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := imageSizes(qcow, "qcow2"); err != nil || s.capacity != 1<<30 || s.physical != 600 {
		t.Error(s, err)
	}
	if s, err := imageSizes(raw, "qcow2"); err != nil || s.capacity != 5000 {
		t.Error("an image without its header has a size of its own:", s, err)
	}
	if _, err := imageSizes(filepath.Join(dir, "none"), "raw"); err == nil || !strings.HasSuffix(err.Error(), "No such file or directory") {
		t.Error(err)
	}
}

func TestDisksAreFoundByTargetAndSource(t *testing.T) {
	def := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{
		{Target: &libvirtxml.DomainDiskTarget{Dev: "vda"}, Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: "/x"}}},
		{Target: &libvirtxml.DomainDiskTarget{Dev: "hdc"}},
	}}}
	for path, want := range map[string]string{"vda": "vda", "/x": "vda", "hdc": "hdc", "": "", "vdb": ""} {
		got := ""
		if k := findDisk(def, path); k != nil {
			got = diskTarget(k)
		}
		if got != want {
			t.Errorf("%q: %q", path, got)
		}
	}
	if !diskEmpty(&def.Devices.Disks[1]) || diskEmpty(&def.Devices.Disks[0]) {
		t.Error("which drives are empty")
	}
}

func TestSysinfoDocument(t *testing.T) {
	const text = "BIOS Information\n\tVendor: A & B\n\tVersion: 1\n\nSystem Information\n\tProduct Name: P\n\nOEM Strings\n\tString 1: one\n\tString 2: two\n\n" +
		"Memory Device\n\tSize: No Module Installed\n\tLocator: DIMM 0\n\nMemory Device\n\tSize: 8 GB\n"
	const want = `<sysinfo type='smbios'>
  <bios>
    <entry name='vendor'>A &amp; B</entry>
    <entry name='version'>1</entry>
  </bios>
  <system>
    <entry name='product'>P</entry>
  </system>
  <memory_device>
    <entry name='size'>8 GB</entry>
  </memory_device>
  <oemStrings>
    <entry>one</entry>
    <entry>two</entry>
  </oemStrings>
</sysinfo>
`
	if got, ok := sysinfoDocument(text); !ok || got != want {
		t.Error(got)
	}
	if _, ok := sysinfoDocument("# No SMBIOS nor DMI entry point found, sorry.\n"); ok {
		t.Error("a host without tables has a document")
	}
}

func TestKVMFigures(t *testing.T) {
	got := kvmParams([]kvmStat{{"exits", []byte("5")}, {"max", []byte("6")}, {"on", []byte("true")}, {"hist", []byte("[1,2]")}, {"odd", []byte("1")}},
		map[string]string{"exits": "cumulative", "max": "peak", "on": "instant", "hist": "cumulative"})
	if len(got) != 3 || got[0].Field != "exits.sum" || got[0].Value.Ul != 5 || got[1].Field != "max.max" || got[2].Value.B != 1 {
		t.Errorf("%+v", got)
	}
}
