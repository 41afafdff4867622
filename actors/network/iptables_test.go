package network

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branchtest"
	"virtree/wire/protocol"
)

// The rules are those that libvirt 9.0.0 leaves in the kernel, in its order.
func TestIptablesRulesAreLibvirts(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/iptables.txtar")
	if err != nil {
		t.Fatal(err)
	}
	doc := ""
	for _, f := range ar.Files {
		if strings.HasSuffix(f.Name, ".in") {
			doc = string(f.Data)
			continue
		}
		d, err := parse(doc)
		if err != nil {
			t.Fatal(f.Name, err)
		}
		var got strings.Builder
		for i, table := range d.ipTables(strings.HasSuffix(f.Name, ".v6")) {
			for _, r := range table.rules {
				got.WriteString(ipTableNames[i] + " " + r + "\n")
			}
		}
		if diff := cmp.Diff(sortByChain(string(f.Data)), sortByChain(got.String())); diff != "" {
			t.Errorf("%s: %s", f.Name, diff)
		}
	}
}

// sortByChain brings rules into the order of their chains, and leaves them in their order within each.
func sortByChain(text string) map[string][]string {
	chains := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if f := strings.Fields(line); len(f) > 2 {
			chains[f[0]+" "+f[2]] = append(chains[f[0]+" "+f[2]], line)
		}
	}
	return chains
}

// The script adds what is not there, touches nobody else's rules, and does nothing when there is nothing to do.
func TestRestoreScript(t *testing.T) {
	d, _ := parse("<network><name>n</name><bridge name='b'/><ip address='10.0.0.1' prefix='24'/></network>")
	saved := "*filter\n:INPUT ACCEPT [0:0]\n:LIBVIRT_INP - [0:0]\n-A INPUT -j LIBVIRT_INP\n-A LIBVIRT_INP -i other -p udp -m udp --dport 53 -j ACCEPT\n-A LIBVIRT_INP -i b -p tcp -m tcp --dport 53 -j ACCEPT\nCOMMIT\n"
	script := restoreScript(saved, nil, d.ipTables(false))
	for want, n := range map[string]int{":LIBVIRT_INP": 0, ":LIBVIRT_FWI - [0:0]": 1, "-I INPUT -j": 0, "-I FORWARD -j LIBVIRT_FWX": 1, "other": 0,
		"-D LIBVIRT_INP -i b -p tcp -m tcp --dport 53 -j ACCEPT": 1, "-I LIBVIRT_INP -i b -p tcp -m tcp --dport 53 -j ACCEPT": 1, "*nat": 1} {
		if got := strings.Count(script, want); got != n {
			t.Errorf("%d times %q, want %d:\n%s", got, want, n, script)
		}
	}
	if s := restoreScript(saved, d.ipTables(false), nil); s != "*filter\n-D LIBVIRT_INP -i b -p tcp -m tcp --dport 53 -j ACCEPT\nCOMMIT\n" {
		t.Errorf("the removal is %q", s)
	}
	whole := ""
	for i, table := range d.ipTables(false) {
		whole += "*" + ipTableNames[i] + "\n:LIBVIRT_INP - x\n" + strings.Join(append(table.jumps, table.rules...), "\n") + "\n"
	}
	if s := restoreScript(whole, d.ipTables(false), d.ipTables(false)); s != "" {
		t.Errorf("nothing to do, but %q", s)
	}
}

func iptablesLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	t.Cleanup(func() { cleanIptables(t) })
	l.b.Stop()
	l.configure("firewall_backend = \"iptables\"\n")
	return l
}

