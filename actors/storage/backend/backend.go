package backend

import (
	"context"
	"os"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

const from = liberr.FromStorage

// Space is how much there is in a pool, in bytes.
type Space struct {
	Capacity, Allocation, Available uint64
	Free                            []def.Extent // of a disk: where there is room
}

// Content is what a refresh finds.
type Content struct {
	Space       Space
	Permissions def.Permissions
	Volumes     map[string]*def.Volume
}

// Backend is one kind of storage.
type Backend interface {
	// Active tells whether the storage of a pool that was active stands yet.
	Active(ctx context.Context, p *def.Pool) (bool, error)
	Start(ctx context.Context, p *def.Pool) error
	Stop(ctx context.Context, p *def.Pool) error
	Build(ctx context.Context, p *def.Pool, flags uint32) error
	Delete(ctx context.Context, p *def.Pool, flags uint32) error

	// Refresh looks at everything. Volumes in known that have not changed since are returned as they are.
	Refresh(ctx context.Context, p *def.Pool, known map[string]*def.Volume) (*Content, error)
	// Look looks at one volume again: nil when it is not there.
	Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error)
	Space(ctx context.Context, p *def.Pool) (Space, error)
	// Tidy removes what an earlier process left half-made.
	Tidy(ctx context.Context, p *def.Pool) error

	// Place gives a new volume its type, key and path, and refuses what this kind of pool cannot hold.
	Place(p *def.Pool, v *def.Volume) error
	// Create makes a volume; Clone makes one with the content of another, which may be in another pool. A volume shows
	// up whole or not at all.
	Create(ctx context.Context, undo *kit.Undo, p *def.Pool, v *def.Volume, flags uint32) error
	Clone(ctx context.Context, undo *kit.Undo, p *def.Pool, v, source *def.Volume, flags uint32) error
	Remove(ctx context.Context, p *def.Pool, v *def.Volume, flags uint32) error
	Resize(ctx context.Context, p *def.Pool, v *def.Volume, capacity uint64, flags uint32) error
	Wipe(ctx context.Context, p *def.Pool, v *def.Volume, algorithm uint32) error
	// Open opens a volume's data for a stream.
	Open(ctx context.Context, p *def.Pool, v *def.Volume, write bool) (*os.File, error)
}

// Watcher is a backend that hears of changes others make.
type Watcher interface {
	// Watch calls changed with names of volumes that came, went or changed, from a goroutine of its own; nil means any.
	// The returned function ends it.
	Watch(p *def.Pool, changed func(names []string)) (stop func(), err error)
}

// Finder is a backend that can look for sources of pools. at says where; nil is this host.
type Finder interface {
	FindSources(ctx context.Context, at *def.Source) ([]def.Source, error)
}

// maker makes a backend of one kind; tools are the programs without which it can do nothing.
type maker struct {
	on    func(h *Host) Backend
	tools []string
}

var makers = map[string]maker{
	"dir":          {on: func(*Host) Backend { return dir{} }},
	"fs":           {on: func(h *Host) Backend { return mounted{Host: h} }, tools: []string{"mount", "umount"}},
	"netfs":        {on: func(h *Host) Backend { return mounted{Host: h, dir: dir{distant: true}} }, tools: []string{"mount", "umount"}},
	"logical":      {on: func(h *Host) Backend { return logical{blocks{Host: h}} }, tools: []string{"vgs", "lvs", "pvs", "vgchange", "lvcreate"}},
	"disk":         {on: func(h *Host) Backend { return diskPool{blocks{Host: h}} }, tools: []string{"parted"}},
	"iscsi":        {on: func(h *Host) Backend { return iscsi{blocks{Host: h}} }, tools: []string{"iscsiadm"}},
	"iscsi-direct": {on: func(h *Host) Backend { return iscsiDirect{Host: h} }, tools: []string{"iscsi-ls", "iscsi-readcapacity16"}},
	"scsi":         {on: func(h *Host) Backend { return scsi{blocks{Host: h}} }},
	"mpath":        {on: func(h *Host) Backend { return mpath{blocks{Host: h}} }, tools: []string{"dmsetup"}},
	"rbd":          {on: func(h *Host) Backend { return rbd{Host: h} }, tools: []string{"rbd", "ceph"}},
	"gluster":      {on: func(h *Host) Backend { return gluster{Host: h} }, tools: []string{"mount.glusterfs"}},
	"zfs":          {on: func(h *Host) Backend { return zfsPool{blocks{Host: h}} }, tools: []string{"zfs", "zpool"}},
	"vstorage":     {on: func(h *Host) Backend { return vstorage{mounted{Host: h, dir: dir{distant: true}}} }, tools: []string{"vstorage", "vstorage-mount"}},
}

// For returns the backend of a kind on this host, or libvirt's error where there is none.
func For(k *def.Kind) (Backend, error) { return (&Host{Run: "/run/libvirt/storage"}).For(k) }

// For returns the backend of a kind, or libvirt's error where there is none.
func (h *Host) For(k *def.Kind) (Backend, error) {
	if m, ok := makers[k.Name]; ok {
		return m.on(h), nil
	}
	_, n := def.KindNamed(k.Name)
	return nil, liberr.New(from, liberr.InternalError, "missing backend for pool type %d (%s)", n, k.Name)
}

// Missing returns the first program that pools of a kind need and the host does not have, and whether there is a backend at
// all.
func (h *Host) Missing(k *def.Kind) (tool string, known bool) {
	m, known := makers[k.Name]
	for _, t := range m.tools {
		if _, err := h.tools().Find(t); err != nil {
			return t, known
		}
	}
	return "", known
}

// Unfinished begins the names of files that are being made.
const Unfinished = ".virtree-new-"
