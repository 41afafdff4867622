package rpc

import (
	"os"
	"sync"
)

// Packet is one received packet.
//
// Ownership: ReadPacket gives the packet to its caller. Payload points into a
// pooled buffer and is valid until Release; who needs the bytes longer copies
// them, or never calls Release and leaves the packet to the collector (that is
// safe, only slower). Descriptors in FDs belong to the packet until TakeFDs;
// Release closes those nobody took.
type Packet struct {
	Header
	Payload []byte     // args, ret, event or stream bytes; the descriptor count is already removed
	FDs     []*os.File // close-on-exec. Send or dup through SyscallConn: Fd() could change the sender's O_NONBLOCK

	buf []byte // what Payload points into
}

// Buffers of received packets come in two sizes: nearly every call and reply
// fits the first; stream data and domain XML want the second. Anything larger is
// allocated for the occasion.
const (
	smallBuffer = 1 << 10
	largeBuffer = 1 << 16
)

var (
	smallPackets = sync.Pool{New: func() any { return &Packet{buf: make([]byte, smallBuffer)} }}
	largePackets = sync.Pool{New: func() any { return &Packet{buf: make([]byte, largeBuffer)} }}
)

// newPacket returns a packet with room for at least the beginning of a payload
// of n bytes. It never allocates more than largeBuffer on the peer's word alone;
// see grow.
func newPacket(n int) *Packet {
	if n <= smallBuffer {
		return smallPackets.Get().(*Packet)
	}
	return largePackets.Get().(*Packet)
}

// grow enlarges the buffer for a payload of n bytes of which have have arrived.
// It doubles, so that a peer has to send half of what it makes us allocate.
func (p *Packet) grow(have, n int) {
	size := min(max(2*len(p.buf), largeBuffer), n)
	buf := make([]byte, size)
	copy(buf, p.buf[:have])
	p.buf = buf
}

// TakeFDs hands the descriptors over to the caller.
func (p *Packet) TakeFDs() []*os.File {
	fds := p.FDs
	p.FDs = nil
	return fds
}

// Release ends the use of the packet and its Payload, and closes the descriptors
// that were not taken. Call it at most once; a nil packet is allowed.
func (p *Packet) Release() {
	if p == nil {
		return
	}
	closeFiles(p.FDs)
	p.FDs, p.Payload, p.Header = nil, nil, Header{}
	switch len(p.buf) {
	case smallBuffer:
		smallPackets.Put(p)
	case largeBuffer:
		largePackets.Put(p)
	}
}

func closeFiles(fds []*os.File) {
	for _, f := range fds {
		f.Close()
	}
}
