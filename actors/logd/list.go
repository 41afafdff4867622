package logd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sort"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/disk"
)

// The list of open files, for the next life of the branch. It ends with the boot, as the guests do, and need not be
// synced.

func (d *driver) listFile() string { return filepath.Join(d.env.Paths.ActorDir(), "logd.json") }

func readList(name string) (paths []string) {
	b, err := os.ReadFile(name)
	if err == nil {
		_ = json.Unmarshal(b, &paths) // what is half a list is none
	}
	return paths
}

// save writes the list in a job; changes that come meanwhile are written by the next one.
func (d *driver) save(ctx actor.Context) {
	if d.saving {
		d.dirty = true
		return
	}
	d.saving, d.dirty = true, false
	paths := make([]string, 0, len(d.files))
	for path := range d.files {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	name := d.listFile()
	d.job(ctx, "list", func() any {
		b, err := json.Marshal(paths)
		if err == nil {
			err = disk.WriteVolatile(name, b, 0o600)
		}
		return &saved{err}
	}, func(err error) { d.saved(ctx, &saved{err}) })
}

func (d *driver) saved(ctx actor.Context, m *saved) {
	if m.err != nil {
		d.env.Log.Warn().Err(m.err).Msg("the list of open log files was not written")
	}
	d.saving = false
	if d.dirty {
		d.save(ctx)
	}
}
