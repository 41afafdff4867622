package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// readBuffer is enough for a burst of calls to be served many to a system call; a large payload bypasses it.
const readBuffer = 8 << 10

// inbox is what is read into: bytes, and control messages that come with them. An idle connection has none, since there may
// be thousands of them; a socket takes one from the pool when there is something to read.
type inbox struct {
	bytes [readBuffer]byte
	oob   [inboxControl]byte
}

var inboxes = sync.Pool{New: func() any { return new(inbox) }}

// reader cuts the byte stream into packets. It belongs to whoever calls
// ReadPacket, one goroutine at a time.
//
//	source --> buf[r:w] --> Packet.buf
//	      \______ large payloads ____/
//
// consumed counts stream bytes already handed on; consumed + (w-r) is the
// number of bytes received. Received descriptors wait in fds with the position of
// the byte they came with.
type reader struct {
	src      source
	box      *inbox // whose bytes buf is; nil: none, or buf is what was read ahead in another process
	buf      []byte // nil when there is nothing in it
	r, w     int
	consumed uint64
	fds      []strayFD
	cut      []byte // what had come of a packet when a deadline struck; for Detach
}

// strayFD is a received descriptor not yet claimed by a packet.
type strayFD struct {
	at   uint64 // stream position of its byte
	file *os.File
}

// source reads bytes and, where the transport can, descriptors. Descriptors
// returned with n bytes came with the last of these bytes.
type source interface {
	recv(p []byte) (n int, fds []*os.File, err error)
	// recvBox is recv into an inbox, which is the caller's afterwards; nil without bytes.
	recvBox() (box *inbox, n int, fds []*os.File, err error)
	passesFDs() bool
}

// fill reads more bytes behind buf[r:w].
func (r *reader) fill() error {
	if r.r == r.w {
		r.vacate()
		box, n, fds, err := r.src.recvBox()
		if box != nil {
			r.box, r.buf, r.w = box, box.bytes[:], n
		}
		return r.accept(r.consumed, n, fds, err)
	}
	if r.w == len(r.buf) {
		copy(r.buf, r.buf[r.r:r.w])
		r.r, r.w = 0, r.w-r.r
	}
	n, err := r.recv(r.buf[r.w:], r.consumed+uint64(r.w-r.r))
	r.w += n
	return err
}

// vacate gives an empty buffer back before what may be a long wait.
func (r *reader) vacate() {
	if r.box != nil {
		inboxes.Put(r.box)
	}
	r.box, r.buf, r.r, r.w = nil, nil, 0, 0
}

// recv reads into p the bytes that follow stream position at.
func (r *reader) recv(p []byte, at uint64) (int, error) {
	n, fds, err := r.src.recv(p)
	return n, r.accept(at, n, fds, err)
}

// accept keeps what came with n bytes from stream position at.
func (r *reader) accept(at uint64, n int, fds []*os.File, err error) error {
	if len(fds) > 0 {
		// One descriptor per byte is the protocol; a byte that brings several
		// is nothing a packet could claim.
		if len(fds) > 1 || len(r.fds) >= MaxFDs {
			closeFiles(fds)
			return &FrameError{What: "unexpected file descriptors"}
		}
		r.fds = append(r.fds, strayFD{at + uint64(n) - 1, fds[0]})
	}
	if err == nil && n == 0 {
		err = io.ErrNoProgress
	}
	return err
}

