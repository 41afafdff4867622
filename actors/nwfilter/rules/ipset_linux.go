package rules

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// ipSetOption is the socket option by which xtables asks for sets of the ipset tool, and its operations.
const (
	ipSetOption       = 83
	ipSetOpByName     = 0x06
	ipSetOpVersion    = 0x100
	ipSetInvalidIndex = 65535
	ipSetNameLength   = 32
)

// findIPSet gives the kernel's index of a set.
func findIPSet(name string) (uint16, error) {
	missing := liberr.New(from, liberr.InternalError, "Failed to apply firewall rules: Set %s doesn't exist.", name)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return 0, missing.WithCause(err)
	}
	defer func() { _ = unix.Close(fd) }()
	get := func(b []byte) error {
		size := uint32(len(b))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, ipSetOption,
			uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != 0 {
			return fmt.Errorf("ipset: %w", errno)
		}
		return nil
	}
	version := binary.NativeEndian.AppendUint32(nil, ipSetOpVersion)
	version = binary.NativeEndian.AppendUint32(version, 0)
	if err := get(version); err != nil {
		return 0, missing.WithCause(err)
	}
	ask := binary.NativeEndian.AppendUint32(nil, ipSetOpByName)
	ask = append(ask, version[4:8]...)
	text := make([]byte, ipSetNameLength)
	copy(text[:ipSetNameLength-1], name)
	ask = append(ask, text...)
	if err := get(ask); err != nil {
		return 0, missing.WithCause(err)
	}
	index := binary.NativeEndian.Uint16(ask[8:10])
	if index == ipSetInvalidIndex {
		return 0, missing
	}
	return index, nil
}
