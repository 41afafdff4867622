package call

import "golang.org/x/sys/unix"

// CloseFDs closes descriptors that nobody will take.
func CloseFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
