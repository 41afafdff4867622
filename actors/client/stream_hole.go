package client

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// hole makes the next length bytes of a file or block device read as zeroes, without data where it can be, and moves behind
// them. Compat: libvirt leaves in a file what was there before.
func hole(f *os.File, length int64) error {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	end := at + length
	if end < at {
		return unix.EFBIG
	}
	switch {
	case isBlock(st):
		err = punch(f, at, length)
	case st.Mode().IsRegular():
		if at < st.Size() {
			err = punch(f, at, min(end, st.Size())-at)
		}
		if err == nil && st.Size() < end {
			err = f.Truncate(end)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Seek(end, io.SeekStart)
	return err
}

func isBlock(st os.FileInfo) bool {
	return st.Mode()&(os.ModeDevice|os.ModeCharDevice) == os.ModeDevice
}

// punch zeroes what is there, by writing where the file system or device knows no better way.
func punch(f *os.File, at, length int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, length)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	zeroes := make([]byte, min(length, 1<<20))
	for length > 0 {
		n, err := f.WriteAt(zeroes[:min(length, int64(len(zeroes)))], at)
		if err != nil {
			return err
		}
		at, length = at+int64(n), length-int64(n)
	}
	return nil
}
