package nodedev

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// fake makes a host of its own. "devices/..." are files below sys, "a -> b" are links, "udev/..." is udev's data.
func fake(t *testing.T, entries ...string) host {
	root := t.TempDir()
	h := host{sys: filepath.Join(root, "sys"), udev: filepath.Join(root, "udev"), ids: filepath.Join(root, "ids"), dev: "/dev"}
	for _, e := range entries {
		name, text, isFile := strings.Cut(e, "=")
		link, target, isLink := strings.Cut(e, " -> ")
		if isLink {
			name = link
		}
		switch {
		case strings.HasPrefix(name, "udev/"), strings.HasPrefix(name, "ids/"):
			name = filepath.Join(root, name)
		default:
			name = filepath.Join(h.sys, name)
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(filepath.Join(h.sys, target), name)
		case isFile:
			err = os.WriteFile(name, []byte(text), 0o644)
		default:
			err = os.MkdirAll(name, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func list(t *testing.T, c *branchtest.Client, flags uint32) string {
	t.Helper()
	r, err := branchtest.Do(c, protocol.ConnectListAllNodeDevices, &protocol.ConnectListAllNodeDevicesArgs{NeedResults: 1, Flags: flags})
	if err != nil || int(r.Ret) != len(r.Devices) {
		t.Error(r, err)
	}
	var names []string
	for _, d := range r.Devices {
		names = append(names, d.Name)
	}
	return strings.Join(names, " ")
}

func xml(t *testing.T, c *branchtest.Client, name string) string {
	t.Helper()
	r, err := branchtest.Do(c, protocol.NodeDeviceGetXMLDesc, &protocol.NodeDeviceGetXMLDescArgs{Name: name})
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return r.XML
}

const hba = "devices/pci0000:00/0000:00:05.0"

// machine has one device of each kind that the test machine lacks.
func machine(t *testing.T) host {
	config := make([]byte, 4096)
	config[0x06], config[0x34] = 0x10, 0x40
	config[0x40], config[0x41] = 0x05, 0x50 // MSI, then:
	copy(config[0x50:], []byte{0x10, 0, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x43, 0xf0, 0x03, 0x01, 0, 0, 0x41, 0x10})
	return fake(t,
		"bus/pci/devices/0000:00:05.0 -> "+hba,
		hba+"/class=0x010000\n", hba+"/vendor=0x1000\n", hba+"/device=0x0012\n", hba+"/numa_node=1\n", hba+"/config="+string(config),
		hba+"/driver -> bus/pci/drivers/lsi", "bus/pci/drivers/lsi/x=", hba+"/sriov_totalvfs=8\n", hba+"/virtfn0 -> devices/pci0000:00/0000:00:05.1",
		hba+"/iommu_group -> kernel/iommu_groups/7", "kernel/iommu_groups/7/devices/0000:00:05.0=", "kernel/iommu_groups/7/devices/0000:00:04.0=",
		hba+"/mdev_supported_types/v1/name=V one\n", hba+"/mdev_supported_types/v1/device_api=vfio-pci\n", hba+"/mdev_supported_types/v1/available_instances=4\n",
		"bus/scsi/devices/host0 -> "+hba+"/host0", hba+"/host0/uevent=DEVTYPE=scsi_host\n", "class/scsi_host/host0/unique_id=3\n",
		"bus/scsi/devices/target0:0:1 -> "+hba+"/host0/target0:0:1", hba+"/host0/target0:0:1/uevent=DEVTYPE=scsi_target\n",
		"bus/scsi/devices/0:0:1:2 -> "+hba+"/host0/target0:0:1/0:0:1:2", hba+"/host0/target0:0:1/0:0:1:2/uevent=DEVTYPE=scsi_device\n", hba+"/host0/target0:0:1/0:0:1:2/type=0\n",
		"class/block/sda -> "+hba+"/host0/target0:0:1/0:0:1:2/block/sda", hba+"/host0/target0:0:1/0:0:1:2/block/sda/uevent=DEVNAME=sda\nDEVTYPE=disk\n",
		hba+"/host0/target0:0:1/0:0:1:2/block/sda/dev=8:0\n", hba+"/host0/target0:0:1/0:0:1:2/block/sda/subsystem -> class/block",
		hba+"/host0/target0:0:1/0:0:1:2/block/sda/size=2048\n", hba+"/host0/target0:0:1/0:0:1:2/block/sda/queue/logical_block_size=512\n",
		hba+"/host0/target0:0:1/0:0:1:2/block/sda/device/model=DISK   \n", hba+"/host0/target0:0:1/0:0:1:2/block/sda/device/vendor=ACME\n",
		"udev/b8:0=S:disk/by-id/x\nE:ID_TYPE=disk\nE:ID_BUS=scsi\nE:ID_SERIAL=S-1\n",
		"class/block/sda1 -> "+hba+"/host0/target0:0:1/0:0:1:2/block/sda/sda1", hba+"/host0/target0:0:1/0:0:1:2/block/sda/sda1/uevent=DEVNAME=sda1\nDEVTYPE=partition\n",
		"class/block/loop0 -> devices/virtual/block/loop0", "devices/virtual/block/loop0/uevent=DEVNAME=loop0\nDEVTYPE=disk\n",
		"class/scsi_generic/sg0 -> "+hba+"/host0/target0:0:1/0:0:1:2/scsi_generic/sg0", hba+"/host0/target0:0:1/0:0:1:2/scsi_generic/sg0/uevent=DEVNAME=sg0\n",
		"bus/usb/devices/1-1 -> devices/usb1/1-1", "devices/usb1/1-1/uevent=DEVTYPE=usb_device\nDEVNAME=bus/usb/001/002\n", "devices/usb1/1-1/busnum=1\n", "devices/usb1/1-1/devnum=2\n",
		"devices/usb1/1-1/idVendor=1d6b\n", "devices/usb1/1-1/idProduct=0002\n", "devices/usb1/1-1/product=own name\n",
		"bus/usb/devices/1-1:1.0 -> devices/usb1/1-1/1-1:1.0", "devices/usb1/1-1/1-1:1.0/uevent=DEVTYPE=usb_interface\n", "devices/usb1/1-1/1-1:1.0/bInterfaceNumber=00\n",
		"devices/usb1/1-1/1-1:1.0/bInterfaceClass=0b\n", "devices/usb1/1-1/1-1:1.0/bInterfaceSubClass=01\n", "devices/usb1/1-1/1-1:1.0/bInterfaceProtocol=00\n",
		"class/drm/renderD128 -> "+hba+"/drm/renderD128", hba+"/drm/renderD128/uevent=DEVTYPE=drm_minor\nDEVNAME=dri/renderD128\n",
		"class/drm/version=drm 1.1.0\n",
		"bus/mdev/devices/5a6a1d0e-0000-4000-8000-0000000000b1 -> "+hba+"/5a6a1d0e-0000-4000-8000-0000000000b1",
		hba+"/5a6a1d0e-0000-4000-8000-0000000000b1/mdev_type -> "+hba+"/mdev_supported_types/v1",
		"class/dmi/id/product_name=Box\n", "class/dmi/id/product_uuid=5a6a1d0e-0000-4000-8000-0000000000b1\n", "class/dmi/id/bios_vendor=Firm & Co\n",
		"ids/pci.ids=# list\n0fff  Before\n1000  LSI\n\t0011  no\n\t0012  53c895a\n\t\t0012 0001  sub\n1001  After\n",
		"ids/usb.ids=1d6b  Linux Foundation\n\t0002  2.0 root hub\n",
	)
}

func TestEveryKind(t *testing.T) {
	h := machine(t)
	c := branchtest.Start(t, newOn(branchtest.Env(t), h)).Client()
	const want = "computer pci_0000_00_05_0 mdev_5a6a1d0e_0000_4000_8000_0000000000b1_0000_00_05_0 drm_renderD128 scsi_host0 scsi_target0_0_1 scsi_0_0_1_2 block_sda_S_1 scsi_generic_sg0 usb_1_1 usb_1_1_1_0"
	if got := list(t, c, 0); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for flags, want := range map[uint32]string{
		virt.ConnectListNodeDevicesCapSystem: "computer", virt.ConnectListNodeDevicesCapMdevTypes: "pci_0000_00_05_0",
		virt.ConnectListNodeDevicesCapSCSI | virt.ConnectListNodeDevicesCapUSBDev: "scsi_0_0_1_2 usb_1_1",
		virt.ConnectListNodeDevicesInactive:                                       "",
		virt.ConnectListNodeDevicesActive | virt.ConnectListNodeDevicesCapDrm:     "drm_renderD128",
	} {
		if got := list(t, c, flags); got != want {
			t.Errorf("%x: %s, want %s", flags, got, want)
		}
	}
	if r, err := branchtest.Do(c, protocol.NodeDeviceListCaps, &protocol.NodeDeviceListCapsArgs{Name: "pci_0000_00_05_0", Maxnames: 9}); err != nil || fmt.Sprint(r.Names) != "[pci mdev_types]" {
		t.Error(r, err)
	}
	for child, parent := range map[string]string{"block_sda_S_1": "scsi_0_0_1_2", "scsi_0_0_1_2": "scsi_target0_0_1", "scsi_host0": "pci_0000_00_05_0", "usb_1_1": "computer"} {
		if r, err := branchtest.Do(c, protocol.NodeDeviceGetParent, &protocol.NodeDeviceGetParentArgs{Name: child}); err != nil || r.ParentName == nil || *r.ParentName != parent {
			t.Error(child, r, err)
		}
	}
	for name, want := range map[string]string{
		"computer": "<device>\n  <name>computer</name>\n  <capability type='system'>\n    <product>Box</product>\n    <hardware>\n      <uuid>5a6a1d0e-0000-4000-8000-0000000000b1</uuid>\n    </hardware>\n" +
			"    <firmware>\n      <vendor>Firm &amp; Co</vendor>\n    </firmware>\n  </capability>\n</device>\n",
		"pci_0000_00_05_0": "<device>\n  <name>pci_0000_00_05_0</name>\n  <path>/sys/" + hba + "</path>\n  <parent>computer</parent>\n  <driver>\n    <name>lsi</name>\n  </driver>\n" +
			"  <capability type='pci'>\n    <class>0x010000</class>\n    <domain>0</domain>\n    <bus>0</bus>\n    <slot>5</slot>\n    <function>0</function>\n" +
			"    <product id='0x0012'>53c895a</product>\n    <vendor id='0x1000'>LSI</vendor>\n    <capability type='virt_functions' maxCount='8'>\n" +
			"      <address domain='0x0000' bus='0x00' slot='0x05' function='0x1'/>\n    </capability>\n    <capability type='mdev_types'>\n      <type id='v1'>\n" +
			"        <name>V one</name>\n        <deviceAPI>vfio-pci</deviceAPI>\n        <availableInstances>4</availableInstances>\n      </type>\n    </capability>\n" +
			"    <iommuGroup number='7'>\n      <address domain='0x0000' bus='0x00' slot='0x04' function='0x0'/>\n      <address domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>\n    </iommuGroup>\n" +
			"    <numa node='1'/>\n    <pci-express>\n      <link validity='cap' port='1' speed='8' width='4'/>\n      <link validity='sta' speed='2.5' width='4'/>\n    </pci-express>\n  </capability>\n</device>\n",
		"block_sda_S_1": "<device>\n  <name>block_sda_S_1</name>\n  <path>/sys/" + hba + "/host0/target0:0:1/0:0:1:2/block/sda</path>\n  <devnode type='dev'>/dev/sda</devnode>\n  <devnode type='link'>/dev/disk/by-id/x</devnode>\n" +
			"  <parent>scsi_0_0_1_2</parent>\n  <capability type='storage'>\n    <block>/dev/sda</block>\n    <bus>scsi</bus>\n    <drive_type>disk</drive_type>\n    <model>DISK</model>\n    <vendor>ACME</vendor>\n" +
			"    <serial>S-1</serial>\n    <size>1048576</size>\n    <logical_block_size>512</logical_block_size>\n    <num_blocks>2048</num_blocks>\n  </capability>\n</device>\n",
	} {
		if got := xml(t, c, name); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	branchtest.Fails(c, protocol.NodeDeviceUndefine, &protocol.NodeDeviceUndefineArgs{Name: "scsi_host0"}, from, liberr.OperationInvalid, "Requested operation is not valid: Node device 'scsi_host0' is not defined")
	for name, want := range map[string]int32{"computer": 1, "scsi_host0": 0} {
		if r, err := branchtest.Do(c, protocol.NodeDeviceIsPersistent, &protocol.NodeDeviceIsPersistentArgs{Name: name}); err != nil || r.Persistent != want {
			t.Error(name, r, err)
		}
	}
	for name, part := range map[string]string{
		"scsi_host0": "<host>0</host>\n    <unique_id>3</unique_id>", "scsi_target0_0_1": "<target>target0:0:1</target>",
		"scsi_0_0_1_2":     "<host>0</host>\n    <bus>0</bus>\n    <target>1</target>\n    <lun>2</lun>\n    <type>disk</type>",
		"scsi_generic_sg0": "<char>/dev/sg0</char>", "drm_renderD128": "<type>render</type>",
		"usb_1_1":     "<bus>1</bus>\n    <device>2</device>\n    <product id='0x0002'>2.0 root hub</product>\n    <vendor id='0x1d6b'>Linux Foundation</vendor>",
		"usb_1_1_1_0": "<number>0</number>\n    <class>11</class>\n    <subclass>1</subclass>\n    <protocol>0</protocol>",
		"mdev_5a6a1d0e_0000_4000_8000_0000000000b1_0000_00_05_0": "<type id='v1'/>\n    <uuid>5a6a1d0e-0000-4000-8000-0000000000b1</uuid>\n    <parent_addr>0000:00:05.0</parent_addr>",
	} {
		if got := xml(t, c, name); !strings.Contains(got, part) {
			t.Errorf("%s\nlacks\n%s", got, part)
		}
	}
}

// The messages were recorded from libvirtd 9.0.0.
func TestErrors(t *testing.T) {
	c := branchtest.Start(t, newOn(branchtest.Env(t), fake(t))).Client()
	const missing = "Node device not found: no node device with matching name 'nope'"
	branchtest.Fails(c, protocol.NodeDeviceLookupByName, &protocol.NodeDeviceLookupByNameArgs{Name: "nope"}, from, liberr.NoNodeDevice, missing)
	branchtest.Fails(c, protocol.NodeDeviceGetXMLDesc, &protocol.NodeDeviceGetXMLDescArgs{Name: "nope"}, from, liberr.NoNodeDevice, missing)
	branchtest.Fails(c, protocol.NodeDeviceGetParent, &protocol.NodeDeviceGetParentArgs{Name: "nope"}, from, liberr.NoNodeDevice, missing)
	branchtest.Fails(c, protocol.NodeDeviceDestroy, &protocol.NodeDeviceDestroyArgs{Name: "computer"}, from, liberr.ConfigUnsupported, "unsupported configuration: Unsupported device type")
	branchtest.Fails(c, protocol.NodeDeviceUndefine, &protocol.NodeDeviceUndefineArgs{Name: "computer"}, from, liberr.ConfigUnsupported, "unsupported configuration: Unsupported device type")
	branchtest.Fails(c, protocol.NodeDeviceCreate, &protocol.NodeDeviceCreateArgs{Name: "computer"}, from, liberr.OperationInvalid, "Requested operation is not valid: Device is already active")
	branchtest.Fails(c, protocol.NodeDeviceSetAutostart, &protocol.NodeDeviceSetAutostartArgs{Name: "computer"}, from, liberr.OperationUnsupported, "Operation not supported: Unsupported device type")
	branchtest.Fails(c, protocol.NodeListDevices, &protocol.NodeListDevicesArgs{Maxnames: 200000}, liberr.FromRPC, liberr.RPC, "maxnames > REMOTE_NODE_DEVICE_LIST_MAX")
	branchtest.Fails(c, protocol.NodeDeviceLookupSCSIHostByWWN, &protocol.NodeDeviceLookupSCSIHostByWWNArgs{}, liberr.FromNone, liberr.InternalError, "An error occurred, but the cause is unknown")
	branchtest.Fails(c, protocol.ConnectListAllNodeDevices, &protocol.ConnectListAllNodeDevicesArgs{Flags: 1 << 25}, from, liberr.InvalidArg, "")
	branchtest.Fails(c, protocol.NodeDeviceCreateXML, &protocol.NodeDeviceCreateXMLArgs{}, from, liberr.NoSupportCode, "this function is not supported by the connection driver: virNodeDeviceCreateXML")
	bogus := "bogus"
	if r, err := branchtest.Do(c, protocol.NodeNumOfDevices, &protocol.NodeNumOfDevicesArgs{Cap: &bogus}); err != nil || r.Num != 0 {
		t.Error(r, err)
	}
	if r, err := branchtest.Do(c, protocol.NodeListDevices, &protocol.NodeListDevicesArgs{Maxnames: 5}); err != nil || fmt.Sprint(r.Names) != "[computer]" {
		t.Error(r, err)
	}
	if r, err := branchtest.Do(c, protocol.NodeDeviceGetParent, &protocol.NodeDeviceGetParentArgs{Name: "computer"}); err != nil || r.ParentName != nil {
		t.Error(r, err)
	}
}

// Every device of this machine reads as libvirtd reads it, where one runs.
func TestAgainstLibvirtd(t *testing.T) {
	virsh := func(args ...string) (string, error) {
		out, err := exec.Command("timeout", append([]string{"10", "virsh", "-q", "-c", "qemu:///system"}, args...)...).Output()
		return string(out), err
	}
	names, err := virsh("nodedev-list")
	if err != nil {
		t.Skip("no libvirtd to compare with")
	}
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	all := " " + list(t, c, 0) + " "
	for _, name := range strings.Fields(names) {
		want, err := virsh("nodedev-dumpxml", name)
		if err != nil {
			continue // gone meanwhile
		}
		if !strings.Contains(all, " "+name+" ") {
			if again, _ := virsh("nodedev-list"); strings.Contains(again, name) && strings.Contains(list(t, c, 0), name) == false {
				t.Errorf("%s is missing", name)
			}
			continue
		}
		if got := xml(t, c, name); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}

// inside marks the process that runs in a network namespace of its own.
const inside = "NODEDEV_TEST_INSIDE"

// Devices that come, are renamed and go make events: seen with real veth devices.
func TestEvents(t *testing.T) {
	if os.Getenv(inside) == "" {
		if os.Getuid() != 0 {
			t.Skip("needs root for a namespace")
		}
		cmd := exec.Command("unshare", "-n", "-m", "sh", "-c", `mount -t sysfs none /sys && exec "$0" -test.run '^TestEvents$' -test.v`, os.Args[0])
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestEvents") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	c := branchtest.Start(t, New(branchtest.Env(t))).Client()
	if !strings.Contains(list(t, c, 0), "net_lo_") { // also: the first scan is over
		t.Error("no loopback")
	}
	ip := func(args ...string) {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v %s", args, err, out)
		}
	}
	expect := func(want map[string]int32) {
		t.Helper()
		for len(want) > 0 {
			e := c.Event()
			if e.ID == virt.NodeDeviceEventIDUpdate {
				continue
			}
			var m protocol.NodeDeviceEventLifecycleMsg
			if err := protocol.Unmarshal(append(make([]byte, callbackID), e.Payload...), &m); err != nil || e.Object != "node_device" || m.Dev.Name != e.Name {
				t.Fatal(e, m, err)
			}
			if event, ok := want[e.Name]; !ok || event != m.Event {
				t.Fatalf("unexpected event %d of %s", m.Event, e.Name)
			}
			delete(want, e.Name)
		}
	}
	ip("link", "add", "vt0", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "vt1", "address", "02:00:00:00:00:02")
	expect(map[string]int32{"net_vt0_02_00_00_00_00_01": 0, "net_vt1_02_00_00_00_00_02": 0})
	ip("link", "set", "vt0", "name", "vt9")
	expect(map[string]int32{"net_vt0_02_00_00_00_00_01": 1, "net_vt9_02_00_00_00_00_01": 0})
	ip("link", "del", "vt9")
	expect(map[string]int32{"net_vt9_02_00_00_00_00_01": 1, "net_vt1_02_00_00_00_00_02": 1})
	c.NoEvent()
}

func TestParseUevent(t *testing.T) {
	for in, want := range map[string]string{
		"add@/devices/x\x00ACTION=add\x00SUBSYSTEM=net\x00":         "&{[]}",
		"change@/devices/x\x00ACTION=change\x00SUBSYSTEM=block\x00": "&{[/devices/x]}",
		"add@/devices/x\x00SUBSYSTEM=cpu\x00":                       "<nil>",
		"libudev\x00...":                                            "&{[]}",
		"":                                                          "<nil>",
		"garbage":                                                   "<nil>",
	} {
		if got := fmt.Sprint(parseUevent([]byte(in))); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
