package admin

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"virtree/actors/internal/call"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

func bad(format string, args ...any) error {
	return liberr.New(liberr.FromNone, liberr.InvalidArg, format, args...)
}

// priority reads 1 to 4.
func priority(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err == nil && n >= 1 && n <= 4
}

// ParseLogOutputs reads what log_outputs and daemon-log-outputs have: "3:file:/path 4:journald". Paths become absolute.
func ParseLogOutputs(s string) (all []LogOutput, err error) {
	for _, word := range strings.Fields(s) {
		part := strings.SplitN(word, ":", 3)
		if len(part) < 2 {
			return nil, bad("Malformed format for log output '%s'", word)
		}
		o := LogOutput{Dest: part[1]}
		var ok bool
		if o.Priority, ok = priority(part[0]); !ok {
			return nil, bad("Invalid log priority '%s' for log output '%s'", part[0], word)
		}
		if len(part) == 3 {
			o.Data = part[2]
		}
		fits := len(part) == 2
		switch o.Dest {
		case "stderr", "journald":
		case "file":
			if fits = len(part) == 3; fits {
				if o.Data, err = filepath.Abs(o.Data); err != nil {
					return nil, err
				}
			}
		case "syslog":
			fits = len(part) == 3
		default:
			return nil, bad("Invalid log destination '%s' for log output '%s'", o.Dest, word)
		}
		if !fits {
			return nil, bad("Log output '%s' does not meet the format requirements for destination type '%s'", word, o.Dest)
		}
		all = append(all, o)
	}
	return all, nil
}

// FormatLogOutputs is the inverse.
func FormatLogOutputs(all []LogOutput) string {
	words := make([]string, len(all))
	for i, o := range all {
		words[i] = fmt.Sprintf("%d:%s", o.Priority, o.Dest)
		if o.Dest == "file" || o.Dest == "syslog" {
			words[i] += ":" + o.Data
		}
	}
	return strings.Join(words, " ")
}

// ParseLogFilters reads what log_filters and daemon-log-filters have: "1:qemu 3:rpc". A "+" before the match once asked
// for a stack trace and means nothing now.
func ParseLogFilters(s string) (all []LogFilter, err error) {
	for _, word := range strings.Fields(s) {
		prio, match, ok := strings.Cut(word, ":")
		if !ok {
			return nil, bad("Malformed format for filter '%s'", word)
		}
		f := LogFilter{Match: strings.TrimPrefix(match, "+")}
		if f.Priority, ok = priority(prio); !ok {
			return nil, bad("Invalid priority '%s' for filter '%s'", prio, word)
		}
		if f.Match == "" {
			return nil, bad("Invalid match string '%s'", match)
		}
		all = append(all, f)
	}
	return all, nil
}

// FormatLogFilters prints the filters as libvirt does: as patterns, each with a space behind it.
func FormatLogFilters(all []LogFilter) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%d:*%s* ", f.Priority, f.Match)
	}
	return b.String()
}

func outputs(ctx context.Context, d Daemon, a *protocol.AdminConnectGetLoggingOutputsArgs) (*protocol.AdminConnectGetLoggingOutputsRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectGetLoggingOutputs"); err != nil {
		return nil, err
	}
	all, err := d.LogOutputs(ctx)
	return &protocol.AdminConnectGetLoggingOutputsRet{Outputs: FormatLogOutputs(all), Noutputs: uint32(len(all))}, err
}

func setOutputs(ctx context.Context, d Daemon, a *protocol.AdminConnectSetLoggingOutputsArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectSetLoggingOutputs"); err != nil {
		return nil, err
	}
	all, err := ParseLogOutputs(text(a.Outputs))
	if err != nil {
		return nil, err
	}
	return &protocol.Void{}, d.SetLogOutputs(ctx, all)
}

func filters(ctx context.Context, d Daemon, a *protocol.AdminConnectGetLoggingFiltersArgs) (*protocol.AdminConnectGetLoggingFiltersRet, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectGetLoggingFilters"); err != nil {
		return nil, err
	}
	all, err := d.LogFilters(ctx)
	ret := &protocol.AdminConnectGetLoggingFiltersRet{Nfilters: uint32(len(all))}
	if len(all) > 0 {
		s := FormatLogFilters(all)
		ret.Filters = &s
	}
	return ret, err
}

func setFilters(ctx context.Context, d Daemon, a *protocol.AdminConnectSetLoggingFiltersArgs) (*protocol.Void, error) {
	if err := call.CheckFlags(a.Flags, 0, from, "adminConnectSetLoggingFilters"); err != nil {
		return nil, err
	}
	all, err := ParseLogFilters(text(a.Filters))
	if err != nil {
		return nil, err
	}
	return &protocol.Void{}, d.SetLogFilters(ctx, all)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
