package lockd

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// Plain sequential work on the files of lockspaces, run by jobs.

func system(err error, format string, args ...any) error {
	e := liberr.Raw(space, liberr.SystemError, fmt.Sprintf(format, args...)+": "+liberr.Errno(err))
	e.Cause = err
	return e
}

// makeSpace makes the folder, and those above it.
// Compat: virtlockd takes a file for a lockspace, in which then nothing works.
func makeSpace(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return system(err, "Unable to create lockspace %s", dir)
	}
	return nil
}

func createFile(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		e := liberr.Raw(liberr.FromNone, liberr.SystemError, fmt.Sprintf("cannot create file '%s': %s", path, liberr.Errno(err)))
		return e.WithCause(err)
	}
	_ = unix.Close(fd)
	return nil
}

func deleteFile(path string) error {
	if err := unix.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return system(err, "Unable to delete lockspace resource %s", path)
	}
	return nil
}

// openLease opens the file of a resource, makes it when auto is set, and locks its first byte. A file that another one's
// release unlinked between the two is no lease: it starts over.
func openLease(k key, shared, auto bool) (fd int, err error) {
	path := k.path()
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if auto {
		flags |= unix.O_CREAT
	}
	for {
		if fd, err = unix.Open(path, flags, 0o600); err != nil {
			return -1, system(err, "Unable to open resource %s", path)
		}
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: unix.SEEK_SET, Start: 0, Len: 1}
		if shared {
			lock.Type = unix.F_RDLCK
		}
		if err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock); err != nil {
			_ = unix.Close(fd)
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
				return -1, locked(k)
			}
			return -1, system(err, "Unable to acquire lock on %s", path)
		}
		var here, there unix.Stat_t
		if err = unix.Fstat(fd, &here); err == nil {
			err = unix.Stat(path, &there)
		}
		if err == nil && here.Ino == there.Ino && here.Dev == there.Dev {
			return fd, nil
		}
		_ = unix.Close(fd)
		if err != nil && !(auto && errors.Is(err, unix.ENOENT)) {
			return -1, system(err, "Unable to check status of resource %s", path)
		}
	}
}

// closeLease lets a lease go; the file of an automatic one goes first, while nobody else can have its lock.
func closeLease(path string, fd int, auto bool) (err error) {
	if auto {
		err = unix.Unlink(path)
	}
	return errors.Join(err, unix.Close(fd))
}
