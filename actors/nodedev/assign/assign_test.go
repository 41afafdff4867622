package assign

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

const (
	nic  = "0000:01:00.0" // with a driver, and no reset of its own
	vf   = "0000:01:10.0" // a virtual function, with a driver
	sata = "0000:00:1f.2" // resets by its power states
	idle = "0000:00:02.0" // no driver, no reset
)

// fakeHost has a kernel of the test's own: settle does what writes to sysfs ask it to do.
type fakeHost struct {
	Host
	t *testing.T
}

func newHost(t *testing.T) *fakeHost {
	root := t.TempDir()
	f := &fakeHost{Host{Sys: filepath.Join(root, "sys"), Dev: filepath.Join(root, "dev"), State: filepath.Join(root, "run/pci")}, t}
	pm := make([]byte, 256)
	pm[6], pm[0x34], pm[0x50] = 0x10, 0x50, 1
	f.add(nic, "igb", make([]byte, 256))
	f.add(vf, "igbvf", make([]byte, 256))
	f.add(sata, "ahci", pm)
	f.add(idle, "", make([]byte, 256))
	f.link(filepath.Join("bus/pci/devices", vf, "physfn"), "bus/pci/devices/"+nic)
	for _, a := range []string{nic, vf} {
		f.link(filepath.Join("kernel/iommu_groups/1/devices", a), "bus/pci/devices/"+a)
		f.link(filepath.Join("bus/pci/devices", a, "iommu_group"), "kernel/iommu_groups/1")
	}
	f.write("bus/pci/drivers/vfio-pci/bind", "")
	f.write("bus/pci/drivers_probe", "")
	return f
}

func (f *fakeHost) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.Sys, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeHost) link(from, to string) {
	from, to = filepath.Join(f.Sys, from), filepath.Join(f.Sys, to)
	_ = os.MkdirAll(filepath.Dir(from), 0o755)
	_ = os.MkdirAll(to, 0o755)
	_ = os.Remove(from)
	if err := os.Symlink(to, from); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeHost) add(address, driver string, config []byte) {
	dir := filepath.Join("bus/pci/devices", address)
	f.write(dir+"/config", string(config))
	f.write(dir+"/driver_override", "(null)\n")
	f.write(dir+"/reset", "")
	if driver != "" {
		f.write("bus/pci/drivers/"+driver+"/unbind", "")
		f.link(dir+"/driver", "bus/pci/drivers/"+driver)
	}
}

func (f *fakeHost) read(path string) string {
	b, _ := os.ReadFile(filepath.Join(f.Sys, path))
	return strings.TrimSpace(string(b))
}

// asked is what the kernel was asked to do with a device since the last time.
func (f *fakeHost) asked(address string) string {
	var all []string
	dir := "bus/pci/devices/" + address
	if v := f.read(dir + "/driver_override"); v != "(null)" {
		all = append(all, "override="+v)
		f.write(dir+"/driver_override", "(null)\n")
	}
	for _, d := range []string{"igb", "igbvf", "ahci", "vfio-pci"} {
		if f.read("bus/pci/drivers/"+d+"/unbind") == address {
			all = append(all, "unbind="+d)
			f.write("bus/pci/drivers/"+d+"/unbind", "")
		}
	}
	if f.read("bus/pci/drivers_probe") == address {
		all = append(all, "probe")
		f.write("bus/pci/drivers_probe", "")
	}
	if f.read(dir+"/reset") == "1" {
		all = append(all, "reset")
		f.write(dir+"/reset", "")
	}
	return strings.Join(all, " ")
}

// bound makes the kernel's driver of a device what it was asked to be.
func (f *fakeHost) bound(address, driver string) {
	f.write("bus/pci/drivers/"+driver+"/unbind", "")
	f.link("bus/pci/devices/"+address+"/driver", "bus/pci/drivers/"+driver)
}

