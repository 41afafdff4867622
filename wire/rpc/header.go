package rpc

import (
	"encoding/binary"
	"fmt"
)

// Type says what a packet is; the numbers are libvirt's virNetMessageType.
type Type uint32

const (
	Call         Type = 0 // client to server: args
	Reply        Type = 1 // server to client: ret, or the error payload
	Message      Type = 2 // either way, unanswered: events, keepalive
	Stream       Type = 3 // either way: data, finish, abort, error
	CallWithFDs  Type = 4 // descriptor count, then args
	ReplyWithFDs Type = 5 // descriptor count, then ret
	StreamHole   Type = 6 // either way: a gap in sparse data
)

var typeNames = [...]string{"call", "reply", "message", "stream", "call-with-fds", "reply-with-fds", "stream-hole"}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint32(t))
}

// Status qualifies a Type; the numbers are libvirt's virNetMessageStatus.
type Status uint32

const (
	OK       Status = 0 // calls, good replies, events, the end of a stream
	Error    Status = 1 // failed replies, stream failure and abort
	Continue Status = 2 // stream data and holes
)

var statusNames = [...]string{"ok", "error", "continue"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint32(s))
}

// Sizes fixed by the protocol, in bytes.
const (
	lengthSize = 4
	headerSize = 24
	prefixSize = lengthSize + headerSize

	MaxPacket  = 33554432               // header and payload; the length word adds 4 to it
	MaxPayload = MaxPacket - headerSize // args, ret, event or stream bytes of one packet
	MaxData    = 262120                 // stream bytes a daemon puts in one packet
	MaxFDs     = 32                     // descriptors that travel with one packet
)

// Header is virNetMessageHeader: what a packet is and which call it belongs to.
// Type and Status are carried as received: a value nobody knows is dropped by
// whoever dispatches, as libvirt does, and is no reason to close.
type Header struct {
	Program uint32
	Version uint32
	Proc    int32
	Type    Type
	Serial  uint32
	Status  Status
}

// ReplyTo is the header of an answer to the call h.
func (h Header) ReplyTo(s Status) Header {
	h.Type, h.Status = Reply, s
	return h
}

func (h Header) String() string {
	return fmt.Sprintf("%s/%s program %#x version %d procedure %d serial %d", h.Type, h.Status, h.Program, h.Version, h.Proc, h.Serial)
}

// Append adds the header's 24 bytes to b.
func (h Header) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, h.Program)
	b = binary.BigEndian.AppendUint32(b, h.Version)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Proc))
	b = binary.BigEndian.AppendUint32(b, uint32(h.Type))
	b = binary.BigEndian.AppendUint32(b, h.Serial)
	return binary.BigEndian.AppendUint32(b, uint32(h.Status))
}

// decodeHeader reads a header from the first 24 bytes of b, which must be there.
func decodeHeader(b []byte) Header {
	_ = b[headerSize-1]
	return Header{
		Program: binary.BigEndian.Uint32(b),
		Version: binary.BigEndian.Uint32(b[4:]),
		Proc:    int32(binary.BigEndian.Uint32(b[8:])),
		Type:    Type(binary.BigEndian.Uint32(b[12:])),
		Serial:  binary.BigEndian.Uint32(b[16:]),
		Status:  Status(binary.BigEndian.Uint32(b[20:])),
	}
}

// checkLength refuses a length word before anything is allocated for it. A
// packet too short for its header is as broken as one that is too long.
func checkLength(n uint32) error {
	if n < prefixSize || n > MaxPacket+lengthSize {
		return &FrameError{What: fmt.Sprintf("packet length %d outside %d..%d", n, prefixSize, MaxPacket+lengthSize)}
	}
	return nil
}

// FrameError is a violation of the framing rules. The byte stream cannot be
// trusted after one: the connection is to be closed, without a reply.
type FrameError struct{ What string }

func (e *FrameError) Error() string { return "rpc framing: " + e.What }
