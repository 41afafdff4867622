package network

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/await"
	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/virt"
)

func (l *lab) shared() *shared {
	return &shared{env: l.env, sys: "/sys", firewall: nftablesBackend{}}
}

func (l *lab) dnsmasq(name string) int {
	s := l.shared()
	p := findProcess(s.runPath(name, ".pid"), s.dnsmasqPath(name, ".conf"))
	if p == nil {
		return 0
	}
	defer p.close()
	return p.pid
}

func (l *lab) active(n protocol.Network) bool {
	l.t.Helper()
	a, err := branchtest.Do(l.c, protocol.NetworkIsActive, &protocol.NetworkIsActiveArgs{Net: n})
	if err != nil {
		l.t.Error(err)
		return false
	}
	return a.Active == 1
}

// A dnsmasq that hangs keeps nobody waiting but the one who stops its network, and that one not for ever.
func TestHungDnsmasq(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.start(n)
	pid := l.dnsmasq("nat")
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	gone := l.b.Client()
	done := make(chan *liberr.Error, 1)
	go func() {
		_, err := branchtest.Do(gone, protocol.NetworkDestroy, &protocol.NetworkDestroyArgs{Net: n})
		done <- err
	}()
	for range 50 { // while it is being stopped
		begin := time.Now()
		l.active(n)
		if x, err := branchtest.Do(l.c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: n}); err != nil || !strings.Contains(x.XML, "tbr0") {
			t.Error(x, err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Fatal("reads wait for dnsmasq:", took)
		}
	}
	other := l.define("<network><name>other</name><bridge name='tbr9'/></network>")
	l.start(other)
	l.destroy(other)
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the network is not stopped")
	}
	nothingLeft(t)
}

// A bridge that somebody deletes is no reason not to stop the network, and not to start it again.
func TestBridgeIsDeletedByHand(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.start(n)
	shell(t, "ip link del tbr0")
	l.destroy(n)
	nothingLeft(t)
	l.start(n)
	shell(t, "ip link del tbr0")
	l.b.Stop()
	l.b = branchtest.Start(t, New(l.env))
	l.c = l.b.Client()
	if l.active(n) {
		t.Error("a network without a bridge is active")
	}
	nothingLeft(t)
	l.start(n)
	l.destroy(n)
}

// cutOff runs a start that ends after so many of its steps as if its process had died: nothing is undone.
func TestStartIsCutOff(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	def := l.stored("nat")
	for _, steps := range []string{"marker", "bridge", "firewall", "dnsmasq without a pid file", "all but the status", "status"} {
		l.b.Stop()
		s := l.shared()
		st := newStatus(def)
		st.backend = s.firewall.name()
		mark, err := s.markStart(context.Background(), st)
		must(t, err)
		undo := &kit.Undo{}
		if steps != "marker" {
			must(t, createBridge(def))
		}
		switch steps {
		case "firewall":
			must(t, s.firewall.apply(context.Background(), nil, def))
		case "dnsmasq without a pid file", "all but the status", "status":
			shell(t, "ip link del tbr0")
			_, err := s.bringUpBridge(context.Background(), undo, def)
			must(t, err)
			if steps == "dnsmasq without a pid file" {
				must(t, os.Remove(s.runPath("nat", ".pid")))
			}
			if steps == "status" {
				must(t, s.storeStatus(st))
			}
		}
		must(t, mark.file.Close()) // what the end of the process does
		l.b = branchtest.Start(t, New(l.env))
		l.c = l.b.Client()
		if got, want := l.active(n), steps == "status"; got != want {
			t.Errorf("cut off behind %s: active %v", steps, got)
		}
		if left, _ := filepath.Glob(s.runPath("*", ".starting")); left != nil {
			t.Error("markers are left:", left)
		}
		if steps == "status" {
			l.destroy(n)
		}
		nothingLeft(t)
		l.start(n)
		l.destroy(n)
	}
	// A bridge of somebody else's, which the start was about to be refused for, stays.
	l.b.Stop()
	shell(t, "ip link add tbr0 address 52:54:00:11:11:11 type bridge")
	s := l.shared()
	mark, err := s.markStart(context.Background(), newStatus(def))
	must(t, err)
	must(t, mark.file.Close())
	l.b = branchtest.Start(t, New(l.env))
	l.c = l.b.Client()
	l.active(n)
	shell(t, "ip link del tbr0") // fails when it is gone
}

