package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// rbd is a pool of a Ceph cluster; its images are the volumes. Nothing of it is on this host: Ceph's own tools do the work.
type rbd struct {
	bare
	*Host
}

// ceph runs rbd or ceph with what says where the cluster is and who we are. The key goes in by a descriptor: arguments can
// be read by everybody.
func (b rbd) ceph(ctx context.Context, p *def.Pool, tool string, args ...string) ([]byte, error) {
	var hosts []string
	for _, h := range p.Source.Hosts {
		at := bracketed(h.Name)
		if h.Port != 0 {
			at += fmt.Sprintf(":%d", h.Port)
		}
		hosts = append(hosts, at)
	}
	all := append([]string{}, args...)
	all = append(all, "--mon-host", strings.Join(hosts, ","))
	for _, o := range p.Options {
		all = append(all, "--"+strings.ReplaceAll(o.Name, "_", "-"), o.Value)
	}
	var key []byte
	if a := p.Source.Auth; a != nil {
		if a.Type != "ceph" {
			return nil, liberr.New(from, liberr.XMLError, "rbd pool only supports 'ceph' auth type")
		}
		var err error
		if key, err = b.secret(ctx, "ceph", a); err != nil {
			return nil, err
		}
		defer clear(key)
		all = append(all, "--id", a.Username, "--keyfile", "/dev/stdin")
	} else {
		all = append(all, "--auth-supported", "none")
	}
	return b.feed(ctx, key, tool, all...)
}

func (b rbd) rbd(ctx context.Context, p *def.Pool, args ...string) error {
	_, err := b.ceph(ctx, p, "rbd", args...)
	return err
}

func (b rbd) spec(p *def.Pool, name string) string { return p.Source.Name + "/" + name }

func (b rbd) Active(ctx context.Context, p *def.Pool) (bool, error) {
	_, err := b.Space(ctx, p)
	return err == nil, nil
}

type rbdImage struct {
	Image    string `json:"image"`
	Size     uint64 `json:"size"`
	Snapshot string `json:"snapshot"`
}

func (b rbd) Refresh(ctx context.Context, p *def.Pool, _ map[string]*def.Volume) (*Content, error) {
	s, err := b.Space(ctx, p)
	if err != nil {
		return nil, err
	}
	out, err := b.ceph(ctx, p, "rbd", "ls", "-l", "--format", "json", p.Source.Name)
	if err != nil {
		return nil, err
	}
	var images []rbdImage
	if err := json.Unmarshal(out, &images); err != nil {
		return nil, liberr.New(from, liberr.InternalError, "cannot read what rbd says").WithCause(err)
	}
	used, err := b.used(ctx, p)
	if err != nil {
		return nil, err
	}
	var all []*def.Volume
	for _, i := range images {
		if i.Snapshot != "" || !printable(i.Image) {
			continue
		}
		v := b.volume(p, i.Image, i.Size)
		if n, ok := used[i.Image]; ok {
			v.Allocation = n
		}
		all = append(all, v)
	}
	return content(p, s, all), nil
}

// used asks how much of each image is really there, unless the pool is one whose refresh shall not take that long.
func (b rbd) used(ctx context.Context, p *def.Pool) (map[string]uint64, error) {
	if p.Refresh == "capacity" {
		return nil, nil
	}
	out, err := b.ceph(ctx, p, "rbd", "du", "--format", "json", "--pool", p.Source.Name)
	if err != nil {
		return nil, err
	}
	var du struct {
		Images []struct {
			Name     string `json:"name"`
			Snapshot string `json:"snapshot"`
			Used     uint64 `json:"used_size"`
		} `json:"images"`
	}
	if err := json.Unmarshal(out, &du); err != nil {
		return nil, liberr.New(from, liberr.InternalError, "cannot read what rbd says").WithCause(err)
	}
	used := map[string]uint64{}
	for _, i := range du.Images {
		used[i.Name] += i.Used
	}
	return used, nil
}

func (b rbd) volume(p *def.Pool, name string, size uint64) *def.Volume {
	path := b.spec(p, name)
	return &def.Volume{Name: name, Key: path, Path: path, Type: virt.StorageVolNetwork, Format: "raw", Capacity: size, Allocation: size,
		Permissions: def.NoPermissions, CapacityGiven: true, AllocationGiven: true}
}

func (b rbd) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	return lookIn(ctx, b, p, name)
}

// Space is the cluster's room and what this pool uses of it.
func (b rbd) Space(ctx context.Context, p *def.Pool) (s Space, err error) {
	out, err := b.ceph(ctx, p, "ceph", "df", "--format", "json")
	if err != nil {
		return s, err
	}
	var df struct {
		Stats struct {
			Total uint64 `json:"total_bytes"`
			Avail uint64 `json:"total_avail_bytes"`
		} `json:"stats"`
		Pools []struct {
			Name  string `json:"name"`
			Stats struct {
				Stored uint64 `json:"stored"`
			} `json:"stats"`
		} `json:"pools"`
	}
	if err := json.Unmarshal(out, &df); err != nil {
		return s, liberr.New(from, liberr.InternalError, "cannot read what ceph says").WithCause(err)
	}
	for _, q := range df.Pools {
		if q.Name == p.Source.Name {
			return Space{Capacity: df.Stats.Total, Available: df.Stats.Avail, Allocation: q.Stats.Stored}, nil
		}
	}
	return s, liberr.New(from, liberr.SystemError, "failed to create the RBD IoCTX. Does the pool '%s' exist?: No such file or directory", p.Source.Name)
}

