package nodedev

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// Documents that cannot be are refused in libvirtd's words; testdata/documents.golden was recorded from it.
func TestBadDocuments(t *testing.T) {
	c := branchtest.Start(t, newOn(branchtest.Env(t), hardware(t))).Client()
	f, err := os.Open("testdata/documents.golden")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var want struct {
			Call, XML, Message string
			Code               liberr.Code
			Domain             liberr.Domain
		}
		if err := json.Unmarshal(in.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		var got *liberr.Error
		if want.Call == "DefineXML" {
			_, got = branchtest.Do(c, protocol.NodeDeviceDefineXML, &protocol.NodeDeviceDefineXMLArgs{XMLDesc: want.XML})
		} else {
			_, got = branchtest.Do(c, protocol.NodeDeviceCreateXML, &protocol.NodeDeviceCreateXMLArgs{XMLDesc: want.XML})
		}
		if got == nil || got.Code != want.Code || got.Domain != want.Domain || got.Message != want.Message {
			t.Errorf("%s of %s: %+v\nwant %d of %d: %s", want.Call, want.XML, got, want.Code, want.Domain, want.Message)
		}
	}
}

const (
	mdevID   = "11111111-2222-3333-4444-555555555555"
	mdevName = "mdev_11111111_2222_3333_4444_555555555555_0000_00_02_0"
	mdevXML  = "<device><parent>pci_0000_00_02_0</parent><capability type='mdev'><type id='i915-GVTg_V5_4'/><uuid>" + mdevID + "</uuid></capability></device>"
	gpu      = "devices/pci0000:00/0000:00:02.0"
)

// insideMdev marks the process that sees a host of the test's own as its machine.
const insideMdev = "NODEDEV_TEST_MDEV"

