package logging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// record is one log line, taken apart again: zerolog hands over JSON.
type record struct {
	time     time.Time
	pid      int
	priority Priority
	source   string
	function string // of the caller, without its package; "" if unknown
	file     string
	line     string
	message  string
	fields   []field // in the order in which they were logged
}

type field struct{ name, value string }

// Names that zerolog's lines and ours agree on.
const (
	keySource = "source"
	keyCaller = "caller"
)

// marshalCaller packs what libvirt's line and the journal want of the caller into one JSON string.
func marshalCaller(pc uintptr, file string, line int) string {
	name := ""
	if f := runtime.FuncForPC(pc); f != nil {
		name = f.Name()
		name = name[strings.LastIndexByte(name, '/')+1:]
		if i := strings.IndexByte(name, '.'); i >= 0 {
			name = name[i+1:]
		}
	}
	return name + "|" + file + "|" + strconv.Itoa(line)
}

// parseRecord reads a zerolog line token by token, since a map would lose the order of the fields.
func parseRecord(level zerolog.Level, line []byte, now time.Time, pid int) record {
	r := record{time: now.UTC(), pid: pid, priority: priorityOf(level)}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		r.message = strings.TrimSpace(string(line))
		return r
	}
	for dec.More() {
		key, err := dec.Token()
		var raw json.RawMessage
		if err != nil || dec.Decode(&raw) != nil {
			break
		}
		r.set(fmt.Sprint(key), raw)
	}
	return r
}

func (r *record) set(key string, raw json.RawMessage) {
	value := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil && raw[0] == '"' {
		value = s
	}
	switch key {
	case zerolog.LevelFieldName, zerolog.TimestampFieldName:
	case zerolog.MessageFieldName:
		r.message = value
	case keySource:
		r.source = value
	case keyCaller:
		if p := strings.SplitN(value, "|", 3); len(p) == 3 {
			r.function, r.file, r.line = p[0], p[1], p[2]
		}
	default:
		r.fields = append(r.fields, field{key, value})
	}
}

// text is the message with its fields behind, on one line: a line break in a value could otherwise pass for a log line.
func (r *record) text() string {
	var b strings.Builder
	b.WriteString(r.message)
	for _, f := range r.fields {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.name)
		b.WriteByte('=')
		if f.value == "" || strings.ContainsAny(f.value, " \"\n") {
			b.WriteString(strconv.Quote(f.value))
		} else {
			b.WriteString(f.value)
		}
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}

// brief is the text less what is too long for a line of a log reader: a stack, for one.
func (r *record) brief() string {
	short := *r
	short.fields = slices.DeleteFunc(slices.Clone(r.fields), func(f field) bool { return strings.Contains(f.value, "\n") })
	return short.text()
}

// appendLine adds libvirt's line.
func (r *record) appendLine(b []byte) []byte {
	b = r.time.AppendFormat(b, "2006-01-02 15:04:05.000+0000")
	b = fmt.Appendf(b, ": %d: %s : ", r.pid, r.priority)
	if r.function != "" {
		b = fmt.Appendf(b, "%s:%s : ", r.function, r.line)
	}
	b = append(b, r.text()...)
	return append(b, '\n')
}
