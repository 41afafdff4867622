package iface

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

// TestInNamespace runs the tests that change real links, whose names begin with Live, again in a network namespace of
// their own, with its own sysfs.
func TestInNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: links of its own in a network namespace")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestLive", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), namespaced+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatal(err)
	}
}

const namespaced = "IFACE_TEST_IN_NAMESPACE"

func TestMain(m *testing.M) {
	if os.Getenv(namespaced) != "" {
		for _, step := range []error{
			syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
			syscall.Mount("sysfs", "/sys", "sysfs", 0, ""),
		} {
			if step != nil {
				fmt.Fprintln(os.Stderr, step)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// bench is a driver on the namespace's links and a configuration of its own.
type bench struct {
	*testing.T
	env *branch.Env
	b   *branchtest.Branch
	c   *branchtest.Client
}

func newBench(t *testing.T, files map[string]string) *bench {
	if os.Getenv(namespaced) == "" {
		t.Skip("runs within TestInNamespace")
	}
	x := &bench{T: t, env: branchtest.Env(t)}
	for name, text := range files {
		path := x.env.Paths.At(name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	x.start()
	return x
}

func (x *bench) start() {
	x.b = branchtest.Start(x.T, New(x.env))
	x.c = x.b.Client()
}

// restart ends the driver and starts another one, as after a crash: nothing but the disk and the kernel is kept.
func (x *bench) restart() {
	x.b.Stop()
	x.start()
}

func (x *bench) ip(args string) string {
	x.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		x.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}

// veth makes a pair whose ends are up to nobody.
func (x *bench) veth(a, b string) {
	x.ip("link add " + a + " type veth peer name " + b)
	x.Cleanup(func() { _ = exec.Command("ip", "link", "del", a).Run() })
}

func (x *bench) define(doc string) {
	x.Helper()
	if _, err := branchtest.Do(x.c, protocol.InterfaceDefineXML, &protocol.InterfaceDefineXMLArgs{XML: doc}); err != nil {
		x.Fatalf("define %s: %v", doc, err)
	}
}

func of(name string) protocol.Interface { return protocol.Interface{Name: name} }

func (x *bench) create(name string) {
	x.Helper()
	if _, err := branchtest.Do(x.c, protocol.InterfaceCreate, &protocol.InterfaceCreateArgs{Iface: of(name)}); err != nil {
		x.Fatalf("start %s: %v", name, err)
	}
}

func (x *bench) destroy(name string) {
	x.Helper()
	if _, err := branchtest.Do(x.c, protocol.InterfaceDestroy, &protocol.InterfaceDestroyArgs{Iface: of(name)}); err != nil {
		x.Fatalf("stop %s: %v", name, err)
	}
}

func (x *bench) undefine(name string) {
	x.Helper()
	if _, err := branchtest.Do(x.c, protocol.InterfaceUndefine, &protocol.InterfaceUndefineArgs{Iface: of(name)}); err != nil {
		x.Fatalf("undefine %s: %v", name, err)
	}
}

func (x *bench) xml(name string, flags uint32) string {
	x.Helper()
	r, err := branchtest.Do(x.c, protocol.InterfaceGetXMLDesc, &protocol.InterfaceGetXMLDescArgs{Iface: of(name), Flags: flags})
	if err != nil {
		x.Fatalf("document of %s: %v", name, err)
	}
	return r.XML
}

func (x *bench) list() string {
	x.Helper()
	up, err := branchtest.Do(x.c, protocol.ConnectListInterfaces, &protocol.ConnectListInterfacesArgs{Maxnames: 99})
	if err != nil {
		x.Fatal(err)
	}
	down, err := branchtest.Do(x.c, protocol.ConnectListDefinedInterfaces, &protocol.ConnectListDefinedInterfacesArgs{Maxnames: 99})
	if err != nil {
		x.Fatal(err)
	}
	return fmt.Sprint(up.Names, down.Names)
}

func (x *bench) has(text, part string) {
	x.Helper()
	if !strings.Contains(text, part) {
		x.Errorf("%q is not in\n%s", part, text)
	}
}

func (x *bench) gone(name string) {
	x.Helper()
	if _, err := net.InterfaceByName(name); err == nil {
		x.Errorf("%s is still there", name)
	}
}

var configurations = map[string]map[string]string{
	"ifupdown": {"/etc/network/interfaces": "auto lo\niface lo inet loopback\n"},
	"networkd": {"/etc/systemd/network/00-all.network": "[Match]\nName=en*\n"},
}

// inEach runs a test with each of the configurations.
func inEach(t *testing.T, f func(x *bench)) {
	for kind, files := range configurations {
		t.Run(kind, func(t *testing.T) { f(newBench(t, files)) })
	}
}

func TestLiveEthernet(t *testing.T) {
	inEach(t, func(x *bench) {
		x.veth("e0", "e1")
		x.define(`<interface type='ethernet' name='e0'><start mode='none'/><mtu size='1400'/>
			<protocol family='ipv4'><ip address='192.0.2.1' prefix='24'/><ip address='192.0.2.2' prefix='24'/><route gateway='192.0.2.9'/></protocol>
			<protocol family='ipv6'><ip address='2001:db8::1' prefix='64'/></protocol></interface>`)
		x.define(`<interface type='ethernet' name='e1'/>`)
		x.create("e1")
		x.create("e0")
		branchtest.Fails(x.c, protocol.InterfaceCreate, &protocol.InterfaceCreateArgs{Iface: of("e0")}, from, liberr.OperationInvalid,
			"Requested operation is not valid: interface is already running")
		addrs := x.ip("-o addr show dev e0")
		x.has(addrs, "192.0.2.1/24")
		x.has(addrs, "192.0.2.2/24")
		x.has(addrs, "2001:db8::1/64")
		x.has(addrs, "inet")
		x.has(x.ip("link show e0"), "mtu 1400")
		x.has(x.ip("route show default"), "via 192.0.2.9 dev e0")
		live := x.xml("e0", 0)
		x.has(live, "<ip address='192.0.2.2' prefix='24'/>")
		x.has(live, "<route gateway='192.0.2.9'/>")
		x.has(live, "<link speed='10000' state='up'/>")
		if strings.Contains(x.xml("e0", virt.InterfaceXMLInactive), "link") {
			t.Error("the definition tells of the link")
		}
		x.destroy("e0")
		if addrs := x.ip("-o addr show dev e0"); strings.Contains(addrs, "inet") {
			x.Errorf("addresses are left: %s", addrs)
		}
		branchtest.Fails(x.c, protocol.InterfaceDestroy, &protocol.InterfaceDestroyArgs{Iface: of("e0")}, from, liberr.OperationInvalid,
			"Requested operation is not valid: interface is not running")
		x.undefine("e0")
		x.has(x.xml("e0", virt.InterfaceXMLInactive), "<link state='down'/>") // the kernel still has it
	})
}

func TestLiveBridge(t *testing.T) {
	inEach(t, func(x *bench) {
		x.veth("e0", "e1")
		x.define(`<interface type='bridge' name='br0'><start mode='onboot'/><protocol family='ipv4'><ip address='192.0.2.1' prefix='24'/></protocol>
			<bridge stp='on' delay='4'><interface type='ethernet' name='e0'/></bridge></interface>`)
		if got := x.list(); !strings.Contains(got, "br0") {
			x.Errorf("the list is %s", got)
		}
		r, err := branchtest.Do(x.c, protocol.InterfaceIsActive, &protocol.InterfaceIsActiveArgs{Iface: of("br0")})
		if err != nil || r.Active != 0 {
			x.Errorf("active before it is started: %v, %v", r, err)
		}
		x.create("br0")
		x.has(x.ip("-d link show br0"), "stp_state 1")
		x.has(x.ip("-d link show br0"), "forward_delay 400")
		x.has(x.ip("link show e0"), "master br0")
		live := x.xml("br0", 0)
		x.has(live, "<bridge stp='on' delay='4'>")
		x.has(live, "<interface type='ethernet' name='e0'>")
		x.restart()
		x.has(x.xml("br0", virt.InterfaceXMLInactive), "<ip address='192.0.2.1' prefix='24'/>")
		x.destroy("br0")
		x.gone("br0")
		x.undefine("br0")
		branchtest.Fails(x.c, protocol.InterfaceLookupByName, &protocol.InterfaceLookupByNameArgs{Name: "br0"}, from, liberr.NoInterface, "Interface not found: couldn't find interface named 'br0'")
		branchtest.Fails(x.c, protocol.InterfaceUndefine, &protocol.InterfaceUndefineArgs{Iface: of("e0")}, from, liberr.NoInterface, "Interface not found: couldn't find interface named 'e0'")
	})
}

// Bonds and vlans, where the kernel has them.
func TestLiveBondAndVLAN(t *testing.T) {
	inEach(t, func(x *bench) {
		x.veth("e0", "e1")
		x.define(`<interface type='bond' name='bo0'><bond mode='active-backup'><miimon freq='100' updelay='200'/><interface type='ethernet' name='e0'/></bond></interface>`)
		x.define(`<interface type='vlan' name='e1.7'><vlan tag='7'><interface name='e1'/></vlan></interface>`)
		for name, kind := range map[string]string{"bo0": "bond", "e1.7": "vlan link e1 id 7"} {
			words := strings.Fields(kind)
			probe := exec.Command("ip", append([]string{"link", "add", "probe", "type"}, words[0])...)
			if words[0] == "vlan" {
				probe = exec.Command("ip", "link", "add", "link", "e1", "name", "probe", "type", "vlan", "id", "9")
			}
			if out, err := probe.CombinedOutput(); err != nil {
				// The kernel cannot: then the start is refused, and nothing is left of it.
				x.Logf("no %s in this kernel: %s", words[0], out)
				_, err := branchtest.Do(x.c, protocol.InterfaceCreate, &protocol.InterfaceCreateArgs{Iface: of(name)})
				if err == nil || err.Code != liberr.InternalError || !strings.HasPrefix(err.Message, "internal error: failed to create (start) interface "+name+": ") {
					x.Errorf("start of %s: %v", name, err)
				}
				x.gone(name)
				continue
			}
			x.ip("link del probe")
			x.create(name)
			if name == "bo0" {
				x.has(x.ip("link show e0"), "master bo0")
				x.has(x.ip("-d link show bo0"), "mode active-backup miimon 100 updelay 200")
				x.has(x.xml(name, 0), "<miimon freq='100' updelay='200' carrier='netif'/>")
			} else {
				x.has(x.ip("-d link show e1.7"), "vlan protocol 802.1Q id 7")
				x.has(x.xml(name, 0), "<vlan tag='7'>")
			}
			x.destroy(name)
			x.gone(name)
		}
	})
}

// A failed start leaves nothing of what it made.
func TestLiveFailedStart(t *testing.T) {
	inEach(t, func(x *bench) {
		x.define(`<interface type='bridge' name='br0'><bridge><interface type='ethernet' name='nope0'/></bridge></interface>`)
		_, err := branchtest.Do(x.c, protocol.InterfaceCreate, &protocol.InterfaceCreateArgs{Iface: of("br0")})
		if err == nil || err.Code != liberr.InternalError || !strings.HasPrefix(err.Message, "internal error: failed to create (start) interface br0: NETLINK socket operation failed - cannot find 'nope0'") {
			x.Errorf("%v", err)
		}
		x.gone("br0")
	})
}

// What was changed since begin is taken back in the files and in the kernel, also by a daemon that was started since.
func TestLiveTransaction(t *testing.T) {
	inEach(t, func(x *bench) {
		x.veth("e0", "e1")
		x.define(`<interface type='ethernet' name='e0'><protocol family='ipv4'><ip address='192.0.2.1' prefix='24'/></protocol></interface>`)
		x.create("e0")
		was := x.xml("e0", virt.InterfaceXMLInactive)
		if _, err := branchtest.Do(x.c, protocol.InterfaceChangeBegin, &protocol.InterfaceChangeBeginArgs{}); err != nil {
			x.Fatal(err)
		}
		branchtest.Fails(x.c, protocol.InterfaceChangeBegin, &protocol.InterfaceChangeBeginArgs{}, from, liberr.OperationInvalid, "")
		x.define(`<interface type='ethernet' name='e0'><protocol family='ipv4'><ip address='198.51.100.1' prefix='24'/></protocol></interface>`)
		x.destroy("e0")
		x.create("e0")
		x.define(`<interface type='bridge' name='br0'><bridge/></interface>`)
		x.create("br0")
		x.restart()
		if _, err := branchtest.Do(x.c, protocol.InterfaceChangeRollback, &protocol.InterfaceChangeRollbackArgs{}); err != nil {
			x.Fatal(err)
		}
		x.gone("br0")
		if now := x.xml("e0", virt.InterfaceXMLInactive); now != was {
			x.Errorf("the definition is\n%s\nwas\n%s", now, was)
		}
		addrs := x.ip("-o -4 addr show dev e0")
		x.has(addrs, "192.0.2.1/24")
		if strings.Contains(addrs, "198.51.100.1") {
			x.Errorf("the new address is left: %s", addrs)
		}
		branchtest.Fails(x.c, protocol.InterfaceChangeRollback, &protocol.InterfaceChangeRollbackArgs{}, from, liberr.OperationInvalid,
			"Requested operation is not valid: failed to rollback transaction: operation invalid in current state - there is no pending transaction")
		branchtest.Fails(x.c, protocol.InterfaceChangeCommit, &protocol.InterfaceChangeCommitArgs{}, from, liberr.OperationInvalid,
			"Requested operation is not valid: failed to commit transaction: operation invalid in current state - there is no pending transaction")
		x.destroy("e0")
	})
}

// Bad documents change nothing, and changes that come at once are all made.
func TestLiveChangesAreOneAfterAnother(t *testing.T) {
	inEach(t, func(x *bench) {
		branchtest.Fails(x.c, protocol.InterfaceDefineXML, &protocol.InterfaceDefineXMLArgs{XML: "<interface type='ethernet' name='a b'/>"}, from, liberr.XMLError,
			"XML error: could not get interface XML description: XML invalid form - 'a b' is no name for an interface")
		const n = 20
		for i := range n {
			x.c.Send(protocol.InterfaceDefineXML.Procedure, &protocol.InterfaceDefineXMLArgs{XML: fmt.Sprintf("<interface type='bridge' name='br%d'><bridge/></interface>", i)})
		}
		for range n {
			if r := x.c.Reply(); r.Err != nil {
				x.Error(r.Err)
			}
		}
		r, err := branchtest.Do(x.c, protocol.ConnectListAllInterfaces, &protocol.ConnectListAllInterfacesArgs{NeedResults: 1, Flags: virt.ConnectListInterfacesInactive})
		if err != nil || len(r.Ifaces) < n {
			x.Errorf("%d of %d, %v", len(r.Ifaces), n, err)
		}
	})
}

// Without a configuration nothing can be changed, as with libvirt's udev backend.
func TestLiveWithoutConfiguration(t *testing.T) {
	x := newBench(t, nil)
	branchtest.Fails(x.c, protocol.InterfaceDefineXML, &protocol.InterfaceDefineXMLArgs{XML: "<interface type='ethernet' name='e'/>"}, from, liberr.NoSupportCode,
		"this function is not supported by the connection driver: virInterfaceDefineXML")
	branchtest.Fails(x.c, protocol.InterfaceChangeRollback, &protocol.InterfaceChangeRollbackArgs{}, from, liberr.NoSupportCode, "")
	branchtest.Fails(x.c, protocol.InterfaceCreate, &protocol.InterfaceCreateArgs{Iface: of("lo")}, from, liberr.NoSupportCode, "")
}
