package logging

import (
	"io"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// Config is how a daemon wants to log. The zero value logs warnings to stderr.
type Config struct {
	Daemon  string // for syslog and the journal
	Banner  []string
	LogFile string // where a background daemon logs without a journal

	Background bool // -d
	Verbose    bool // -v: at least info

	Level            Priority // log_level; 0 is not set
	Filters, Outputs string   // log_filters, log_outputs

	// Getenv is os.Getenv if nil.
	Getenv func(string) string
	// Stderr is os.Stderr if nil; JournalSocket is the system's if "".
	Stderr        io.Writer
	JournalSocket string

	syslogNetwork, syslogAddress string    // "" is the system's
	now                          time.Time // zero is the clock
}

// Log is the log of one process.
type Log struct {
	cfg Config
	pid int

	mu      sync.Mutex // orders lines, and guards what follows
	level   Priority
	filters []filter
	rules   []outputRule
	outputs []output
	sources map[string]*source
}

// source is the name that a part of the program logs under.
type source struct{ priority atomic.Uint32 }

// Sample makes a source zerolog.Sampler: it is asked before a line is put together.
func (s *source) Sample(level zerolog.Level) bool {
	return uint32(priorityOf(level)) >= s.priority.Load()
}

// New sets the log up. It changes zerolog's caller format, which is one per process.
func New(cfg Config) (*Log, error) {
	if cfg.Getenv == nil {
		cfg.Getenv = os.Getenv
	}
	if cfg.Stderr == nil {
		cfg.Stderr = os.Stderr
	}
	if cfg.JournalSocket == "" {
		cfg.JournalSocket = "/run/systemd/journal/socket"
	}
	zerolog.CallerMarshalFunc = marshalCaller
	zerolog.CallerFieldName = keyCaller
	l := &Log{cfg: cfg, pid: os.Getpid(), level: Warning, sources: map[string]*source{}}
	if err := l.setup(); err != nil {
		return nil, err
	}
	return l, nil
}

// setup applies libvirt's order: command line, environment, file.
func (l *Log) setup() error {
	if l.cfg.Level != 0 {
		l.level = min(l.cfg.Level, Error)
	}
	if s := l.cfg.Getenv("LIBVIRT_DEBUG"); s != "" {
		p, ok := parsePriority(s, true)
		if !ok {
			return invalid("Failed to set logging priority, argument '%s' is invalid", s)
		}
		l.level = p
	}
	if l.cfg.Verbose && l.level > Info {
		l.level = Info
	}
	filters, outputs := l.cfg.Filters, l.cfg.Outputs
	if s := l.cfg.Getenv("LIBVIRT_LOG_FILTERS"); s != "" {
		filters = s
	}
	if s := l.cfg.Getenv("LIBVIRT_LOG_OUTPUTS"); s != "" {
		outputs = s
	}
	if err := l.SetFilters(filters); err != nil {
		return err
	}
	return l.SetOutputs(outputs)
}

// defaultOutput is where a daemon logs that was told nothing: the journal for a daemon without a terminal, a file for one in the
// background, else stderr.
func (l *Log) defaultOutput() outputRule {
	_, noTerminal := unix.IoctlGetTermios(0, unix.TCGETS)
	journal := unix.Access(l.cfg.JournalSocket, unix.W_OK) == nil
	switch {
	case journal && (l.cfg.Background || noTerminal != nil):
		return outputRule{l.level, toJournald, ""}
	case l.cfg.Background && l.cfg.LogFile != "":
		return outputRule{l.level, toFile, l.cfg.LogFile}
	}
	return outputRule{l.level, toStderr, ""}
}

// Logger returns the logger of a part of the program, named like "qemu.domain": filters match this name. Lines carry time and
// caller.
func (l *Log) Logger(name string) zerolog.Logger {
	l.mu.Lock()
	s := l.sources[name]
	if s == nil {
		s = &source{}
		s.priority.Store(uint32(l.priority(name)))
		l.sources[name] = s
	}
	l.mu.Unlock()
	return zerolog.New(l).With().Str(keySource, name).Caller().Logger().Sample(s)
}

// priority is what the filters say about a source. The caller holds mu.
func (l *Log) priority(name string) Priority {
	for _, f := range l.filters {
		// path.Match's * stops at a slash; names of sources have none.
		if ok, _ := path.Match(f.match, name); ok {
			return f.priority
		}
	}
	return l.level
}

// Write implements io.Writer for lines without a level.
func (l *Log) Write(p []byte) (int, error) { return l.WriteLevel(zerolog.InfoLevel, p) }

// WriteLevel implements zerolog.LevelWriter.
func (l *Log) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	now := l.cfg.now
	if now.IsZero() {
		now = time.Now()
	}
	r := parseRecord(level, p, now, l.pid)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, o := range l.outputs {
		if r.priority >= l.rules[i].priority {
			o.write(&r)
		}
	}
	return len(p), nil
}

// Level is the priority of sources without a filter.
func (l *Log) Level() Priority {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level
}

// SetLevel changes it.
func (l *Log) SetLevel(p Priority) error {
	if p < Debug || p > Error {
		return invalid("Failed to set logging priority, argument '%d' is invalid", uint32(p))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.level = p
	l.refresh()
	return nil
}

// refresh tells every source its priority. The caller holds mu.
func (l *Log) refresh() {
	for name, s := range l.sources {
		s.priority.Store(uint32(l.priority(name)))
	}
}

// Filters are the filters as virt-admin shows them.
func (l *Log) Filters() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return formatFilters(l.filters)
}

// CountFilters and CountOutputs are the numbers that virt-admin's calls carry along.
func (l *Log) CountFilters() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.filters) }

// CountOutputs is the number of outputs.
func (l *Log) CountOutputs() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.rules) }

// SetFilters replaces all filters; on an error the old ones stay.
func (l *Log) SetFilters(s string) error {
	fs, err := parseFilters(s)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filters = fs
	l.refresh()
	return nil
}

// Outputs are the outputs as virt-admin shows them.
func (l *Log) Outputs() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return formatOutputs(l.rules)
}

// SetOutputs replaces all outputs, by the default one for "". On an error the old ones stay.
func (l *Log) SetOutputs(s string) error {
	rules, err := parseOutputs(s)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(rules) == 0 {
		rules = []outputRule{l.defaultOutput()}
	}
	var opened []output
	for _, rule := range rules {
		o, err := l.open(rule)
		if err != nil {
			closeAll(opened)
			return err
		}
		opened = append(opened, o)
	}
	closeAll(l.outputs)
	l.rules, l.outputs = rules, opened
	return nil
}

// Close closes the outputs. Lines logged later are lost.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	closeAll(l.outputs)
	l.outputs, l.rules = nil, nil
	return nil
}

func closeAll(os []output) {
	for _, o := range os {
		o.Close()
	}
}

// ErrorFields adds what libvirt's log says of an error to a line: its code and domain, and the cause that no client sees.
func ErrorFields(e *zerolog.Event, err error) *zerolog.Event {
	le := liberr.From(liberr.FromNone, err)
	if le == nil {
		return e
	}
	e = e.Int32("code", int32(le.Code)).Int32("domain", int32(le.Domain))
	if le.Op != "" {
		e = e.Str("op", le.Op)
	}
	if le.Cause != nil {
		e = e.Str("cause", le.Cause.Error())
	}
	return e
}
