package network

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// fakeSRIOV makes a sysfs with a physical function pf0 that has n virtual functions, of which the even ones have links. This
// machine has no such device.
func fakeSRIOV(t *testing.T, n int) string {
	sys := t.TempDir()
	pf := filepath.Join(sys, "devices/pci0000:00/0000:03:00.0")
	must(t, os.MkdirAll(filepath.Join(pf, "net/pf0"), 0o755))
	must(t, os.MkdirAll(filepath.Join(sys, "class/net"), 0o755))
	must(t, os.MkdirAll(filepath.Join(sys, "bus/pci/devices"), 0o755))
	must(t, os.Symlink(filepath.Join(pf, "net/pf0"), filepath.Join(sys, "class/net/pf0")))
	must(t, os.Symlink(pf, filepath.Join(pf, "net/pf0/device")))
	for i := range n {
		addr := fmt.Sprintf("0000:03:%02x.%x", 1+i/8, i%8)
		vf := filepath.Join(sys, "devices/pci0000:00", addr)
		must(t, os.MkdirAll(vf, 0o755))
		if i%2 == 0 {
			must(t, os.MkdirAll(filepath.Join(vf, "net", fmt.Sprintf("vf%d", i)), 0o755))
		}
		must(t, os.Symlink(pf, filepath.Join(vf, "physfn")))
		must(t, os.Symlink("../"+addr, filepath.Join(pf, fmt.Sprintf("virtfn%d", i))))
		must(t, os.Symlink(vf, filepath.Join(sys, "bus/pci/devices", addr)))
	}
	return sys
}

// Virtual functions of a physical one, or of a list, are given out one to a port, come back with it, and are remembered by a
// daemon that restarts.
func TestSRIOV(t *testing.T) {
	l := newLab(t)
	sys := fakeSRIOV(t, 12)
	restart := func() {
		l.b.Stop()
		l.b = branchtest.Start(t, newDriver(l.env, sys))
		l.c = l.b.Client()
	}
	restart()
	plugOf := func(text string) string { return between(text, "<address ", "/>") }
	n := l.define("<network><name>sr</name><forward mode='hostdev' managed='yes'><driver name='vfio'/><pf dev='pf0'/></forward></network>")
	l.start(n)
	x, err := branchtest.Do(l.c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: n})
	if err != nil || strings.Count(x.XML, "<address type='pci'") != 12 || !strings.Contains(x.XML, "<pf dev='pf0'/>") {
		t.Fatal(x, err)
	}
	var ports []protocol.NetworkPort
	for i := range 12 {
		p := l.port(n, fmt.Sprintf("52:54:00:77:01:%02x", i), "")
		ports = append(ports, p)
		want := fmt.Sprintf("domain='0x0000' bus='0x03' slot='0x%02x' function='0x%x'", 1+i/8, i%8)
		if text := l.portXML(p); plugOf(text) != want || !strings.Contains(text, "<plug type='hostdev-pci' managed='yes'>") || !strings.Contains(text, "<driver name='vfio'/>") {
			t.Errorf("port %d: %s, want %s", i, text, want)
		}
	}
	full := &protocol.NetworkPortCreateXMLArgs{Network: n, XML: portDoc("52:54:00:77:02:00", "")}
	branchtest.Fails(l.c, protocol.NetworkPortCreateXML, full, from, liberr.InternalError, "internal error: network 'sr' requires exclusive access to interfaces, but none are available")
	restart()
	branchtest.Fails(l.c, protocol.NetworkPortCreateXML, full, from, liberr.InternalError, "internal error: network 'sr' requires exclusive access to interfaces, but none are available")
	if _, err := branchtest.Do(l.c, protocol.NetworkPortDelete, &protocol.NetworkPortDeleteArgs{Port: ports[9]}); err != nil {
		t.Fatal(err)
	}
	if text := l.portXML(l.port(n, "52:54:00:77:02:00", "")); plugOf(text) != "domain='0x0000' bus='0x03' slot='0x02' function='0x1'" {
		t.Error("not the one that was given back:", text)
	}
	l.destroy(n)

	listed := l.define("<network><name>list</name><forward mode='hostdev'><address type='pci' domain='0' bus='3' slot='1' function='5'/></forward></network>")
	l.start(listed)
	p := l.port(listed, "52:54:00:77:02:01", "")
	if plugOf(l.portXML(p)) != "domain='0x0000' bus='0x03' slot='0x01' function='0x5'" {
		t.Error(l.portXML(p))
	}
	l.destroy(listed)
	branchtest.Fails(l.c, protocol.NetworkDefineXML, &protocol.NetworkDefineXMLArgs{XML: "<network><name>bad</name><forward mode='hostdev'><address type='pci' domain='0' bus='3' slot='0' function='0'/></forward></network>"},
		from, liberr.ConfigUnsupported, "unsupported configuration: device '/sys/bus/pci/devices/0000:03:00.0' in network 'bad' is not an SR-IOV Virtual Function")

	through := l.define("<network><name>pass</name><forward mode='passthrough'><pf dev='pf0'/></forward></network>")
	l.start(through)
	for i := 0; i < 12; i += 2 {
		if text := l.portXML(l.port(through, fmt.Sprintf("52:54:00:77:03:%02x", i), "")); !strings.Contains(text, fmt.Sprintf("<plug type='direct' dev='vf%d' mode='passthrough'/>", i)) {
			t.Error(text)
		}
	}
	branchtest.Fails(l.c, protocol.NetworkPortCreateXML, &protocol.NetworkPortCreateXMLArgs{Network: through, XML: portDoc("52:54:00:77:02:00", "")},
		from, liberr.InternalError, "internal error: network 'pass' requires exclusive access to interfaces, but none are available")
	if x, err := branchtest.Do(l.c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: through}); err != nil || strings.Count(x.XML, " connections='1'/>") != 6 || !strings.Contains(x.XML, "<network connections='6'>") {
		t.Error(x, err)
	}
	l.destroy(through)
}
