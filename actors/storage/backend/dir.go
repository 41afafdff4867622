package backend

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/disk"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// dir is a folder of images.
type dir struct{ distant bool }

// defaultPoolMode and defaultVolumeMode are libvirt's.
const (
	defaultPoolMode   = 0o711
	defaultVolumeMode = 0o600
)

func (dir) Active(_ context.Context, p *def.Pool) (bool, error) {
	_, err := os.Stat(p.Path)
	return err == nil, nil
}

// Start has nothing to do: what is wrong with the folder shows when it is read.
func (dir) Start(context.Context, *def.Pool) error { return nil }

func (dir) Stop(context.Context, *def.Pool) error { return nil }

// Build makes the folder, with those above it, and gives it the permissions that the definition asks for.
//
// Compat: where the path is something else than a folder libvirt says that the pool was built.
func (dir) Build(_ context.Context, p *def.Pool, flags uint32) error {
	const both = virt.StoragePoolBuildOverwrite | virt.StoragePoolBuildNoOverwrite
	switch {
	case flags&^both != 0:
		return liberr.Raw(from, liberr.InvalidArg, unsupportedFlags(flags&^both, "virStorageBackendFileSystemBuild"))
	case flags == both:
		return liberr.Raw(from, liberr.InvalidArg, "Flags 'VIR_STORAGE_POOL_BUILD_OVERWRITE' and 'VIR_STORAGE_POOL_BUILD_NO_OVERWRITE' are mutually exclusive")
	case flags != 0:
		return liberr.New(from, liberr.OperationInvalid, "No source device specified when formatting pool '%s'", p.Name)
	}
	return buildFolder(p)
}

func buildFolder(p *def.Pool) error {
	mode := os.FileMode(defaultPoolMode)
	if p.Permissions.Mode != -1 {
		mode = os.FileMode(p.Permissions.Mode)
	}
	above := parent(p.Path)
	if err := os.MkdirAll(above, 0o755); err != nil {
		return liberr.System(from, err, "cannot create path '%s'", above)
	}
	err := os.Mkdir(p.Path, mode)
	made := err == nil
	if st, e := os.Stat(p.Path); err != nil && (e != nil || !st.IsDir()) {
		return liberr.System(from, err, "failed to create directory '%s'", p.Path)
	}
	if made || p.Permissions.Mode != -1 {
		if err := chmod(p.Path, mode); err != nil {
			return liberr.System(from, err, "cannot set mode of '%s' to %04o", p.Path, mode)
		}
	}
	if err := chown(p.Path, p.Permissions); err != nil {
		return liberr.System(from, err, "cannot chown '%s' to (%d, %d)", p.Path, p.Permissions.Owner, p.Permissions.Group)
	}
	if made {
		_ = disk.SyncDir(above) // some file systems cannot
	}
	return nil
}

func (dir) Delete(_ context.Context, p *def.Pool, flags uint32) error {
	if flags != 0 {
		return liberr.Raw(from, liberr.InvalidArg, unsupportedFlags(flags, "virStorageBackendDeleteLocal"))
	}
	if err := unix.Rmdir(p.Path); err != nil {
		return liberr.System(from, err, "failed to remove pool '%s'", p.Path)
	}
	_ = disk.SyncDir(parent(p.Path))
	return nil
}

// Workers look at volumes at the same time. Where files are on this host they work and do not wait: half of the processors
// are left to calls. Elsewhere what takes long is the wait for the server.
const distantWorkers = 8

// share is how many volumes a worker takes at once.
const share = 64

func (d dir) Refresh(ctx context.Context, p *def.Pool, known map[string]*def.Volume) (*Content, error) {
	folder, names, err := d.names(p)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	at := int(folder.Fd())
	workers := max(1, runtime.GOMAXPROCS(0)/2)
	if d.distant {
		workers = distantWorkers
	}
	found := make([]*def.Volume, len(names))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			gently(func() {
				for ctx.Err() == nil {
					from := int(next.Add(share)) - share
					if from >= len(names) {
						return
					}
					for i := from; i < min(from+share, len(names)); i++ {
						if v := known[names[i]]; v != nil && same(at, v) {
							found[i] = v
						} else {
							found[i] = look(p, names[i])
						}
					}
				}
			})
		}()
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	c := &Content{Volumes: make(map[string]*def.Volume, len(names))}
	for _, v := range found {
		if v != nil {
			c.Volumes[v.Name] = v
		}
	}
	if c.Space, err = d.Space(ctx, p); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Stat(p.Path, &st); err != nil {
		return nil, liberr.System(from, err, "cannot stat path '%s'", p.Path)
	}
	c.Permissions = permissions(&st)
	c.Permissions.Label = p.Permissions.Label
	return c, nil
}

// names lists the folder, and returns it open. A name that is no UTF-8 or has control characters cannot be a volume's: no
// document could carry it.
func (dir) names(p *def.Pool) (*os.File, []string, error) {
	f, err := os.Open(p.Path)
	if err == nil {
		var st fs.FileInfo
		if st, err = f.Stat(); err == nil && !st.IsDir() {
			_ = f.Close()
			err = syscall.ENOTDIR
		}
	}
	if err != nil {
		return nil, nil, liberr.System(from, err, "cannot open directory '%s'", p.Path)
	}
	all, err := f.Readdirnames(-1)
	if err != nil {
		_ = f.Close()
		return nil, nil, liberr.System(from, err, "cannot read directory '%s'", p.Path)
	}
	names := all[:0]
	for _, n := range all {
		if mayBeVolume(n) {
			names = append(names, n)
		}
	}
	return f, names, nil
}

func mayBeVolume(name string) bool {
	return !strings.HasPrefix(name, Unfinished) && printable(name)
}

func (dir) Look(_ context.Context, p *def.Pool, name string) (*def.Volume, error) {
	if !mayBeVolume(name) {
		return nil, nil
	}
	return look(p, name), nil
}

func (dir) Space(_ context.Context, p *def.Pool) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(p.Path, &st); err != nil {
		return Space{}, liberr.System(from, err, "cannot statvfs path '%s'", p.Path)
	}
	unit := uint64(st.Frsize)
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	s := Space{Capacity: st.Blocks * unit, Available: st.Bfree * unit}
	s.Allocation = s.Capacity - s.Available
	return s, nil
}

func (d dir) Tidy(_ context.Context, p *def.Pool) error {
	entries, err := os.ReadDir(p.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Unfinished+p.UUID.String()) {
			err = errors.Join(err, os.RemoveAll(p.VolumePath(e.Name())))
		}
	}
	return err
}

func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	switch {
	case i < 0:
		return "."
	case i == 0:
		return "/"
	}
	return path[:i]
}

func chmod(path string, mode os.FileMode) error { return unix.Chmod(path, uint32(mode)) }

func chown(path string, p def.Permissions) error {
	if p.Owner == -1 && p.Group == -1 {
		return nil
	}
	return os.Chown(path, int(p.Owner), int(p.Group))
}
