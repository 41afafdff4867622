package qmp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// MaxLine bounds one message of the peer, in bytes. The largest that QEMU sends, its schema, is near 300 KiB.
const MaxLine = 10 << 20

// lineReader cuts the stream at newlines. Its buffer is small, because a host has one per domain; a long line gets a
// buffer of its own that dies with it.
type lineReader struct {
	r   *bufio.Reader
	max int
}

func newLineReader(r io.Reader, max int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 4096), max: max}
}

// next returns the next line that is not blank. The bytes are valid until the next call. An end of the stream within
// a line is io.ErrUnexpectedEOF.
func (l *lineReader) next() ([]byte, error) {
	for {
		line, err := l.raw()
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

func (l *lineReader) raw() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == nil {
		if len(line) > l.max {
			return nil, protocolError(line, "line longer than %d bytes", l.max)
		}
		return line, nil
	}
	var long []byte
	for errors.Is(err, bufio.ErrBufferFull) {
		long = append(long, line...)
		if len(long) > l.max {
			return nil, protocolError(long, "line longer than %d bytes", l.max)
		}
		line, err = l.r.ReadSlice('\n')
	}
	long = append(long, line...)
	if errors.Is(err, io.EOF) && len(bytes.TrimSpace(long)) > 0 {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if len(long) > l.max {
		return nil, protocolError(long, "line longer than %d bytes", l.max)
	}
	return long, nil
}

// message is any of the four things QEMU says: greeting, event, return or error.
type message struct {
	QMP       *Greeting       `json:"QMP"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
	ID     json.RawMessage `json:"id"`
}

// parse checks the shape: exactly one kind of message.
func parse(line []byte) (*message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return nil, protocolError(line, "not a QMP message (%v)", err)
	}
	kinds := 0
	for _, is := range []bool{m.QMP != nil, m.Event != "", m.Return != nil, m.Error != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return nil, protocolError(line, "neither greeting, event, return nor error")
	}
	return &m, nil
}

// Greeting is QEMU's first word.
type Greeting struct {
	Version struct {
		QEMU struct {
			Major, Minor, Micro uint32
		} `json:"qemu"`
		Package string `json:"package"`
	} `json:"version"`
	Capabilities []string `json:"capabilities"`
}

// VersionNumber is libvirt's form of the version: major*1000000 + minor*1000 + micro.
func (g *Greeting) VersionNumber() uint32 {
	v := g.Version.QEMU
	return v.Major*1000000 + v.Minor*1000 + v.Micro
}

// Event is something that happened in QEMU, not caused by a command of the same moment.
type Event struct {
	Name string
	Data json.RawMessage // nil when the event carries none
	Time time.Time       // QEMU's clock
}

// Decode reads the event's data into one of the types of events.go.
func (e Event) Decode(into any) error {
	if e.Data == nil {
		return nil
	}
	return json.Unmarshal(e.Data, into)
}
