package backend

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// Remove of a volume that is gone already is no error.
func (dir) Remove(_ context.Context, p *def.Pool, v *def.Volume, flags uint32) error {
	if flags != 0 {
		return liberr.Raw(from, liberr.InvalidArg, unsupportedFlags(flags, "virStorageBackendVolDeleteLocal"))
	}
	if v.Type == virt.StorageVolDir {
		if err := unix.Rmdir(v.Path); err != nil {
			return liberr.System(from, err, "cannot remove directory '%s'", v.Path)
		}
	} else if err := unix.Unlink(v.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return liberr.System(from, err, "cannot unlink file '%s'", v.Path)
	}
	_ = disk.SyncDir(p.Path)
	return nil
}

func (dir) Resize(ctx context.Context, _ *def.Pool, v *def.Volume, capacity uint64, flags uint32) error {
	if v.Format != "raw" {
		if flags&virt.StorageVolResizeAllocate != 0 {
			return liberr.New(from, liberr.OperationUnsupported, "preallocate is only supported for raw type volume")
		}
		if v.Encryption != nil {
			return resizeEncrypted(ctx, v.Path, v, capacity)
		}
		args := []string{"resize"}
		if capacity < v.Capacity {
			args = append(args, "--shrink")
		}
		return qemuImg(ctx, append(args, v.Path, fmt.Sprint(capacity))...)
	}
	if v.Encryption != nil {
		if flags&virt.StorageVolResizeAllocate != 0 {
			return liberr.New(from, liberr.OperationUnsupported, "preallocate is only supported for an unencrypted raw volume")
		}
		return resizeEncrypted(ctx, v.Path, v, capacity)
	}
	f, err := os.OpenFile(v.Path, os.O_RDWR, 0)
	if err != nil {
		return liberr.System(from, err, "Unable to open '%s'", v.Path)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return liberr.System(from, err, "cannot stat path '%s'", v.Path)
	}
	if err := f.Truncate(int64(min(capacity, 1<<63-1))); err != nil {
		return liberr.System(from, err, "Failed to truncate file '%s'", v.Path)
	}
	if flags&virt.StorageVolResizeAllocate != 0 && capacity > 0 {
		err := unix.Fallocate(int(f.Fd()), 0, 0, int64(capacity))
		if errors.Is(err, unix.EOPNOTSUPP) && int64(capacity) > st.Size() { // what was there before may have data
			err = writeZeros(ctx, f, st.Size(), int64(capacity)-st.Size())
		}
		if err != nil {
			return liberr.System(from, err, "Failed to pre-allocate space for file '%s'", v.Path)
		}
	}
	return system(f.Sync(), "cannot sync data to file '%s'", v.Path)
}

// scrubPatterns are the names that scrub has for libvirt's algorithms.
var scrubPatterns = map[uint32]string{
	virt.StorageVolWipeAlgNnsa: "nnsa", virt.StorageVolWipeAlgDod: "dod", virt.StorageVolWipeAlgBsi: "bsi",
	virt.StorageVolWipeAlgGutmann: "gutmann", virt.StorageVolWipeAlgSchneier: "schneier",
	virt.StorageVolWipeAlgPfitzner7: "pfitzner7", virt.StorageVolWipeAlgPfitzner33: "pfitzner33", virt.StorageVolWipeAlgRandom: "random",
}

// Wipe overwrites the file, header included: an image that is not raw is none afterwards.
func (dir) Wipe(ctx context.Context, _ *def.Pool, v *def.Volume, algorithm uint32) error {
	return wipeFile(ctx, v.Path, v.Path, algorithm)
}

// wipeFile overwrites the file or device at path, which errors call name.
func wipeFile(ctx context.Context, path, name string, algorithm uint32) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return liberr.System(from, err, "Failed to open storage volume with path '%s'", name)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return liberr.System(from, err, "Failed to stat storage volume with path '%s'", name)
	}
	switch algorithm {
	case virt.StorageVolWipeAlgZero:
	case virt.StorageVolWipeAlgTrim:
		return liberr.New(from, liberr.ArgumentUnsupported, "'trim' algorithm not supported")
	default:
		tool, err := exec.LookPath("scrub")
		if err != nil {
			return liberr.System(from, unix.ENOENT, "Cannot find 'scrub' in path")
		}
		return run(ctx, tool, "-f", "-p", scrubPatterns[algorithm], path)
	}
	size := st.Size
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		if size, err = f.Seek(0, 2); err != nil {
			return liberr.System(from, err, "Failed to stat storage volume with path '%s'", name)
		}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Blocks*512 < size {
		// A sparse file is wiped by letting go of its blocks; writing would fill the disk.
		if err := f.Truncate(0); err != nil {
			return liberr.System(from, err, "Failed to truncate volume with path '%s' to 0 bytes", name)
		}
		if err := f.Truncate(size); err != nil {
			return liberr.System(from, err, "Failed to truncate volume with path '%s' to %d bytes", name, size)
		}
	} else if err := writeZeros(ctx, f, 0, size); err != nil {
		return liberr.System(from, err, "Failed to write %d bytes to storage volume with path '%s'", size, name)
	}
	return system(f.Sync(), "cannot sync data to volume with path '%s'", name)
}

func (dir) Open(_ context.Context, _ *def.Pool, v *def.Volume, write bool) (*os.File, error) {
	return openStream(v.Path, v.Path, write)
}

// openStream opens the file or device at path, which errors call name.
func openStream(path, name string, write bool) (*os.File, error) {
	mode := os.O_RDONLY
	if write {
		mode = os.O_WRONLY
	}
	f, err := os.OpenFile(path, mode|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err == nil {
		var st fs.FileInfo
		if st, err = f.Stat(); err == nil && st.IsDir() {
			err = unix.EISDIR
		}
		if err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return nil, liberr.System(liberr.FromStreams, err, "Unable to open stream for '%s'", name)
	}
	return f, nil
}