// configure writes network.conf and starts the daemon again.
func (l *lab) configure(text string) {
	l.t.Helper()
	path := l.env.Paths.ConfFile("network")
	must(l.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(l.t, os.WriteFile(path, []byte(text), 0o600))
	l.b = branchtest.Start(l.t, New(l.env))
	l.c = l.b.Client()
}

func libvirtRules() string {
	return tryOutput("iptables-save; ip6tables-save")
}

// With iptables configured the rules are in libvirt's chains, let through what they should, come back when somebody
// flushes them, and go with the network.
func TestIptablesBackend(t *testing.T) {
	l := iptablesLab(t)
	n := l.define(natDoc)
	l.start(n)
	if out := shell(t, "nft list tables"); strings.Contains(out, tablePrefix) {
		t.Error("there are rules of the other backend:", out)
	}
	for _, want := range []string{"-A FORWARD -j LIBVIRT_FWX\n-A FORWARD -j LIBVIRT_FWI\n-A FORWARD -j LIBVIRT_FWO\n", "-A LIBVIRT_INP -i tbr0 -p udp -m udp --dport 67 -j ACCEPT",
		"-A LIBVIRT_FWI -d 10.77.0.0/24 -o tbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A LIBVIRT_FWI -o tbr0 -j REJECT --reject-with icmp-port-unreachable",
		"-A LIBVIRT_PRT -s 10.77.0.0/24 ! -d 10.77.0.0/24 -p tcp -j MASQUERADE --to-ports 1024-65535", "--dport 68 -j CHECKSUM --checksum-fill"} {
		if !strings.Contains(libvirtRules(), want) {
			t.Errorf("no %s in\n%s", want, libvirtRules())
		}
	}
	shell(t, "iptables -P INPUT DROP") // a host that is closed but for what networks open
	t.Cleanup(func() { shell(t, "iptables -P INPUT ACCEPT") })
	l.guest("ga", "tbr0", "52:54:00:77:00:01")
	dhcp(t, "ga")
	before := libvirtRules()
	same := func() bool { return stripCounters(libvirtRules()) == stripCounters(before) }
	for _, cmd := range []string{"iptables -F", "iptables -t nat -F LIBVIRT_PRT", "iptables -D FORWARD -j LIBVIRT_FWI", "nft delete table ip nat", "iptables -F FORWARD; iptables -F LIBVIRT_FWI; iptables -X LIBVIRT_FWI"} {
		shell(t, "%s", cmd)
		await.Within(t, "the rules are back after "+cmd, 2*time.Second, func() bool {
			return strings.Count(libvirtRules(), "tbr0") == strings.Count(before, "tbr0") && strings.Contains(libvirtRules(), "-A FORWARD -j LIBVIRT_FWI")
		})
	}
	if !same() {
		t.Log("order changed:\n", cmp.Diff(stripCounters(before), stripCounters(libvirtRules())))
	}
	other := l.define("<network><name>two</name><forward mode='route'/><bridge name='tbr1'/><ip address='10.78.0.1' prefix='24'/></network>")
	l.start(other)
	l.destroy(n)
	if r := libvirtRules(); strings.Contains(r, "tbr0") || !strings.Contains(r, "-A LIBVIRT_FWX -i tbr1 -o tbr1 -j ACCEPT") {
		t.Error("one network took another one's rules, or left its own:", r)
	}
	l.destroy(other)
	if r := libvirtRules(); strings.Contains(r, "tbr") {
		t.Error("rules are left:", r)
	}
}

func stripCounters(s string) string {
	var out []string
	for _, l := range strings.Split(s, "\n") {
		if !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, ":") {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

// cleanIptables removes the shared chains, which stay behind on purpose, as libvirt's do.
func cleanIptables(t *testing.T) {
	shell(t, "nft flush ruleset")
}

// A daemon that comes back with another backend, or where libvirtd was, takes the old rules away.
func TestBackendIsSwitched(t *testing.T) {
	l := iptablesLab(t)
	n := l.define(natDoc)
	l.start(n)
	l.b.Stop()
	l.configure("")
	await.Within(t, "the rules are in nftables", 5*time.Second, func() bool {
		return strings.Contains(tryOutput("nft list tables"), tablePrefix+"tbr0") && !strings.Contains(libvirtRules(), "tbr0 ")
	})
	l.b.Stop()
	l.configure("firewall_backend = \"iptables\"\n")
	await.Within(t, "the rules are in iptables", 5*time.Second, func() bool {
		return !strings.Contains(tryOutput("nft list tables"), tablePrefix) && strings.Contains(libvirtRules(), "-A LIBVIRT_FWO -i tbr0 -j REJECT")
	})
	if a, err := branchtest.Do(l.c, protocol.NetworkIsActive, &protocol.NetworkIsActiveArgs{Net: n}); err != nil || a.Active != 1 {
		t.Error(a, err)
	}
	l.destroy(n)
	if r := libvirtRules(); strings.Contains(r, "tbr0") {
		t.Error("rules are left:", r)
	}
}
