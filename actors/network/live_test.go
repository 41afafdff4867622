package network

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branch"
	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

const natDoc = `<network><name>nat</name><forward mode='nat'/><bridge name='tbr0'/><domain name='lab' localOnly='yes'/>
<dns><host ip='10.77.0.9'><hostname>printer</hostname></host><txt name='note' value='hello'/></dns>
<ip address='10.77.0.1' prefix='24'><dhcp><range start='10.77.0.50' end='10.77.0.60'/>
<host mac='52:54:00:77:00:01' name='fixed' ip='10.77.0.7'/></dhcp></ip></network>`

type lab struct {
	t   *testing.T
	env *branch.Env
	b   *branchtest.Branch
	c   *branchtest.Client
}

func newLab(t *testing.T) *lab {
	needsRoot(t)
	env := branchtest.Env(t)
	must(t, os.Chmod(filepath.Dir(env.Paths.Root), 0o755)) // dnsmasq reads its lists as nobody
	l := &lab{t: t, env: env, b: branchtest.Start(t, New(env))}
	l.c = l.b.Client()
	t.Cleanup(func() { nothingLeft(t) })
	return l
}

func (l *lab) define(doc string) protocol.Network {
	l.t.Helper()
	n, err := branchtest.Do(l.c, protocol.NetworkDefineXML, &protocol.NetworkDefineXMLArgs{XML: doc})
	if err != nil {
		l.t.Fatal(err)
	}
	return n.Net
}

func (l *lab) start(n protocol.Network) {
	l.t.Helper()
	if _, err := branchtest.Do(l.c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: n}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) destroy(n protocol.Network) {
	l.t.Helper()
	if _, err := branchtest.Do(l.c, protocol.NetworkDestroy, &protocol.NetworkDestroyArgs{Net: n}); err != nil {
		l.t.Fatal(err)
	}
}

// guest plugs a namespace of its own into a bridge and returns how to run a command in it.
func (l *lab) guest(name, bridge, mac string) func(format string, args ...any) string {
	shell(l.t, "ip netns add %[1]s && ip link add v%[1]s type veth peer name eth0 netns %[1]s && ip -n %[1]s link set eth0 address %[3]s && ip link set v%[1]s master %[2]s up && ip -n %[1]s link set eth0 up && ip -n %[1]s link set lo up", name, bridge, mac)
	l.t.Cleanup(func() { shell(l.t, "ip netns del %s; ip link del v%s 2>/dev/null; true", name, name) })
	return func(format string, args ...any) string {
		l.t.Helper()
		return shell(l.t, "ip netns exec "+name+" "+format, args...)
	}
}

func TestLifecycle(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	if ev := l.c.Event(); ev.Object != "network" || ev.ID != virt.NetworkEventIDLifecycle || ev.Name != "nat" {
		t.Error(ev)
	}
	l.start(n)
	branchtest.Fails(l.c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: n}, from, liberr.OperationInvalid, "Requested operation is not valid: network is already active")
	if out := shell(t, "ip -d link show tbr0; ip addr show tbr0"); !strings.Contains(out, "10.77.0.1/24 brd 10.77.0.255") || !strings.Contains(out, "stp_state 1") {
		t.Error(out)
	}
	rules := shell(t, "nft list ruleset")
	for _, want := range []string{
		`iifname "tbr0" oifname "tbr0" counter packets 0 bytes 0 accept`, `oifname "tbr0" ip daddr 10.77.0.0/24 ct state established,related`,
		`iifname "tbr0" counter packets 0 bytes 0 reject`, `ip saddr 10.77.0.0/24 ip daddr 224.0.0.0/24`, `meta l4proto tcp counter packets 0 bytes 0 masquerade to :1024-65535`,
	} {
		if !strings.Contains(rules, want) {
			t.Errorf("no rule %s in\n%s", want, rules)
		}
	}
	if v, _ := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); string(v) != "1\n" {
		t.Error("the host does not forward")
	}
	l.destroy(n)
	nothingLeft(t)
	if _, err := branchtest.Do(l.c, protocol.NetworkUndefine, &protocol.NetworkUndefineArgs{Net: n}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(l.c, protocol.NetworkLookupByName, &protocol.NetworkLookupByNameArgs{Name: "nat"}, from, liberr.NoNetwork, "")
	var events []byte
	for range 3 {
		ev := l.c.Event()
		events = append(events, ev.Payload[len(ev.Payload)-5])
	}
	if string(events) != "\x02\x03\x01" {
		t.Errorf("events %v, want started, stopped, undefined", events)
	}
}

