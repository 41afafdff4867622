package conf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/actors/iface/def"
)

// newHost is a configuration below a folder of the test's own, with these files.
func newHost(t *testing.T, files map[string]string) Host {
	t.Helper()
	h := Host{Root: t.TempDir(), Boot: "one"}
	h.Lib = filepath.Join(h.Root, "var/lib/libvirt/interface")
	for name, text := range files {
		put(t, h, name, text)
	}
	return h
}

func put(t *testing.T, h Host, name, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(h.at(name)), 0o755))
	must(t, os.WriteFile(h.at(name), []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t *testing.T, doc string) *def.Interface {
	t.Helper()
	i, err := def.Parse(doc)
	must(t, err)
	return i
}

func store(t *testing.T, h Host) Store {
	t.Helper()
	s, err := h.Store()
	must(t, err)
	if s == nil {
		t.Fatal("no configuration is in use")
	}
	return s
}

// tree is all files below /etc and their text.
func tree(t *testing.T, h Host) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(h.at("/etc"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, h.Root)] = string(text)
		return err
	}))
	return all
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %s is\n%s\nwant\n%s", what, name, got[name], text)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s is there", what, name)
		}
	}
}

var inUse = map[string]map[string]string{
	"ifupdown": {"/etc/network/interfaces": "# the loopback\nauto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*\n"},
	"networkd": {"/etc/systemd/network/00-all.network": "[Match]\nName=en*\n\n[Network]\nDHCP=yes\n"},
}

// Whatever is defined is read back as it was, in each format, also over an earlier definition; and undefined leaves
// the files as they were.
func TestDefinitionsComeBack(t *testing.T) {
	files, err := filepath.Glob("../def/testdata/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no documents")
	}
	for kind, start := range inUse {
		for _, name := range files {
			t.Run(kind+"/"+filepath.Base(name), func(t *testing.T) {
				text, err := os.ReadFile(name)
				must(t, err)
				h := newHost(t, start)
				s := store(t, h)
				if s.Kind() != kind {
					t.Fatalf("%s is in use", s.Kind())
				}
				want := parse(t, string(text))
				for range 2 {
					must(t, h.Define(s, want))
					got, err := Find(store(t, h), want.Name)
					must(t, err)
					if got == nil {
						t.Fatalf("it is not there: %v", tree(t, h))
					}
					if got.Format() != want.Format() {
						t.Fatalf("it reads\n%s\n%v", got.Format(), tree(t, h))
					}
				}
				must(t, h.Undefine(store(t, h), want.Name))
				now := tree(t, h)
				delete(now, "/etc/systemd/network/50-eth0.network") // what a vlan is on stays
				delete(now, "/etc/systemd/network/50-eth1.network")
				for name := range now {
					now[name] = strings.TrimRight(now[name], "\n")
				}
				want2 := map[string]string{}
				for name, text := range start {
					want2[name] = strings.TrimRight(text, "\n")
				}
				same(t, "afterwards", now, want2)
				if left, _ := os.ReadDir(h.Lib); len(left) != 0 {
					t.Errorf("copies are left: %v", left)
				}
			})
		}
	}
}

func TestWhichConfigurationIsInUse(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{nil, ""},
		{map[string]string{"/etc/systemd/network/x.link": "[Match]\n"}, ""},
		{inUse["ifupdown"], "ifupdown"},
		{inUse["networkd"], "networkd"},
		{map[string]string{"/etc/network/interfaces": "iface lo inet loopback\n", "/etc/systemd/network/a.network": "[Match]\nName=a\n"}, "networkd"},
		{map[string]string{"/etc/network/interfaces": "iface a inet dhcp\n", "/etc/systemd/network/a.network": "[Match]\nName=a\n"}, "ifupdown"},
		{map[string]string{"/etc/network/interfaces": "source interfaces.d/*\n", "/etc/network/interfaces.d/a": "iface a inet dhcp\n"}, "ifupdown"},
	} {
		s, err := newHost(t, c.files).Store()
		must(t, err)
		got := ""
		if s != nil {
			got = s.Kind()
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.files, got, c.want)
		}
	}
}

const administrators = `# my interfaces
auto lo eth0 eth9
iface lo inet loopback

# the uplink
allow-hotplug eth1
iface eth1 inet static
    # never change this
    address 192.0.2.9
    netmask 255.255.255.0
    gateway 192.0.2.1
    up ip route add 198.51.100.0/24 \
        via 192.0.2.2

iface eth0 inet dhcp
iface eth0 inet6 auto
mapping eth2
    script /bin/x
source-directory /etc/network/interfaces.d
`

