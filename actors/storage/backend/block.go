package backend

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// blocks are volumes that are block devices of the host. Their data are read and written in place; how they come and go is
// their backend's.
type blocks struct {
	bare
	*Host
}

// device looks at a block device: nil when it is not there.
func (b blocks) device(name, path string) (*def.Volume, error) {
	f, err := os.OpenFile(b.at(path), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOMEDIUM) {
		return nil, nil
	}
	if err != nil {
		return nil, liberr.System(from, err, "cannot open volume '%s'", path)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, liberr.System(from, err, "cannot stat file '%s'", path)
	}
	end, err := f.Seek(0, 2)
	if err != nil {
		return nil, liberr.System(from, err, "cannot seek to end of file '%s'", path)
	}
	v := &def.Volume{
		Name: name, Key: path, Path: path, Type: virt.StorageVolBlock, Permissions: permissions(&st), Times: times(&st),
		Capacity: uint64(end), Allocation: uint64(end), Physical: uint64(end), CapacityGiven: true, AllocationGiven: true,
	}
	if b.Root != "" && st.Mode&unix.S_IFMT == unix.S_IFREG {
		v.Times = def.Times{} // stands for a device: its times say nothing
	}
	return v, nil
}

func (b blocks) Open(_ context.Context, _ *def.Pool, v *def.Volume, write bool) (*os.File, error) {
	return openStream(b.at(v.Path), v.Path, write)
}

func (b blocks) Wipe(ctx context.Context, _ *def.Pool, v *def.Volume, algorithm uint32) error {
	return wipeFile(ctx, b.at(v.Path), v.Path, algorithm)
}

// fill copies a volume of any pool onto a device.
func (b blocks) fill(ctx context.Context, v, source *def.Volume) error {
	in, err := os.OpenFile(b.at(source.Path), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return liberr.System(from, err, "could not open input path '%s'", source.Path)
	}
	defer in.Close()
	if source.Format != "" && source.Format != "raw" && source.Format != "none" {
		return b.run(ctx, "qemu-img", "convert", "-n", "-f", toolFormat(source.Format), "-O", "raw", source.Path, b.at(v.Path))
	}
	out, err := os.OpenFile(b.at(v.Path), os.O_WRONLY, 0)
	if err != nil {
		return liberr.System(from, err, "cannot open file '%s'", v.Path)
	}
	defer out.Close()
	if err := copyAll(ctx, out, in); err != nil {
		return liberr.System(from, err, "failed writing to file '%s'", v.Path)
	}
	return system(out.Sync(), "cannot sync data to file '%s'", v.Path)
}

// copyAll copies everything, holes as zeros: a device may hold something where a file has a hole.
func copyAll(ctx context.Context, out, in *os.File) error {
	end, err := in.Seek(0, 2)
	if err != nil {
		return err
	}
	return copyRange(ctx, out, in, 0, end)
}

// own gives a device the owner and mode that its document asks for.
func (b blocks) own(v *def.Volume) error {
	if err := chown(b.at(v.Path), v.Permissions); err != nil {
		return liberr.System(from, err, "cannot set file owner '%s'", v.Path)
	}
	if v.Permissions.Mode == -1 {
		return nil
	}
	if err := chmod(b.at(v.Path), os.FileMode(v.Permissions.Mode)); err != nil {
		return liberr.System(from, err, "cannot set file mode '%s'", v.Path)
	}
	return nil
}

// lookIn finds one volume in what a refresh finds, for backends that cannot ask for one.
func lookIn(ctx context.Context, b Backend, p *def.Pool, name string) (*def.Volume, error) {
	c, err := b.Refresh(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	return c.Volumes[name], nil
}

// spaceIn is how much a refresh finds.
func spaceIn(ctx context.Context, b Backend, p *def.Pool) (Space, error) {
	c, err := b.Refresh(ctx, p, nil)
	if err != nil {
		return Space{}, err
	}
	return c.Space, nil
}

// content makes what a refresh returns of volumes whose pool's folder nobody owns.
func content(p *def.Pool, s Space, volumes []*def.Volume) *Content {
	c := &Content{Space: s, Permissions: p.Permissions, Volumes: make(map[string]*def.Volume, len(volumes))}
	for _, v := range volumes {
		c.Volumes[v.Name] = v
	}
	return c
}
