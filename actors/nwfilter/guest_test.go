package nwfilter

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/await"
)

// shell runs a command line.
func shell(format string, args ...any) (string, error) {
	out, err := exec.Command("sh", "-c", fmt.Sprintf(format, args...)).CombinedOutput()
	return string(out), err
}

func mustShell(t *testing.T, format string, args ...any) string {
	t.Helper()
	out, err := shell(format, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return out
}

// namespace moves a station into a network namespace of its own and gives it an address, "" for none.
func (l *lab) namespace(station, address string) {
	l.t.Helper()
	name := "nwf" + station
	mustShell(l.t, "ip netns add %[1]s && ip link set g%[2]s netns %[1]s && ip -n %[1]s link set lo up && ip -n %[1]s link set g%[2]s up", name, station)
	l.t.Cleanup(func() { _, _ = shell("ip netns del %s", name) })
	if address != "" {
		mustShell(l.t, "ip -n %s addr add %s dev g%s", name, address, station)
	}
}

// pings tells whether a station hears from an address, and its answer arrives.
func pings(station, address string) bool {
	_, err := shell("ip netns exec nwf%s busybox ping -c 1 -W 1 %s", station, address)
	return err == nil
}

// A guest with a real network stack behind clean-traffic, which learns by DHCP: nothing works before the lease, the
// address that a real server assigns works, another address or another MAC does not.
func TestGuestWithDHCP(t *testing.T) {
	l := learningLab(t)
	l.bind("clean-traffic", param("CTRL_IP_LEARNING", "dhcp"))
	l.namespace("a", "10.0.0.77/24")
	l.namespace("b", "10.0.0.2/24")
	if pings("a", "10.0.0.2") || pings("b", "10.0.0.77") {
		t.Error("a guest without a lease reaches the network")
	}
	mustShell(t, "ip -n nwfa addr flush dev ga")
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	server := exec.Command("ip", "netns", "exec", "nwfb", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=gb",
		"--dhcp-range=10.0.0.10,10.0.0.10,255.255.255.0,10m", "--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+dir+"/leases", "--pid-file="+dir+"/pid")
	must(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	script := filepath.Join(dir, "script")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && ip addr add $ip/24 dev $interface\nexit 0\n"), 0o755))
	mustShell(t, "ip netns exec nwfa busybox udhcpc -n -q -f -t 20 -T 1 -i ga -s %s 2>&1", script)
	if out := mustShell(t, "ip -n nwfa -4 -br addr show ga"); !strings.Contains(out, "10.0.0.10/24") {
		t.Fatal(out)
	}
	await.Within(t, "the guest reaches the network", 20*time.Second, func() bool { return pings("a", "10.0.0.2") })
	if !pings("b", "10.0.0.10") {
		t.Error("the guest is not reached")
	}
	mustShell(t, "ip -n nwfa addr flush dev ga && ip -n nwfa addr add 10.0.0.77/24 dev ga && ip -n nwfb neigh flush all")
	if pings("a", "10.0.0.2") || pings("b", "10.0.0.77") {
		t.Error("another address works")
	}
	mustShell(t, "ip -n nwfa addr flush dev ga && ip -n nwfa addr add 10.0.0.10/24 dev ga && ip -n nwfa link set ga address 52:54:00:00:00:99 && ip -n nwfb neigh flush all")
	if pings("a", "10.0.0.2") {
		t.Error("another MAC works")
	}
	mustShell(t, "ip -n nwfa link set ga address 52:54:00:00:00:01 && ip -n nwfb neigh flush all")
	if !pings("a", "10.0.0.2") {
		t.Error("the guest's own address and MAC do not work any more")
	}
	l.unbind()
	l.nothingLeft()
}