func TestIfupdownTouchesOnlyWhatIsDefined(t *testing.T) {
	h := newHost(t, map[string]string{
		"/etc/network/interfaces": administrators,
		// One that source-directory takes, and one that it does not.
		"/etc/network/interfaces.d/more":     "iface br9 inet manual\n    bridge_ports eth9\n    bridge_stp off\niface eth9 inet manual\n",
		"/etc/network/interfaces.d/no.thing": "iface nothing inet dhcp\n",
	})
	s := store(t, h)
	all, err := s.Interfaces()
	must(t, err)
	var text strings.Builder
	for _, i := range all {
		text.WriteString(i.Format())
	}
	want := "<interface type='ethernet' name='lo'>\n  <start mode='onboot'/>\n</interface>\n" +
		"<interface type='ethernet' name='eth1'>\n  <start mode='hotplug'/>\n  <protocol family='ipv4'>\n    <ip address='192.0.2.9' prefix='24'/>\n    <route gateway='192.0.2.1'/>\n  </protocol>\n</interface>\n" +
		"<interface type='ethernet' name='eth0'>\n  <start mode='onboot'/>\n  <protocol family='ipv4'>\n    <dhcp/>\n  </protocol>\n  <protocol family='ipv6'>\n    <autoconf/>\n  </protocol>\n</interface>\n" +
		"<interface type='bridge' name='br9'>\n  <start mode='none'/>\n  <bridge stp='off'>\n    <interface type='ethernet' name='eth9'>\n    </interface>\n  </bridge>\n</interface>\n" +
		"<interface type='ethernet' name='eth9'>\n  <start mode='onboot'/>\n</interface>\n"
	if text.String() != want {
		t.Errorf("it reads\n%s\nwant\n%s", text.String(), want)
	}
	must(t, h.Define(s, parse(t, "<interface type='ethernet' name='eth0'><protocol family='ipv4'><ip address='192.0.2.3' prefix='24'/></protocol></interface>")))
	edited := strings.Replace(administrators, "iface eth0 inet dhcp\niface eth0 inet6 auto\n", "iface eth0 inet static\n    address 192.0.2.3/24\n", 1)
	edited = strings.Replace(edited, "auto lo eth0 eth9", "auto lo eth9", 1)
	if got := tree(t, h)["/etc/network/interfaces"]; got != edited {
		t.Errorf("the file is\n%s\nwant\n%s", got, edited)
	}
}

func TestNetworkdTouchesOnlyWhatIsDefined(t *testing.T) {
	const up = "# the uplink\n[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\n# a comment\nVLAN=eth0.1\n"
	h := newHost(t, map[string]string{"/etc/systemd/network/10-up.network": up, "/etc/systemd/network/20-v.netdev": "[NetDev]\nName=eth0.1\nKind=vlan\n[VLAN]\nId=1\n"})
	s := store(t, h)
	before := tree(t, h)
	must(t, h.Define(s, parse(t, "<interface type='vlan' name='v7'><vlan tag='7'><interface name='eth0'/></vlan></interface>")))
	if got, want := tree(t, h)["/etc/systemd/network/10-up.network"], strings.Replace(up, "VLAN=eth0.1\n", "VLAN=eth0.1\nVLAN=v7\n", 1); got != want {
		t.Errorf("the file of the device is\n%s\nwant\n%s", got, want)
	}
	must(t, h.Undefine(s, "v7"))
	same(t, "afterwards", tree(t, h), before)
	v, err := Find(s, "eth0.1")
	must(t, err)
	if v == nil || v.VLAN == nil || v.VLAN.Device != "eth0" || v.VLAN.Tag != "1" {
		t.Errorf("the vlan reads %+v", v)
	}
}

