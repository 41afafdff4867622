package apart

import (
	"context"
	"os"
	"time"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
)

// Backend is a backend whose work is done in another process, where it may hang. Local does what cannot: it is asked which
// volumes can be, and runs what only starts programs.
type Backend struct {
	Local  backend.Backend
	Hangs  func(p *def.Pool) bool // whether a pool's storage may hang; others are worked on here
	Run    string                 // backend.Host's
	Grace  time.Duration          // for a worker to notice that it shall end; 0: two seconds
	Starts bool                   // Active, Start and Stop are Local's: they start programs and touch nothing themselves

	link link
}

// Worker returns the process that works for the pool; 0 where there is none.
func (b *Backend) Worker() int { return b.link.pid() }

func (b *Backend) ask(ctx context.Context, p *def.Pool, r request) (*answer, *os.File, error) {
	r.Kind, r.Pool, r.Run = p.Kind.Name, withoutKind(p), b.Run
	return b.link.ask(ctx, &r, b.Grace)
}

func (b *Backend) do(ctx context.Context, p *def.Pool, r request) error {
	_, _, err := b.ask(ctx, p, r)
	return err
}

// Active is as backend.Backend says, like all below.
func (b *Backend) Active(ctx context.Context, p *def.Pool) (bool, error) {
	if b.Starts || !b.Hangs(p) {
		return b.Local.Active(ctx, p)
	}
	a, _, err := b.ask(ctx, p, request{Method: active})
	return err == nil && a.Yes, err
}

// Start starts.
func (b *Backend) Start(ctx context.Context, p *def.Pool) error {
	if b.Starts || !b.Hangs(p) {
		return b.Local.Start(ctx, p)
	}
	return b.do(ctx, p, request{Method: start})
}

// Stop stops, and ends the worker.
func (b *Backend) Stop(ctx context.Context, p *def.Pool) error {
	defer b.link.end()
	if b.Starts || !b.Hangs(p) {
		return b.Local.Stop(ctx, p)
	}
	return b.do(ctx, p, request{Method: stop})
}

// Build builds.
func (b *Backend) Build(ctx context.Context, p *def.Pool, flags uint32) error {
	if !b.Hangs(p) {
		return b.Local.Build(ctx, p, flags)
	}
	return b.do(ctx, p, request{Method: build, Flags: flags})
}

// Delete deletes.
func (b *Backend) Delete(ctx context.Context, p *def.Pool, flags uint32) error {
	if !b.Hangs(p) {
		return b.Local.Delete(ctx, p, flags)
	}
	return b.do(ctx, p, request{Method: remove, Flags: flags})
}

// Refresh returns volumes of known that have not changed as they are.
func (b *Backend) Refresh(ctx context.Context, p *def.Pool, known map[string]*def.Volume) (*backend.Content, error) {
	if !b.Hangs(p) {
		return b.Local.Refresh(ctx, p, known)
	}
	a, _, err := b.ask(ctx, p, request{Method: refresh, Known: known})
	if err != nil {
		return nil, err
	}
	if a.Content.Volumes == nil {
		a.Content.Volumes = map[string]*def.Volume{}
	}
	for _, n := range a.Same {
		a.Content.Volumes[n] = known[n]
	}
	return a.Content, nil
}

// Look looks.
func (b *Backend) Look(ctx context.Context, p *def.Pool, name string) (*def.Volume, error) {
	if !b.Hangs(p) {
		return b.Local.Look(ctx, p, name)
	}
	a, _, err := b.ask(ctx, p, request{Method: look, Name: name})
	if err != nil {
		return nil, err
	}
	return a.Volume, nil
}

// Space asks for it.
func (b *Backend) Space(ctx context.Context, p *def.Pool) (backend.Space, error) {
	if !b.Hangs(p) {
		return b.Local.Space(ctx, p)
	}
	a, _, err := b.ask(ctx, p, request{Method: space})
	if err != nil {
		return backend.Space{}, err
	}
	return a.Space, nil
}

// Tidy tidies.
func (b *Backend) Tidy(ctx context.Context, p *def.Pool) error {
	if !b.Hangs(p) {
		return b.Local.Tidy(ctx, p)
	}
	return b.do(ctx, p, request{Method: tidy})
}

// Place touches nothing.
func (b *Backend) Place(p *def.Pool, v *def.Volume) error { return b.Local.Place(p, v) }

// Create makes encrypted volumes here: their secrets do not leave the process.
func (b *Backend) Create(ctx context.Context, undo *kit.Undo, p *def.Pool, v *def.Volume, flags uint32) error {
	if !b.Hangs(p) || v.Encryption != nil {
		return b.Local.Create(ctx, undo, p, v, flags)
	}
	return b.do(ctx, p, request{Method: create, Volume: v, Flags: flags})
}

// Clone is like Create.
func (b *Backend) Clone(ctx context.Context, undo *kit.Undo, p *def.Pool, v, source *def.Volume, flags uint32) error {
	if !b.Hangs(p) || v.Encryption != nil || source.Encryption != nil {
		return b.Local.Clone(ctx, undo, p, v, source, flags)
	}
	return b.do(ctx, p, request{Method: clone, Volume: v, Source: source, Flags: flags})
}

// Remove removes.
func (b *Backend) Remove(ctx context.Context, p *def.Pool, v *def.Volume, flags uint32) error {
	if !b.Hangs(p) {
		return b.Local.Remove(ctx, p, v, flags)
	}
	return b.do(ctx, p, request{Method: removeVolume, Volume: v, Flags: flags})
}

// Resize is like Create.
func (b *Backend) Resize(ctx context.Context, p *def.Pool, v *def.Volume, capacity uint64, flags uint32) error {
	if !b.Hangs(p) || v.Encryption != nil {
		return b.Local.Resize(ctx, p, v, capacity, flags)
	}
	return b.do(ctx, p, request{Method: resize, Volume: v, Size: capacity, Flags: flags})
}

// Wipe wipes.
func (b *Backend) Wipe(ctx context.Context, p *def.Pool, v *def.Volume, algorithm uint32) error {
	if !b.Hangs(p) {
		return b.Local.Wipe(ctx, p, v, algorithm)
	}
	return b.do(ctx, p, request{Method: wipe, Volume: v, Flags: algorithm})
}

// Open hands over a descriptor that the worker has opened.
func (b *Backend) Open(ctx context.Context, p *def.Pool, v *def.Volume, write bool) (*os.File, error) {
	if !b.Hangs(p) {
		return b.Local.Open(ctx, p, v, write)
	}
	_, f, err := b.ask(ctx, p, request{Method: open, Volume: v, Write: write})
	return f, err
}

// Watch has the kernel tell of changes, where the storage is one that cannot hang: to ask for that already touches it.
func (b *Backend) Watch(p *def.Pool, changed func(names []string)) (func(), error) {
	w, ok := b.Local.(backend.Watcher)
	if !ok || b.Hangs(p) {
		return func() {}, nil
	}
	return w.Watch(p, changed)
}

// FindSources starts programs, and touches nothing itself.
func (b *Backend) FindSources(ctx context.Context, at *def.Source) ([]def.Source, error) {
	return b.Local.(backend.Finder).FindSources(ctx, at)
}
