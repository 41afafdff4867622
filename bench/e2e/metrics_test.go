package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtree/bench/internal/lab"
)

// TestMetricsScrapedByPrometheus has a real Prometheus server scrape a tree with two guests, stops one of them, and asks
// the server what it has seen.
func TestMetricsScrapedByPrometheus(t *testing.T) {
	for _, name := range strings.Split(*against, ",") {
		if name != string(lab.Single) && name != string(lab.Split) {
			continue
		}
		t.Run(name, func(t *testing.T) { testPrometheus(t, lab.Kind(name)) })
	}
}

const (
	scraped    = "127.0.0.1:9177" // in the box, which has a loopback of its own
	prometheus = "127.0.0.1:9190"
)

// scrapes is a tree with a Prometheus server beside it.
type scrapes struct {
	*testing.T
	*lab.Target
}

func testPrometheus(t *testing.T, kind lab.Kind) {
	if why := lab.Missing(kind); why != "" {
		t.Skip(why)
	}
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs Debian's package prometheus: %v", err)
		}
	}
	target, err := lab.Open(t.Context(), kind, lab.Options{Args: []string{"--metrics", scraped}})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	s := &scrapes{t, target}
	for i, name := range []string{"well", "sick"} {
		s.guest(name, i)
	}
	s.checked(s.get(s.Socket("virtree/" + map[lab.Kind]string{lab.Single: "libvirtd", lab.Split: "qemu"}[kind] + ".metrics")))
	s.prometheus()

	job := `{job="virtree"}`
	s.until("the target is up", `up`+job+` == 1`)
	s.until("both guests have disks", `count(virtree_domain_block_reads_total`+job+`) == 2`)
	s.until("guests by state", `sum(virtree_domains{state="running"}) == 2`)
	s.until("the firmware has read the disk", `virtree_domain_block_reads_total{domain="well",device="vda"} > 0`)
	s.until("the guest's link", `virtree_domain_network_receive_packets_total{domain="well"}`)

	pid, err := s.QEMU("sick")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	s.until("the stopped guest is found out", `virtree_domain_monitor_up{domain="sick"} == 0`)
	s.until("and counted", `virtree_domain_samples_total{result="timeout"} > 0`)
	for range 20 { // calls, for the histograms
		if r := s.Virsh(t.Context(), "domstate", "well"); r.Exit != 0 {
			t.Fatal(r.Stderr)
		}
	}
	for what, query := range map[string]string{
		"its other figures are there":       `virtree_domain_cpu_seconds_total{domain="sick"} > 0 and virtree_domain_memory_resident_bytes{domain="sick"} > 0`,
		"its disks are missing":             `count(virtree_domain_block_reads_total{domain="sick"}) or vector(0)`,
		"the other guest has all":           `virtree_domain_monitor_up{domain="well"} == 1 and on(domain) virtree_domain_block_reads_total{domain="well"} > 0`,
		"no scrape has failed since":        `min_over_time(up` + job + `[30s])`,
		"none waited for the stopped guest": `max_over_time(scrape_duration_seconds` + job + `[1m]) < 0.9`,
	} {
		want := func(v float64) bool { return true }
		switch what {
		case "its disks are missing":
			want = func(v float64) bool { return v == 0 }
		case "no scrape has failed since":
			want = func(v float64) bool { return v == 1 }
		}
		if v, ok := s.query(query); !ok || !want(v) {
			t.Errorf("%s: %s is %v, %v", what, query, v, ok)
		}
	}
	quantile := `histogram_quantile(0.99, sum by (le) (rate(virtree_call_duration_seconds_bucket{class="lookup"}[30s])))`
	s.until("a quantile of the calls' durations", quantile+` > 0`)
	p99, _ := s.query(quantile)
	slowest, _ := s.query(`max_over_time(scrape_duration_seconds` + job + `[1m])`)
	t.Logf("p99 of lookups %.3g ms, slowest scrape %.3g ms", 1000*p99, 1000*slowest)
	if kind == lab.Split {
		s.until("all processes show theirs", `count(virtree_process_up == 1) == count(virtree_process_up) and count(virtree_process_up) >= 10`)
	}
	s.checked(s.get(s.Socket("virtree/" + map[lab.Kind]string{lab.Single: "libvirtd", lab.Split: "root"}[kind] + ".metrics")))
}

// guest starts a guest with a disk that it tries to boot, and an interface.
func (s *scrapes) guest(name string, n int) {
	s.Helper()
	disk := filepath.Join(s.Dir, name+".img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o666); err != nil {
		s.Fatal(err)
	}
	xml := filepath.Join(s.Dir, name+".xml")
	if err := os.WriteFile(xml, []byte(lab.BareXML(name, fmt.Sprintf(`
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/><target dev='vda' bus='virtio'/></disk>
    <interface type='ethernet'><mac address='52:54:00:9c:00:%02x'/><model type='virtio'/></interface>
`, disk, n))), 0o644); err != nil {
		s.Fatal(err)
	}
	if r := s.Virsh(s.Context(), "create", xml); r.Exit != 0 {
		s.Fatalf("create %s: %s\n%s", name, r.Stderr, s.LogTail(15))
	}
}

// prometheus starts the server, with folders of its own.
func (s *scrapes) prometheus() {
	s.Helper()
	dir := filepath.Join(s.Dir, "prometheus")
	if err := os.Mkdir(dir, 0o700); err != nil {
		s.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: virtree
  static_configs: [{targets: ['`+scraped+`']}]
`), 0o600); err != nil {
		s.Fatal(err)
	}
	p, err := s.Box.Start(filepath.Join(dir, "log"), nil, "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+prometheus, "--log.level=warn")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL)
		<-p.Done
	})
}

// query is the value of an expression now; false if it has none.
func (s *scrapes) query(expr string) (float64, bool) {
	r := s.inBox("promtool", "query", "instant", "http://"+prometheus, expr)
	line, _, _ := strings.Cut(r.Stdout, "\n") // series => value @[time]
	_, rest, ok := strings.Cut(line, "=> ")
	value, _, _ := strings.Cut(rest, " ")
	v, err := strconv.ParseFloat(value, 64)
	return v, ok && err == nil
}

func (s *scrapes) inBox(argv ...string) lab.Result {
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	cmd := s.Box.Command(ctx, argv[0], argv[1:]...)
	cmd.Env = s.Env()
	return lab.Finish(cmd)
}

// until polls an expression until it has a value.
func (s *scrapes) until(what, expr string) {
	s.Helper()
	began := time.Now()
	for tick := time.NewTicker(200 * time.Millisecond); ; <-tick.C { // the server scrapes each second, guests are sampled each 5 s
		if _, ok := s.query(expr); ok {
			return
		}
		if time.Since(began) > 30*time.Second {
			log, _ := os.ReadFile(filepath.Join(s.Dir, "prometheus", "log"))
			s.Fatalf("%s: %s is never true\n%s\ndaemon:\n%s", what, expr, log, s.LogTail(15))
		}
	}
}

// get scrapes a UNIX socket.
func (s *scrapes) get(socket string) string {
	s.Helper()
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		s.Fatalf("%s: %v, %v", socket, st, err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	answer, err := client.Get("http://virtree/metrics")
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.Fatalf("%s: %s, %v", socket, answer.Status, err)
	}
	return string(page)
}

// checked has promtool read a page, which complains about bad names and missing units too.
func (s *scrapes) checked(page string) {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		s.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if !strings.Contains(page, "virtree_domain_cpu_seconds_total{") {
		s.Errorf("no guests on the page:\n%s", page)
	}
}