func (l *lab) stored(name string) *definition {
	l.t.Helper()
	text, err := os.ReadFile(l.shared().configPath(name))
	must(l.t, err)
	def, err := parse(string(text))
	must(l.t, err)
	return def
}

// A start waits for what an earlier one still undoes.
func TestStartWaitsForTheEndOfAnother(t *testing.T) {
	l := newLab(t)
	n := l.define("<network><name>w</name><bridge name='tbr0'/></network>")
	s := l.shared()
	mark, err := s.markStart(context.Background(), newStatus(l.stored("w")))
	must(t, err)
	done := make(chan *liberr.Error, 1)
	go func() {
		_, err := branchtest.Do(l.b.Client(), protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: n})
		done <- err
	}()
	select {
	case err := <-done:
		t.Error("it did not wait:", err)
	case <-time.After(200 * time.Millisecond):
	}
	mark.remove()
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.destroy(n)
}

// An update that was cut off leaves dnsmasq with other files than the network; the next start of the daemon brings it back.
func TestUpdateIsCutOff(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.start(n)
	defer l.destroy(n)
	restart := func() {
		t.Helper()
		l.b.Stop()
		l.b = branchtest.Start(t, New(l.env))
		l.c = l.b.Client()
		if !l.active(n) {
			t.Error("the network is not active")
		}
	}
	first := l.dnsmasq("nat")
	restart()
	if l.dnsmasq("nat") != first {
		t.Error("dnsmasq was restarted for nothing")
	}
	s := l.shared()
	def := l.stored("nat").clone()
	def.dns.hosts = append(def.dns.hosts, dnsHost{names: []string{"ghost"}})
	def.dns.hosts[len(def.dns.hosts)-1].ip = def.ips[0].address
	must(t, s.writeDnsmasq(def))
	restart()
	if text, _ := os.ReadFile(s.dnsmasqPath("nat", ".addnhosts")); strings.Contains(string(text), "ghost") || l.dnsmasq("nat") != first {
		t.Error("dnsmasq's names are not the network's:", string(text))
	}
	def.dns.txts = append(def.dns.txts, txt{"ghost", "x"})
	must(t, s.writeDnsmasq(def))
	restart()
	if text, _ := os.ReadFile(s.dnsmasqPath("nat", ".conf")); strings.Contains(string(text), "ghost") || l.dnsmasq("nat") == first || l.dnsmasq("nat") == 0 {
		t.Error("dnsmasq's configuration is not the network's:", string(text))
	}
}

// A change of a port that was cut off: what the ports' files say holds.
func TestPortIsCutOff(t *testing.T) {
	l := newLab(t)
	n := l.define("<network><name>q</name><bridge name='tbr0'/><bandwidth><inbound average='1000'/></bandwidth></network>")
	l.start(n)
	defer l.destroy(n)
	p := l.port(n, "52:54:00:77:00:01", "<bandwidth><inbound floor='300'/></bandwidth>")
	q := l.port(n, "52:54:00:77:00:02", "<bandwidth><inbound floor='400'/></bandwidth>")
	l.b.Stop()
	must(t, os.Remove(l.shared().portPath("q", p.UUID)))
	l.b = branchtest.Start(t, New(l.env))
	l.c = l.b.Client()
	if x := l.portXML(q); !strings.Contains(x, "floor='400'") {
		t.Error(x)
	}
	if out := shell(t, "tc class show dev tbr0"); strings.Contains(out, "1:3 ") || !strings.Contains(out, "class htb 1:4 parent 1:1 prio 0 rate 3200Kbit") || !strings.Contains(out, "rate 4800Kbit") {
		t.Error(out)
	}
	l.port(n, "52:54:00:77:00:03", "<bandwidth><inbound floor='600'/></bandwidth>")
}