func (b rbd) Place(p *def.Pool, v *def.Volume) error {
	switch {
	case v.Format != "raw":
		return liberr.New(from, liberr.ConfigUnsupported, "only RAW volumes are supported by this storage pool")
	case v.Encryption != nil:
		return liberr.New(from, liberr.ConfigUnsupported, "storage pool does not support encrypted volumes")
	case strings.ContainsAny(v.Name, "/@") || strings.HasPrefix(v.Name, "-"):
		return liberr.New(from, liberr.OperationInvalid, "volume name '%s' cannot contain '/'", v.Name)
	}
	v.Type = virt.StorageVolNetwork
	v.Path = b.spec(p, v.Name)
	v.Key = v.Path
	return nil
}

func (b rbd) Create(ctx context.Context, undo *kit.Undo, p *def.Pool, v *def.Volume, flags uint32) error {
	if v.Capacity == 0 {
		return liberr.New(from, liberr.NoSupportCode, "volume capacity required for this storage pool")
	}
	return b.rbd(ctx, p, "create", "--image-format", "2", "--size", fmt.Sprintf("%dB", v.Capacity), b.spec(p, v.Name))
}

// Clone makes an image upon a snapshot of the other, as libvirt does: nothing is copied until it is written.
func (b rbd) Clone(ctx context.Context, undo *kit.Undo, p *def.Pool, v, source *def.Volume, flags uint32) error {
	if source.Type != virt.StorageVolNetwork || !strings.HasPrefix(source.Key, p.Source.Name+"/") {
		return liberr.New(from, liberr.ConfigUnsupported, "volume '%s' is not in this cluster", source.Name)
	}
	snap := source.Key + "@libvirt-" + p.UUID.String()[:8] + "-" + v.Name
	if err := b.rbd(ctx, p, "snap", "create", snap); err != nil {
		return err
	}
	undo.Add("remove the snapshot", func(c context.Context) error { return b.rbd(c, p, "snap", "rm", snap) })
	if err := b.rbd(ctx, p, "snap", "protect", snap); err != nil {
		return err
	}
	undo.Add("release the snapshot", func(c context.Context) error { return b.rbd(c, p, "snap", "unprotect", snap) })
	if err := b.rbd(ctx, p, "clone", snap, b.spec(p, v.Name)); err != nil {
		return err
	}
	undo.Add("remove the clone", func(c context.Context) error { return b.rbd(c, p, "rm", "--no-progress", b.spec(p, v.Name)) })
	if v.Capacity > source.Capacity {
		if err := b.resize(ctx, p, v.Name, v.Capacity, source.Capacity); err != nil {
			return err
		}
	}
	undo.Keep()
	return nil
}

func (b rbd) Remove(ctx context.Context, p *def.Pool, v *def.Volume, flags uint32) error {
	if err := refusesFlags(flags, virt.StorageVolDeleteZeroed|virt.StorageVolDeleteWithSnapshots, "virStorageBackendRBDDeleteVol"); err != nil {
		return err
	}
	if flags&virt.StorageVolDeleteWithSnapshots != 0 {
		if err := b.rbd(ctx, p, "snap", "purge", "--no-progress", b.spec(p, v.Name)); err != nil {
			return err
		}
	}
	err := b.rbd(ctx, p, "rm", "--no-progress", b.spec(p, v.Name))
	const noEntry = 2
	if exitCode(err) == noEntry {
		return nil // gone already
	}
	return err
}

func (b rbd) Resize(ctx context.Context, p *def.Pool, v *def.Volume, capacity uint64, flags uint32) error {
	if flags&virt.StorageVolResizeAllocate != 0 {
		return liberr.Raw(from, liberr.InvalidArg, unsupportedFlags(virt.StorageVolResizeAllocate, "virStorageBackendRBDResizeVol"))
	}
	return b.resize(ctx, p, v.Name, capacity, v.Capacity)
}

func (b rbd) resize(ctx context.Context, p *def.Pool, name string, to, was uint64) error {
	args := []string{"resize", "--no-progress", "--size", fmt.Sprintf("%dB", to)}
	if to < was {
		args = append(args, "--allow-shrink")
	}
	return b.rbd(ctx, p, append(args, b.spec(p, name))...)
}

// Wipe lets go of all objects of an image, which reads as zeros then.
//
// Compat: libvirt writes zeros, which fills the cluster and overwrites no more than this does.
func (b rbd) Wipe(ctx context.Context, p *def.Pool, v *def.Volume, algorithm uint32) error {
	switch algorithm {
	case virt.StorageVolWipeAlgZero, virt.StorageVolWipeAlgTrim:
	default:
		return liberr.New(from, liberr.ArgumentUnsupported, "unsupported algorithm %d", algorithm)
	}
	if err := b.resize(ctx, p, v.Name, 0, v.Capacity); err != nil {
		return err
	}
	return b.resize(context.WithoutCancel(ctx), p, v.Name, v.Capacity, 0) // half-way is no place to stop
}
