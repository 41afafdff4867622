package network

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branchtest"
	"virtree/wire/protocol"
)

// A guest is told what to boot, and gets it by TFTP; it hears the network's MTU, and of static routes the host's own kernel.
func TestNetworkBoot(t *testing.T) {
	l := newLab(t)
	root := filepath.Join(filepath.Dir(l.env.Paths.Root), "tftp")
	must(t, os.MkdirAll(root, 0o755))
	must(t, os.WriteFile(filepath.Join(root, "boot.img"), []byte("the boot loader"), 0o644))
	n := l.define("<network><name>pxe</name><bridge name='tbr0' stp='off' delay='0'/><mtu size='1400'/><ip address='10.77.0.1' prefix='24'><tftp root='" + root + "'/>" +
		"<dhcp><range start='10.77.0.50' end='10.77.0.60'/><bootp file='boot.img'/></dhcp></ip><route address='10.90.0.0' prefix='16' gateway='10.77.0.2' metric='5'/></network>")
	l.start(n)
	defer l.destroy(n)
	if out := shell(t, "ip link show tbr0; ip route show dev tbr0"); !strings.Contains(out, "mtu 1400") || !strings.Contains(out, "10.90.0.0/16 via 10.77.0.2 metric 5") {
		t.Error(out)
	}
	run := l.guest("ga", "tbr0", "52:54:00:77:00:01")
	script := filepath.Join(t.TempDir(), "script")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr add $ip/$mask dev $interface\necho boot=$boot_file mtu=$mtu > "+script+".out\n"), 0o755))
	run("busybox udhcpc -n -q -f -t 10 -T 1 -O mtu -O bootfile -i eth0 -s %s 2>&1", script)
	if out, _ := os.ReadFile(script + ".out"); string(out) != "boot=boot.img mtu=1400\n" {
		t.Errorf("the guest heard %q", out)
	}
	run("busybox tftp -g -r boot.img -l %s.img 10.77.0.1", script)
	if out, _ := os.ReadFile(script + ".img"); string(out) != "the boot loader" {
		t.Errorf("the guest loaded %q", out)
	}
}

// DHCPv6 gives addresses of its range, and the lease is listed with the identifiers that such leases have.
func TestDHCPv6(t *testing.T) {
	l := newLab(t)
	if tryShell("command -v dhclient") != nil {
		t.Skip("needs dhclient (Debian: isc-dhcp-client)")
	}
	n := l.define("<network><name>six</name><forward mode='route'/><bridge name='tbr0' stp='off'/><ip family='ipv6' address='fd77::1' prefix='64'><dhcp><range start='fd77::100' end='fd77::1ff'/></dhcp></ip></network>")
	l.start(n)
	defer l.destroy(n)
	run := l.guest("ga", "tbr0", "52:54:00:77:00:01")
	await.Within(t, "the link-local address is ready", 20*time.Second, func() bool {
		out := tryOutput("ip -n ga -6 addr show dev eth0")
		return strings.Contains(out, "fe80::") && !strings.Contains(out, "tentative")
	})
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\n[ \"$reason\" = BOUND6 ] && ip -6 addr add $new_ip6_address/128 dev $interface\nexit 0\n"), 0o755))
	run("timeout 30 dhclient -6 -1 -v -sf %[1]s -lf %[2]s/leases -pf %[2]s/pid eth0 2>&1", script, dir)
	defer tryShell("kill $(cat " + dir + "/pid)")
	if out := tryOutput("ip -n ga -6 addr show dev eth0 scope global"); !strings.Contains(out, "fd77::1") {
		t.Error(out)
	}
	await.Within(t, "the lease is listed", 20*time.Second, func() bool {
		ret, err := branchtest.Do(l.c, protocol.NetworkGetDHCPLeases, &protocol.NetworkGetDHCPLeasesArgs{Net: n, NeedResults: 1})
		return err == nil && len(ret.Leases) == 1 && strings.HasPrefix(ret.Leases[0].Ipaddr, "fd77::1") && ret.Leases[0].Type == 1 && ret.Leases[0].Prefix == 64 && ret.Leases[0].Iaid != nil && ret.Leases[0].Clientid != nil
	})
}
