package network

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (l *lab) update(n protocol.Network, command, section uint32, doc string, flags uint32) *liberr.Error {
	_, err := branchtest.Do(l.c, protocol.NetworkUpdate, &protocol.NetworkUpdateArgs{Net: n, Command: command, Section: section, ParentIndex: -1, XML: doc, Flags: flags})
	return err
}

// A running network takes new hosts, names and ranges at once, and keeps them in its configuration.
func TestUpdateOfARunningNetwork(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.start(n)
	defer l.destroy(n)
	const both = virt.NetworkUpdateAffectLive | virt.NetworkUpdateAffectConfig
	s := &shared{env: l.env}
	pid := func() string { b, _ := os.ReadFile(s.runPath("nat", ".pid")); return string(b) }
	first := pid()
	for _, u := range []struct {
		section uint32
		doc     string
	}{
		{virt.NetworkSectionIPDHCPHost, "<host mac='52:54:00:77:00:02' ip='10.77.0.8'/>"},
		{virt.NetworkSectionDNSHost, "<host ip='10.77.0.99'><hostname>scanner</hostname></host>"},
	} {
		if err := l.update(n, updateAddLast, u.section, u.doc, both); err != nil {
			t.Fatal(err)
		}
	}
	if pid() != first {
		t.Error("dnsmasq was restarted for what it can read again")
	}
	if err := l.update(n, updateAddLast, virt.NetworkSectionDNSTxt, "<txt name='x' value='y'/>", both); err != nil {
		t.Fatal(err)
	}
	if pid() == first {
		t.Error("dnsmasq was not restarted for what it reads at its start only")
	}
	l.guest("ga", "tbr0", "52:54:00:77:00:02")
	dhcp(t, "ga")
	if got := shell(t, "ip -n ga -4 -br addr show eth0"); !strings.Contains(got, "10.77.0.8/24") {
		t.Error("the new host entry was not obeyed:", got)
	}
	await.Within(t, "the new name is known", 5*time.Second, func() bool { return lookup(t, "ga", "10.77.0.1", "scanner") == "10.77.0.99" })
	for _, flags := range []uint32{0, virt.NetworkXMLInactive} {
		x, err := branchtest.Do(l.c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: n, Flags: flags})
		if err != nil || !strings.Contains(x.XML, "scanner") || !strings.Contains(x.XML, "10.77.0.8") || !strings.Contains(x.XML, "<txt name='x' value='y'/>") {
			t.Error(flags, x.XML, err)
		}
	}
	if err := l.update(n, updateAddLast, virt.NetworkSectionDNSTxt, "<txt name='x' value='y'/>", both); err == nil || err.Code != liberr.OperationInvalid {
		t.Error(err)
	}
	if stored, err := os.ReadFile(s.configPath("nat")); err != nil || strings.Count(string(stored), "<txt name='x'") != 1 {
		t.Error(string(stored), err)
	}
}

// The hook sees every step with the network's document; one that fails at the start keeps the network from starting.
func TestHooks(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	hook := l.env.Paths.Hook("network")
	log := filepath.Join(t.TempDir(), "log")
	must(t, os.MkdirAll(filepath.Dir(hook), 0o755))
	must(t, os.WriteFile(hook, []byte("#!/bin/sh\necho \"$@ $(grep -c '<networkport>\\|<network>')\" >> "+log+"\n[ ! -e "+log+".fail ]\n"), 0o755))
	must(t, os.WriteFile(log+".fail", nil, 0o644))
	_, err := branchtest.Do(l.c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: n})
	if err == nil || err.Code != liberr.HookScriptFailed {
		t.Error(err)
	}
	nothingLeft(t)
	must(t, os.Remove(log+".fail"))
	must(t, os.Remove(log))
	l.start(n)
	p := l.port(n, "52:54:00:77:00:05", "")
	if _, err := branchtest.Do(l.c, protocol.NetworkPortDelete, &protocol.NetworkPortDeleteArgs{Port: p}); err != nil {
		t.Error(err)
	}
	if err := l.update(n, updateAddLast, virt.NetworkSectionDNSHost, "<host ip='10.77.0.99'><hostname>s</hostname></host>", virt.NetworkUpdateAffectLive); err != nil {
		t.Error(err)
	}
	l.destroy(n)
	got, _ := os.ReadFile(log)
	want := "nat start begin - 1\nnat started begin - 1\nnat port-created begin - 2\nnat port-deleted begin - 2\nnat updated begin - 1\nnat stopped end - 1\n"
	if string(got) != want {
		t.Errorf("the hook saw\n%swant\n%s", got, want)
	}
}

func TestMetadata(t *testing.T) {
	l := newLab(t)
	n := l.define("<network><name>m</name></network>")
	l.c.Event()
	uri, key := "http://x", "k"
	set := func(typ int32, text *string) {
		t.Helper()
		if _, err := branchtest.Do(l.c, protocol.NetworkSetMetadata, &protocol.NetworkSetMetadataArgs{Network: n, Type: typ, Metadata: text, Key: &key, URI: &uri}); err != nil {
			t.Error(err)
		}
		if ev := l.c.Event(); ev.ID != eventMetadataChange || ev.UUID != n.UUID {
			t.Errorf("event %+v", ev)
		}
	}
	get := func(typ int32) string {
		r, err := branchtest.Do(l.c, protocol.NetworkGetMetadata, &protocol.NetworkGetMetadataArgs{Network: n, Type: typ, URI: &uri})
		if err != nil {
			return err.Message
		}
		return r.Metadata
	}
	set(virt.DomainMetadataTitle, new("a title"))
	set(virt.DomainMetadataDescription, new("two\nlines"))
	set(virt.DomainMetadataElement, new("<app><v a='1'>text</v></app>"))
	for typ, want := range []string{"two\nlines", "a title", "<app>\n  <v a=\"1\">text</v>\n</app>"} {
		if got := get(int32(typ)); got != want {
			t.Errorf("type %d: %q, want %q", typ, got, want)
		}
	}
	l.b.Stop()
	l.b = branchtest.Start(t, New(l.env))
	l.c = l.b.Client()
	if got := get(virt.DomainMetadataTitle); got != "a title" {
		t.Error("after a restart:", got)
	}
	set(virt.DomainMetadataElement, nil)
	if got := get(virt.DomainMetadataElement); got != "metadata not found: Requested metadata element is not present" {
		t.Error(got)
	}
}

// Many networks are listed fast, whatever they do.
func TestManyNetworks(t *testing.T) {
	l := newLab(t)
	for i := range 200 {
		l.define("<network><name>n" + utoa(uint64(i)) + "</name></network>")
	}
	begin := time.Now()
	all, err := branchtest.Do(l.c, protocol.ConnectListAllNetworks, &protocol.ConnectListAllNetworksArgs{NeedResults: 1})
	if took := time.Since(begin); err != nil || len(all.Nets) != 200 || took > 100*time.Millisecond {
		t.Error(len(all.Nets), err, took)
	}
}
