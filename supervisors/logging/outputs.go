package logging

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/syslog"
	"net"
	"os"
	"strings"

	"virtree/wire/liberr"
)

// output is an open destination. Calls come one at a time.
type output interface {
	write(r *record)
	Close() error
}

// textOutput writes libvirt's lines. The first one is preceded by the banner, so that every log file tells what wrote it.
type textOutput struct {
	w      io.Writer
	close  func() error
	banner []string
	buf    []byte
}

func (o *textOutput) write(r *record) {
	o.buf = o.buf[:0]
	for _, line := range o.banner {
		b := record{time: r.time, pid: r.pid, priority: Info, message: line}
		o.buf = b.appendLine(o.buf)
	}
	o.banner = nil
	o.buf = r.appendLine(o.buf)
	o.w.Write(o.buf)
}

func (o *textOutput) Close() error {
	if o.close == nil {
		return nil
	}
	return o.close()
}

// syslogOutput sends messages; syslog has the time itself.
type syslogOutput struct{ w *syslog.Writer }

func (o *syslogOutput) write(r *record) {
	m := r.text()
	if r.function != "" {
		m = r.function + ":" + r.line + " : " + m
	}
	switch r.priority {
	case Debug:
		o.w.Debug(m)
	case Info:
		o.w.Info(m)
	case Warning:
		o.w.Warning(m)
	default:
		o.w.Err(m)
	}
}

func (o *syslogOutput) Close() error { return o.w.Close() }

// journalOutput speaks the journal's datagram protocol: NAME=value, or for values with line breaks a length in front.
type journalOutput struct {
	c   *net.UnixConn
	id  string
	buf bytes.Buffer
}

// maxDatagram is what a socket takes for sure; a longer message is cut rather than lost.
const maxDatagram = 64 << 10

var syslogNumber = [...]int{Debug: 7, Info: 6, Warning: 4, Error: 3}

func (o *journalOutput) write(r *record) {
	o.buf.Reset()
	message := r.brief()
	if len(message) > maxDatagram {
		message = message[:maxDatagram]
	}
	o.add("MESSAGE", message)
	o.add("PRIORITY", fmt.Sprint(syslogNumber[r.priority]))
	o.add("SYSLOG_IDENTIFIER", o.id)
	o.add("LIBVIRT_SOURCE", r.source)
	o.add("CODE_FILE", r.file)
	o.add("CODE_LINE", r.line)
	o.add("CODE_FUNC", r.function)
	for _, f := range r.fields {
		if o.buf.Len()+len(f.value) < 2*maxDatagram {
			o.add("VIRTREE_"+journalName(f.name), f.value)
		}
	}
	o.c.Write(o.buf.Bytes())
}

func (o *journalOutput) add(name, value string) {
	if value == "" {
		return
	}
	if !strings.Contains(value, "\n") {
		fmt.Fprintf(&o.buf, "%s=%s\n", name, value)
		return
	}
	fmt.Fprintf(&o.buf, "%s\n", name)
	binary.Write(&o.buf, binary.LittleEndian, uint64(len(value)))
	fmt.Fprintf(&o.buf, "%s\n", value)
}

func (o *journalOutput) Close() error { return o.c.Close() }

// journalName makes a field's name one that the journal takes.
func journalName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, s)
}

// open makes the output of a rule.
func (l *Log) open(rule outputRule) (output, error) {
	switch rule.kind {
	case toFile:
		f, err := os.OpenFile(rule.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, liberr.System(liberr.FromNone, err, "failed to open %s", rule.name)
		}
		return &textOutput{w: f, close: f.Close, banner: l.cfg.Banner}, nil
	case toSyslog:
		w, err := syslog.Dial(l.cfg.syslogNetwork, l.cfg.syslogAddress, syslog.LOG_DAEMON|syslog.LOG_INFO, rule.name)
		if err != nil {
			return nil, liberr.System(liberr.FromNone, err, "%s", "failed to connect to syslog")
		}
		return &syslogOutput{w}, nil
	case toJournald:
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: l.cfg.JournalSocket, Net: "unixgram"})
		if err != nil {
			return nil, liberr.System(liberr.FromNone, err, "failed to connect to %s", l.cfg.JournalSocket)
		}
		return &journalOutput{c: c, id: l.cfg.Daemon}, nil
	}
	return &textOutput{w: l.cfg.Stderr, banner: l.cfg.Banner}, nil
}
