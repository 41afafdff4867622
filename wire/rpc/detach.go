package rpc

import (
	"encoding/binary"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotDetachable is what Detach says of a connection that only this process can go on with.
var ErrNotDetachable = errors.New("rpc: connection cannot be given away")

// Detach gives the connection away, to go on in another process: it returns a descriptor of the socket and
// what was read from it and belongs to later packets, be it half of one that a read deadline has cut, which the new owner passes to NewConn as Options.Ahead.
// Only the reading goroutine may call it, and only when all that was sent has left. The Conn is closed then, the
// connection is not.
func (c *Conn) Detach() (fd int, ahead []byte, err error) {
	if c.wr.sock == nil || len(c.rd.fds) > 0 {
		return -1, nil, ErrNotDetachable
	}
	c.wr.mu.Lock()
	idle := c.wr.queued == 0 && c.wr.err == nil
	c.wr.mu.Unlock()
	sc, ok := c.conn.(syscall.Conn)
	if !idle || !ok {
		return -1, nil, ErrNotDetachable
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, nil, err
	}
	var dup error
	if err := raw.Control(func(s uintptr) { fd, dup = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return -1, nil, err
	}
	if dup != nil {
		return -1, nil, dup
	}
	ahead = append(c.rd.cut, c.rd.buf[c.rd.r:c.rd.w]...)
	return fd, ahead, c.Close()
}

// AppendPacket appends a packet without descriptors as it travels.
func AppendPacket(b []byte, h Header, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(prefixSize+len(payload)))
	return append(h.Append(b), payload...)
}
