package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/metrics"
	"virtree/wire/protocol"
)

// TestOneBadGuestCostsItsOwnFigures has two real QEMUs, one of which is stopped.
func TestOneBadGuestCostsItsOwnFigures(t *testing.T) {
	g := newGuests(t)
	disk := func(name string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		return `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='` + path + `'/><target dev='vda' bus='virtio'/></disk>`
	}
	g.create("well", disk("well"))
	sick := g.create("sick", disk("sick"))
	if _, err := branchtest.Do(g.c, protocol.DomainDefineXML, &protocol.DomainDefineXMLArgs{XML: `<domain type='qemu'><name>off</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>`}); err != nil {
		t.Fatal(err)
	}
	scrape := func() string {
		p := metrics.NewPage("d")
		g.figures.Write(p)
		return string(p.Bytes())
	}
	until := func(what string, lines ...string) string {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			page, missing := scrape(), ""
			for _, l := range lines {
				if !strings.Contains(page, l) {
					missing = l
				}
			}
			if missing == "" {
				return page
			}
			if time.Now().After(end) {
				t.Fatalf("%s: no %s in\n%s", what, missing, page)
			}
			g.b.Root().Send(g.b.PID, &sampleDue{})
		}
	}
	page := until("both answer",
		`virtree_domains{daemon="d",state="running"} 2`, `virtree_domains{daemon="d",state="shutoff"} 1`,
		`virtree_domain_vcpus{daemon="d",domain="well"} 1`, `virtree_domain_memory_bytes{daemon="d",domain="sick"} 33554432`,
		`virtree_domain_block_reads_total{daemon="d",device="vda",domain="well"}`, `virtree_domain_block_reads_total{daemon="d",device="vda",domain="sick"}`,
		`virtree_domain_cpu_seconds_total{daemon="d",domain="sick"} `, `virtree_domain_memory_resident_bytes{daemon="d",domain="well"} `)
	if strings.Contains(page, `domain="off"`) {
		t.Error("a domain that does not run has figures")
	}

	pid := g.pid("sick")
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGCONT) })
	page = until("one is stopped", `virtree_domain_monitor_up{daemon="d",domain="sick"} 0`, `virtree_domain_monitor_up{daemon="d",domain="well"} 1`,
		`virtree_domain_block_reads_total{daemon="d",device="vda",domain="well"}`, `virtree_domain_cpu_seconds_total{daemon="d",domain="sick"} `)
	if strings.Contains(page, `device="vda",domain="sick"`) {
		t.Error("disks of a guest that did not answer")
	}
	for range 3 { // and is left alone
		g.b.Root().Send(g.b.PID, &sampleDue{})
		began := time.Now()
		scrape()
		if took := time.Since(began); took > samplePatience {
			t.Errorf("a scrape took %v", took)
		}
	}
	// Nor does sampling take a turn in the guest's queue: destroying it needs none, what asks nobody is answered.
	if _, err := branchtest.Do(g.c, protocol.DomainGetXMLDesc, &protocol.DomainGetXMLDescArgs{Dom: sick}); err != nil {
		t.Error(err)
	}
	_ = unix.Kill(pid, unix.SIGCONT)
	until("it goes on", `virtree_domain_monitor_up{daemon="d",domain="sick"} 1`, `virtree_domain_block_reads_total{daemon="d",device="vda",domain="sick"}`)
}

func TestLinksAreReadAllAtOnce(t *testing.T) {
	all := allLinkStats()
	lo, ok := all["lo"]
	if !ok {
		t.Fatalf("no loopback among %d links", len(all))
	}
	one, err := readLinkStats("lo", false)
	if err != nil || one.bytes[0] < lo.bytes[0] {
		t.Errorf("%v, %v; all at once: %v", one, err, lo)
	}
	turned := lo
	turned.swap()
	if turned.bytes[0] != lo.bytes[1] || turned.drop[1] != lo.drop[0] {
		t.Error("the directions are not swapped")
	}
}