func (f *fakeHost) state(address string) string {
	b, err := os.ReadFile(f.path(address))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (f *fakeHost) expect(address, asked, state string) {
	f.t.Helper()
	if got := f.asked(address); got != asked {
		f.t.Errorf("%s: the kernel was asked: %s; want: %s", address, got, asked)
	}
	if got := f.state(address); got != state {
		f.t.Errorf("%s: state %q, want %q", address, got, state)
	}
}

func (f *fakeHost) refused(err error, code liberr.Code, message string) {
	f.t.Helper()
	var e *liberr.Error
	if !errors.As(err, &e) || e.Code != code || e.Message != message {
		f.t.Errorf("%v, want %d: %s", err, code, message)
	}
}

var (
	ctx   = context.Background()
	guest = Owner{"QEMU", "web"}
	other = Owner{"QEMU", "db"}
)

func TestDetachAndReattach(t *testing.T) {
	f := newHost(t)
	f.refused(f.Detach(ctx, "0000:77:00.0"), liberr.OperationFailed,
		"operation failed: Device 0000:77:00.0 not found: could not access /sys/bus/pci/devices/0000:77:00.0/config: No such file or directory")
	if err := f.Detach(ctx, nic); err != nil {
		t.Fatal(err)
	}
	f.expect(nic, "override=vfio-pci unbind=igb probe", "{}")
	f.bound(nic, "vfio-pci")
	if err := f.Detach(ctx, nic); err != nil { // again is no error, and does nothing
		t.Fatal(err)
	}
	f.expect(nic, "", "{}")
	again := f.Host // another process finds it as it is
	if err := again.Reattach(ctx, nic); err != nil {
		t.Fatal(err)
	}
	f.expect(nic, "override= unbind=vfio-pci probe", "")
	f.bound(nic, "igb")
	if err := f.Reattach(ctx, nic); err != nil {
		t.Fatal(err)
	}
	f.expect(nic, "override=", "") // the host's driver is not disturbed
}

func TestAFailedDetachLeavesTheDeviceWithTheHost(t *testing.T) {
	f := newHost(t)
	if err := os.Remove(filepath.Join(f.Sys, "bus/pci/devices", nic, "driver_override")); err != nil {
		t.Fatal(err)
	}
	f.refused(f.Detach(ctx, nic), liberr.SystemError, "Failed to add driver 'vfio-pci' to driver_override  interface of PCI device '"+nic+"': No such file or directory")
	if f.state(nic) != "" {
		t.Error(f.state(nic))
	}
	f.refused(f.Reattach(ctx, nic), liberr.SystemError, "Failed to add driver '\n' to driver_override  interface of PCI device '"+nic+"': No such file or directory")
}

func TestGuestsTakeAndGive(t *testing.T) {
	f := newHost(t)
	all := []Device{{sata, true}, {vf, true}}
	if err := f.Take(ctx, guest, all); err != nil {
		t.Fatal(err)
	}
	const used = `{"owner":{"driver":"QEMU","domain":"web"},"managed":true}`
	f.expect(vf, "override=vfio-pci unbind=igbvf probe", used)
	f.expect(sata, "override=vfio-pci unbind=ahci reset", used)
	const inUse = "Requested operation is not valid: PCI device " + vf + " is in use by driver QEMU, domain web"
	for name, err := range map[string]error{
		"detach": f.Detach(ctx, vf), "reattach": f.Reattach(ctx, vf), "reset": f.Reset(ctx, vf), "another guest": f.Take(ctx, other, []Device{{vf, true}}),
		"a neighbour in its group": f.Take(ctx, other, []Device{{nic, true}}),
	} {
		t.Log(name)
		f.refused(err, liberr.OperationInvalid, inUse)
	}
	if err := f.Recover(func(o Owner) bool { return o == guest }); err != nil {
		t.Error(err)
	}
	f.expect(vf, "", used)
	if err := f.Give(ctx, other, []string{vf}); err != nil { // not its own
		t.Error(err)
	}
	f.expect(vf, "", used)
	f.bound(vf, "vfio-pci")
	if err := f.Give(ctx, guest, []string{vf}); err != nil {
		t.Error(err)
	}
	f.expect(vf, "override= unbind=vfio-pci probe", "")
	if err := os.RemoveAll(filepath.Join(f.Sys, "bus/pci/devices", sata)); err != nil {
		t.Fatal(err)
	}
	if err := f.Give(ctx, guest, []string{sata}); err != nil { // it was pulled out
		t.Error(err)
	}
	if f.state(sata) != "" {
		t.Error(f.state(sata))
	}
}

func TestUnmanagedDevices(t *testing.T) {
	f := newHost(t)
	f.refused(f.Take(ctx, guest, []Device{{nic, false}}), liberr.OperationInvalid, "Requested operation is not valid: Unmanaged PCI device "+nic+" must be manually detached from the host")
	f.expect(nic, "", "")
	if err := f.Detach(ctx, nic); err != nil {
		t.Fatal(err)
	}
	f.asked(nic)
	f.bound(nic, "vfio-pci")
	for _, managed := range []bool{false, true} { // what was detached by hand stays so
		if err := f.Take(ctx, guest, []Device{{nic, managed}}); err != nil {
			t.Fatal(err)
		}
		f.expect(nic, "", `{"owner":{"driver":"QEMU","domain":"web"}}`)
		if err := f.Release(nic); err != nil {
			t.Fatal(err)
		}
		f.expect(nic, "", "{}")
	}
}

func TestTakeIsAllOrNothing(t *testing.T) {
	f := newHost(t)
	// The second one cannot be reset: the first goes back.
	err := f.Take(ctx, guest, []Device{{sata, true}, {idle, true}})
	f.refused(err, liberr.InternalError, "internal error: Unable to reset PCI device "+idle+": no FLR, PM reset or bus reset available")
	if f.state(sata) != "" || f.state(idle) != "" {
		t.Error(f.state(sata), f.state(idle))
	}
}

// A process that is killed between two steps leaves what its record says.
func TestRecover(t *testing.T) {
	f := newHost(t)
	if err := f.Take(ctx, guest, []Device{{vf, true}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Detach(ctx, idle); err != nil {
		t.Fatal(err)
	}
	if err := f.save(sata, record{Pending: true}); err != nil { // killed while it was bound to the stub
		t.Fatal(err)
	}
	for _, a := range []string{vf, idle, sata} {
		f.bound(a, "vfio-pci")
		f.asked(a)
	}
	if err := f.Recover(func(Owner) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if vf, sata, idle := f.state(vf), f.state(sata), f.state(idle); vf != "" || sata != "" || idle != "{}" {
		t.Errorf("%s, %s, %s", vf, sata, idle)
	}
	if got := f.asked(vf); !strings.HasPrefix(got, "override= ") {
		t.Error(got)
	}
}

func TestReset(t *testing.T) {
	f := newHost(t)
	f.refused(f.Reset(ctx, idle), liberr.InternalError, "internal error: Unable to reset PCI device "+idle+": no FLR, PM reset or bus reset available")
	f.refused(f.Reset(ctx, nic), liberr.InternalError, "internal error: Unable to reset PCI device "+nic+": internal error: Active "+vf+" devices on bus with "+nic+", not doing bus reset")
	if err := f.Reset(ctx, sata); err != nil {
		t.Error(err)
	}
	f.expect(sata, "reset", "")
	if err := f.Reset(ctx, vf); err != nil {
		t.Error(err)
	}
	f.expect(vf, "", "")
	if err := f.Detach(ctx, vf); err != nil {
		t.Fatal(err)
	}
	if err := f.Reset(ctx, nic); err != nil { // alone on its bus now
		t.Error(err)
	}
	f.expect(nic, "reset", "")
	bridge := make([]byte, 256)
	bridge[0x0e] = 1
	f.add("0000:00:01.0", "", bridge)
	f.refused(f.Reset(ctx, "0000:00:01.0"), liberr.InternalError, "internal error: Invalid attempt to reset PCI device 0000:00:01.0. Only PCI endpoint devices can be reset")
}

func TestSupported(t *testing.T) {
	f := newHost(t)
	if f.Supported() {
		t.Error("without vfio")
	}
	if err := os.MkdirAll(filepath.Join(f.Dev, "vfio/vfio"), 0o755); err != nil {
		t.Fatal(err)
	}
	if !f.Supported() {
		t.Error("with vfio and a group")
	}
}
