package nwfilter

import (
	"strings"
	"testing"
)

// Rules as libvirtd makes them are taken away for the ports that are bound, and for no others.
func TestRulesOfLibvirtdAreReplaced(t *testing.T) {
	l := newLab(t)
	l.start()
	l.define(dropping("x", "0x88b5"))
	l.bind("x", "")
	l.b.Stop()
	for _, port := range []string{"pa", "pab"} {
		mustShell(t, `set -e
for d in I O; do
ebtables -t nat -N libvirt-$d-%[1]s -P ACCEPT; ebtables -t nat -N $d-%[1]s-ipv4 -P ACCEPT
ebtables -t nat -A libvirt-$d-%[1]s -p ipv4 -j $d-%[1]s-ipv4; ebtables -t nat -A libvirt-$d-%[1]s -j DROP
done
ebtables -t nat -A PREROUTING -i %[1]s -j libvirt-I-%[1]s; ebtables -t nat -A POSTROUTING -o %[1]s -j libvirt-O-%[1]s
for t in iptables ip6tables; do
for c in libvirt-in libvirt-out libvirt-in-post libvirt-host-in; do $t -N $c 2>/dev/null || true; done
for c in FI FO HI; do $t -N $c-%[1]s; $t -A $c-%[1]s -j DROP; done
$t -A libvirt-in -m physdev --physdev-in %[1]s -g FI-%[1]s; $t -A libvirt-host-in -m physdev --physdev-in %[1]s -g HI-%[1]s
$t -A libvirt-out -m physdev --physdev-is-bridged --physdev-out %[1]s -g FO-%[1]s; $t -A libvirt-in-post -m physdev --physdev-in %[1]s -j ACCEPT
done`, port)
	}
	if l.passes(0x88b4) {
		t.Fatal("the test is wrong")
	}
	l.start()
	if !l.passes(0x88b4) || l.passes(0x88b5) {
		t.Error("libvirtd's rules are still in force, or ours are not")
	}
	left := mustShell(t, "ebtables-save; iptables-save; ip6tables-save")
	for _, word := range strings.Fields(left) {
		if strings.HasSuffix(strings.TrimSuffix(word, "-ipv4"), "-pa") || word == "pa" {
			t.Errorf("%s is left in\n%s", word, left)
		}
	}
	for _, kept := range []string{"-A PREROUTING -i pab -j libvirt-I-pab", "-A libvirt-in -m physdev --physdev-in pab -g FI-pab", "-A libvirt-in-post -m physdev --physdev-in pab -j ACCEPT"} {
		if !strings.Contains(left, kept) {
			t.Errorf("no %s in\n%s", kept, left)
		}
	}
}
