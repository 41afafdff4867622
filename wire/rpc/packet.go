package rpc

import (
	"os"
	"sync"
	"time"
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
	Since   time.Time  // when its receiver took it up, for who measures; the receiver's to set

	buf []byte // what Payload points into
}

// Buffers of received packets come in three sizes: nearly every call and reply
// fits the first, domain XML the second, stream data the third. Anything larger
// is allocated for the occasion.
const (
	smallBuffer = 1 << 10
	largeBuffer = 1 << 16
	dataBuffer  = 1 << 18
)

var (
	packets      = sync.Pool{New: func() any { return new(Packet) }}
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
	dataBuffers  = sync.Pool{New: func() any { return new([dataBuffer]byte) }}
)

// newBuffer returns room for n bytes. Pooled arrays travel as pointers, because a
// slice in an interface would be an allocation.
func newBuffer(n int) []byte {
	switch {
	case n <= smallBuffer:
		return smallBuffers.Get().(*[smallBuffer]byte)[:]
	case n <= largeBuffer:
		return largeBuffers.Get().(*[largeBuffer]byte)[:]
	case n <= dataBuffer:
		return dataBuffers.Get().(*[dataBuffer]byte)[:]
	}
	return make([]byte, n)
}

func freeBuffer(b []byte) {
	switch len(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b))
	case dataBuffer:
		dataBuffers.Put((*[dataBuffer]byte)(b))
	}
}

// newPacket returns a packet with room for at least the beginning of a payload
// of n bytes. On the peer's word alone it never takes more than largeBuffer.
func newPacket(n int) *Packet {
	p := packets.Get().(*Packet)
	p.buf = newBuffer(min(n, largeBuffer))
	return p
}

// grow enlarges the full buffer towards a payload of n bytes. It at most
// quadruples, so that a peer has to send a quarter of what it makes us take.
func (p *Packet) grow(n int) {
	buf := newBuffer(min(4*len(p.buf), n))
	copy(buf, p.buf)
	freeBuffer(p.buf)
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
	freeBuffer(p.buf)
	*p = Packet{}
	packets.Put(p)
}

func closeFiles(fds []*os.File) {
	for _, f := range fds {
		f.Close()
	}
}
