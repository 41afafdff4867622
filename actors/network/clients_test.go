package network

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/protocol"
)

func tryShell(line string) error { return exec.Command("sh", "-c", line).Run() }

func tryOutput(line string) string {
	out, _ := exec.Command("sh", "-c", line).CombinedOutput()
	return string(out)
}

// portDoc is the document of a new port.
func portDoc(mac, more string) string {
	return "<networkport><uuid>" + newUUID().String() + "</uuid><owner><name>guest</name><uuid>0f0f0f0f-0000-4000-8000-0000000000bb</uuid></owner><mac address='" + mac + "'/>" + more + "</networkport>"
}

// port makes a port on a network.
func (l *lab) port(n protocol.Network, mac, more string) protocol.NetworkPort {
	l.t.Helper()
	p, err := branchtest.Do(l.c, protocol.NetworkPortCreateXML, &protocol.NetworkPortCreateXMLArgs{Network: n, XML: portDoc(mac, more)})
	if err != nil {
		l.t.Fatal(err)
	}
	return p.Port
}

// dhcp gets a lease for a namespace by the DHCP client that is there.
func dhcp(t *testing.T, ns string) {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr add $ip/$mask dev $interface\n[ -n \"$router\" ] && ip route add default via $router\nexit 0\n"), 0o755))
	shell(t, "ip netns exec %s busybox udhcpc -n -q -f -t 10 -T 1 -i eth0 -s %s 2>&1", ns, script)
}

// lookup asks a DNS server for an address from within a namespace.
func lookup(t *testing.T, ns, server, name string) string {
	t.Helper()
	out := tryOutput("ip netns exec " + ns + " busybox nslookup -type=a " + name + " " + server)
	_, answer, _ := strings.Cut(out, "Name:")
	for _, l := range strings.Split(answer, "\n") {
		if a, ok := strings.CutPrefix(l, "Address: "); ok {
			return strings.TrimSpace(a)
		}
		if a, ok := strings.CutPrefix(l, "Address 1: "); ok {
			return strings.Fields(a)[0]
		}
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
