package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// Unnamed is a file in memory that only its descriptors lead to, at its end: what a program is to read and nobody else. name
// shows in listings of descriptors.
func Unnamed(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if err = unix.Fchmod(fd, 0o600); err == nil {
		_, err = f.Write(content)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
