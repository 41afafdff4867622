package sockets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// InUseError says that somebody already listens where we wanted to.
type InUseError struct {
	Path string
	PID  int32  // 0 if unknown
	Name string // of the process, "" if unknown
}

func (e *InUseError) Error() string {
	switch {
	case e.Name != "":
		return fmt.Sprintf("socket '%s' is in use by %s (process %d)", e.Path, e.Name, e.PID)
	case e.PID != 0:
		return fmt.Sprintf("socket '%s' is in use by process %d", e.Path, e.PID)
	}
	return fmt.Sprintf("socket '%s' is in use", e.Path)
}

// listenUnix makes a socket in steps of which the last, listen, is the one that lets anybody in:
//
//	lock the folder -> stale? unlink -> socket, fchmod -> bind -> chown, chmod -> listen -> unlock
//
// The mode set before bind is cut down by the umask and nothing else, so the file is never more open than
// asked, without touching the umask, which is the whole process's.
func listenUnix(s UnixSocket, backlog int) (*Listener, error) {
	gid, err := lookupGroup(s.Group)
	if err != nil {
		return nil, err
	}
	unlock, err := lockFolder(filepath.Dir(s.Path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(s.Path); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "%s", "Failed to create socket")
	}
	f := os.NewFile(uintptr(fd), s.Path)
	defer f.Close() // FileListener has its own copy
	if err := unix.Fchmod(fd, uint32(s.Mode.Perm())); err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "Failed to set the mode of socket '%s'", s.Path)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: s.Path}); err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "Failed to bind socket to '%s'", s.Path)
	}
	owned, err := ownFile(s.Path)
	if err == nil {
		err = finishUnix(fd, s, gid, backlog)
	}
	if err != nil {
		unix.Unlink(s.Path) // ours: the folder is locked and bind succeeded
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		unix.Unlink(s.Path)
		return nil, liberr.System(liberr.FromRPC, err, "Unable to listen on socket")
	}
	return &Listener{inner: l, owned: owned}, nil
}

func finishUnix(fd int, s UnixSocket, gid, backlog int) error {
	if gid >= 0 {
		if err := unix.Lchown(s.Path, -1, gid); err != nil {
			return liberr.System(liberr.FromRPC, err, "Failed to change group ID of '%s' to %d", s.Path, gid)
		}
	}
	if err := unix.Chmod(s.Path, uint32(s.Mode.Perm())); err != nil {
		return liberr.System(liberr.FromRPC, err, "Failed to set the mode of socket '%s'", s.Path)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return liberr.System(liberr.FromRPC, err, "Unable to listen on socket")
	}
	return nil
}

// lookupGroup returns -1 for no group.
func lookupGroup(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	if g, err := user.LookupGroup(name); err == nil {
		return strconv.Atoi(g.Gid)
	}
	if n, err := strconv.ParseUint(strings.TrimPrefix(name, "+"), 10, 31); err == nil {
		return int(n), nil
	}
	return 0, liberr.New(liberr.FromRPC, liberr.SystemError, "Failed to parse group '%s'", name)
}

// lockFolder serializes daemons that look at, remove and make sockets in one folder. The lock is on the folder
// itself, so that nothing is left behind.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "cannot open directory '%s'", dir)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, liberr.System(liberr.FromRPC, err, "cannot lock directory '%s'", dir)
	}
	return func() { f.Close() }, nil
}

// removeStale unlinks a socket nobody listens on. The folder is locked.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return liberr.System(liberr.FromRPC, err, "cannot stat '%s'", path)
	}
	if st.Mode().Type() != os.ModeSocket {
		return liberr.New(liberr.FromRPC, liberr.OperationFailed, "'%s' exists and is not a socket", path)
	}
	d := net.Dialer{}
	c, err := d.DialContext(context.Background(), "unix", path) // a UNIX connect is answered by the kernel
	switch {
	case err == nil:
		defer c.Close()
		e := &InUseError{Path: path}
		if cred, err := peerCred(c.(*net.UnixConn)); err == nil {
			e.PID, e.Name = cred.Pid, processName(cred.Pid)
		}
		return e
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil {
			return liberr.System(liberr.FromRPC, err, "cannot remove stale socket '%s'", path)
		}
		return nil
	case errors.Is(err, syscall.EAGAIN):
		return &InUseError{Path: path} // its backlog is full: busy, not dead
	}
	return liberr.System(liberr.FromRPC, err, "cannot tell whether socket '%s' is in use", path)
}

func processName(pid int32) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// ownedFile remembers which file we made, since by the time we close, its name may belong to the next daemon.
type ownedFile struct {
	path     string
	dev, ino uint64
}

func ownFile(path string) (*ownedFile, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, liberr.System(liberr.FromRPC, err, "cannot stat '%s'", path)
	}
	return &ownedFile{path, st.Dev, st.Ino}, nil
}

func (o *ownedFile) remove() error {
	unlock, err := lockFolder(filepath.Dir(o.path))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	defer unlock()
	now, err := ownFile(o.path)
	if err != nil || *now != *o {
		return nil // gone, or somebody else's
	}
	return os.Remove(o.path)
}
