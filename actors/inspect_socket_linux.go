package actors

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listens tells whether any process has the socket open. A connect succeeds when one has, also when it never accepts.
func listens(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err == nil {
		_ = conn.Close()
		return true
	}
	return !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist)
}
