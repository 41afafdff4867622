package backend

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

func (dir) Place(p *def.Pool, v *def.Volume) error {
	if strings.Contains(v.Name, "/") {
		return liberr.New(from, liberr.OperationInvalid, "volume name '%s' cannot contain '/'", v.Name)
	}
	if v.Name == "." || v.Name == ".." || !mayBeVolume(v.Name) {
		return liberr.New(from, liberr.InvalidArg, "'%s' cannot be the name of a volume", v.Name)
	}
	v.Type = virt.StorageVolFile
	if v.Format == "dir" {
		v.Type = virt.StorageVolDir
	}
	v.Path = p.VolumePath(v.Name)
	v.Key = v.Path
	return nil
}

func (dir) Create(ctx context.Context, undo *kit.Undo, p *def.Pool, v *def.Volume, flags uint32) error {
	switch {
	case v.Format != "raw" || v.Backing == nil:
	case v.Encryption != nil:
		return liberr.New(from, liberr.ConfigUnsupported, "cannot set backing store for raw volume")
	default:
		return liberr.New(from, liberr.NoSupportCode, "backing storage not supported for raw volumes")
	}
	return makeVolume(ctx, undo, p, v, needsTool(v), flags, func(path string) error {
		switch {
		case v.Format == "dir":
			return system(os.Mkdir(path, 0o700), "cannot create path '%s'", v.Path)
		case v.Encryption != nil:
			return createEncryptedImage(ctx, path, v, flags)
		case v.Format == "raw":
			return createRaw(ctx, path, v, nil, false)
		}
		return createImage(ctx, path, v, flags)
	})
}

func (dir) Clone(ctx context.Context, undo *kit.Undo, p *def.Pool, v, source *def.Volume, flags uint32) error {
	if source.Type == virt.StorageVolDir || v.Format == "dir" {
		return liberr.New(from, liberr.InternalError, "unsupported input storage vol type %d", source.Type)
	}
	byTool := needsTool(v) || needsTool(source)
	if byTool && flags&virt.StorageVolCreateReflink != 0 {
		return liberr.Raw(from, liberr.InvalidArg, unsupportedFlags(virt.StorageVolCreateReflink, "storageBackendCreateQemuImg"))
	}
	return makeVolume(ctx, undo, p, v, byTool, flags, func(path string) error {
		switch {
		case v.Encryption != nil || source.Encryption != nil:
			return convertEncrypted(ctx, path, v, source, flags)
		case byTool:
			return convertImage(ctx, path, v, source, flags)
		}
		in, err := os.OpenFile(source.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return liberr.System(from, err, "could not open input path '%s'", source.Path)
		}
		defer in.Close()
		return createRaw(ctx, path, v, in, flags&virt.StorageVolCreateReflink != 0)
	})
}

// makeVolume has a volume made under a name nobody sees, and then gives it its own. Whatever ends the process before that, the
// volume is not there; once makeVolume has returned, it stays.
func makeVolume(_ context.Context, undo *kit.Undo, p *def.Pool, v *def.Volume, byTool bool, flags uint32, create func(path string) error) error {
	if err := mayMake(p, v, byTool, flags); err != nil {
		return err
	}
	work := p.VolumePath(Unfinished + p.UUID.String() + "-" + strings.ToLower(rand.Text()[:12]))
	path := work
	if v.Format == "vmdk" { // has its own name inside
		if err := os.Mkdir(work, 0o700); err != nil {
			return liberr.System(from, err, "cannot create path '%s'", v.Path)
		}
		path = filepath.Join(work, v.Name)
	}
	undo.Add("remove what was made of a volume", func(context.Context) error { return os.RemoveAll(work) })
	if err := create(path); err != nil {
		return asIf(err, path, v.Path)
	}
	if err := settle(path, v); err != nil {
		return err
	}
	if err := publish(path, v.Path); err != nil {
		return err
	}
	undo.Keep()
	if work != path {
		_ = os.Remove(work)
	}
	_ = disk.SyncDir(p.Path) // some file systems cannot
	return nil
}

func mayMake(p *def.Pool, v *def.Volume, byTool bool, flags uint32) error {
	if flags&virt.StorageVolCreatePreallocMetadata != 0 {
		switch {
		case !byTool:
			return liberr.New(from, liberr.ConfigUnsupported, "metadata preallocation is not supported for raw volumes")
		case v.Format != "qcow2":
			return liberr.New(from, liberr.ConfigUnsupported, "metadata preallocation only available with qcow2")
		}
	}
	if _, err := os.Lstat(v.Path); err == nil {
		return liberr.New(from, liberr.OperationInvalid, "volume target path '%s' already exists", v.Path)
	}
	if v.Backing != nil {
		below := v.Backing.Path
		if !filepath.IsAbs(below) {
			below = filepath.Join(p.Path, below)
		}
		if err := unix.Access(below, unix.R_OK); err != nil {
			return liberr.System(from, err, "inaccessible backing store volume %s", v.Backing.Path)
		}
	}
	return nil
}

// settle gives what was made its owner and mode, and puts it on the disk.
func settle(path string, v *def.Volume) error {
	mode := os.FileMode(defaultVolumeMode)
	if v.Permissions.Mode != -1 {
		mode = os.FileMode(v.Permissions.Mode)
	}
	if err := chown(path, v.Permissions); err != nil {
		return liberr.System(from, err, "unable to set ownership of '%s'", v.Path)
	}
	if err := chmod(path, mode); err != nil {
		return liberr.System(from, err, "unable to set mode of '%s'", v.Path)
	}
	f, err := os.Open(path)
	if err != nil {
		return liberr.System(from, err, "cannot open file '%s'", v.Path)
	}
	defer f.Close()
	return system(f.Sync(), "cannot sync data to file '%s'", v.Path)
}

// publish renames, and replaces nothing.
func publish(path, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // NFS: there is no other way than to look first
		if _, e := os.Lstat(to); e == nil {
			err = unix.EEXIST
		} else {
			err = os.Rename(path, to)
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return liberr.New(from, liberr.OperationInvalid, "volume target path '%s' already exists", to)
	}
	return system(err, "cannot create path '%s'", to)
}

// system is liberr.System for errors that may be nil.
func system(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return liberr.System(from, err, format, args...)
}

// asIf makes a tool's complaint about the hidden name one about the volume.
func asIf(err error, hidden, path string) error {
	var e *liberr.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, hidden) {
		return err
	}
	c := *e
	c.Message = strings.ReplaceAll(c.Message, hidden, path)
	c.Str2 = strings.ReplaceAll(c.Str2, hidden, path)
	return &c
}
