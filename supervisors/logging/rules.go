package logging

import (
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"virtree/wire/liberr"
)

// Priority is libvirt's: 1 debug, 2 info, 3 warning, 4 error.
type Priority uint32

// Priorities.
const (
	Debug Priority = iota + 1
	Info
	Warning
	Error
)

var priorityNames = [...]string{Debug: "debug", Info: "info", Warning: "warning", Error: "error"}

func (p Priority) String() string {
	if p >= Debug && p <= Error {
		return priorityNames[p]
	}
	return fmt.Sprintf("priority(%d)", uint32(p))
}

// priorityOf maps zerolog's levels; what is worse than an error is an error.
func priorityOf(l zerolog.Level) Priority {
	switch l {
	case zerolog.TraceLevel, zerolog.DebugLevel:
		return Debug
	case zerolog.InfoLevel:
		return Info
	case zerolog.WarnLevel:
		return Warning
	}
	return Error
}

// parsePriority accepts the number or, for the environment, the name.
func parsePriority(s string, names bool) (Priority, bool) {
	if len(s) == 1 && s[0] >= '1' && s[0] <= '4' {
		return Priority(s[0] - '0'), true
	}
	if names {
		for p := Debug; p <= Error; p++ {
			if s == p.String() {
				return p, true
			}
		}
	}
	return 0, false
}

func invalid(format string, args ...any) error {
	return liberr.New(liberr.FromNone, liberr.InvalidArg, format, args...)
}

// filter gives the sources whose name it matches a priority of their own.
type filter struct {
	priority Priority
	match    string // with * in front, behind, and where the user put it
}

// parseFilters reads "1:qemu 3:util". A + before the name once asked for stack traces and means nothing now.
func parseFilters(s string) ([]filter, error) {
	var out []filter
	for _, item := range strings.Fields(s) {
		prio, name, ok := strings.Cut(item, ":")
		if !ok {
			return nil, invalid("Malformed format for filter '%s'", item)
		}
		p, ok := parsePriority(prio, false)
		if !ok {
			return nil, invalid("Invalid priority '%s' for filter '%s'", prio, item)
		}
		name = strings.TrimPrefix(name, "+")
		if name == "" {
			return nil, invalid("Invalid match string '%s'", name)
		}
		out = append(out, filter{p, "*" + name + "*"})
	}
	return out, nil
}

func formatFilters(fs []filter) string {
	var parts []string
	for _, f := range fs {
		parts = append(parts, fmt.Sprintf("%d:%s", f.priority, f.match))
	}
	return strings.Join(parts, " ")
}

// destination kinds of an output.
const (
	toStderr   = "stderr"
	toFile     = "file"
	toSyslog   = "syslog"
	toJournald = "journald"
)

// outputRule is one output as it is written down.
type outputRule struct {
	priority Priority
	kind     string
	name     string // file's path or syslog's name
}

func (o outputRule) String() string {
	if o.name == "" {
		return fmt.Sprintf("%d:%s", o.priority, o.kind)
	}
	return fmt.Sprintf("%d:%s:%s", o.priority, o.kind, o.name)
}

// parseOutputs reads "3:stderr 1:file:/path". Of several with one destination the last one's priority counts.
func parseOutputs(s string) ([]outputRule, error) {
	var out []outputRule
items:
	for _, item := range strings.Fields(s) {
		o, err := parseOutput(item)
		if err != nil {
			return nil, err
		}
		for i := range out {
			if out[i].kind == o.kind && out[i].name == o.name {
				out[i] = o
				continue items
			}
		}
		out = append(out, o)
	}
	return out, nil
}

func parseOutput(item string) (outputRule, error) {
	prio, rest, ok := strings.Cut(item, ":")
	if !ok {
		return outputRule{}, invalid("Malformed format for log output '%s'", item)
	}
	p, ok := parsePriority(prio, false)
	if !ok {
		return outputRule{}, invalid("Invalid log priority '%s' for log output '%s'", prio, item)
	}
	kind, name, named := strings.Cut(rest, ":")
	switch kind {
	case toStderr, toJournald:
		ok = !named
	case toFile, toSyslog:
		ok = name != ""
	default:
		return outputRule{}, invalid("Invalid log destination '%s' for log output '%s'", kind, item)
	}
	if !ok {
		return outputRule{}, invalid("Log output '%s' does not meet the format requirements for destination type '%s'", item, kind)
	}
	return outputRule{p, kind, name}, nil
}

func formatOutputs(rules []outputRule) string {
	var parts []string
	for _, r := range rules {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, " ")
}
