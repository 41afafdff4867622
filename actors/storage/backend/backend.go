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
type Space struct{ Capacity, Allocation, Available uint64 }

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

var backends = map[string]Backend{
	"dir":   dir{},
	"fs":    mounted{},
	"netfs": mounted{},
}

// For returns the backend of a kind, or libvirt's error where there is none.
func For(k *def.Kind) (Backend, error) {
	if b := backends[k.Name]; b != nil {
		return b, nil
	}
	_, n := def.KindNamed(k.Name)
	return nil, liberr.New(from, liberr.InternalError, "missing backend for pool type %d (%s)", n, k.Name)
}

// Supported tells whether pools of a kind can be had.
func Supported(k *def.Kind) bool { return backends[k.Name] != nil }

// Unfinished begins the names of files that are being made.
const Unfinished = ".virtree-new-"
