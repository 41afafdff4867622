package backend

import (
	"context"
	"os"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

// bare is what every backend is made of: it does nothing where libvirt does nothing, and refuses the rest in libvirt's
// words.
type bare struct{}

func noSupport(what string) error { return liberr.New(from, liberr.NoSupportCode, "%s", what) }

func (bare) Start(context.Context, *def.Pool) error         { return nil }
func (bare) Stop(context.Context, *def.Pool) error          { return nil }
func (bare) Build(context.Context, *def.Pool, uint32) error { return nil }
func (bare) Tidy(context.Context, *def.Pool) error          { return nil }

func (bare) Delete(context.Context, *def.Pool, uint32) error {
	return noSupport("pool does not support pool deletion")
}

func (bare) Place(*def.Pool, *def.Volume) error {
	return noSupport("storage pool does not support volume creation")
}

func (bare) Create(context.Context, *kit.Undo, *def.Pool, *def.Volume, uint32) error {
	return noSupport("storage pool does not support volume creation")
}

func (bare) Clone(context.Context, *kit.Undo, *def.Pool, *def.Volume, *def.Volume, uint32) error {
	return noSupport("storage pool does not support volume creation from an existing volume")
}

func (bare) Remove(context.Context, *def.Pool, *def.Volume, uint32) error {
	return noSupport("storage pool does not support vol deletion")
}

func (bare) Resize(context.Context, *def.Pool, *def.Volume, uint64, uint32) error {
	return noSupport("storage pool does not support changing of volume capacity")
}

func (bare) Wipe(context.Context, *def.Pool, *def.Volume, uint32) error {
	return noSupport("storage pool doesn't support volume wiping")
}

func (bare) Open(_ context.Context, _ *def.Pool, _ *def.Volume, write bool) (*os.File, error) {
	if write {
		return nil, noSupport("storage pool doesn't support volume upload")
	}
	return nil, noSupport("storage pool doesn't support volume download")
}

// refusesFlags is libvirt's refusal of flags that a function knows nothing of.
func refusesFlags(flags, known uint32, function string) error {
	if flags&^known == 0 {
		return nil
	}
	return liberr.Raw(from, liberr.InvalidArg, unsupportedFlags(flags&^known, function))
}
