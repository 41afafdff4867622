package backend

import (
	"context"
	"fmt"
	"strings"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// zfsPool is a pool of ZFS, or a dataset of one; its volumes of blocks are the volumes.
type zfsPool struct{ blocks }

// top is the pool that a dataset is in.
func (zfsPool) top(p *def.Pool) string {
	name, _, _ := strings.Cut(p.Source.Name, "/")
	return name
}

func (b zfsPool) Active(ctx context.Context, p *def.Pool) (bool, error) {
	_, err := b.Space(ctx, p)
	return err == nil, nil
}

func (b zfsPool) Build(ctx context.Context, p *def.Pool, flags uint32) error {
	if err := refusesFlags(flags, 0, "virStorageBackendZFSBuildPool"); err != nil {
		return err
	}
	if len(p.Source.Devices) == 0 {
		return liberr.Raw(from, liberr.InternalError, "missing source devices")
	}
	args := []string{"create", p.Source.Name}
	for _, d := range p.Source.Devices {
		args = append(args, d.Path)
	}
	return b.run(ctx, "zpool", args...)
}

func (b zfsPool) Delete(ctx context.Context, p *def.Pool, flags uint32) error {
	if err := refusesFlags(flags, 0, "virStorageBackendZFSDeletePool"); err != nil {
		return err
	}
	return b.run(ctx, "zpool", "destroy", p.Source.Name)
}

func (b zfsPool) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	s, err := b.Space(ctx, p)
	if err != nil {
		return nil, err
	}
	out, err := b.output(ctx, "zfs", "list", "-Hp", "-t", "volume", "-r", "-o", "name,volsize,refreservation", p.Source.Name)
	if err != nil {
		return nil, err
	}
	var all []*def.Volume
	for _, line := range strings.Split(string(out), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 3 {
			continue
		}
		name, ok := strings.CutPrefix(f[0], p.Source.Name+"/")
		if !ok || strings.Contains(name, "/") {
			continue // another dataset's
		}
		path := p.Path + "/" + name
		v := &def.Volume{Name: name, Key: path, Path: path, Type: virt.StorageVolBlock, Capacity: number(f[1]), Allocation: number(f[2]),
			Permissions: def.NoPermissions, CapacityGiven: true, AllocationGiven: true}
		if d, err := b.device(name, path); err == nil && d != nil {
			v.Permissions, v.Times, v.Physical = d.Permissions, d.Times, d.Physical
		}
		all = append(all, v)
	}
	return content(p, s, all), nil
}

func (b zfsPool) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	return lookIn(ctx, b, p, name)
}

func (b zfsPool) Space(ctx context.Context, p *def.Pool) (s Space, err error) {
	out, err := b.output(ctx, "zpool", "get", "-Hp", "health,size,free,allocated", b.top(p))
	if err != nil {
		return s, err
	}
	for _, line := range strings.Split(string(out), "\n") { // NAME, property, value, source
		f := strings.Split(line, "\t")
		if len(f) < 3 {
			continue
		}
		switch f[1] {
		case "size":
			s.Capacity = number(f[2])
		case "free":
			s.Available = number(f[2])
		case "allocated":
			s.Allocation = number(f[2])
		}
	}
	return s, nil
}

func (b zfsPool) Place(p *def.Pool, v *def.Volume) error {
	if v.Encryption != nil {
		return liberr.New(from, liberr.ConfigUnsupported, "storage pool does not support encrypted volumes")
	}
	if strings.ContainsAny(v.Name, "/@#") || strings.HasPrefix(v.Name, "-") {
		return liberr.New(from, liberr.OperationInvalid, "volume name '%s' cannot contain '/'", v.Name)
	}
	v.Type = virt.StorageVolBlock
	v.Path = p.Path + "/" + v.Name
	v.Key = v.Path
	return nil
}

func (b zfsPool) Create(ctx context.Context, undo *kit.Undo, p *def.Pool, v *def.Volume, flags uint32) error {
	if err := refusesFlags(flags, 0, "virStorageBackendZFSCreateVol"); err != nil {
		return err
	}
	args := []string{"create"}
	if v.Capacity != v.Allocation {
		args = append(args, "-s")
		if v.Allocation > 0 {
			args = append(args, "-o", fmt.Sprintf("refreservation=%dK", (v.Allocation+1023)/1024))
		}
	}
	name := p.Source.Name + "/" + v.Name
	if err := b.run(ctx, "zfs", append(args, "-V", fmt.Sprintf("%dK", (v.Capacity+1023)/1024), name)...); err != nil {
		return err
	}
	undo.Add("destroy the volume", func(c context.Context) error { return b.run(c, "zfs", "destroy", name) })
	if err := b.appears(ctx, v.Path); err != nil {
		return err
	}
	undo.Keep()
	return nil
}

func (b zfsPool) Remove(ctx context.Context, p *def.Pool, v *def.Volume, flags uint32) error {
	if err := refusesFlags(flags, 0, "virStorageBackendZFSDeleteVol"); err != nil {
		return err
	}
	err := b.run(ctx, "zfs", "destroy", p.Source.Name+"/"+v.Name)
	if err != nil {
		if now, e := b.Look(ctx, p, v.Name); e == nil && now == nil {
			return nil // gone already
		}
	}
	return err
}
