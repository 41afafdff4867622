package remoting

import (
	"encoding/binary"
	"errors"
)

// protocolVersion is that of the envelope and of the hello. It stands in every frame.
const protocolVersion = 1

// kind is what a frame is for; it decides which fields of the envelope mean something.
type kind uint8

const (
	kindHello      kind = iota + 1 // payload: hello
	kindReject                     // code, payload: text. The listener's answer to a hello it does not like
	kindPing                       // a sign of life; with flagRequest: answer with one
	kindUser                       // a message for an actor's mailbox
	kindMulti                      // the same for each of targets
	kindWatch                      // target: watchee, sender: watcher
	kindUnwatch                    // likewise
	kindTerminated                 // target: watcher, sender: watchee, code: reason
	kindStop                       // target
	kindError                      // target: who asked, serial: its request, code, payload: text
	kindGoodbye                    // requests are refused with Leaving from here on; with flagReply: none will come
)

const (
	flagRequest = 1 << iota // serial is a RequestSerial; a ping wants one back
	flagReply               // serial is a ReplySerial
)

// envelope is one frame, decoded. Its slices point into the read buffer.
//
// The array on the wire has the fields in this order:
//
//	version, kind, flags, target | [targets], sender address, sender id, sender request id,
//	serial, deadline, code, descriptors, {headers}, payload
type envelope struct {
	kind      kind
	flags     uint64
	target    []byte
	targets   [][]byte // only of kindMulti
	address   []byte   // of the sender; empty: the peer itself
	sender    []byte   // empty: none
	requestID uint32
	serial    uint64
	deadline  uint64 // Unix nanoseconds, 0: none
	code      uint64 // message type, failure code or terminated reason
	fds       int
	headers   [][]byte // key, value, key, value, ...
	payload   []byte
}

const (
	envelopeFields = 13
	// What a receiver keeps of a frame besides its bytes is bounded by these.
	maxTargets = 4096
	maxHeaders = 64
)

var (
	errFrame   = errors.New("malformed frame")
	errVersion = errors.New("frame of another protocol version")
)

// header is what the sending side puts before the payload.
type header struct {
	kind      kind
	flags     uint64
	target    string
	targets   []string // only of kindMulti
	address   string
	sender    string
	requestID uint32
	serial    uint64
	deadline  uint64
	code      uint64
	fds       int
	headers   map[string]string
}

// prefix is the frame's length, payloadHead the MessagePack bin32 in front of the payload.
const (
	prefix      = 4
	payloadHead = 5
)

// begin appends the frame up to the payload, whose length is not known yet. end completes it.
func (h *header) begin(b []byte) []byte {
	b = append(b, 0, 0, 0, 0)
	b = appendArray(b, envelopeFields)
	b = append(b, protocolVersion, byte(h.kind))
	b = appendUint(b, h.flags)
	if h.kind == kindMulti {
		b = appendArray(b, len(h.targets))
		for _, t := range h.targets {
			b = appendString(b, t)
		}
	} else {
		b = appendString(b, h.target)
	}
	b = appendString(b, h.address)
	b = appendString(b, h.sender)
	b = appendUint(b, uint64(h.requestID))
	b = appendUint(b, h.serial)
	b = appendUint(b, h.deadline)
	b = appendUint(b, h.code)
	b = appendUint(b, uint64(h.fds))
	b = appendMap(b, len(h.headers))
	for k, v := range h.headers {
		b = appendString(appendString(b, k), v)
	}
	return append(b, 0xc6, 0, 0, 0, 0)
}

// end fills in the lengths of the frame that starts at b[start] and whose payload starts at b[payload].
func end(b []byte, start, payload int) []byte {
	binary.BigEndian.PutUint32(b[payload-4:], uint32(len(b)-payload))
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-prefix))
	return b
}

// appendFrame appends a whole frame.
func (h *header) appendFrame(b []byte, payload string) []byte {
	start := len(b)
	b = h.begin(b)
	at := len(b)
	return end(append(b, payload...), start, at)
}

// decode reads the body of a frame. It allocates nothing but the lists of several targets and of headers.
func (e *envelope) decode(body []byte) error {
	c := cursor{b: body}
	if c.array() != envelopeFields || c.bad {
		return errFrame
	}
	if c.uint() != protocolVersion {
		return errVersion
	}
	*e = envelope{kind: kind(c.byte()), flags: c.uint(), targets: e.targets[:0], headers: e.headers[:0]}
	if e.kind < kindHello || e.kind > kindGoodbye {
		return errFrame
	}
	if e.kind == kindMulti {
		n := c.array()
		if n > maxTargets {
			return errFrame
		}
		for ; n > 0 && !c.bad; n-- {
			e.targets = append(e.targets, c.string())
		}
	} else {
		e.target = c.string()
	}
	e.address = c.string()
	e.sender = c.string()
	requestID := c.uint()
	e.requestID = uint32(requestID)
	e.serial = c.uint()
	e.deadline = c.uint()
	e.code = c.uint()
	fds := c.uint()
	e.fds = int(fds)
	pairs := c.maplen()
	if pairs > maxHeaders {
		return errFrame
	}
	for n := 2 * pairs; n > 0 && !c.bad; n-- {
		e.headers = append(e.headers, c.string())
	}
	e.payload = c.binary()
	if c.bad || len(c.b) != 0 || fds > maxDescriptors || requestID > 1<<32-1 {
		return errFrame
	}
	return nil
}
