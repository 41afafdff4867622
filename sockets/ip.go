package sockets

import (
	"context"
	"net"
	"strconv"
	"syscall"

	"virtree/wire/liberr"
)

// listenIP listens on one port of one or all addresses. With all, a single socket takes IPv4 and IPv6 where the host has both.
// Go sets SO_REUSEADDR, so a restart does not wait for old connections.
func listenIP(addr, service string, backlog int) (net.Listener, error) {
	port, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", service)
	if err != nil {
		return nil, liberr.New(liberr.FromRPC, liberr.SystemError, "Unable to resolve address '%s' service '%s': %s",
			orDefault(addr, "*"), service, err)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
	if err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "Unable to bind to port")
	}
	if err := setBacklog(l, backlog); err != nil {
		l.Close()
		return nil, liberr.System(liberr.FromRPC, err, "Unable to listen on socket")
	}
	return l, nil
}

// setBacklog repeats listen(2), which changes the queue's length of a listening socket.
func setBacklog(l net.Listener, backlog int) error {
	sc, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := rc.Control(func(fd uintptr) { lerr = syscall.Listen(int(fd), backlog) }); err != nil {
		return err
	}
	return lerr
}
