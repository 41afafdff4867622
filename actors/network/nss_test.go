package network

import (
	"os"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/await"

	"golang.org/x/sys/unix"
)

// libvirt's NSS modules find guests by the files that we write: by the name that they told the DHCP server, and by that of the
// domain.
func TestNSSModulesReadOurFiles(t *testing.T) {
	l := newLab(t)
	found := false
	for _, dir := range []string{"/lib", "/usr/lib", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib64"} {
		_, err := os.Stat(dir + "/libnss_libvirt.so.2")
		found = found || err == nil
	}
	if !found {
		t.Skip("needs libvirt's NSS modules (Debian: libnss-libvirt)")
	}
	n := l.define(natDoc)
	l.start(n)
	defer l.destroy(n)
	l.port(n, "52:54:00:77:00:01", "") // of the domain "guest"
	l.guest("ga", "tbr0", "52:54:00:77:00:01")
	dhcp(t, "ga")
	const fixed = "/var/lib/libvirt/dnsmasq" // the modules know no other
	must(t, os.MkdirAll(fixed, 0o755))
	must(t, unix.Mount(l.shared().dnsmasqDir(), fixed, "", unix.MS_BIND, ""))
	defer func() { must(t, unix.Unmount(fixed, unix.MNT_DETACH)) }()
	for _, c := range [][2]string{{"libvirt", "fixed"}, {"libvirt_guest", "guest"}} {
		// dnsmasq tells of a lease when it has given it.
		await.Within(t, "module "+c[0]+" finds "+c[1], 20*time.Second, func() bool {
			return strings.HasPrefix(tryOutput("getent -s hosts:"+c[0]+" ahostsv4 "+c[1]), "10.77.0.7 ")
		})
		if out := tryOutput("getent -s hosts:" + c[0] + " ahostsv4 nobody"); out != "" {
			t.Errorf("module %s finds nobody: %q", c[0], out)
		}
	}
}
