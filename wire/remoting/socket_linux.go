package remoting

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxDescriptors is the kernel's limit for one sendmsg (SCM_MAX_FD).
const maxDescriptors = 253

// socket sends and receives bytes with descriptors. One goroutine at a time may send, one may receive.
// The two closures exist once: RawConn wants functions, and a fresh one per call would be an allocation each.
type socket struct {
	conn *net.UnixConn
	raw  syscall.RawConn

	sendOnce, sendAll func(fd uintptr) bool
	out               []byte
	outFDs            []int
	sent              int
	sendErr           error
	onRoom            func() // called when there is room again in a full socket: the peer has read

	receive  func(fd uintptr) bool
	in       []byte
	oob      [4096]byte // more than CMSG_SPACE of maxDescriptors descriptors
	iov      unix.Iovec
	msg      unix.Msghdr
	received int
	recvErr  error
}

func newSocket(conn *net.UnixConn) (*socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, raw: raw}
	s.sendOnce = func(fd uintptr) bool {
		s.write(int(fd))
		return true
	}
	s.sendAll = func(fd uintptr) bool {
		full, before := s.sendErr == unix.EAGAIN, s.sent
		s.write(int(fd))
		if full && s.sent > before && s.onRoom != nil {
			s.onRoom()
		}
		return s.sendErr != unix.EAGAIN
	}
	s.receive = func(fd uintptr) bool {
		s.read(int(fd))
		return s.recvErr != unix.EAGAIN
	}
	return s, nil
}

// write sends as much of out as the kernel takes now.
func (s *socket) write(fd int) {
	s.sendErr = nil
	for s.sent < len(s.out) {
		var n int
		var err error
		if len(s.outFDs) > 0 {
			n, err = unix.SendmsgN(fd, s.out[s.sent:], unix.UnixRights(s.outFDs...), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		} else {
			n, err = unix.Write(fd, s.out[s.sent:])
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			s.sendErr = err
			return
		}
		closeAll(s.outFDs) // they went with the first byte
		s.outFDs = nil
		s.sent += n
	}
}

// send writes c's bytes from c.off on. With wait it blocks, through the runtime's poller, until all are
// written; without, it stops where the kernel's buffer is full, and reports false.
func (s *socket) send(c *chunk, wait bool) (done bool, err error) {
	for c.off < len(c.buf.b) {
		s.out, s.outFDs, s.sent, s.sendErr = c.buf.b[c.off:], c.fds, 0, nil
		call := s.sendOnce
		if wait {
			call = s.sendAll
		}
		err = s.raw.Write(call)
		c.off += s.sent
		c.fds = s.outFDs
		s.out, s.outFDs = nil, nil
		if err != nil {
			return false, err // the connection is closed
		}
		switch s.sendErr {
		case nil:
		case unix.EAGAIN:
			if !wait {
				return false, nil
			}
		default:
			return false, s.sendErr
		}
	}
	return true, nil
}

func (s *socket) read(fd int) {
	s.iov.Base = unsafe.SliceData(s.in)
	s.iov.SetLen(len(s.in))
	s.msg = unix.Msghdr{Iov: &s.iov, Control: &s.oob[0]}
	s.msg.SetIovlen(1)
	s.msg.SetControllen(len(s.oob))
	for {
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.msg)), unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if errno == unix.EINTR {
			continue
		}
		s.received, s.recvErr = int(n), nil
		if errno != 0 {
			s.received, s.recvErr = 0, errno
		}
		return
	}
}

// recv reads into p, waiting for at least a byte, and appends the descriptors that came along to fds.
func (s *socket) recv(p []byte, fds []int) (int, []int, error) {
	s.in = p
	err := s.raw.Read(s.receive)
	s.in = nil
	if err == nil {
		err = s.recvErr
	}
	if err != nil {
		return 0, fds, err
	}
	if n := int(s.msg.Controllen); n > 0 {
		// Before any check: whatever arrived has to be closed by someone.
		fds = appendRights(fds, s.oob[:n])
		if s.msg.Flags&unix.MSG_CTRUNC != 0 {
			return 0, fds, errors.New("descriptors were truncated (too many open files?)")
		}
	}
	if s.received == 0 {
		return 0, fds, io.EOF
	}
	return s.received, fds, nil
}

func appendRights(fds []int, oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fds
	}
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// frames cuts what arrives into frames.
type frames struct {
	*socket
	max  int
	buf  []byte // read buffer, reused
	r, w int    // unread bytes are buf[r:w]
	fds  []int  // received, not yet taken by a frame; in order

	onBytes func() // called after each read; the heartbeat's proof of life
}

const (
	readSize = 64 << 10
	bigStep  = 4 << 20 // how far a claimed length is believed before its bytes arrive
)

// next returns the body of the next frame. owned says that the caller may keep it; otherwise it is
// valid until the call after this one.
func (f *frames) next() (body []byte, owned bool, err error) {
	if f.buf == nil {
		f.buf = make([]byte, readSize)
	}
	for {
		have := f.buf[f.r:f.w]
		if len(have) >= prefix {
			size := binary.BigEndian.Uint32(have)
			if int64(size) > int64(f.max) {
				return nil, false, fmt.Errorf("frame of %d bytes is over the limit of %d", size, f.max)
			}
			total := prefix + int(size)
			if len(have) >= total {
				f.r += total
				return have[prefix:total], false, nil
			}
			if total > len(f.buf) {
				return f.big(have[prefix:], int(size))
			}
		}
		if f.r > 0 && (f.r == f.w || f.w == len(f.buf)) {
			f.w = copy(f.buf, have)
			f.r = 0
		}
		n, err := f.fill(f.buf[f.w:])
		if err != nil {
			return nil, false, err
		}
		f.w += n
	}
}

// big reads a frame that does not fit the read buffer into memory of its own.
func (f *frames) big(have []byte, size int) ([]byte, bool, error) {
	body := append(make([]byte, 0, max(len(have), min(size, bigStep))), have...)
	f.r, f.w = 0, 0
	for len(body) < size {
		if len(body) == cap(body) {
			body = slices.Grow(body, min(size-len(body), 3*len(body)))
		}
		n, err := f.fill(body[len(body):min(size, cap(body))])
		if err != nil {
			return nil, false, err
		}
		body = body[:len(body)+n]
	}
	return body, true, nil
}

// buffered says that next will not have to wait for the socket.
func (f *frames) buffered() bool {
	have := f.buf[f.r:f.w]
	return len(have) >= prefix && uint64(len(have)) >= prefix+uint64(binary.BigEndian.Uint32(have))
}

func (f *frames) fill(p []byte) (n int, err error) {
	n, f.fds, err = f.recv(p, f.fds)
	if err == nil && len(f.fds) > 2*maxDescriptors {
		err = errors.New("descriptors arrive without their messages")
	}
	if err == nil && f.onBytes != nil {
		f.onBytes()
	}
	return n, err
}

// takeFDs hands over the next n descriptors.
func (f *frames) takeFDs(n int) ([]int, error) {
	if n == 0 {
		return nil, nil
	}
	if n > len(f.fds) {
		return nil, fmt.Errorf("frame counts %d descriptors, %d arrived", n, len(f.fds))
	}
	fds := slices.Clone(f.fds[:n])
	f.fds = append(f.fds[:0], f.fds[n:]...)
	return fds, nil
}

// peerCredentials are those of the process that connected, or that made the listening socket.
func peerCredentials(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	return cred, err
}
