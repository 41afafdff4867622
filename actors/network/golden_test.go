package network

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"virtree/actors/internal/branchtest"
	"virtree/wire/protocol"
)

// Networks that run look as they do under libvirtd: to clients, on disk, and to dnsmasq.
func TestRunningNetworksAgreeWithLibvirt(t *testing.T) {
	l := newLab(t)
	ar, err := txtar.ParseFile("testdata/live.txtar")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range ar.Files {
		want[f.Name] = strings.TrimSpace(string(f.Data))
	}
	s := &shared{env: l.env}
	for name, doc := range want {
		name, ok := strings.CutSuffix(name, ".in")
		if !ok {
			continue
		}
		n, e := branchtest.Do(l.c, protocol.NetworkCreateXML, &protocol.NetworkCreateXMLArgs{XML: doc})
		if e != nil {
			t.Errorf("%s: %v", name, e)
			continue
		}
		p, e := branchtest.Do(l.c, protocol.NetworkPortCreateXML, &protocol.NetworkPortCreateXMLArgs{Network: n.Net, XML: want[name+".portin"]})
		if e != nil {
			t.Errorf("%s: %v", name, e)
		}
		read := func(path string) string {
			b, err := os.ReadFile(path)
			if err != nil {
				return ""
			}
			text := strings.ReplaceAll(string(b), l.env.Paths.Root+"/", "/")
			var lines []string
			for _, line := range strings.Split(stripComment(text), "\n") {
				if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "user=") && !strings.HasPrefix(line, "  <firewall ") {
					lines = append(lines, line)
				}
			}
			return strings.TrimSpace(strings.Join(lines, "\n"))
		}
		x, _ := branchtest.Do(l.c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: n.Net})
		got := map[string]string{
			".live": x.XML, ".port": l.portXML(p.Port), ".status": read(s.statusPath(name)),
			".conf": read(s.dnsmasqPath(name, ".conf")), ".hostsfile": read(s.dnsmasqPath(name, ".hostsfile")), ".addnhosts": read(s.dnsmasqPath(name, ".addnhosts")),
		}
		for kind, text := range got {
			w := want[name+kind]
			var lines []string
			for _, line := range strings.Split(w, "\n") {
				if !strings.HasPrefix(line, "user=") {
					lines = append(lines, line)
				}
			}
			if diff := cmp.Diff(strings.TrimSpace(strings.Join(lines, "\n")), strings.TrimSpace(text)); diff != "" {
				t.Errorf("%s%s: %s", name, kind, diff)
			}
		}
		l.destroy(n.Net)
	}
}

func stripComment(s string) string {
	a, rest, ok := strings.Cut(s, "<!--")
	if !ok {
		return s
	}
	_, b, _ := strings.Cut(rest, "-->")
	return a + b
}