func TestCollisionsAreRefused(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	create := &protocol.NetworkCreateArgs{Net: n}
	shell(t, "ip link add d0 type veth peer name d1 && ip addr add 10.77.0.200/24 dev d0 && ip link set d0 up")
	branchtest.Fails(l.c, protocol.NetworkCreate, create, from, liberr.InternalError, "internal error: Network is already in use by interface d0")
	shell(t, "ip link del d0 && ip link add tbr0 type bridge")
	branchtest.Fails(l.c, protocol.NetworkCreate, create, liberr.FromNone, liberr.SystemError, "error creating bridge interface tbr0: File exists")
	shell(t, "ip link del tbr0")
	branchtest.Fails(l.c, protocol.NetworkDefineXML, &protocol.NetworkDefineXMLArgs{XML: "<network><name>other</name><bridge name='tbr0'/></network>"},
		from, liberr.InternalError, "internal error: bridge name 'tbr0' already in use.")
	branchtest.Fails(l.c, protocol.NetworkDefineXML, &protocol.NetworkDefineXMLArgs{XML: "<network><name>nat</name></network>"},
		from, liberr.OperationFailed, "operation failed: network 'nat' already exists with uuid "+n.UUID.String())
}

// Two guests get leases, talk to each other and through the host, and are in the list of leases.
func TestGuestsOnANATNetwork(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.start(n)
	defer l.destroy(n)
	a, b := l.guest("ga", "tbr0", "52:54:00:77:00:01"), l.guest("gb", "tbr0", "52:54:00:77:00:02")
	// The world outside: a namespace behind a link of the host.
	out := func(format string, args ...any) string { return shell(t, "ip netns exec out "+format, args...) }
	shell(t, "ip netns add out && ip link add up0 type veth peer name eth0 netns out && ip addr add 198.51.100.1/24 dev up0 && ip link set up0 up && ip -n out addr add 198.51.100.2/24 dev eth0 && ip -n out link set eth0 up && ip -n out link set lo up")
	t.Cleanup(func() { shell(t, "ip netns del out; ip link del up0 2>/dev/null; true") })
	dhcp(t, "ga")
	dhcp(t, "gb")
	if got := a("ip -4 -br addr show eth0"); !strings.Contains(got, "10.77.0.7/24") {
		t.Errorf("the host entry was not obeyed: %s", got)
	}
	b("busybox ping -c1 -W2 10.77.0.7")
	b("busybox ping -c1 -W2 198.51.100.2")
	if err := tryShell("ip netns exec out sh -c 'ip route add 10.77.0.0/24 via 198.51.100.1 && busybox ping -c1 -W1 10.77.0.7'"); err == nil {
		t.Error("a guest is reached from outside")
	}
	_ = out
	ret, err := branchtest.Do(l.c, protocol.NetworkGetDHCPLeases, &protocol.NetworkGetDHCPLeasesArgs{Net: n, NeedResults: 1})
	if err != nil || len(ret.Leases) != 2 {
		t.Fatal(ret, err)
	}
	mac := "52:54:00:77:00:01"
	one, err := branchtest.Do(l.c, protocol.NetworkGetDHCPLeases, &protocol.NetworkGetDHCPLeasesArgs{Net: n, NeedResults: 1, MAC: &mac})
	if err != nil || len(one.Leases) != 1 || one.Leases[0].Ipaddr != "10.77.0.7" || one.Leases[0].Prefix != 24 || one.Leases[0].Iface != "tbr0" || one.Leases[0].Expirytime < time.Now().Unix() {
		t.Error(one, err)
	}
	// Names: of the document, and of the guest with a host entry.
	for name, want := range map[string]string{"printer": "10.77.0.9", "fixed.lab": "10.77.0.7"} {
		if got := lookup(t, "ga", "10.77.0.1", name); got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
}

// Somebody flushes the firewall; it is back within two seconds.
func TestRulesArePutBack(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.start(n)
	defer l.destroy(n)
	intact := func() bool { return strings.Contains(tryOutput("nft list ruleset"), "masquerade to") }
	for _, cmd := range []string{"nft flush ruleset", "nft delete table ip virtree_network_tbr0", "nft flush chain ip virtree_network_tbr0 postrouting"} {
		shell(t, "%s", cmd)
		await.Within(t, "the rules are back after "+cmd, 2*time.Second, intact)
	}
}

func TestDnsmasqIsRestarted(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.start(n)
	defer l.destroy(n)
	s := &shared{env: l.env}
	pid := func() int {
		p := findProcess(s.runPath("nat", ".pid"), s.dnsmasqPath("nat", ".conf"))
		if p == nil {
			return 0
		}
		defer p.close()
		return p.pid
	}
	first := pid()
	if first == 0 {
		t.Fatal("no dnsmasq")
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Within(t, "another dnsmasq runs", 5*time.Second, func() bool { p := pid(); return p != 0 && p != first })
}

// The daemon goes and comes back: what runs is found again and not touched.
func TestAdoption(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	if _, err := branchtest.Do(l.c, protocol.NetworkSetAutostart, &protocol.NetworkSetAutostartArgs{Net: n, Autostart: 1}); err != nil {
		t.Fatal(err)
	}
	l.start(n)
	port := l.port(n, "52:54:00:77:00:05", "")
	s := &shared{env: l.env}
	pid, _ := os.ReadFile(s.runPath("nat", ".pid"))
	before := shell(t, "ip -br link show tbr0; nft -a list ruleset")
	l.b.Stop()
	l.b = branchtest.Start(t, New(l.env))
	l.c = l.b.Client()
	if a, err := branchtest.Do(l.c, protocol.NetworkIsActive, &protocol.NetworkIsActiveArgs{Net: n}); err != nil || a.Active != 1 {
		t.Error(a, err)
	}
	if a, err := branchtest.Do(l.c, protocol.NetworkGetAutostart, &protocol.NetworkGetAutostartArgs{Net: n}); err != nil || a.Autostart != 1 {
		t.Error(a, err)
	}
	if p, err := branchtest.Do(l.c, protocol.NetworkPortLookupByUUID, &protocol.NetworkPortLookupByUUIDArgs{Network: n, UUID: port.UUID}); err != nil || p.Port.UUID != port.UUID {
		t.Error(p, err)
	}
	if again, _ := os.ReadFile(s.runPath("nat", ".pid")); string(again) != string(pid) {
		t.Error("dnsmasq was started again")
	}
	if after := shell(t, "ip -br link show tbr0; nft -a list ruleset"); after != before {
		t.Errorf("the world was touched: %s\n%s", before, after)
	}
	l.destroy(n)
	nothingLeft(t)
}

// A bug in one network's actor costs nobody anything: it comes back and finds its network as it was.
func TestCrashOfANetwork(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.start(n)
	defer l.destroy(n)
	s := &shared{env: l.env}
	pid, _ := os.ReadFile(s.runPath("nat", ".pid"))
	l.b.Root().Send(actor.NewPID(l.b.PID.Address, l.b.PID.Id+"/"+n.UUID.String()), &call.Call{}) // of no procedure: a nil pointer
	if a, err := branchtest.Do(l.c, protocol.NetworkIsActive, &protocol.NetworkIsActiveArgs{Net: n}); err != nil || a.Active != 1 {
		t.Error(a, err)
	}
	if again, _ := os.ReadFile(s.runPath("nat", ".pid")); string(again) != string(pid) {
		t.Error("dnsmasq was started again")
	}
	shell(t, "nft flush ruleset")
	await.Within(t, "the network still looks after its rules", 2*time.Second, func() bool { return strings.Contains(tryOutput("nft list ruleset"), "masquerade to") })
}
