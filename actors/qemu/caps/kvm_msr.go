package caps

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kvmMSR reads a feature register of the host by way of /dev/kvm.
func kvmMSR(index uint32) (uint64, error) {
	kvm, err := openKVM()
	if err != nil {
		return 0, err
	}
	defer unix.Close(kvm)
	// struct kvm_msrs with one entry.
	req := struct {
		count, pad      uint32
		index, reserved uint32
		data            uint64
	}{count: 1, index: index}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(kvm), kvmGetMSRs, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return 0, errno
	}
	if n != 1 {
		return 0, syscall.ENXIO
	}
	return req.data, nil
}
