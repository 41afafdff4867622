package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// slice is what one burst of load measured.
type slice struct {
	Calls int
	Took  time.Duration
	CPU   time.Duration // of the client
	Lat   []int64       // nanoseconds, one per call
}

// link is one connection under load: its socket, and how far its answer has come.
type link struct {
	fd     int
	sent   int64
	got    int
	want   int
	header [headerSize]byte
}

// pack of connections that are loaded together.
type pack struct {
	keep  []net.Conn
	links []link
	epoll int
}

// connect opens n connections and takes their sockets away from the Go runtime.
func connect(n int, open func() (net.Conn, error)) (*pack, error) {
	p := &pack{epoll: -1}
	for range n {
		c, err := open()
		if err != nil {
			p.close()
			return nil, err
		}
		p.keep = append(p.keep, c)
		f, err := rawConn(c).File()
		if err != nil {
			p.close()
			return nil, err
		}
		fd, err := unix.Dup(int(f.Fd())) // Fd makes it blocking
		f.Close()
		if err != nil {
			p.close()
			return nil, err
		}
		p.links = append(p.links, link{fd: fd})
	}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		p.close()
		return nil, err
	}
	for i := range p.links {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, p.links[i].fd, &ev); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func rawConn(c net.Conn) *net.UnixConn {
	if s, ok := c.(*session); ok {
		c = s.Conn
	}
	return c.(*net.UnixConn)
}

func (p *pack) close() {
	for _, l := range p.links {
		unix.Close(l.fd)
	}
	if p.epoll >= 0 {
		unix.Close(p.epoll)
	}
	for _, c := range p.keep {
		c.Close()
	}
}

var errRefused = errors.New("the call was answered with an error")

// run keeps one call in flight on every connection for d, and lets the last ones
// come in. An answer with a status other than OK ends it.
func (p *pack) run(packet []byte, d time.Duration, scratch []byte) (slice, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var s slice
	before := threadCPU()
	begin := nanotime()
	end := begin + int64(d)
	out := append([]byte(nil), packet...)
	var serial uint32
	send := func(l *link) error {
		serial++
		binary.BigEndian.PutUint32(out[20:], serial)
		l.got, l.want = 0, 0
		l.sent = nanotime()
		_, err := unix.Write(l.fd, out)
		return err
	}
	for i := range p.links {
		if err := send(&p.links[i]); err != nil {
			return s, err
		}
	}
	open := len(p.links)
	answered := func(l *link) error {
		now := nanotime()
		s.Lat = append(s.Lat, now-l.sent)
		s.Calls++
		if now < end {
			return send(l)
		}
		open--
		return nil
	}
	events := make([]unix.EpollEvent, len(p.links))
	for open > 0 {
		n := 1
		if len(p.links) > 1 {
			var err error
			if n, err = unix.EpollWait(p.epoll, events, 60000); err == syscall.EINTR {
				continue
			} else if err != nil {
				return s, err
			} else if n == 0 {
				return s, fmt.Errorf("no answer within a minute")
			}
		}
		for _, ev := range events[:n] {
			l := &p.links[ev.Fd]
			if len(p.links) == 1 {
				l = &p.links[0]
			}
			done, err := l.read(scratch)
			if err != nil {
				return s, err
			}
			if done {
				if err := answered(l); err != nil {
					return s, err
				}
			}
		}
	}
	s.Took = time.Duration(nanotime() - begin)
	s.CPU = threadCPU() - before
	return s, nil
}

// read takes what there is of the answer. It is done when all of it came.
func (l *link) read(scratch []byte) (bool, error) {
	n, err := unix.Read(l.fd, scratch)
	if err == syscall.EINTR {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, errors.New("the daemon closed the connection")
	}
	if l.got < headerSize {
		copy(l.header[l.got:], scratch[:n])
	}
	l.got += n
	if l.want == 0 && l.got >= 4 {
		l.want = int(binary.BigEndian.Uint32(l.header[:]))
	}
	if l.want == 0 || l.got < l.want {
		return false, nil
	}
	if binary.BigEndian.Uint32(l.header[24:]) != 0 {
		return false, errRefused
	}
	return true, nil
}

func nanotime() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

func threadCPU() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano())
}
