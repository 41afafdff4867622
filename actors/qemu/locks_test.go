package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
	"libvirt.org/go/libvirtxml"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/kit"
	"virtree/actors/lockd"
	"virtree/actors/logd"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// lockedGuests is a driver with a lock manager, its lockd and real QEMUs.
type lockedGuests struct {
	*guests
	lockd atomic.Pointer[actor.PID]
	root  *actor.RootContext
}

func newLockedGuests(t *testing.T, conf lockConf) *lockedGuests {
	env := branchtest.Env(t)
	c := DefaultConfig
	c.User, c.Group = "root", "root"
	conf.on = true
	c.locks = conf
	g := &lockedGuests{}
	var logs *actor.PID
	env.Branch = func(name string) *actor.PID {
		switch name {
		case "logd":
			return logs
		case "lockd":
			return g.lockd.Load()
		}
		return nil
	}
	b := branchtest.Start(t, New(env, c))
	logs = b.Root().Spawn(kit.Props(logd.New(env, logd.Defaults())))
	g.lockd.Store(b.Root().Spawn(kit.Props(lockd.New(env))))
	t.Cleanup(func() {
		_ = b.Root().StopFuture(logs).Wait()
		_ = b.Root().StopFuture(g.lockd.Load()).Wait()
	})
	g.root = b.Root()
	g.guests = &guests{t: t, b: b, c: b.Client(), env: env.Paths.DriverRun("qemu")}
	return g
}

// foreign takes the lock of a lease as another host would; nil if it is not to be had.
func foreign(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	if unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l) != nil {
		f.Close()
		return nil
	}
	return f
}

// held expects that a lease is held, or not, before long: QEMU's events are on their way.
func (g *lockedGuests) held(path string, want bool) {
	g.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f := foreign(g.t, path)
		if f != nil {
			f.Close()
		}
		if (f == nil) == want {
			return
		}
		if time.Now().After(end) {
			g.t.Fatalf("%s is held: %v", filepath.Base(path), !want)
		}
	}
}

func (g *lockedGuests) state(dom protocol.Domain) int32 {
	g.t.Helper()
	ret, err := branchtest.Do(g.c, protocol.DomainGetState, &protocol.DomainGetStateArgs{Dom: dom})
	if err != nil {
		g.t.Fatal(err)
	}
	return ret.State
}

func lockedBoard(name, disks string) string {
	return `<domain type='qemu'><name>` + name + `</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type='usb' model='none'/><controller type='scsi' model='virtio-scsi'/>` + disks + `</devices></domain>`
}

func lockedDisk(path, target, more string) string {
	return `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + path + `'/><target dev='` + target + `' bus='scsi'/>` + more + `</disk>`
}

func isLocked(t *testing.T, err *liberr.Error, path string) {
	t.Helper()
	if err == nil || err.Code != liberr.ResourceBusy || err.Domain != liberr.FromLockspace || err.Message != "resource busy: Lockspace resource '"+path+"' is locked" {
		t.Errorf("got %+v", err)
	}
}

func TestLeasesOfAGuest(t *testing.T) {
	newGuests(t) // or skips
	g := newLockedGuests(t, lockConf{auto: true})
	dir := t.TempDir()
	one, two, ro := image(t, dir, "one"), image(t, dir, "two"), image(t, dir, "ro")
	doc := lockedBoard("locked", lockedDisk(one, "sda", "")+lockedDisk(ro, "sdb", "<readonly/>"))

	other := foreign(t, one)
	_, err := branchtest.Do(g.c, protocol.DomainCreateXML, &protocol.DomainCreateXMLArgs{XMLDesc: doc})
	isLocked(t, err, one)
	if list, _ := branchtest.Do(g.c, protocol.ConnectListAllDomains, &protocol.ConnectListAllDomainsArgs{NeedResults: 1}); len(list.Domains) != 0 {
		t.Error("a start that failed left a domain:", list.Domains)
	}
	if left, _ := filepath.Glob(filepath.Join(g.env, "locked.*")); len(left) != 0 {
		t.Error("a start that failed left", left)
	}
	other.Close()

	dom := g.guests.start(doc, 0)
	g.held(one, true)
	g.held(ro, false)
	if _, err := branchtest.Do(g.c, protocol.DomainSuspend, &protocol.DomainSuspendArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	g.held(one, false)
	other = foreign(t, one)
	_, err = branchtest.Do(g.c, protocol.DomainResume, &protocol.DomainResumeArgs{Dom: dom})
	isLocked(t, err, one)
	if s := g.state(dom); s != virt.DomainPaused {
		t.Error("state", s)
	}
	other.Close()
	if _, err = branchtest.Do(g.c, protocol.DomainResume, &protocol.DomainResumeArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	g.held(one, true)

	// Disks come and go.
	other = foreign(t, two)
	isLocked(t, g.attach(dom, lockedDisk(two, "sdc", "")), two)
	other.Close()
	isLocked(t, g.attach(dom, lockedDisk(one, "sdc", "")), one)
	if err := g.attach(dom, lockedDisk(two, "sdc", "")); err != nil {
		t.Fatal(err)
	}
	g.held(two, true)
	if _, err := branchtest.Do(g.c, protocol.DomainDetachDeviceFlags, &protocol.DomainDetachDeviceFlagsArgs{Dom: dom, XML: lockedDisk(two, "sdc", ""), Flags: virt.DomainAffectLive}); err != nil {
		t.Fatal(err)
	}
	g.held(two, false)
	g.held(one, true)

	// Lockd starts anew, as after a crash of its process.
	old := g.lockd.Swap(g.root.Spawn(kit.Props(lockd.New(branchtest.Env(t)))))
	_ = g.root.StopFuture(old).Wait()
	g.held(one, true)

	// The guest's process ends by itself.
	if err := unix.Kill(g.pid("locked"), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.held(one, false)

	// A guest that starts paused has no leases until it runs.
	dom = g.guests.start(doc, virt.DomainStartPaused)
	g.held(one, false)
	if _, err = branchtest.Do(g.c, protocol.DomainResume, &protocol.DomainResumeArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	g.held(one, true)
	if _, err := branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	if f := foreign(t, one); f == nil {
		t.Error("destroy answered before the lease was free")
	} else {
		f.Close()
	}
}

func TestSharedLeases(t *testing.T) {
	newGuests(t)
	g := newLockedGuests(t, lockConf{auto: true})
	path := image(t, t.TempDir(), "shared")
	a := g.guests.start(lockedBoard("a", lockedDisk(path, "sda", "<shareable/>")), 0)
	b := g.guests.start(lockedBoard("b", lockedDisk(path, "sda", "<shareable/>")), 0)
	for _, d := range []protocol.Domain{a, b} {
		g.held(path, true)
		if _, err := branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: d}); err != nil {
			t.Fatal(err)
		}
	}
	g.held(path, false)
}

func TestIndirectLeases(t *testing.T) {
	newGuests(t)
	dir := t.TempDir()
	files := filepath.Join(dir, "files")
	g := newLockedGuests(t, lockConf{auto: true, files: files})
	path := image(t, dir, "one")
	sum := sha256.Sum256([]byte(path))
	lock := filepath.Join(files, hex.EncodeToString(sum[:]))
	dom := g.guests.start(lockedBoard("indirect", lockedDisk(path, "sda", "")), 0)
	g.held(lock, true)
	g.held(path, false)
	if _, err := branchtest.Do(g.c, protocol.DomainDestroy, &protocol.DomainDestroyArgs{Dom: dom}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(lock); !os.IsNotExist(err) {
		t.Error("the file of the lease is left:", err)
	}
}

// Only leases that the definition names count when disks have none of their own.
func TestManualLeases(t *testing.T) {
	newGuests(t)
	g := newLockedGuests(t, lockConf{require: true})
	dir := t.TempDir()
	path := image(t, dir, "one")
	_, err := branchtest.Do(g.c, protocol.DomainCreateXML, &protocol.DomainCreateXMLArgs{XMLDesc: lockedBoard("manual", lockedDisk(path, "sda", ""))})
	if want := "unsupported configuration: read/write, exclusive access, disks were present, but no leases specified"; err == nil || err.Code != liberr.ConfigUnsupported || err.Message != want {
		t.Error(err)
	}
	lease := `<lease><lockspace>space</lockspace><key>k</key><target path='` + dir + `'/></lease>`
	doc := lockedBoard("manual", lockedDisk(path, "sda", "")+lease)
	_, err = branchtest.Do(g.c, protocol.DomainCreateXML, &protocol.DomainCreateXMLArgs{XMLDesc: doc})
	if err == nil || err.Message != "internal error: Lockspace for path "+dir+"/space does not exist" {
		t.Error(err)
	}
}

func TestWantedLeases(t *testing.T) {
	disk := func(path string) libvirtxml.DomainDisk {
		return libvirtxml.DomainDisk{Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}}}
	}
	copied := disk("/a")
	copied.Mirror = &libvirtxml.DomainDiskMirror{Source: disk("/copy").Source}
	network := libvirtxml.DomainDisk{Source: &libvirtxml.DomainDiskSource{Network: &libvirtxml.DomainDiskSourceNetwork{Name: "n"}}}
	def := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{copied, network, {}},
		Leases: []libvirtxml.DomainLease{{Lockspace: "s", Key: "k", Target: &libvirtxml.DomainLeaseTarget{Path: "/spaces"}}}}}
	got, err := lockConf{auto: true}.wanted(context.Background(), def)
	want := []lockd.Lease{{Space: "/spaces/s", Name: "k"}, {Name: "/a"}, {Name: "/copy"}}
	if err != nil || len(got) != len(want) {
		t.Fatal(got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Error(got[i], want[i])
		}
	}
	def.Devices.Leases[0].Target.Offset = 512
	if _, err := (lockConf{auto: true}).wanted(context.Background(), def); err == nil || err.Error() != "internal error: Offset must be zero for this lock manager" {
		t.Error(err)
	}
}

func TestLockConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	conf := write("qemu.conf", "")
	if c, err := ReadConfig(conf); err != nil || c.locks.on {
		t.Error(c.locks, err)
	}
	write("qemu.conf", "lock_manager = \"lockd\"\n")
	if c, err := ReadConfig(conf); err != nil || c.locks != (lockConf{on: true, auto: true}) {
		t.Error(c.locks, err)
	}
	write("qemu-lockd.conf", "auto_disk_leases = 0\nfile_lockspace_dir = \"/f\"\nlvm_lockspace_dir = \"/l\"\nscsi_lockspace_dir = \"/s\"\n")
	if c, err := ReadConfig(conf); err != nil || c.locks != (lockConf{on: true, require: true, files: "/f", lvm: "/l", scsi: "/s"}) {
		t.Error(c.locks, err)
	}
	write("qemu.conf", "lock_manager = \"sanlock\"\n")
	if _, err := ReadConfig(conf); err == nil {
		t.Error("a lock manager that is not there was accepted")
	}
}

// Who lost a lease for good, because lockd was away and somebody else was quicker, must not write on.
func TestLeaseLostForGood(t *testing.T) {
	newGuests(t)
	g := newLockedGuests(t, lockConf{auto: true})
	path := image(t, t.TempDir(), "one")
	dom := g.guests.start(lockedBoard("lost", lockedDisk(path, "sda", "")), 0)
	g.held(path, true)
	old := g.lockd.Swap(nil)
	_ = g.root.StopFuture(old).Wait()
	other := foreign(t, path)
	if other == nil {
		t.Fatal("a lease outlived its lockd")
	}
	defer other.Close()
	g.lockd.Store(g.root.Spawn(kit.Props(lockd.New(branchtest.Env(t)))))
	for end := time.Now().Add(20 * time.Second); g.state(dom) != virt.DomainPaused; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the guest runs on without its lease")
		}
	}
}
