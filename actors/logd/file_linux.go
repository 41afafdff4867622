package logd

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// Plain sequential work on one log file, run by jobs.

// system is a failed system call in the words of virtlogd, which names no error domain.
func system(err error, format string, args ...any) *liberr.Error {
	e := liberr.Raw(liberr.FromNone, liberr.SystemError, fmt.Sprintf(format, args...)+": "+liberr.Errno(err))
	e.Cause = err
	return e
}

// openForGuest opens the file for appending, empty when truncate is set, and returns a descriptor for the guest and the
// place where its output will begin.
func openForGuest(path string, truncate bool) (fd int, pos protocol.LogLogFilePosition, err error) {
	flags := unix.O_WRONLY | unix.O_CREAT | unix.O_APPEND | unix.O_CLOEXEC | unix.O_NOCTTY
	if truncate {
		flags |= unix.O_TRUNC
	}
	if fd, err = unix.Open(path, flags, 0o600); err != nil {
		return -1, pos, system(err, "Unable to open file: %s", path)
	}
	if pos, err = position(fd); err != nil {
		_ = unix.Close(fd)
		return -1, pos, system(err, "Unable to determine current file inode: %s", path)
	}
	return fd, pos, nil
}

func position(fd int) (pos protocol.LogLogFilePosition, err error) {
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return protocol.LogLogFilePosition{Inode: st.Ino, Offset: uint64(st.Size)}, err
}

// end is the current end of the file.
func end(path string) (pos protocol.LogLogFilePosition, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return pos, system(err, "Unable to determine current file inode: %s", path)
	}
	return protocol.LogLogFilePosition{Inode: st.Ino, Offset: uint64(st.Size)}, nil
}

// appendTo adds text that does not come from the guest: the driver's own lines.
func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return system(err, "Unable to open file: %s", path)
	}
	_, err = f.WriteString(text)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return system(err, "Unable to write to file %s", path)
	}
	return nil
}

// readFrom returns at most limit bytes from pos on. The file is found by its inode, among the backups too; what follows it
// in newer files is read on.
func readFrom(path string, backups int, pos protocol.LogLogFilePosition, limit int) ([]byte, error) {
	names := []string{path}
	for i := range backups {
		names = append(names, backup(path, i))
	}
	at := -1
	for i, name := range names {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Ino == pos.Inode {
			at = i
			break
		}
	}
	if at < 0 {
		return nil, system(unix.EBADF, "Unable to seek to inode %d offset %d", pos.Inode, pos.Offset)
	}
	var data []byte
	offset := int64(min(pos.Offset, 1<<62))
	for ; at >= 0 && len(data) < limit; at-- {
		part, err := readFile(names[at], offset, limit-len(data))
		if err != nil {
			return nil, system(err, "Unable to read from log file")
		}
		data, offset = append(data, part...), 0
	}
	return data, nil
}

func readFile(name string, offset int64, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if offset > st.Size() { // truncated since the position was taken
		offset = 0
	}
	data := make([]byte, min(int64(limit), st.Size()-offset))
	n, err := f.ReadAt(data, offset)
	if err == io.EOF {
		err = nil
	}
	return data[:n], err
}

// inspect tells how large the file is, and whether it can still grow.
func inspect(path string) inspected {
	r := inspected{path: path, closed: true}
	f, err := os.Open(path)
	if err != nil {
		return r
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		r.size = st.Size()
	}
	// The kernel grants a read lease only when nobody has the file open for writing. Where it knows no leases, the file
	// is kept: being asked about one file too many costs nothing.
	r.closed = false
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err == nil {
		r.closed = true
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return r
}

func backup(path string, i int) string { return fmt.Sprintf("%s.%d", path, i) }

// rotate moves what is in the file to its first backup; the backups before it move on by one, the last is dropped.
func rotate(path string, backups int, now time.Time, maxAge time.Duration) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if backups > 0 {
		for i := backups - 1; i > 0; i-- {
			if err := os.Rename(backup(path, i-1), backup(path, i)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
		if err := copyTo(backup(path, 0), f); err != nil {
			return err
		}
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	return expire(path, backups, now, maxAge)
}

// copyTo copies until there is nothing more, so that little is lost when the file is truncated after it. The copy gets
// its name when it is whole.
func copyTo(name string, f *os.File) error {
	out, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	if e := out.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		_ = os.Remove(name + ".new")
	}
	return err
}

// expire removes backups that are too old.
func expire(path string, backups int, now time.Time, maxAge time.Duration) error {
	if maxAge <= 0 {
		return nil
	}
	for i := range backups {
		st, err := os.Stat(backup(path, i))
		if err != nil || now.Sub(st.ModTime()) <= maxAge {
			continue
		}
		if err := os.Remove(backup(path, i)); err != nil {
			return err
		}
	}
	return nil
}
