package actors

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/kit"
	"virtree/actors/qemu/sample"
	"virtree/supervisors"
	"virtree/supervisors/paths"
	"virtree/wire/remoting"
)

// scraped is a process with a branch of n objects that can be scraped, of a tree below root.
func scraped(t testing.TB, root, name string, k kind, n int) *daemon {
	t.Helper()
	log := zerolog.New(io.Discard)
	d := &daemon{kind: k, name: name, paths: paths.System(root), log: log, system: kit.NewSystem("", log)}
	if err := d.paths.Prepare(); err != nil {
		t.Fatal(err)
	}
	node, err := remoting.Start(d.system, remoting.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	d.node = node
	ready := make(chan struct{})
	d.tree, err = supervisors.Start(d.system, supervisors.Options{
		Spec: supervisors.Spec{{Name: "b", Autostart: true}}, Log: log, Props: kit.PropsOptions(), Observer: kit.Observe(d.system),
		New: func(supervisors.Branch) (*actor.Props, error) {
			return kit.Func(func(c actor.Context) {
				if _, ok := c.Message().(*actor.Started); ok {
					children := supervisors.NewChildren(supervisors.Config{Log: log})
					for i := range n {
						_, _ = children.Start(c, supervisors.Child{Name: fmt.Sprintf("object-%d", i), Props: kit.Func(func(actor.Context) {})})
					}
					close(ready)
				}
			}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-ready
	if err := d.startInspector(); err != nil {
		t.Fatal(err)
	}
	if err := d.scraper.listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.scraper.close()
		node.Close(context.Background())
	})
	return d
}

// guests enters a cache that holds n synthetic guests, with two disks and an interface each.
func (d *daemon) guests(n int) {
	r := &sample.Round{States: map[string]int{"running": n}}
	for i := range n {
		r.Guests = append(r.Guests, sample.Guest{
			Name: fmt.Sprintf("guest-%d", i), UUID: fmt.Sprintf("00000000-0000-0000-0000-%012d", i), CPU: time.Duration(i) * time.Millisecond, VCPUs: 2,
			Maximum: 1 << 30, Current: 1 << 29, Resident: 123456789, Monitor: sample.Answered,
			Disks: []sample.Disk{{Target: "vda", ReadBytes: 1 << 40, Reads: 1 << 20, ReadTime: time.Hour}, {Target: "vdb"}},
			Links: []sample.Link{{Name: fmt.Sprintf("vnet%d", i), Received: sample.Traffic{Bytes: 1 << 42, Packets: 1 << 30}}},
		})
	}
	c := &sample.Cache{}
	c.Open(func() { c.Put(r) })
	d.sources.Set("qemu", c.Source)
}

// fetch scrapes a UNIX socket.
func fetch(t testing.TB, socket, path string) (status int, page string) {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	answer, err := client.Get("http://x" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

func proxyKind(t testing.TB) kind {
	k, ok := kindOf("virtproxyd")
	if !ok {
		t.Fatal("there is no virtproxyd")
	}
	return k
}

func TestOnePageOfAllProcesses(t *testing.T) {
	root := t.TempDir()
	one := scraped(t, root, "one", kind{daemon: "virtoned"}, 1)
	proxy := scraped(t, root, "proxy", proxyKind(t), 1)

	// One that is stopped, and one that has left its socket behind.
	stopped, err := net.Listen("unix", one.paths.MetricsSocket("stopped"))
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close()
	gone, err := net.ListenUnix("unix", &net.UnixAddr{Name: one.paths.MetricsSocket("gone"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	gone.SetUnlinkOnClose(false)
	_ = gone.Close()

	began := time.Now()
	status, page := fetch(t, proxy.paths.MetricsSocket("proxy"), "/metrics")
	if took := time.Since(began); status != http.StatusOK || took > 10*mergeLimit {
		t.Errorf("status %d after %v", status, took)
	}
	for _, want := range []string{
		`virtree_uptime_seconds{daemon="virtoned"} `, `virtree_uptime_seconds{daemon="virtproxyd"} `,
		`virtree_process_up{daemon="virtproxyd",process="one"} 1`, `virtree_process_up{daemon="virtproxyd",process="proxy"} 1`,
		`virtree_process_up{daemon="virtproxyd",process="stopped"} 0`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no line %s", want)
		}
	}
	if strings.Contains(page, `process="gone"`) {
		t.Error("a process that has left is reported")
	}
	if n := strings.Count(page, "# TYPE virtree_uptime_seconds "); n != 1 {
		t.Errorf("%d blocks of one name", n)
	}
	for socket, path := range map[string]string{"one": "/metrics", "proxy": "/metrics/self"} {
		if _, page := fetch(t, one.paths.MetricsSocket(socket), path); strings.Count(page, "virtree_uptime_seconds{") != 1 {
			t.Errorf("%s shows others' figures:\n%s", socket, page)
		}
	}
	if status, _ := fetch(t, one.paths.MetricsSocket("one"), "/other"); status != http.StatusNotFound {
		t.Errorf("another path: %d", status)
	}
}

func TestTheSocketIsForItsOwnerAndTakenOverFromTheDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.metrics")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := listenMetrics(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if _, err := listenMetrics(path); err == nil {
		t.Error("taken from one who lives")
	}
}

func TestOtherHostsMustBeAllowed(t *testing.T) {
	for address, own := range map[string]bool{
		"127.0.0.1:9177": true, "127.9.9.9:1": true, "[::1]:9177": true, "localhost:9177": true, "[::ffff:127.0.0.1]:1": true,
		":9177": false, "0.0.0.0:9177": false, "[::]:9177": false, "192.0.2.1:9177": false, "host.example:9177": false,
	} {
		if err := loopback(address, false); (err == nil) != own {
			t.Errorf("%s: %v", address, err)
		}
		if err := loopback(address, true); err != nil {
			t.Errorf("%s, allowed: %v", address, err)
		}
	}
	for _, bad := range []string{"9177", "127.0.0.1", ""} {
		if loopback(bad, true) == nil {
			t.Errorf("%q is taken for an address", bad)
		}
	}
}

func TestAFloodOfScrapesIsTurnedAway(t *testing.T) {
	d := scraped(t, t.TempDir(), "one", kind{daemon: "virtoned"}, 1)
	for range maxScrapes {
		d.scraper.slots <- struct{}{}
	}
	if status, _ := fetch(t, d.paths.MetricsSocket("one"), "/metrics"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
	<-d.scraper.slots
	if status, _ := fetch(t, d.paths.MetricsSocket("one"), "/metrics"); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

// scrapeLimit is the promise at 1,000 guests.
const scrapeLimit = 100 * time.Millisecond

// TestAScrapeOfAThousandGuestsIsQuick has synthetic guests: a cache that holds 1,000 of them, beside as many actors. The
// best of some tries counts: what else runs on the machine is not the scrape's.
func TestAScrapeOfAThousandGuestsIsQuick(t *testing.T) {
	root := t.TempDir()
	d := scraped(t, root, "one", kind{daemon: "virtoned"}, 1000)
	d.guests(1000)
	proxy := scraped(t, root, "proxy", proxyKind(t), 1)
	for _, socket := range []string{d.paths.MetricsSocket("one"), proxy.paths.MetricsSocket("proxy")} {
		fetch(t, socket, "/metrics")
		var took []time.Duration
		for range 10 {
			began := time.Now()
			_, page := fetch(t, socket, "/metrics")
			took = append(took, time.Since(began))
			if n := strings.Count(page, "\nvirtree_domain_block_reads_total{"); n != 2000 {
				t.Fatalf("%d disks", n)
			}
		}
		slices.Sort(took)
		t.Logf("%s: best %v, median %v, worst %v", filepath.Base(socket), took[0], took[len(took)/2], took[len(took)-1])
		if took[0] > slowdown*scrapeLimit {
			t.Errorf("%s: a scrape takes %v", filepath.Base(socket), took[0])
		}
	}
}

// BenchmarkScrape is one page of 1,000 synthetic guests and as many actors, without HTTP.
func BenchmarkScrape(b *testing.B) {
	d := scraped(b, b.TempDir(), "one", kind{daemon: "virtoned"}, 1000)
	d.guests(1000)
	b.ReportAllocs()
	for range b.N {
		page, err := d.scraper.self(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(page)))
	}
}
