// Package hangfs is a file system for tests of what hangs: one folder with one file, whose server can be made to answer
// nothing any more.
package hangfs

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// FS is a mounted folder with one file, "one". Once it hangs, whoever touches it is held in the kernel, as by a server on the
// network that is gone.
type FS struct {
	path   string
	fd     int
	silent atomic.Bool
	held   atomic.Int64
	ended  chan struct{}
}

// Hang has the server be silent from now on.
func (h *FS) Hang() { h.silent.Store(true) }

// Held is how many requests have come since then, all of which still wait.
func (h *FS) Held() int { return int(h.held.Load()) }

// Operations of the kernel's protocol, and the sizes of its structures.
const (
	fuseLookup     = 1
	fuseForget     = 2
	fuseGetattr    = 3
	fuseOpen       = 14
	fuseRead       = 15
	fuseStatfs     = 17
	fuseRelease    = 18
	fuseInit       = 26
	fuseOpendir    = 27
	fuseReaddir    = 28
	fuseReleasedir = 29
	fuseInterrupt  = 36
	fuseBatch      = 42

	fuseInHeader = 40
	rootNode     = 1
	fileNode     = 2
	fileSize     = 8192
)

// Mount mounts one at a folder that is there. It needs root and /dev/fuse.
func Mount(path string) (*FS, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("no FUSE: %w", err)
	}
	options := "fd=" + strconv.Itoa(fd) + ",rootmode=40000,user_id=0,group_id=0,allow_other"
	if err := unix.Mount("hanging", path, "fuse.hanging", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("FUSE cannot be mounted: %w", err)
	}
	h := &FS{path: path, fd: fd, ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		h.serve()
	}()
	return h, nil
}

// Close unmounts it: whoever is held gets an error.
func (h *FS) Close() {
	_ = unix.Unmount(h.path, unix.MNT_FORCE)
	_ = unix.Unmount(h.path, unix.MNT_DETACH)
	<-h.ended
	_ = unix.Close(h.fd)
}

// serve answers until the mount is gone.
func (h *FS) serve() {
	buf := make([]byte, 256<<10)
	for {
		n, err := unix.Read(h.fd, buf)
		if err == unix.EINTR || err == unix.ENOENT || err == unix.EAGAIN {
			continue
		}
		if err != nil || n < fuseInHeader {
			return
		}
		order := binary.NativeEndian
		op, unique, node := order.Uint32(buf[4:]), order.Uint64(buf[8:]), order.Uint64(buf[16:])
		if h.silent.Load() {
			h.held.Add(1)
			continue
		}
		body, errno := h.answer(op, node, buf[fuseInHeader:n])
		if body == nil && errno == 0 {
			continue // nothing is to be answered
		}
		out := order.AppendUint32(nil, uint32(16+len(body)))
		out = order.AppendUint32(out, uint32(-int32(errno)))
		out = order.AppendUint64(out, unique)
		_, _ = unix.Write(h.fd, append(out, body...))
	}
}

func (h *FS) answer(op uint32, node uint64, in []byte) (out []byte, errno unix.Errno) {
	order := binary.NativeEndian
	switch op {
	case fuseInit:
		out = make([]byte, 64)
		order.PutUint32(out, 7)
		order.PutUint32(out[4:], 31)
		order.PutUint32(out[20:], 4096) // the largest write
		return out, 0
	case fuseForget, fuseInterrupt, fuseBatch:
		return nil, 0
	case fuseGetattr:
		return append(make([]byte, 16), attributes(node)...), 0 // valid for no time
	case fuseLookup:
		if node != rootNode || string(in) != "one\x00" {
			return nil, unix.ENOENT
		}
		out = make([]byte, 40)
		order.PutUint64(out, fileNode)
		return append(out, attributes(fileNode)...), 0
	case fuseOpen, fuseOpendir:
		return make([]byte, 16), 0
	case fuseRelease, fuseReleasedir:
		return []byte{}, 0
	case fuseRead:
		return make([]byte, min(fileSize-min(fileSize, order.Uint64(in[8:])), uint64(order.Uint32(in[16:])))), 0
	case fuseReaddir:
		if order.Uint64(in[8:]) != 0 {
			return []byte{}, 0
		}
		out = order.AppendUint64(nil, fileNode)
		out = order.AppendUint64(out, 1)
		out = order.AppendUint32(out, 3)
		out = order.AppendUint32(out, unix.DT_REG)
		return append(out, "one\x00\x00\x00\x00\x00"...), 0
	case fuseStatfs:
		out = make([]byte, 80)
		for _, at := range []int{0, 8, 16} { // blocks, free, available
			order.PutUint64(out[at:], 1000)
		}
		order.PutUint32(out[40:], 4096)
		order.PutUint32(out[44:], 255)
		order.PutUint32(out[48:], 4096)
		return out, 0
	}
	return nil, unix.ENOSYS
}

func attributes(node uint64) []byte {
	a := make([]byte, 88)
	order := binary.NativeEndian
	mode, size := uint32(unix.S_IFDIR|0o755), uint64(0)
	if node == fileNode {
		mode, size = unix.S_IFREG|0o600, fileSize
	}
	order.PutUint64(a, node)
	order.PutUint64(a[8:], size)
	order.PutUint32(a[60:], mode)
	order.PutUint32(a[64:], 1)
	order.PutUint32(a[68:], uint32(os.Getuid()))
	return a
}
