package rpc

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket does the system calls of one connected stream socket below Go's netpoller,
// so that an attempt to write can return instead of waiting, descriptors
// arrive with their bytes, and nothing is allocated per call.
type socket struct {
	raw  syscall.RawConn
	unix bool

	in     transfer // used by the reading goroutine
	waited bool     // there was nothing to read; the reading goroutine's, too
	out    transfer // used by whoever flushes
}

// transfer is one system call's arguments and results. The function values are
// made once, because a closure per call would be an allocation per call.
type transfer struct {
	p    []byte
	fd   int // descriptor to send, -1 for none
	wait bool
	n    int
	err  error
	fds  []*os.File

	fn  func(fd uintptr) bool
	msg unix.Msghdr
	iov unix.Iovec
	box *inbox // that was read into, of recvBox
}

// scmMaxFD is the kernel's limit of descriptors in one message. Room for all of
// them means a hostile peer cannot make the kernel truncate the list.
const scmMaxFD = 253

// inboxControl is unix.CmsgSpace(4*scmMaxFD), which is no constant.
const inboxControl = unix.SizeofCmsghdr + (4*scmMaxFD+7)&^7

func newSocket(raw syscall.RawConn, isUnix bool) *socket {
	s := &socket{raw: raw, unix: isUnix}
	s.in.fn, s.out.fn = s.recvmsg, s.send
	return s
}

func (s *socket) passesFDs() bool { return s.unix }

func (s *socket) recv(p []byte) (int, []*os.File, error) {
	s.in.p = p
	n, fds, err := s.receive()
	s.in.p = nil
	return n, fds, err
}

func (s *socket) recvBox() (*inbox, int, []*os.File, error) {
	n, fds, err := s.receive()
	box := s.in.box
	s.in.box = nil
	return box, n, fds, err
}

func (s *socket) receive() (int, []*os.File, error) {
	t := &s.in
	t.n, t.err, t.fds = 0, nil, nil
	err := s.raw.Read(t.fn)
	if err == nil {
		err = t.err
	}
	if err == nil && t.n == 0 {
		err = io.EOF
	}
	fds := t.fds
	t.fds = nil
	return t.n, fds, err
}

// recvmsg reads into p, or else into an inbox, which is there only while there is something to read.
func (s *socket) recvmsg(fd uintptr) bool {
	t := &s.in
	box := inboxes.Get().(*inbox)
	p := t.p
	if p == nil {
		p = box.bytes[:]
	}
	t.iov.Base = unsafe.SliceData(p)
	t.iov.SetLen(len(p))
	t.msg = unix.Msghdr{Iov: &t.iov}
	t.msg.SetIovlen(1)
	if s.unix {
		t.msg.Control = &box.oob[0]
		t.msg.SetControllen(len(box.oob))
	}
	errno := unix.EINTR
	var n uintptr
	for errno == unix.EINTR {
		n, _, errno = unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&t.msg)), unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	}
	switch errno {
	case 0:
		t.n = int(n)
		if t.msg.Controllen > 0 {
			t.fds, t.err = parseRights(box.oob[:t.msg.Controllen])
		}
	case unix.EAGAIN:
		s.waited = true
	default:
		t.err = os.NewSyscallError("recvmsg", errno)
	}
	t.iov.Base, t.msg.Control = nil, nil // nothing of an inbox that is another connection's now
	if t.p == nil && t.n > 0 {
		t.box = box
	} else {
		inboxes.Put(box)
	}
	return errno != unix.EAGAIN
}

// parseRights wraps received descriptors at once, so that none is lost whatever
// happens next.
func parseRights(oob []byte) ([]*os.File, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	var files []*os.File
	for i := range msgs {
		if msgs[i].Header.Level != unix.SOL_SOCKET || msgs[i].Header.Type != unix.SCM_RIGHTS {
			continue
		}
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			return files, os.NewSyscallError("recvmsg", err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "rpc"))
		}
	}
	return files, nil
}

// write sends p. Without wait it sends what the kernel takes now, which may be
// nothing, and that is no error.
func (s *socket) write(p []byte, wait bool) (int, error) {
	t := &s.out
	t.p, t.fd, t.wait, t.n, t.err = p, -1, wait, 0, nil
	return s.transmit()
}

// writeFD sends one zero byte with one descriptor.
func (s *socket) writeFD(f *os.File, wait bool) (sent bool, err error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	t := &s.out
	t.p, t.wait, t.n, t.err = []byte{0}, wait, 0, nil
	cerr := rc.Control(func(fd uintptr) {
		t.fd = int(fd)
		_, err = s.transmit()
	})
	return t.n == 1, errors.Join(cerr, err)
}

func (s *socket) transmit() (int, error) {
	t := &s.out
	err := s.raw.Write(t.fn)
	t.p = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

func (s *socket) send(fd uintptr) bool {
	t := &s.out
	for t.n < len(t.p) {
		rest := t.p[t.n:]
		t.iov.Base = unsafe.SliceData(rest)
		t.iov.SetLen(len(rest))
		t.msg = unix.Msghdr{Iov: &t.iov}
		t.msg.SetIovlen(1)
		if t.fd >= 0 {
			oob := unix.UnixRights(t.fd)
			t.msg.Control = &oob[0]
			t.msg.SetControllen(len(oob))
		}
		n, _, errno := unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&t.msg)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			t.n += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return !t.wait
		case unix.ETOOMANYREFS:
			// Too many descriptors in flight: the peer does not read. Waiting
			// for writability would spin, so this ends the connection.
			t.err = os.NewSyscallError("sendmsg", errno)
			return true
		default:
			t.err = os.NewSyscallError("sendmsg", errno)
			return true
		}
	}
	return true
}
