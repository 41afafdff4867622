package network

import (
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/await"
)

// What passes and what does not, in each mode: between guests, from a guest to the world behind the host, and from there
// to a guest.
func TestTrafficByMode(t *testing.T) {
	l := newLab(t)
	shell(t, "ip netns add out && ip link add up0 type veth peer name eth0 netns out && ip addr add 198.51.100.1/24 dev up0 && ip link set up0 up && ip -n out addr add 198.51.100.2/24 dev eth0 && ip -n out link set eth0 up && ip -n out route add 10.77.0.0/24 via 198.51.100.1")
	t.Cleanup(func() { shell(t, "ip netns del out; ip link del up0 2>/dev/null; true") })
	ping := func(ns, to string) bool {
		return tryShell("ip netns exec "+ns+" busybox ping -c1 -W1 "+to) == nil
	}
	for _, c := range []struct {
		mode             string
		out, in, between bool
	}{
		{"", false, false, true},
		{"<forward mode='nat'/>", true, false, true},
		{"<forward mode='route'/>", true, true, true},
		{"<forward mode='route' dev='other'/>", false, false, true},
		{"<forward mode='open'/>", true, true, true},
	} {
		n := l.define("<network><name>m</name><uuid>0f0f0f0f-0000-4000-8000-0000000000aa</uuid>" + c.mode + "<bridge name='tbr0' stp='off'/><ip address='10.77.0.1' prefix='24'/></network>")
		l.start(n)
		shell(t, "echo 1 > /proc/sys/net/ipv4/ip_forward") // another network may have switched it on
		for i, ns := range []string{"ga", "gb"} {
			shell(t, "ip netns add %[1]s && ip link add v%[1]s type veth peer name eth0 netns %[1]s && ip link set v%[1]s master tbr0 up && ip -n %[1]s addr add 10.77.0.%[2]d/24 dev eth0 && ip -n %[1]s link set eth0 up && ip -n %[1]s route add default via 10.77.0.1", ns, 10+i)
		}
		await.Within(t, "the host is reached", 5*time.Second, func() bool { return ping("ga", "10.77.0.1") && ping("gb", "10.77.0.1") })
		for _, p := range []struct {
			what, ns, to string
			want         bool
		}{{"between guests", "ga", "10.77.0.11", c.between}, {"out", "ga", "198.51.100.2", c.out}, {"in", "out", "10.77.0.10", c.in}} {
			if got := ping(p.ns, p.to); got != p.want {
				t.Errorf("%s: %s passes: %v, want %v", c.mode, p.what, got, p.want)
			}
		}
		l.destroy(n)
		shell(t, "ip netns del ga; ip netns del gb")
		await.Within(t, "the guests' links are gone", 5*time.Second, func() bool { return !strings.Contains(tryOutput("ip -br link"), "vg") })
	}
}

// A guest gets an IPv6 address by router advertisement, and one by DHCPv6 would come from the range.
func TestIPv6(t *testing.T) {
	l := newLab(t)
	n := l.define("<network><name>six</name><forward mode='route'/><bridge name='tbr0' stp='off'/><ip family='ipv6' address='fd77::1' prefix='64'/></network>")
	l.start(n)
	defer l.destroy(n)
	l.guest("ga", "tbr0", "52:54:00:77:00:01")
	await.Within(t, "an address by router advertisement", 20*time.Second, func() bool {
		return strings.Contains(tryOutput("ip -n ga -6 addr show dev eth0 scope global"), "fd77::5054:ff:fe77:1/64")
	})
	await.Within(t, "the host is reached by IPv6", 10*time.Second, func() bool { return tryShell("ip netns exec ga busybox ping6 -c1 -W1 fd77::1") == nil })
}