// need blocks until n bytes are buffered; n must fit the buffer.
func (r *reader) need(n int) error {
	for r.w-r.r < n {
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && r.w > r.r {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

func (r *reader) take(n int) []byte {
	b := r.buf[r.r : r.r+n]
	r.r += n
	r.consumed += uint64(n)
	return b
}

// next returns the next packet. After an error the stream is unusable, unless
// the error is a deadline: one that struck between two packets, or within one
// and Detach follows.
func (r *reader) next() (*Packet, error) {
	if err := r.need(prefixSize); err != nil {
		// A bad length is reported as such even if the peer sends nothing more.
		if r.w-r.r >= lengthSize {
			if bad := checkLength(binary.BigEndian.Uint32(r.buf[r.r:])); bad != nil {
				return nil, bad
			}
		}
		return nil, err
	}
	if err := checkLength(binary.BigEndian.Uint32(r.buf[r.r:])); err != nil {
		return nil, err
	}
	prefix := r.take(prefixSize)
	n := int(binary.BigEndian.Uint32(prefix)) - prefixSize
	p := newPacket(n)
	p.Header = decodeHeader(prefix[lengthSize:])
	if have, err := r.payload(p, n); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.cut = binary.BigEndian.AppendUint32(nil, uint32(prefixSize+n))
			r.cut = append(p.Header.Append(r.cut), p.buf[:have]...)
		}
		p.Release()
		return nil, err
	}
	if p.Type == CallWithFDs || p.Type == ReplyWithFDs {
		if err := r.claim(p); err != nil {
			p.Release()
			return nil, err
		}
	}
	r.dropStray()
	return p, nil
}

// payload reads n bytes into the packet, and tells how many came.
func (r *reader) payload(p *Packet, n int) (have int, err error) {
	have = copy(p.buf[:min(n, len(p.buf))], r.buf[r.r:r.w])
	r.take(have)
	for have < n {
		if have == len(p.buf) {
			p.grow(n)
		}
		room := min(n, len(p.buf))
		if room-have < readBuffer && room == n {
			// The tail is short: read ahead through the buffer.
			if err := r.fill(); err != nil {
				return have, midPacket(err)
			}
			k := copy(p.buf[have:room], r.buf[r.r:r.w])
			r.take(k)
			have += k
			continue
		}
		k, err := r.recv(p.buf[have:room], r.consumed)
		r.consumed += uint64(k)
		have += k
		if err != nil {
			return have, midPacket(err)
		}
	}
	p.Payload = p.buf[:n:n]
	return have, nil
}

// claim takes the descriptors that follow the packet: a count in front of the
// payload, then as many bytes behind the packet, each with one descriptor.
func (r *reader) claim(p *Packet) error {
	if len(p.Payload) < 4 {
		return &FrameError{What: p.Type.String() + " without a descriptor count"}
	}
	n := binary.BigEndian.Uint32(p.Payload)
	if n > MaxFDs {
		return &FrameError{What: fmt.Sprintf("%d file descriptors with one packet, at most %d are allowed", n, MaxFDs)}
	}
	p.Payload = p.Payload[4:]
	if n > 0 && !r.src.passesFDs() {
		return &FrameError{What: "file descriptors announced on a connection that cannot carry them"}
	}
	for range n {
		if err := r.need(1); err != nil {
			return midPacket(err)
		}
		at := r.consumed
		r.take(1)
		for len(r.fds) > 0 && r.fds[0].at < at {
			r.fds[0].file.Close()
			r.fds = r.fds[1:]
		}
		if len(r.fds) == 0 || r.fds[0].at != at {
			return &FrameError{What: "announced file descriptor did not come"}
		}
		p.FDs = append(p.FDs, r.fds[0].file)
		r.fds = r.fds[1:]
	}
	return nil
}

// dropStray closes descriptors that came with bytes of a packet already read:
// like a peer that reads without looking for them.
func (r *reader) dropStray() {
	for len(r.fds) > 0 && r.fds[0].at < r.consumed {
		r.fds[0].file.Close()
		r.fds = r.fds[1:]
	}
}

func (r *reader) close() {
	for _, s := range r.fds {
		s.file.Close()
	}
	r.fds = nil
	if r.r == r.w {
		r.vacate()
	}
}

// complete reports whether a whole packet is buffered that ReadPacket returns: a keepalive packet is not, after which it
// reads on, and of descriptors nobody knows whether they have come.
func (r *reader) complete() bool {
	have := r.w - r.r
	if have < prefixSize || uint64(binary.BigEndian.Uint32(r.buf[r.r:])) > uint64(have) {
		return false
	}
	h := decodeHeader(r.buf[r.r+lengthSize : r.r+prefixSize])
	return h.Program != KeepaliveProgram && h.Type != CallWithFDs && h.Type != ReplyWithFDs
}

func midPacket(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// plainSource reads from anything: TLS, pipes, tunnels.
type plainSource struct{ r io.Reader }

func (s plainSource) recv(p []byte) (int, []*os.File, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		err = nil // an error that came with bytes comes again
	}
	return n, nil, err
}

func (s plainSource) recvBox() (*inbox, int, []*os.File, error) { return waitBox(s.recv) }

// waitBox is recvBox of a source that cannot tell whether there is something to read: it holds the inbox while it waits.
func waitBox(recv func(p []byte) (int, []*os.File, error)) (*inbox, int, []*os.File, error) {
	box := inboxes.Get().(*inbox)
	n, fds, err := recv(box.bytes[:])
	if n == 0 {
		inboxes.Put(box)
		box = nil
	}
	return box, n, fds, err
}

func (plainSource) passesFDs() bool { return false }

var epoch = time.Now()

// monotonic is nanoseconds since the process began; it fits an atomic.
func monotonic() int64 { return int64(time.Since(epoch)) }
