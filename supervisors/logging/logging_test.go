package logging

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtree/wire/liberr"
)

func newLog(t *testing.T, cfg Config) (*Log, *bytes.Buffer) {
	t.Helper()
	var b bytes.Buffer
	cfg.Stderr = &b
	cfg.now = time.Date(2026, 1, 1, 11, 0, 0, 123456789, time.FixedZone("CET", 3600))
	if cfg.Getenv == nil {
		cfg.Getenv = func(string) string { return "" }
	}
	if cfg.JournalSocket == "" {
		cfg.JournalSocket = filepath.Join(t.TempDir(), "none")
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.pid = 1234
	t.Cleanup(func() { l.Close() })
	return l, &b
}

func TestLineIsLibvirts(t *testing.T) {
	l, b := newLog(t, Config{Banner: []string{"virtree version: 1", "hostname: h"}, Level: Debug})
	log := l.Logger("qemu.domain")
	log.Info().Str("domain", "vm 1").Int("id", 3).Msg("started")
	log.Warn().Err(errors.New("a\nb: c")).Msg("two\nlines")
	log.Debug().Msg("d")
	log.Error().Str("empty", "").Send()
	want := `2026-01-01 10:00:00.123+0000: 1234: info : virtree version: 1
2026-01-01 10:00:00.123+0000: 1234: info : hostname: h
2026-01-01 10:00:00.123+0000: 1234: info : TestLineIsLibvirts:N : started domain="vm 1" id=3
2026-01-01 10:00:00.123+0000: 1234: warning : TestLineIsLibvirts:N : two lines error="a\nb: c"
2026-01-01 10:00:00.123+0000: 1234: debug : TestLineIsLibvirts:N : d
2026-01-01 10:00:00.123+0000: 1234: error : TestLineIsLibvirts:N : empty=""
`
	got := regexp.MustCompile(`(TestLine\w+):\d+`).ReplaceAllString(b.String(), "$1:N")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// What the parsers of libvirt's logs look for.
	form := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+0000: \d+: (debug|info|warning|error) : (\S+:\d+ : )?.*$`)
	for line := range strings.Lines(b.String()) {
		if !form.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("%q", line)
		}
	}
}

func TestCallerOfAMethodAndOfAClosure(t *testing.T) {
	l, b := newLog(t, Config{})
	log := l.Logger("x")
	func() { log.Error().Msg("c") }()
	if !regexp.MustCompile(`: TestCallerOfAMethodAndOfAClosure\.func\d+:\d+ : c\n`).MatchString(b.String()) {
		t.Errorf("%q", b.String())
	}
}

func TestFiltersDecideBySource(t *testing.T) {
	for _, c := range []struct {
		level   Priority
		filters string
		source  string
		lowest  Priority
	}{
		{0, "", "qemu", Warning},
		{Debug, "", "qemu", Debug},
		{Error, "1:qemu", "qemu.domain", Debug},
		{Error, "1:qemu", "network", Error},
		{Warning, "4:qemu.domain 1:qemu", "qemu.domain", Error},
		{Warning, "4:qemu.domain 1:qemu", "qemu.caps", Debug},
		{Warning, "2:+rpc", "wire.rpc", Info},
		{Warning, "1:q*d", "qemu.domain", Debug},
	} {
		l, b := newLog(t, Config{Level: c.level, Filters: c.filters, Outputs: "1:stderr"})
		log := l.Logger(c.source)
		log.Debug().Msg("debug")
		log.Info().Msg("info")
		log.Warn().Msg("warning")
		log.Error().Msg("error")
		if got := strings.Count(b.String(), "\n"); got != int(Error-c.lowest)+1 {
			t.Errorf("%+v: %d lines:\n%s", c, got, b)
		}
	}
}

func TestFiltersChangeUnderLivingLoggers(t *testing.T) {
	l, b := newLog(t, Config{Outputs: "1:stderr"})
	log := l.Logger("storage.pool").With().Str("pool", "p").Logger() // as an actor keeps it
	log.Debug().Msg("unseen")
	if err := l.SetFilters("1:storage"); err != nil {
		t.Fatal(err)
	}
	log.Debug().Msg("seen")
	if err := l.SetFilters("9:x"); err == nil || l.Filters() != "1:*storage*" {
		t.Errorf("%v, filters are %q", err, l.Filters())
	}
	l.SetFilters("")
	log.Debug().Msg("unseen")
	l.SetLevel(Debug)
	log.Debug().Msg("seen")
	if s := b.String(); strings.Contains(s, "unseen") || strings.Count(s, "seen pool=p") != 2 {
		t.Errorf("%s", s)
	}
}

// Texts and canonical forms are those that virt-admin shows of libvirt's 9.0.0 daemons.
func TestRulesAsLibvirtReadsThem(t *testing.T) {
	l, _ := newLog(t, Config{Level: Info})
	dir := t.TempDir()
	for _, c := range []struct{ set, want, complaint string }{
		{set: "1:util 4:ev*t 3:+x", want: "1:*util* 4:*ev*t* 3:*x*"},
		{set: "", want: ""},
		{set: "  1:a   3:a ", want: "1:*a* 3:*a*"},
		{set: "9:x", complaint: "invalid argument: Invalid priority '9' for filter '9:x'"},
		{set: "1x", complaint: "invalid argument: Malformed format for filter '1x'"},
		{set: "1:", complaint: "invalid argument: Invalid match string ''"},
	} {
		err := l.SetFilters(c.set)
		if c.complaint == "" && (err != nil || l.Filters() != c.want) || c.complaint != "" && (err == nil || err.Error() != c.complaint) {
			t.Errorf("filters %q: %q, %v", c.set, l.Filters(), err)
		}
	}
	if l.CountFilters() != 2 {
		t.Errorf("%d filters", l.CountFilters())
	}
	for _, c := range []struct{ set, want, complaint string }{
		{set: "", want: "2:stderr"},
		{set: "3:stderr 1:stderr 1:file:DIR/o 2:file:DIR/o", want: "1:stderr 2:file:DIR/o"},
		{set: "3:bogus", complaint: "invalid argument: Invalid log destination 'bogus' for log output '3:bogus'"},
		{set: "x:stderr", complaint: "invalid argument: Invalid log priority 'x' for log output 'x:stderr'"},
		{set: "9:stderr", complaint: "invalid argument: Invalid log priority '9' for log output '9:stderr'"},
		{set: "3", complaint: "invalid argument: Malformed format for log output '3'"},
		{set: "3:stderr:zz", complaint: "invalid argument: Log output '3:stderr:zz' does not meet the format requirements for destination type 'stderr'"},
		{set: "3:file", complaint: "invalid argument: Log output '3:file' does not meet the format requirements for destination type 'file'"},
		{set: "3:syslog", complaint: "invalid argument: Log output '3:syslog' does not meet the format requirements for destination type 'syslog'"},
		{set: "3:file:DIR/no/such", complaint: "failed to open DIR/no/such: No such file or directory"},
	} {
		in := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
		before := l.Outputs()
		err := l.SetOutputs(in(c.set))
		if c.complaint == "" {
			if err != nil || l.Outputs() != in(c.want) {
				t.Errorf("outputs %q: %q, %v", c.set, l.Outputs(), err)
			}
			continue
		}
		if err == nil || err.Error() != in(c.complaint) {
			t.Errorf("outputs %q: %v", c.set, err)
		}
		if l.Outputs() != before {
			t.Errorf("outputs %q: a refused change changed them to %q", c.set, l.Outputs())
		}
	}
}

func TestEachOutputHasItsPriority(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.log")
	l, b := newLog(t, Config{Banner: []string{"banner"}, Level: Debug, Outputs: "4:stderr 2:file:" + path})
	log := l.Logger("x")
	log.Debug().Msg("debug")
	log.Info().Msg("info")
	log.Error().Msg("error")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(file), "\n") != 3 || !strings.Contains(string(file), "info : banner\n") {
		t.Errorf("file:\n%s", file)
	}
	if strings.Count(b.String(), "\n") != 2 || !strings.Contains(b.String(), ": error\n") {
		t.Errorf("stderr:\n%s", b)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
}

func TestEnvironmentBeatsTheFile(t *testing.T) {
	env := map[string]string{}
	cfg := Config{Level: Error, Filters: "4:qemu", Outputs: "4:stderr", Getenv: func(k string) string { return env[k] }}
	l, _ := newLog(t, cfg)
	if l.Level() != Error || l.Filters() != "4:*qemu*" || l.Outputs() != "4:stderr" {
		t.Errorf("file: %v %q %q", l.Level(), l.Filters(), l.Outputs())
	}
	env = map[string]string{"LIBVIRT_DEBUG": "1", "LIBVIRT_LOG_FILTERS": "1:rpc", "LIBVIRT_LOG_OUTPUTS": "1:stderr"}
	l, _ = newLog(t, cfg)
	if l.Level() != Debug || l.Filters() != "1:*rpc*" || l.Outputs() != "1:stderr" {
		t.Errorf("environment: %v %q %q", l.Level(), l.Filters(), l.Outputs())
	}
	env = map[string]string{"LIBVIRT_DEBUG": "warning"}
	cfg.Verbose = true
	if l, _ = newLog(t, cfg); l.Level() != Info {
		t.Errorf("-v: %v", l.Level())
	}
	for k, v := range map[string]string{"LIBVIRT_DEBUG": "7", "LIBVIRT_LOG_FILTERS": "x", "LIBVIRT_LOG_OUTPUTS": "x"} {
		env = map[string]string{k: v}
		if _, err := New(cfg); err == nil {
			t.Errorf("%s=%s is accepted", k, v)
		}
	}
}

// datagrams is a socket that collects what it is sent.
func datagrams(t *testing.T) (path string, next func() string) {
	path = filepath.Join(t.TempDir(), "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return path, func() string {
		b := make([]byte, 1<<18)
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestJournal(t *testing.T) {
	path, next := datagrams(t)
	l, _ := newLog(t, Config{Daemon: "virtqemud", JournalSocket: path, Outputs: "2:journald", Level: Info})
	log := l.Logger("qemu.domain")
	log.Warn().Str("domain-name", "vm1").Str("lines", "a\nb").Msg("paused")
	got := next()
	for _, want := range []string{"MESSAGE=paused domain-name=vm1\n", "PRIORITY=4\n", "SYSLOG_IDENTIFIER=virtqemud\n", "LIBVIRT_SOURCE=qemu.domain\n", "CODE_FUNC=TestJournal\n",
		"logging_test.go\n", "VIRTREE_DOMAIN_NAME=vm1\n", "VIRTREE_LINES\n\x03\x00\x00\x00\x00\x00\x00\x00a\nb\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	log.Error().Msg(strings.Repeat("x", 1<<20))
	if got := next(); len(got) < maxDatagram {
		t.Errorf("a long message became %d bytes", len(got))
	}
}

func TestBackgroundDaemonPrefersTheJournal(t *testing.T) {
	path, _ := datagrams(t)
	file := filepath.Join(t.TempDir(), "virtqemud.log")
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Background: true, JournalSocket: path}, "3:journald"},
		{Config{Background: true, LogFile: file}, "3:file:" + file},
		{Config{}, "3:stderr"},
	} {
		if l, _ := newLog(t, c.cfg); l.Outputs() != c.want {
			t.Errorf("%q, want %q", l.Outputs(), c.want)
		}
	}
}

func TestSyslog(t *testing.T) {
	path, next := datagrams(t)
	l, _ := newLog(t, Config{Outputs: "1:syslog:virtree-test", Level: Debug, syslogNetwork: "unixgram", syslogAddress: path})
	log := l.Logger("x")
	for severity, send := range map[int]func(){
		7: func() { log.Debug().Msg("m") }, 6: func() { log.Info().Msg("m") }, 4: func() { log.Warn().Msg("m") }, 3: func() { log.Error().Msg("m") },
	} {
		send()
		// Facility daemon is 3.
		if got := next(); !strings.HasPrefix(got, fmt.Sprintf("<%d>", 3*8+severity)) || !strings.Contains(got, "virtree-test[") || !strings.Contains(got, " : m") {
			t.Errorf("%q", got)
		}
	}
}

func TestErrorFields(t *testing.T) {
	l, b := newLog(t, Config{})
	log := l.Logger("x")
	err := liberr.New(liberr.FromQemu, liberr.NoDomain, "gone").WithOp("qemu.Lookup").WithCause(errors.New("disk"))
	ErrorFields(log.Error(), err).Msg(err.Message)
	if !strings.HasSuffix(b.String(), " : Domain not found: gone code=42 domain=10 op=qemu.Lookup cause=disk\n") {
		t.Errorf("%q", b)
	}
}

func TestManyWritersAndChanges(t *testing.T) {
	l, b := newLog(t, Config{Outputs: "1:stderr", Level: Debug})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			log := l.Logger(fmt.Sprint("s", i%3))
			for range 100 {
				log.Info().Msg("m")
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			l.SetFilters("1:s")
			l.SetOutputs("1:stderr")
		}
	})
	wg.Wait()
	if got := strings.Count(b.String(), " : m\n"); got != 800 {
		t.Errorf("%d lines", got)
	}
}

func BenchmarkFilteredOut(b *testing.B) {
	l, err := New(Config{Stderr: &bytes.Buffer{}, Outputs: "3:stderr"})
	if err != nil {
		b.Fatal(err)
	}
	log := l.Logger("x")
	b.ReportAllocs()
	for b.Loop() {
		log.Debug().Str("a", "b").Msg("m")
	}
}
