package isolation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"virtree/bench/internal/lab"
	"virtree/wire/protocol"
)

// line is one probe connection: opened as every client does, opened again when it is lost, with any number of calls in
// flight. All of it belongs to the load's thread.
type line struct {
	socket string
	uri    string
	setup  []byte // one more call before it is ready; nil for none

	fd      int // -1 when there is none
	phase   phase
	serial  uint32
	in, out []byte
	want    uint32         // serial of the opening's call in flight
	retry   int64          // when to connect again
	calls   map[uint32]due // in flight
	pings   []due          // in flight; their answers have no serial and keep the order
	waiting []due          // due while the connection was being opened

	event func()                                              // a message that is no answer
	done  func(d due, ok bool, status uint32, payload []byte) // a call has its answer, or never will
}

// due is one call: whose, and when it had to be made.
type due struct {
	probe *probe
	at    int64
}

type phase int

const (
	closed phase = iota
	askingAuth
	openingDriver
	settingUp
	ready
)

const (
	headerSize = lab.PacketHeader
	replyType  = 1
)

var pingPacket = lab.Packet(protocol.KeepalivePing.Procedure, nil)

func init() { binary.BigEndian.PutUint32(pingPacket[16:], 2) } // pings are messages, not calls

// connect starts the opening.
func (l *line) connect(epoll int, now int64) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: l.socket}); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		l.retry = now + int64(retryAfter)
		return fmt.Errorf("connect: %w", err)
	}
	l.fd, l.phase, l.in, l.out, l.calls = fd, askingAuth, l.in[:0], l.out[:0], map[uint32]due{}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return err
	}
	l.send(lab.Packet(protocol.AuthList.Procedure, nil))
	return nil
}

// send gives a packet its serial and writes as much as the socket takes.
func (l *line) send(packet []byte) uint32 {
	l.serial++
	at := len(l.out)
	l.out = append(l.out, packet...)
	binary.BigEndian.PutUint32(l.out[at+20:], l.serial)
	if l.phase != ready {
		l.want = l.serial
	}
	l.flush()
	return l.serial
}

func (l *line) flush() {
	for len(l.out) > 0 {
		n, err := unix.Write(l.fd, l.out)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return // full: the next event; broken: so says the next read
		}
		l.out = l.out[:copy(l.out, l.out[n:])]
	}
}

// call makes a call now, or as soon as the connection is ready.
func (l *line) call(d due) {
	switch {
	case l.phase != ready:
		l.waiting = append(l.waiting, d)
	case d.probe.ping:
		l.pings = append(l.pings, d)
		l.out = append(l.out, pingPacket...)
		l.flush()
	default:
		l.calls[l.send(d.probe.packet())] = d
	}
}

var errClosed = errors.New("the daemon closed the connection")

// read takes what has come. An error ends the connection.
func (l *line) read(scratch []byte) error {
	for {
		n, err := unix.Read(l.fd, scratch)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return nil
		case err != nil:
			return err
		case n == 0:
			return errClosed
		}
		l.in = append(l.in, scratch[:n]...)
		for len(l.in) >= headerSize {
			size := int(binary.BigEndian.Uint32(l.in))
			if size < headerSize {
				return fmt.Errorf("a packet of %d bytes", size)
			}
			if len(l.in) < size {
				break
			}
			if err := l.packet(l.in[:size]); err != nil {
				return err
			}
			l.in = l.in[:copy(l.in, l.in[size:])]
		}
	}
}

func (l *line) packet(p []byte) error {
	program, kind := binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[16:])
	serial, status := binary.BigEndian.Uint32(p[20:]), binary.BigEndian.Uint32(p[24:])
	switch {
	case program == protocol.KeepaliveProgram:
		if len(l.pings) > 0 {
			d := l.pings[0]
			l.pings = l.pings[:copy(l.pings, l.pings[1:])]
			l.done(d, true, 0, nil)
		}
	case kind != replyType:
		if l.event != nil {
			l.event()
		}
	case l.phase != ready && serial == l.want:
		if status != 0 {
			return fmt.Errorf("opening it: %s", lab.PacketError(p[headerSize:]))
		}
		l.next()
	default:
		if d, ok := l.calls[serial]; ok {
			delete(l.calls, serial)
			l.done(d, status == 0, status, p[headerSize:])
		}
	}
	return nil
}

// next goes one step on with the opening.
func (l *line) next() {
	switch {
	case l.phase == askingAuth:
		l.phase = openingDriver
		l.send(lab.Packet(protocol.ConnectOpen.Procedure, (&protocol.ConnectOpenArgs{Name: &l.uri}).AppendXDR(nil)))
	case l.phase == openingDriver && l.setup != nil:
		l.phase = settingUp
		l.send(l.setup)
	default:
		l.phase = ready
		waiting := l.waiting
		l.waiting = nil
		for _, d := range waiting {
			l.call(d)
		}
	}
}

// lose ends the connection and forgets what was in flight; it is opened again later.
func (l *line) lose(now int64) {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
	l.fd, l.phase, l.retry = -1, closed, now+int64(retryAfter)
	l.calls, l.pings, l.waiting = nil, nil, nil
}

// open lists what is not answered.
func (l *line) open() []due {
	all := append(append([]due(nil), l.waiting...), l.pings...)
	for _, d := range l.calls {
		all = append(all, d)
	}
	return all
}
