package nodedev

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

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

// filledIn waits until the driver has read what it does not read before its first answer.
func filledIn(t *testing.T, c *branchtest.Client) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); list(t, c, listFlag[capVPD]) == ""; {
		if time.Now().After(end) {
			t.Fatal("product data are not read")
		}
	}
}

func TestFilters(t *testing.T) {
	c := branchtest.Start(t, newOn(branchtest.Env(t), hardware(t))).Client()
	filledIn(t, c)
	for flags, want := range map[uint32]string{
		virt.ConnectListNodeDevicesCapSCSITarget | virt.ConnectListNodeDevicesCapUSBDev: "scsi_target4_0_1 usb_usb1 usb_1_1 scsi_target6_0_0 scsi_target0_0_0 scsi_target0_0_1",
		virt.ConnectListNodeDevicesInactive:                                             "",
		virt.ConnectListNodeDevicesActive | virt.ConnectListNodeDevicesCapDrm:           "drm_card0 drm_controlD64 drm_renderD128",
	} {
		if got := list(t, c, flags); got != want {
			t.Errorf("%x: %s, want %s", flags, got, want)
		}
	}
	for name, want := range map[string]string{
		"pci_0000_00_02_0": "[pci mdev_types]", "scsi_host4": "[scsi_host fc_host vports]", "scsi_host5": "[scsi_host fc_host]", "css_0_0_0070": "[css mdev_types]",
		"pci_0000_01_00_0": "[pci vpd]", "ap_matrix": "[ap_matrix mdev_types]", "pci_0000_00_18_0": "[pci]", "computer": "[system]",
	} {
		if r, err := branchtest.Do(c, protocol.NodeDeviceListCaps, &protocol.NodeDeviceListCapsArgs{Name: name, Maxnames: 9}); err != nil || fmt.Sprint(r.Names) != want {
			t.Error(name, r, err)
		}
	}
	for child, parent := range map[string]string{"scsi_host5": "scsi_host4", "scsi_4_0_1_2": "scsi_target4_0_1", "scsi_host0": "pci_0000_00_1f_2", "css_0_0_0070": "computer"} {
		if r, err := branchtest.Do(c, protocol.NodeDeviceGetParent, &protocol.NodeDeviceGetParentArgs{Name: child}); err != nil || r.ParentName == nil || *r.ParentName != parent {
			t.Error(child, r, err)
		}
	}
	for name, want := range map[string]int32{"computer": 1, "scsi_host0": 0} {
		if r, err := branchtest.Do(c, protocol.NodeDeviceIsPersistent, &protocol.NodeDeviceIsPersistentArgs{Name: name}); err != nil || r.Persistent != want {
			t.Error(name, r, err)
		}
	}
	branchtest.Fails(c, protocol.NodeDeviceUndefine, &protocol.NodeDeviceUndefineArgs{Name: "scsi_host0"}, from, liberr.OperationInvalid, "Requested operation is not valid: Node device 'scsi_host0' is not defined")
}

// The messages were recorded from libvirtd 9.0.0.
func TestErrors(t *testing.T) {
	c := branchtest.Start(t, newOn(branchtest.Env(t), buildSysfs(t, t.TempDir(), ""))).Client()
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
	h := thisHost
	h.udev = t.TempDir() + "/data" // the host's udevd does not hear of this namespace
	c := branchtest.Start(t, newOn(branchtest.Env(t), h)).Client()
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
	udev := func(text string) string {
		return "libudev\x00\xfe\xed\xca\xfe\x28\x00\x00\x00\x28\x00\x00\x00" + strings.Repeat("\x00", 20) + text
	}
	for in, want := range map[string]string{
		"add@/devices/x\x00ACTION=add\x00DEVPATH=/devices/x\x00SUBSYSTEM=net\x00":                             "&{[/devices/x] [] false}",
		"change@/devices/x\x00ACTION=change\x00DEVPATH=/devices/x\x00SUBSYSTEM=block\x00":                     "&{[/devices/x] [/devices/x] false}",
		"move@/devices/y\x00ACTION=move\x00DEVPATH=/devices/y\x00DEVPATH_OLD=/devices/x\x00SUBSYSTEM=net\x00": "&{[/devices/y /devices/x] [] false}",
		"add@/devices/x\x00DEVPATH=/devices/x\x00SUBSYSTEM=cpu\x00":                                           "<nil>",
		udev("ACTION=remove\x00DEVPATH=/devices/x\x00SUBSYSTEM=pci\x00"):                                      "&{[/devices/x] [] false}",
		"libudev\x00...": "<nil>",
		"libudev\x00\xfe\xed\xca\xfe\x28\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00": "<nil>",
		"":        "<nil>",
		"garbage": "<nil>",
	} {
		if got := fmt.Sprint(parseUevent([]byte(in))); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