// The real mdevctl keeps and lists the definitions. That it makes and removes devices is the kernel's work: the test stands
// for it, and makes a folder when a UUID was written to the file for it.
func TestMdevctl(t *testing.T) {
	if os.Getenv(insideMdev) == "" {
		if os.Getuid() != 0 {
			t.Skip("needs root for a namespace")
		}
		if _, err := exec.LookPath("mdevctl"); err != nil {
			t.Skip(err)
		}
		h := hardware(t)
		cmd := exec.Command("unshare", "-m", "sh", "-e", "-c", `mkdir -p $1/etc/scripts.d/callouts $1/etc/scripts.d/notifiers /etc/mdevctl.d
mount --bind $1/etc /etc/mdevctl.d
mount --bind $1/sys /sys
exec "$0" -test.run '^TestMdevctl$' -test.v`, os.Args[0], filepath.Dir(h.sys))
		cmd.Env = append(os.Environ(), insideMdev+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestMdevctl") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	h := thisHost
	h.udev = t.TempDir() + "/data"
	c := branchtest.Start(t, newOn(branchtest.Env(t), h)).Client()
	expect := func(id int32, name string, event int32) {
		t.Helper()
		e := c.Event()
		if e.ID != id || e.Name != name || id == virt.NodeDeviceEventIDLifecycle && e.Payload[len(e.Payload)-5] != byte(event) {
			t.Fatalf("%+v, want %d %s %d", e, id, name, event)
		}
	}
	info := func(name string) string {
		t.Helper()
		active, err1 := branchtest.Do(c, protocol.NodeDeviceIsActive, &protocol.NodeDeviceIsActiveArgs{Name: name})
		persistent, err2 := branchtest.Do(c, protocol.NodeDeviceIsPersistent, &protocol.NodeDeviceIsPersistentArgs{Name: name})
		auto, err3 := branchtest.Do(c, protocol.NodeDeviceGetAutostart, &protocol.NodeDeviceGetAutostartArgs{Name: name})
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		return fmt.Sprint(active.Active, persistent.Persistent, auto.Autostart)
	}
	must := func(_ protocol.Void, err *liberr.Error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const lifecycle, update = virt.NodeDeviceEventIDLifecycle, virt.NodeDeviceEventIDUpdate
	config := func(id string) string { return filepath.Join(h.mdevs, "0000:00:02.0", id) }

	r, err := branchtest.Do(c, protocol.NodeDeviceDefineXML, &protocol.NodeDeviceDefineXMLArgs{XMLDesc: mdevXML})
	if err != nil || r.Dev.Name != mdevName {
		t.Fatal(r, err)
	}
	expect(lifecycle, mdevName, eventDefined)
	if _, err := os.Stat(config(mdevID)); err != nil {
		t.Fatal(err)
	}
	branchtest.Fails(c, protocol.NodeDeviceDefineXML, &protocol.NodeDeviceDefineXMLArgs{XMLDesc: mdevXML}, from, liberr.InternalError,
		"internal error: Unable to define mediated device: Error: Cowardly refusing to overwrite existing config for 0000:00:02.0/"+mdevID+"\n")
	if got := list(t, c, virt.ConnectListNodeDevicesInactive); got != mdevName {
		t.Error(got)
	}
	if got := list(t, c, virt.ConnectListNodeDevicesActive); strings.Contains(got, mdevName) {
		t.Error(got)
	}
	if got, want := xml(t, c, mdevName), "<device>\n  <name>"+mdevName+"</name>\n  <parent>pci_0000_00_02_0</parent>\n  <capability type='mdev'>\n"+
		"    <type id='i915-GVTg_V5_4'/>\n    <uuid>"+mdevID+"</uuid>\n    <parent_addr>0000:00:02.0</parent_addr>\n    <iommuGroup number='0'/>\n  </capability>\n</device>\n"; got != want {
		t.Error(got)
	}
	if got := info(mdevName); got != "0 1 0" {
		t.Error(got)
	}
	must(branchtest.Do(c, protocol.NodeDeviceSetAutostart, &protocol.NodeDeviceSetAutostartArgs{Name: mdevName, Autostart: 1}))
	expect(update, mdevName, 0)
	if text, _ := os.ReadFile(config(mdevID)); info(mdevName) != "0 1 1" || !strings.Contains(string(text), `"auto"`) {
		t.Errorf("%s %s", info(mdevName), text)
	}
	must(branchtest.Do(c, protocol.NodeDeviceSetAutostart, &protocol.NodeDeviceSetAutostartArgs{Name: mdevName}))
	expect(update, mdevName, 0)

	// One without a UUID gets one from the tool, and attributes keep their order.
	r, err = branchtest.Do(c, protocol.NodeDeviceDefineXML, &protocol.NodeDeviceDefineXMLArgs{XMLDesc: "<device><name>my</name><parent>pci_0000_00_02_0</parent><capability type='mdev'><type id='i915-GVTg_V5_8'/>" +
		"<attr name='z' value='1'/><attr name='b' value='x &amp; y'/><attr name='lost'/></capability></device>"})
	if err != nil {
		t.Fatal(err)
	}
	expect(lifecycle, r.Dev.Name, eventDefined)
	if got := xml(t, c, r.Dev.Name); !strings.Contains(got, "<attr name='z' value='1'/>\n    <attr name='b' value='x &amp; y'/>\n  </cap") {
		t.Error(got)
	}
	must(branchtest.Do(c, protocol.NodeDeviceUndefine, &protocol.NodeDeviceUndefineArgs{Name: r.Dev.Name}))
	expect(lifecycle, r.Dev.Name, eventUndefined)

	// What others define by hand appears.
	const byHand = "22222222-2222-3333-4444-555555555555"
	handName := name("mdev", byHand, "0000:00:02.0")
	write := func(text string) {
		if err := os.WriteFile(config(byHand), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"mdev_type":"i915-GVTg_V5_4","start":"auto"}`)
	expect(lifecycle, handName, eventDefined)
	write(`{"mdev_type":"i915-GVTg_V5_8","start":"auto"}`)
	expect(update, handName, 0)
	if err := os.Remove(config(byHand)); err != nil {
		t.Fatal(err)
	}
	expect(lifecycle, handName, eventUndefined)

	// Start, and stop.
	kernel := func(uuid string) chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			create := filepath.Join(h.sys, gpu, "mdev_supported_types/i915-GVTg_V5_4/create")
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
				if b, _ := os.ReadFile(create); strings.TrimSpace(string(b)) == uuid {
					addMdev(t, h.sys, uuid)
					return
				}
			}
			t.Error("nothing was written for the kernel")
		}()
		return done
	}
	made := kernel(mdevID)
	must(branchtest.Do(c, protocol.NodeDeviceCreate, &protocol.NodeDeviceCreateArgs{Name: mdevName}))
	<-made
	if got, err := branchtest.Do(c, protocol.NodeDeviceCreateXML, &protocol.NodeDeviceCreateXMLArgs{XMLDesc: strings.Replace(mdevXML, "11111111", "33333333", 1), Flags: 2}); err == nil {
		t.Error(got)
	}
	const transient = "33333333-2222-3333-4444-555555555555"
	made = kernel(transient)
	r2, err := branchtest.Do(c, protocol.NodeDeviceCreateXML, &protocol.NodeDeviceCreateXMLArgs{XMLDesc: strings.Replace(mdevXML, "11111111", "33333333", 1)})
	<-made
	transientName := name("mdev", transient, "0000:00:02.0")
	if err != nil || r2.Dev.Name != transientName {
		t.Fatal(r2, err)
	}
	seen := map[string]bool{c.Event().Name: true, c.Event().Name: true}
	if !seen[mdevName] || !seen[transientName] || info(mdevName) != "1 1 0" || info(transientName) != "1 0 0" {
		t.Error(seen, info(mdevName), info(transientName))
	}
	branchtest.Fails(c, protocol.NodeDeviceCreate, &protocol.NodeDeviceCreateArgs{Name: mdevName}, from, liberr.OperationInvalid, "Requested operation is not valid: Device is already active")
	branchtest.Fails(c, protocol.NodeDeviceSetAutostart, &protocol.NodeDeviceSetAutostartArgs{Name: transientName, Autostart: 1}, from, liberr.OperationInvalid, "Requested operation is not valid: cannot set autostart for transient device")
	must(branchtest.Do(c, protocol.NodeDeviceDestroy, &protocol.NodeDeviceDestroyArgs{Name: transientName}))
	if b, _ := os.ReadFile(filepath.Join(h.sys, gpu, transient, "remove")); strings.TrimSpace(string(b)) != "1" {
		t.Errorf("%q was written to remove the device", b)
	}
	// The definition of an active device may go: the device stays, as a transient one.
	must(branchtest.Do(c, protocol.NodeDeviceUndefine, &protocol.NodeDeviceUndefineArgs{Name: mdevName}))
	expect(lifecycle, mdevName, eventUndefined)
	if got := info(mdevName); got != "1 0 0" {
		t.Error(got)
	}
	branchtest.Fails(c, protocol.NodeDeviceUndefine, &protocol.NodeDeviceUndefineArgs{Name: mdevName}, from, liberr.OperationInvalid, "Requested operation is not valid: Node device '"+mdevName+"' is not defined")
	c.NoEvent()
}

// addMdev does what the kernel does when a UUID is written for it.
func addMdev(t *testing.T, sys, uuid string) {
	dir := filepath.Join(sys, gpu, uuid)
	link := func(target, name string) {
		if err := os.Symlink(target, name); err != nil {
			t.Error(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"remove", "uevent"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Error(err)
		}
	}
	link("../mdev_supported_types/i915-GVTg_V5_4", filepath.Join(dir, "mdev_type"))
	link("../../../../bus/mdev", filepath.Join(dir, "subsystem"))
	link("../../../devices/pci0000:00/0000:00:02.0/"+uuid, filepath.Join(sys, "bus/mdev/devices", uuid))
}

// A virtual port is made by writing its names to its host; the test stands for the kernel.
func TestVirtualPorts(t *testing.T) {
	h := hardware(t)
	c := branchtest.Start(t, newOn(branchtest.Env(t), h)).Client()
	const fc = "devices/pci0000:00/0000:00:05.0/host4/fc_host/host4"
	lookup := func(wwnn, wwpn string) (string, *liberr.Error) {
		r, err := branchtest.Do(c, protocol.NodeDeviceLookupSCSIHostByWWN, &protocol.NodeDeviceLookupSCSIHostByWWNArgs{Wwnn: wwnn, Wwpn: wwpn})
		return r.Dev.Name, err
	}
	for names, want := range map[[2]string]string{
		{"20000000c9831b4b", "10000000c9831b4b"}: "scsi_host4", {"20000000c9831b4c", "10000000c9831b4c"}: "scsi_host5",
		{"20000000C9831B4B", "10000000c9831b4b"}: "", {"0x20000000c9831b4b", "0x10000000c9831b4b"}: "", {"20000000c9831b4b", "10000000c9831b4c"}: "", {"", ""}: "",
	} {
		got, err := lookup(names[0], names[1])
		if got != want || (err == nil) != (want != "") || err != nil && (err.Code != liberr.InternalError || err.Domain != liberr.FromNone) {
			t.Error(names, got, err)
		}
	}
	const port = "<device>%s<capability type='scsi_host'><capability type='fc_host'><wwnn>20000000c9831b4d</wwnn><wwpn>10000000c9831b4d</wwpn></capability></capability></device>"
	added := make(chan struct{})
	go func() {
		defer close(added)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
			if b, _ := os.ReadFile(filepath.Join(h.sys, fc, "vport_create")); string(b) == "10000000c9831b4d:20000000c9831b4d" {
				buildSysfs(t, filepath.Dir(h.sys), "@ devices/pci0000:00/0000:00:05.0/host4/vport-4:0-1/host7/fc_host/host7 class/fc_host\nnode_name=0x20000000c9831b4d\nport_name=0x10000000c9831b4d\n\n"+
					"@ devices/pci0000:00/0000:00:05.0/host4/vport-4:0-1/host7 bus/scsi\nU DEVTYPE=scsi_host\n")
				return
			}
		}
		t.Error("nothing was written for the kernel")
	}()
	r, err := branchtest.Do(c, protocol.NodeDeviceCreateXML, &protocol.NodeDeviceCreateXMLArgs{XMLDesc: fmt.Sprintf(port, "<parent wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/>")})
	<-added
	if err != nil || r.Dev.Name != "scsi_host7" {
		t.Fatal(r, err)
	}
	if e := c.Event(); e.Name != "scsi_host7" {
		t.Error(e)
	}
	if _, err := branchtest.Do(c, protocol.NodeDeviceDestroy, &protocol.NodeDeviceDestroyArgs{Name: "scsi_host7"}); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(filepath.Join(h.sys, fc, "vport_delete")); string(b) != "10000000c9831b4d:20000000c9831b4d" {
		t.Errorf("%q was written to remove the port", b)
	}
	branchtest.Fails(c, protocol.NodeDeviceDestroy, &protocol.NodeDeviceDestroyArgs{Name: "scsi_host0"}, from, liberr.InternalError, "internal error: Device is not a fibre channel HBA")
	branchtest.Fails(c, protocol.NodeDeviceDestroy, &protocol.NodeDeviceDestroyArgs{Name: "scsi_host4"}, liberr.FromNone, liberr.InternalError, "internal error: Invalid adapter name 'pci_0000_00_05_0' for SCSI pool")
}
