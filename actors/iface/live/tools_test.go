package live

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"virtree/actors/iface/conf"
	"virtree/actors/iface/def"
)

const namespaced = "IFACE_TEST_IN_NAMESPACE"

// TestInNamespace runs the tests that change real links, whose names begin with Live, again in a network namespace of
// their own, with its own sysfs and /run.
func TestInNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: links of its own in a network namespace")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestLive", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), namespaced+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(namespaced) != "" {
		for _, step := range []error{
			syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
			syscall.Mount("sysfs", "/sys", "sysfs", 0, ""),
			syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""),
			os.WriteFile("/run/resolv.conf", nil, 0o644),
			syscall.Mount("/run/resolv.conf", "/etc/resolv.conf", "", syscall.MS_BIND, ""), // for the scripts of DHCP clients
		} {
			if step != nil {
				fmt.Fprintln(os.Stderr, step)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

func inside(t *testing.T, tools ...string) {
	t.Helper()
	if os.Getenv(namespaced) == "" {
		t.Skip("runs within TestInNamespace")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs the program " + tool)
		}
	}
}

func ip(t *testing.T, args string) string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
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

func has(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q is not in\n%s", part, text)
	}
}

const wired = `<interface type='ethernet' name='e0'><mtu size='1400'/>
<protocol family='ipv4'><ip address='192.0.2.1' prefix='24'/><ip address='192.0.2.2' prefix='24'/><route gateway='192.0.2.9'/></protocol>
<protocol family='ipv6'><ip address='2001:db8::1' prefix='64'/></protocol></interface>`

// ifup makes of our stanzas what we make of the definition.
func TestLiveIfup(t *testing.T) {
	inside(t, "ifup", "ifdown")
	ip(t, "link add e0 type veth peer name e1")
	ip(t, "link set e1 up")
	h := conf.Host{Root: t.TempDir()}
	h.Lib = filepath.Join(h.Root, "lib")
	file := filepath.Join(h.Root, "etc/network/interfaces")
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte("iface lo inet loopback\n"), 0o644))
	s, err := h.Store()
	must(t, err)
	i := parse(t, wired)
	must(t, h.Define(s, i))
	tools := Tools{Args: []string{"--interfaces", file, "--state-dir", t.TempDir(), "--no-scripts"}}
	must(t, tools.Up(context.Background(), i))
	addrs := ip(t, "-o addr show dev e0")
	has(t, ip(t, "link show e0"), "mtu 1400")
	for _, a := range []string{"192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64"} {
		has(t, addrs, a)
	}
	has(t, ip(t, "route show default"), "via 192.0.2.9 dev e0")
	must(t, tools.Down(context.Background(), i))
	if addrs := ip(t, "-o -4 addr show dev e0"); strings.Contains(addrs, "192.0.2") {
		t.Errorf("addresses are left: %s", addrs)
	}
	err = tools.Up(context.Background(), parse(t, "<interface type='ethernet' name='nope'/>"))
	if err == nil || !strings.Contains(err.Error(), "failed to execute external program - running 'ifup") {
		t.Errorf("an interface that is not there: %v", err)
	}
	ip(t, "link del e0")
}

// The DHCP client of the host gets an address from a server at the other end, and ends with the interface.
func TestLiveDHCP(t *testing.T) {
	inside(t, "dnsmasq")
	client := ""
	for _, c := range clients {
		if _, err := exec.LookPath(c.name); err == nil {
			client = c.name
			break
		}
	}
	k := &Kernel{Run: filepath.Join(t.TempDir(), "run")}
	i := parse(t, "<interface type='ethernet' name='e0'><protocol family='ipv4'><dhcp/></protocol></interface>")
	ip(t, "link add e0 type veth peer name e1")
	defer func() { _ = exec.Command("ip", "link", "del", "e0").Run() }() // gone already where the other end's namespace is
	if client == "" {
		err := k.Up(context.Background(), i)
		if err == nil || !strings.Contains(err.Error(), "there is no DHCP client for ipv4 on this host") {
			t.Errorf("without a client: %v", err)
		}
		return
	}
	ip(t, "netns add server")
	defer ip(t, "netns del server")
	ip(t, "link set e1 netns server")
	ip(t, "-n server addr add 192.0.2.1/24 dev e1")
	ip(t, "-n server link set e1 up")
	server := exec.Command("ip", "netns", "exec", "server", "dnsmasq", "--keep-in-foreground", "--port=0", "--interface=e1", "--bind-interfaces",
		"--dhcp-range=192.0.2.50,192.0.2.59", "--dhcp-option=6", "--dhcp-option=3", "--conf-file=/dev/null", "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"), "--user=root")
	must(t, server.Start())
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	must(t, k.Up(context.Background(), i))
	has(t, ip(t, "-o addr show dev e0"), "192.0.2.5")
	if len(clientsWith(k.pidFile("e0", "ipv4"))) != 1 {
		t.Error("the client is not in the background")
	}
	must(t, k.Down(context.Background(), i))
	if left := clientsWith(k.pidFile("e0", "ipv4")); len(left) > 0 {
		t.Errorf("the client is left: %v", left)
	}
	if addrs := ip(t, "-o -4 addr show dev e0"); strings.Contains(addrs, "192.0.2") {
		t.Errorf("addresses are left: %s", addrs)
	}
}
