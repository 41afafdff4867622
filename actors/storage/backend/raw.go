package backend

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

// createRaw makes a raw image at path, filled from in unless that is nil. Error messages name the volume.
func createRaw(ctx context.Context, path string, v *def.Volume, in *os.File, reflink bool) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return liberr.System(from, err, "Failed to create file '%s'", v.Path)
	}
	defer f.Close()
	if v.NoCOW {
		setNoCOW(f)
	}
	if reflink && in != nil {
		if err := unix.IoctlFileClone(int(f.Fd()), int(in.Fd())); err != nil {
			return liberr.System(from, err, "failed to clone files from '%s'", in.Name())
		}
	}
	if err := f.Truncate(int64(v.Capacity)); err != nil || v.Capacity >= 1<<63 {
		return liberr.System(from, err, "cannot extend file '%s'", v.Path)
	}
	if n := min(v.Allocation, v.Capacity); n > 0 && !reflink {
		if err := allocate(ctx, f, 0, int64(n)); err != nil {
			return liberr.System(from, err, "cannot allocate %d bytes in file '%s'", n, v.Path)
		}
	}
	if in == nil || reflink {
		return nil
	}
	return system(copyData(ctx, f, in), "failed reading from file '%s'", in.Name())
}

// chunk is how much is moved between two looks at the context.
const chunk = 8 << 20

// allocate makes sure that a range has blocks, by writing zeros where the file system knows no other way. The range must
// be one that holds nothing yet.
func allocate(ctx context.Context, f *os.File, at, n int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, at, n)
	for errors.Is(err, unix.EINTR) {
		err = unix.Fallocate(int(f.Fd()), 0, at, n)
	}
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	return writeZeros(ctx, f, at, n)
}

func writeZeros(ctx context.Context, f *os.File, at, n int64) error {
	zeros := make([]byte, min(1<<20, n))
	for end := at + n; at < end; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at)
		if err != nil {
			return err
		}
		at += int64(w)
	}
	return nil
}

// copyData copies what is no hole, from the front of in to the front of f, by the kernel where it can.
func copyData(ctx context.Context, f, in *os.File) error {
	end, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for at := int64(0); at < end; {
		data, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		hole := end
		if err != nil {
			data = at // knows no holes
		} else if hole, err = in.Seek(data, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := copyRange(ctx, f, in, data, hole-data); err != nil {
			return err
		}
		at = hole
	}
	return nil
}

func copyRange(ctx context.Context, f, in *os.File, at, n int64) error {
	var buf []byte
	for n > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if buf == nil {
			from, to := at, at
			done, err := unix.CopyFileRange(int(in.Fd()), &from, int(f.Fd()), &to, int(min(n, chunk)), 0)
			switch {
			case err == nil && done > 0:
				at, n = at+int64(done), n-int64(done)
				continue
			case err == nil:
				return nil // the source has become shorter
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
				buf = make([]byte, 1<<20)
			default:
				return err
			}
		}
		got, err := in.ReadAt(buf[:min(int64(len(buf)), n)], at)
		if got == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if _, err := f.WriteAt(buf[:got], at); err != nil {
			return err
		}
		at, n = at+int64(got), n-int64(got)
	}
	return nil
}

// setNoCOW is advice: file systems without copy-on-write do not know it.
func setNoCOW(f *os.File) {
	const noCOW = 0x00800000 // FS_NOCOW_FL
	if flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|noCOW)
	}
}
