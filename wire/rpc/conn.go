package rpc

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options tune a Conn; the zero value is good.
type Options struct {
	// Queued output above HighWater bytes makes Congested true, until it is down at
	// LowWater. At MaxQueue Send refuses. Defaults 1 MiB, 256 KiB, 64 MiB: one packet of the
	// largest size always fits.
	HighWater, LowWater, MaxQueue int

	// OnDrain, if set, is told each time Congested becomes false again, also by
	// closing. It is called under the queue's lock: it must return at once (post a
	// message) and may not call the Conn.
	OnDrain func()

	// Ahead was read from the connection before: what Detach returned.
	Ahead []byte

	// OnPong, if set, is told of PONG packets, by the goroutine in ReadPacket.
	OnPong func()
}

// Conn carries packets over one connection.
//
// One goroutine at a time may call ReadPacket; Send and everything else may be called
// by any. No method but ReadPacket and WaitDrained waits for the peer.
type Conn struct {
	conn net.Conn
	opt  Options
	rd   reader
	wr   writer

	lastRead atomic.Int64  // monotonic time at which ReadPacket last got a packet
	received atomic.Uint64 // packets, keepalive included
	sent     atomic.Uint64
}

const highWater = 1 << 20

// NewConn takes over nc. UNIX connections can carry descriptors; these and
// plain TCP connections are written in place, others by a goroutine.
func NewConn(nc net.Conn, opt *Options) *Conn {
	c := &Conn{conn: nc}
	if opt != nil {
		c.opt = *opt
	}
	if c.opt.HighWater <= 0 {
		c.opt.HighWater = highWater
	}
	if c.opt.LowWater <= 0 || c.opt.LowWater > c.opt.HighWater {
		c.opt.LowWater = c.opt.HighWater / 4
	}
	if c.opt.MaxQueue <= 0 {
		c.opt.MaxQueue = 64 << 20
	}
	c.rd = reader{src: plainSource{nc}}
	if n := len(c.opt.Ahead); n > 0 {
		c.rd.buf = make([]byte, max(readBuffer, n))
		c.rd.w = copy(c.rd.buf, c.opt.Ahead)
	}
	c.opt.Ahead = nil
	c.wr = writer{conn: nc, opt: &c.opt}
	if s := rawSocket(nc); s != nil {
		c.rd.src, c.wr.sock = s, s
	}
	c.lastRead.Store(monotonic())
	return c
}

// rawSocket is nc's socket if its bytes are the socket's bytes. The list is by
// type: a wrapper that happens to expose its socket (TLS) must not be bypassed.
func rawSocket(nc net.Conn) *socket {
	var sc syscall.Conn
	isUnix := false
	switch nc := nc.(type) {
	case *net.UnixConn:
		sc, isUnix = nc, true
	case *net.TCPConn:
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return newSocket(raw, isUnix)
}

// ReadPacket returns the next packet; see Packet for its ownership. PINGs are
// answered here, before anything else is looked at, and keepalive packets are never
// returned: they are alive as long as somebody is in ReadPacket, however stuck the
// rest of the process may be.
//
// io.EOF means that the peer closed between two packets. After a timeout by
// SetReadDeadline reading may go on; after any other error it may not.
func (c *Conn) ReadPacket() (*Packet, error) {
	if s := c.wr.sock; s != nil {
		s.waited = false
	}
	for {
		p, err := c.rd.next()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				err = ErrClosed
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				c.rd.close()
			}
			return nil, err
		}
		c.lastRead.Store(monotonic())
		c.received.Add(1)
		if p.Program != KeepaliveProgram || p.Version != KeepaliveVersion {
			return p, nil
		}
		proc, typ := p.Proc, p.Type
		p.Release()
		if typ != Message {
			continue
		}
		switch proc {
		case keepalivePing:
			// A full queue drops the answer: the peer's own unread input
			// shows it that we live.
			c.Send(keepaliveHeader(keepalivePong), nil)
		case keepalivePong:
			if c.opt.OnPong != nil {
				c.opt.OnPong()
			}
		}
	}
}

// PacketBuffered reports that ReadPacket will return without waiting for the peer:
// for batching, to be asked by the reading goroutine.
func (c *Conn) PacketBuffered() bool { return c.rd.complete() }

// Waited reports whether the last ReadPacket had to wait for the peer, as it has to for one that reads an answer before it
// asks again. Of a connection that is no plain socket nobody knows: true. For the reading goroutine.
func (c *Conn) Waited() bool { return c.wr.sock == nil || c.wr.sock.waited }

// Send queues one packet with an encoded payload, which it copies. Descriptors
// are passed on and closed by the Conn, whatever Send returns; h.Type must be one of the
// WithFDs types exactly if there may be any. Send does not wait for the peer.
func (c *Conn) Send(h Header, payload []byte, fds ...*os.File) error {
	return c.count(c.wr.enqueue(h, payload, nil, fds))
}

// SendBody is Send with a payload that is encoded directly into the queue.
func (c *Conn) SendBody(h Header, body Body, fds ...*os.File) error {
	return c.count(c.wr.enqueue(h, nil, body, fds))
}

func (c *Conn) count(err error) error {
	if err == nil {
		c.sent.Add(1)
	}
	return err
}

// SendPing queues a keepalive PING.
func (c *Conn) SendPing() error { return c.Send(keepaliveHeader(keepalivePing), nil) }

// Cork makes Send collect packets until the matching Uncork, so that a batch of
// answers leaves in one write.
func (c *Conn) Cork() { c.wr.cork() }

// Uncork sends what was collected since Cork.
func (c *Conn) Uncork() { c.wr.uncork() }

// Congested reports that the peer does not keep up with what is sent: time to
// accept no further work from it. See Options.HighWater and OnDrain.
func (c *Conn) Congested() bool { return c.wr.congested() }

// Queued is how many bytes wait for the peer to read.
func (c *Conn) Queued() int { return c.wr.waiting() }

// WaitDrained waits until the connection is not congested.
func (c *Conn) WaitDrained(ctx context.Context) error { return c.wr.waitDrained(ctx) }

// bulkBuffer is what the kernel may hold of a connection that moves much data: a few packets, so that the two ends work at
// the same time instead of in turns.
const bulkBuffer = 1 << 20

// Bulk prepares the connection for much data to be sent: the marks are at least the default ones. What the system does not
// allow is left as it is.
func (c *Conn) Bulk() {
	c.wr.raise(highWater)
	if c.wr.sock != nil {
		_ = c.wr.sock.raw.Control(func(fd uintptr) {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bulkBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, bulkBuffer)
			}
		})
	}
}

// Close ends the connection at once. Queued packets are lost.
func (c *Conn) Close() error {
	c.wr.close()
	return nil
}

// CloseAfterFlush refuses further packets and closes when those queued have
// left. It does not wait; a peer that never reads is ended by Close.
func (c *Conn) CloseAfterFlush() { c.wr.closeAfterFlush() }

// PassesFDs reports whether descriptors can travel on this connection.
func (c *Conn) PassesFDs() bool { return c.rd.src.passesFDs() }

// LastRead is when the last packet of any kind came.
func (c *Conn) LastRead() time.Time { return epoch.Add(time.Duration(c.lastRead.Load())) }

// Packets counts packets read and accepted for sending, keepalive included.
func (c *Conn) Packets() (received, sent uint64) { return c.received.Load(), c.sent.Load() }

// NetConn is the underlying connection: for addresses and credentials only.
func (c *Conn) NetConn() net.Conn { return c.conn }

// SetReadDeadline bounds ReadPacket; see net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }
