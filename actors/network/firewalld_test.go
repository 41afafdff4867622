package network

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// fakeFirewalld stands for firewalld on a bus of the test's own: this machine has no firewalld. It records what it is asked.
type fakeFirewalld struct {
	conn  *dbus.Conn
	calls atomic.Pointer[[]string]
	zones []string
}

func (f *fakeFirewalld) note(call string) {
	for {
		old := f.calls.Load()
		next := append(slices.Clone(*old), call)
		if f.calls.CompareAndSwap(old, &next) {
			return
		}
	}
}

// GetZones answers with the zones that there are.
func (f *fakeFirewalld) GetZones() ([]string, *dbus.Error) { return f.zones, nil }

// GetPolicies answers with the policy for routed networks when there is its zone.
func (f *fakeFirewalld) GetPolicies() ([]string, *dbus.Error) {
	if slices.Contains(f.zones, routedZone) {
		return []string{routedPolicy}, nil
	}
	return nil, nil
}

// ChangeZoneOfInterface records the call, and refuses a zone that is not there as firewalld does.
func (f *fakeFirewalld) ChangeZoneOfInterface(zone, link string) (string, *dbus.Error) {
	f.note("change " + zone + " " + link)
	if !slices.Contains(f.zones, zone) {
		return "", dbus.NewError(firewalldName+".Exception", []any{"INVALID_ZONE: " + zone})
	}
	return zone, nil
}

// RemoveInterface records the call.
func (f *fakeFirewalld) RemoveInterface(_, link string) (string, *dbus.Error) {
	f.note("remove " + link)
	return "", nil
}

// Get answers for a property.
func (f *fakeFirewalld) Get(string, string) (dbus.Variant, *dbus.Error) {
	return dbus.MakeVariant("nftables"), nil
}

func (f *fakeFirewalld) take() string {
	empty := []string{}
	return strings.Join(*f.calls.Swap(&empty), "; ")
}

// newBus starts a bus that is the system bus for the test, and returns how to run a firewalld on it.
func newBus(t *testing.T) (start func(zones ...string) *fakeFirewalld) {
	t.Helper()
	bin, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("needs dbus-daemon (Debian: dbus)")
	}
	dir := t.TempDir()
	conf, socket := filepath.Join(dir, "bus.conf"), filepath.Join(dir, "bus")
	must(t, os.WriteFile(conf, []byte("<busconfig><type>system</type><listen>unix:path="+socket+"</listen><auth>EXTERNAL</auth><policy context='default'><allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/><allow own='*'/></policy></busconfig>"), 0o644))
	cmd := exec.Command(bin, "--config-file="+conf, "--nofork", "--nopidfile", "--nosyslog")
	var out bytes.Buffer
	cmd.Stderr = &out
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	await.Within(t, "the bus is there", 20*time.Second, func() bool { _, err := os.Stat(socket); return err == nil })
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
	return func(zones ...string) *fakeFirewalld {
		conn, err := dbus.ConnectSystemBus()
		must(t, err)
		f := &fakeFirewalld{conn: conn, zones: zones}
		f.calls.Store(&[]string{})
		for name, methods := range map[string]map[string]string{
			zoneInterface:                     {"GetZones": "getZones", "ChangeZoneOfInterface": "changeZoneOfInterface", "RemoveInterface": "removeInterface"},
			policyInterface:                   {"GetPolicies": "getPolicies"},
			"org.freedesktop.DBus.Properties": {"Get": "Get"},
		} {
			must(t, conn.ExportWithMap(f, methods, firewalldPath, name))
		}
		if r, err := conn.RequestName(firewalldName, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
			t.Fatal(r, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return f
	}
}

// Bridges are put into zones where firewalld runs, are put back when it was reloaded or restarted, and leave with the network.
func TestZones(t *testing.T) {
	firewalld := newBus(t)
	l := newLab(t)
	zoned := l.define("<network><name>z</name><bridge name='tbr0' zone='work'/></network>")
	plain := l.define("<network><name>p</name><bridge name='tbr1'/></network>")
	routed := l.define("<network><name>r</name><forward mode='route'/><bridge name='tbr2'/><ip address='10.79.0.1' prefix='24'/></network>")
	create := &protocol.NetworkCreateArgs{Net: zoned}
	branchtest.Fails(l.c, protocol.NetworkCreate, create, liberr.FromNone, liberr.InternalError, "internal error: zone work requested for network z but firewalld is not active")
	l.start(plain) // which needs no zone
	l.destroy(plain)
	f := firewalld(libvirtZone)
	branchtest.Fails(l.c, protocol.NetworkCreate, create, liberr.FromDbus, liberr.DbusService, "error from service: GDBus.Error:org.fedoraproject.FirewallD1.Exception: INVALID_ZONE: work")
	f.take()
	l.start(plain)
	l.start(routed)
	if got := f.take(); got != "change libvirt tbr1; change libvirt tbr2" {
		t.Error(got)
	}
	l.destroy(routed)
	if got := f.take(); got != "remove tbr2" {
		t.Error(got)
	}
	// Another firewalld comes, which has forgotten everything.
	must(t, f.conn.Close())
	f = firewalld(libvirtZone, routedZone, "work")
	var got string
	await.Within(t, "the running network is in its zone again", 20*time.Second, func() bool { got += f.take(); return got == "change libvirt tbr1" })
	l.start(routed)
	l.start(zoned)
	if got := f.take(); got != "change libvirt-routed tbr2; change work tbr0" {
		t.Error(got)
	}
	must(t, f.conn.Emit(firewalldPath, firewalldName+".Reloaded"))
	seen := map[string]bool{}
	await.Within(t, "all networks are in their zones again", 20*time.Second, func() bool {
		for _, c := range strings.Split(f.take(), "; ") {
			seen[c] = true
		}
		return seen["change libvirt tbr1"] && seen["change libvirt-routed tbr2"] && seen["change work tbr0"]
	})
	for _, n := range []protocol.Network{plain, routed, zoned} {
		l.destroy(n)
	}
}

// firewalld with its own nftables rules and without a zone for us would cut guests off: that is said, not done.
func TestZoneIsMissing(t *testing.T) {
	firewalld := newBus(t)
	l := newLab(t)
	firewalld("public")
	n := l.define("<network><name>p</name><bridge name='tbr1'/></network>")
	branchtest.Fails(l.c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: n}, liberr.FromNone, liberr.InternalError,
		"internal error: firewalld is set to use the nftables backend, but the required firewalld 'libvirt' zone is missing. Either set the firewalld backend to 'iptables', or ensure that firewalld has a 'libvirt' zone by upgrading firewalld to a version supporting rule priorities (0.7.0+) and/or rebuilding libvirt with --with-firewalld-zone")
}