// A rollback brings everything back, for each configuration, whatever happened in between and wherever a crash cut the
// writing of a file or the rollback itself short.
func TestRollback(t *testing.T) {
	for kind, start := range inUse {
		t.Run(kind, func(t *testing.T) {
			h := newHost(t, start)
			s := store(t, h)
			must(t, h.Define(s, parse(t, "<interface type='bridge' name='br0'><bridge/></interface>")))
			must(t, h.Define(s, parse(t, "<interface type='bridge' name='br3'><bridge/></interface>")))
			link := h.at("/etc/systemd/network/99-link.network")
			must(t, os.MkdirAll(filepath.Dir(link), 0o755))
			must(t, os.Symlink("/dev/null", link))
			before := tree(t, h)
			if err := h.Rollback(nil, nil, nil); !errors.Is(err, ErrInvalidOperation) {
				t.Errorf("a rollback of nothing: %v", err)
			}
			if err := h.Commit(); !errors.Is(err, ErrInvalidOperation) {
				t.Errorf("a commit of nothing: %v", err)
			}
			must(t, h.Begin([]string{"br0", "br3"}))
			if err := h.Begin(nil); !errors.Is(err, ErrInvalidOperation) {
				t.Errorf("a second begin: %v", err)
			}
			change := func() {
				t.Helper()
				must(t, h.Undefine(s, "br0"))
				must(t, h.Define(s, parse(t, "<interface type='bridge' name='br1'><bridge/></interface>")))
				must(t, os.Remove(link))
			}
			change()
			var stopped, started []string
			stop := func(i *def.Interface) error { stopped = append(stopped, i.Name); return nil }
			up := func(i *def.Interface) error {
				started = append(started, i.Name)
				same(t, "when it is started", tree(t, h), before) // by the old files
				return nil
			}
			must(t, h.Rollback(stop, up, func(n string, err error) { t.Error(n, err) }))
			same(t, "rolled back", tree(t, h), before)
			if strings.Join(stopped, " ") != "br1" || strings.Join(started, " ") != "br0" {
				t.Errorf("stopped %v, started %v", stopped, started)
			}
			if to, err := os.Readlink(link); err != nil || to != "/dev/null" {
				t.Errorf("the link leads to %s, %v", to, err)
			}

			must(t, h.Begin(nil))
			change()
			after := tree(t, h)
			must(t, h.Commit())
			same(t, "committed", tree(t, h), after)

			// All files gone: the transaction still knows what there was.
			must(t, h.Begin(nil))
			must(t, os.RemoveAll(h.at("/etc/network")))
			must(t, os.RemoveAll(h.at("/etc/systemd")))
			if p, err := h.Pending(); err != nil || p == nil || p.Kind() != kind {
				t.Errorf("pending: %v, %v", p, err)
			}
			must(t, h.Rollback(stop, func(*def.Interface) error { return nil }, func(string, error) {}))
			same(t, "from nothing", tree(t, h), after)
		})
	}
}

// A crash of the daemon leaves the transaction open; a crash of the host rolls it back at the next start.
func TestRecover(t *testing.T) {
	h := newHost(t, inUse["ifupdown"])
	s := store(t, h)
	before := tree(t, h)
	must(t, h.Begin(nil))
	must(t, h.Define(s, parse(t, "<interface type='bridge' name='br1'><bridge/></interface>")))
	after := tree(t, h)
	if back, err := h.Recover(); err != nil || back {
		t.Fatalf("the daemon's next start: %v, %v", back, err)
	}
	same(t, "after the daemon's crash", tree(t, h), after)
	next := h
	next.Boot = "two"
	if back, err := next.Recover(); err != nil || !back {
		t.Fatalf("the host's next start: %v, %v", back, err)
	}
	same(t, "after the host's crash", tree(t, h), before)
	if back, err := next.Recover(); err != nil || back {
		t.Fatalf("once more: %v, %v", back, err)
	}

	// A definition that was cut short between two of its files.
	must(t, h.copyTo(changeCopy, nil))
	put(t, h, "/etc/network/interfaces", "iface half")
	put(t, h, "/etc/network/interfaces.d/new", "iface half inet dhcp\n")
	// A copy that was being made, and one that was being removed.
	must(t, os.MkdirAll(filepath.Join(h.Lib, transactionCopy+".new"), 0o700))
	must(t, os.MkdirAll(filepath.Join(h.Lib, changeCopy+".old"), 0o700))
	if _, err := h.Recover(); err != nil {
		t.Fatal(err)
	}
	same(t, "the definition taken back", tree(t, h), before)
	if left, _ := os.ReadDir(h.Lib); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// What cannot be written changes nothing.
func TestFailedDefinitionChangesNothing(t *testing.T) {
	h := newHost(t, inUse["networkd"])
	s := store(t, h)
	// The second of the two files cannot be written: its name is a folder's.
	must(t, os.MkdirAll(h.at("/etc/systemd/network/50-br0.network/x"), 0o755))
	before := tree(t, h)
	if h.Define(s, parse(t, "<interface type='bridge' name='br0'><bridge/></interface>")) == nil {
		t.Fatal("no error")
	}
	same(t, "afterwards", tree(t, h), before)
	if left, _ := os.ReadDir(h.Lib); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func FuzzIfupdown(f *testing.F) {
	f.Add(administrators)
	f.Add("iface a inet static\\\n address 1\n#x\\\n")
	f.Fuzz(func(t *testing.T, text string) {
		file := parseFile("x", text)
		if got := string(file.text()); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
		for _, i := range describe(files(file)) {
			_ = i.Format()
		}
	})
}

func files(f ...*file) []*file { return f }