// With a full disk everything is refused, nothing is lost, and nothing half-made stays.
func TestFullDisk(t *testing.T) {
	l := newLab(t)
	n := l.define(natDoc)
	l.b.Stop()
	s := l.shared()
	fill := func(dir string) (free func()) {
		t.Helper()
		must(t, os.MkdirAll(dir, 0o755))
		old := t.TempDir()
		shell(t, "cp -a %s/. %s/", dir, old)
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=755"))
		shell(t, "cp -a %s/. %s/", old, dir)
		shell(t, "dd if=/dev/zero of=%s/ballast bs=4k 2>/dev/null; true", dir)
		return func() {
			t.Helper()
			must(t, os.Remove(filepath.Join(dir, "ballast")))
		}
	}
	restart := func() {
		l.b = branchtest.Start(t, New(l.env))
		l.c = l.b.Client()
	}
	const both = virt.NetworkUpdateAffectLive | virt.NetworkUpdateAffectConfig
	const txtDoc = "<txt name='full' value='disk'/>"
	for _, dir := range []string{s.dnsmasqDir(), l.env.Paths.DriverRun("network")} {
		free := fill(dir)
		restart()
		if _, err := branchtest.Do(l.c, protocol.NetworkCreate, &protocol.NetworkCreateArgs{Net: n}); err == nil || err.Code != liberr.SystemError || !strings.Contains(err.Message, "No space left on device") && !strings.Contains(err.Message, "no space left on device") {
			t.Error(dir, err)
		}
		if l.active(n) {
			t.Error("the network is active")
		}
		free()
		nothingLeft(t)
		l.start(n)
		before := l.dnsmasq("nat")
		shell(t, "dd if=/dev/zero of=%s/ballast bs=4k 2>/dev/null; true", dir)
		if err := l.update(n, updateAddLast, virt.NetworkSectionDNSTxt, txtDoc, both); err == nil {
			t.Error("an update is stored where there is no room")
		}
		x, err := branchtest.Do(l.c, protocol.NetworkGetXMLDesc, &protocol.NetworkGetXMLDescArgs{Net: n})
		if err != nil || strings.Contains(x.XML, "full") {
			t.Error(x, err)
		}
		free()
		await.Within(t, "dnsmasq runs again", 20*time.Second, func() bool { return l.dnsmasq("nat") != 0 })
		_ = before
		if conf, _ := os.ReadFile(s.dnsmasqPath("nat", ".conf")); strings.Contains(string(conf), "full") {
			t.Error("the refused update is in dnsmasq's configuration")
		}
		if err := l.update(n, updateAddLast, virt.NetworkSectionDNSTxt, txtDoc, virt.NetworkUpdateAffectLive); err != nil {
			t.Error(err)
		}
		l.destroy(n)
		l.b.Stop()
		must(t, unix.Unmount(dir, unix.MNT_DETACH))
	}
	free := fill(l.env.Paths.DriverConfig("network"))
	restart()
	if _, err := branchtest.Do(l.c, protocol.NetworkDefineXML, &protocol.NetworkDefineXMLArgs{XML: "<network><name>more</name></network>"}); err == nil {
		t.Error("a definition is stored where there is no room")
	}
	branchtest.Fails(l.c, protocol.NetworkLookupByName, &protocol.NetworkLookupByNameArgs{Name: "more"}, from, liberr.NoNetwork, "")
	if err := l.update(n, updateAddLast, virt.NetworkSectionDNSTxt, txtDoc, virt.NetworkUpdateAffectConfig); err == nil {
		t.Error("an update is stored where there is no room")
	}
	if l.stored("nat").name != "nat" {
		t.Error("the old definition is lost")
	}
	free()
	l.define("<network><name>more</name></network>")
	l.b.Stop()
	must(t, unix.Unmount(l.env.Paths.DriverConfig("network"), unix.MNT_DETACH))
	restart()
}
