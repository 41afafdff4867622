package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// Traits are what kinds of storage differ in. The zero value is a folder of files.
type Traits struct {
	Name     func(p *def.Pool, n int) string // of the n-th volume; nil: any name
	NotFiles bool                            // volumes have no formats, and names of their own kind
	Always   bool                            // there is nothing to build, or to be missing
	NoSpace  bool                            // what there is, is what volumes take
	NoCreate bool                            // volumes come from elsewhere: Given are there when the pool starts
	NoRemove bool
	NoClone  bool
	NoResize bool
	NoWipe   bool
	NoData   bool // nobody can read or write volumes through us
	Unit     uint64
	Given    []string
}

// Backend holds a backend against its contract. newPool makes the definition of a pool whose storage is empty and not
// built yet, at a place of its own.
func Backend(t *testing.T, b backend.Backend, newPool func(t *testing.T) *def.Pool) {
	With(t, Traits{}, func(t *testing.T) (backend.Backend, *def.Pool) { return b, newPool(t) })
	files(t, b, newPool)
}

// With is Backend for storage that differs; newPool makes the backend too, for one pool.
func With(t *testing.T, k Traits, newPool func(t *testing.T) (backend.Backend, *def.Pool)) {
	up := func(t *testing.T) (backend.Backend, *def.Pool) {
		b, p := newPool(t)
		ctx := t.Context()
		must(t, b.Build(ctx, p, 0))
		must(t, b.Start(ctx, p))
		t.Cleanup(func() { must(t, b.Stop(context.Background(), p)) })
		return b, p
	}
	name := func(p *def.Pool, n int) string {
		if k.Name != nil {
			return k.Name(p, n)
		}
		return []string{"one", "two", "three"}[n]
	}
	t.Run("what is not there is not active", func(t *testing.T) {
		if k.Always {
			t.Skip("it is always there")
		}
		b, p := newPool(t)
		if _, err := b.Refresh(t.Context(), p, nil); err == nil {
			t.Error("no error")
		}
		if ok, err := b.Active(t.Context(), p); ok || err != nil {
			t.Error(ok, err)
		}
	})
	t.Run("build, start, stop, delete", func(t *testing.T) {
		b, p := newPool(t)
		ctx := t.Context()
		must(t, b.Build(ctx, p, 0))
		must(t, b.Start(ctx, p))
		if ok, err := b.Active(ctx, p); !ok || err != nil {
			t.Error(ok, err)
		}
		c := refresh(t, b, p, nil)
		s, err := b.Space(ctx, p)
		if got := names(c); !slices.Equal(got, k.Given) || !reflect.DeepEqual(s, c.Space) || err != nil {
			t.Errorf("%q, %+v, %v", got, s, err)
		}
		if !k.NoSpace && (c.Space.Capacity == 0 || c.Space.Capacity < c.Space.Allocation+c.Space.Available) {
			t.Errorf("%+v", c.Space)
		}
		for _, n := range k.Given {
			v := c.Volumes[n]
			if v.Name != n || v.Key == "" || v.Path == "" || v.Capacity == 0 {
				t.Errorf("%+v", v)
			}
			if again := look(t, b, p, n); again == nil || again.Key != v.Key || again.Path != v.Path {
				t.Errorf("%+v, %+v", v, again)
			}
		}
		if look(t, b, p, "no such volume") != nil {
			t.Error("a volume that is not there was found")
		}
		must(t, b.Stop(ctx, p))
		if err := b.Delete(ctx, p, 0); err != nil && !errors.Is(err, liberr.NoSupportCode) {
			t.Error(err)
		}
	})
	t.Run("what cannot be done is refused in libvirt's words", func(t *testing.T) {
		b, p := up(t)
		v := &def.Volume{Name: "x", Path: "/dev/null", Key: "x", Capacity: 1, Allocation: 1}
		_, down := b.Open(t.Context(), p, v, false)
		for what, is := range map[string]struct {
			cannot bool
			err    error
		}{
			"storage pool does not support volume creation":                         {k.NoCreate, orNil(k.NoCreate, func() error { return b.Place(p, &def.Volume{Name: "x", Format: "raw"}) })},
			"storage pool does not support vol deletion":                            {k.NoRemove, orNil(k.NoRemove, func() error { return b.Remove(t.Context(), p, v, 0) })},
			"storage pool does not support changing of volume capacity":             {k.NoResize, orNil(k.NoResize, func() error { return b.Resize(t.Context(), p, v, 2, 0) })},
			"storage pool doesn't support volume wiping":                            {k.NoWipe, orNil(k.NoWipe, func() error { return b.Wipe(t.Context(), p, v, 0) })},
			"storage pool doesn't support volume download":                          {k.NoData, down},
			"storage pool does not support volume creation from an existing volume": {k.NoClone, orNil(k.NoClone, func() error { return b.Clone(t.Context(), &kit.Undo{}, p, v, v, 0) })},
		} {
			if is.cannot && (is.err == nil || !strings.HasSuffix(is.err.Error(), what) || !errors.Is(is.err, liberr.NoSupportCode)) {
				t.Errorf("%v, want %s", is.err, what)
			}
		}
	})
	if k.NoCreate {
		return
	}
	size := func(n uint64) uint64 {
		if k.Unit == 0 {
			return n
		}
		return (n + k.Unit - 1) / k.Unit * k.Unit
	}
	make := func(t *testing.T, b backend.Backend, p *def.Pool, n int, capacity uint64) *def.Volume {
		return create(t, b, p, name(p, n), capacity, capacity)
	}
	t.Run("a volume comes, is there once, and goes", func(t *testing.T) {
		b, p := up(t)
		make(t, b, p, 0, 1<<20)
		v := look(t, b, p, name(p, 0))
		if v == nil || v.Capacity != size(1<<20) || v.Key == "" || v.Path == "" {
			t.Fatalf("%+v", v)
		}
		if k.NotFiles { // of files this is tested with what is in them
			again := &def.Volume{Name: v.Name, Format: v.Format, Capacity: 1 << 20, Allocation: 1 << 20, Permissions: def.NoPermissions}
			must(t, b.Place(p, again))
			undo := &kit.Undo{}
			if err := b.Create(t.Context(), undo, p, again, 0); err == nil {
				t.Error("made twice")
			}
		}
		if got := names(refresh(t, b, p, nil)); !slices.Equal(got, []string{v.Name}) {
			t.Error(got)
		}
		must(t, b.Remove(t.Context(), p, v, 0))
		if look(t, b, p, v.Name) != nil || len(refresh(t, b, p, nil).Volumes) != 0 {
			t.Error("it is still there")
		}
		must(t, b.Remove(t.Context(), p, v, 0)) // gone already
	})
	t.Run("there is never more in a pool than fits", func(t *testing.T) {
		if !k.NotFiles {
			t.Skip("files may be larger than what they are in")
		}
		b, p := up(t)
		before, err := b.Space(t.Context(), p)
		must(t, err)
		make(t, b, p, 0, 2<<20)
		after, err := b.Space(t.Context(), p)
		must(t, err)
		if after.Available+size(2<<20) > before.Available+(1<<20) && after.Available != before.Available || after.Allocation > after.Capacity {
			t.Errorf("%+v, %+v", before, after)
		}
	})
	t.Run("a wiped volume is zero", func(t *testing.T) {
		if k.NoData || k.NoWipe {
			t.Skip("it cannot be read, or wiped")
		}
		b, p := up(t)
		v := look(t, b, p, make(t, b, p, 0, 2<<20).Name)
		write(t, b, p, v, bytes.Repeat([]byte{7}, 1<<20), 4096)
		must(t, b.Wipe(t.Context(), p, v, virt.StorageVolWipeAlgZero))
		if got := read(t, b, p, v); !bytes.Equal(got, zeros(len(got))) || len(got) < 2<<20 {
			t.Error(len(got))
		}
	})
	t.Run("a clone has the data", func(t *testing.T) {
		if k.NoClone {
			t.Skip("there are no clones")
		}
		b, p := up(t)
		source := look(t, b, p, make(t, b, p, 0, 1<<20).Name)
		if !k.NoData {
			write(t, b, p, source, []byte("virtree"), 5000)
		}
		c := &def.Volume{Name: name(p, 1), Format: source.Format, Capacity: source.Capacity, Allocation: source.Capacity, Permissions: def.NoPermissions}
		must(t, b.Place(p, c))
		must(t, b.Clone(t.Context(), &kit.Undo{}, p, c, source, 0))
		got := look(t, b, p, c.Name)
		if got == nil || got.Capacity != source.Capacity {
			t.Fatalf("%+v", got)
		}
		if !k.NoData && string(read(t, b, p, got)[5000:5007]) != "virtree" {
			t.Error("the data are not there")
		}
	})
	t.Run("a volume has another size", func(t *testing.T) {
		if k.NoResize {
			t.Skip("sizes stay as they are")
		}
		b, p := up(t)
		v := look(t, b, p, make(t, b, p, 0, 1<<20).Name)
		for _, to := range []uint64{4 << 20, 2 << 20} {
			must(t, b.Resize(t.Context(), p, v, to, virt.StorageVolResizeShrink))
			if v = look(t, b, p, v.Name); v.Capacity != to {
				t.Error(v.Capacity, to)
			}
		}
	})
}

func zeros(n int) []byte { return append([]byte(nil), bytes.Repeat([]byte{0}, n)...) }

func orNil(when bool, f func() error) error {
	if when {
		return f()
	}
	return nil
}

// files are the tests of volumes that are files in a folder.
func files(t *testing.T, b backend.Backend, newPool func(t *testing.T) *def.Pool) {
	up := func(t *testing.T) *def.Pool {
		p := newPool(t)
		ctx := t.Context()
		must(t, b.Build(ctx, p, 0))
		must(t, b.Start(ctx, p))
		t.Cleanup(func() { must(t, b.Stop(context.Background(), p)) })
		return p
	}
	t.Run("a volume comes and goes", func(t *testing.T) {
		p := up(t)
		v := create(t, b, p, "one", 1<<20, 0)
		seen := look(t, b, p, "one")
		if seen == nil || seen.Capacity != 1<<20 || seen.Key != v.Key || seen.Path != v.Path || seen.Format != v.Format {
			t.Fatalf("%+v", seen)
		}
		if got := names(refresh(t, b, p, nil)); !slices.Equal(got, []string{"one"}) {
			t.Error(got)
		}
		must(t, b.Remove(t.Context(), p, seen, 0))
		if look(t, b, p, "one") != nil || len(refresh(t, b, p, nil).Volumes) != 0 {
			t.Error("it is still there")
		}
		must(t, b.Remove(t.Context(), p, seen, 0)) // gone already
	})
	t.Run("a name is given once, and its volume stays as it is", func(t *testing.T) {
		p := up(t)
		v := create(t, b, p, "one", 1<<20, 0)
		write(t, b, p, v, []byte("data"), 10)
		again := &def.Volume{Name: "one", Format: v.Format, Capacity: 5 << 20, Permissions: def.NoPermissions}
		must(t, b.Place(p, again))
		if err := b.Create(t.Context(), &kit.Undo{}, p, again, 0); !errors.Is(err, liberr.OperationInvalid) {
			t.Error(err)
		}
		if got := read(t, b, p, look(t, b, p, "one"))[10:14]; string(got) != "data" {
			t.Errorf("%q", got)
		}
	})
	t.Run("names that cannot be", func(t *testing.T) {
		p := up(t)
		for _, n := range []string{"a/b", ".", "..", "a\x01b", "\xff", backend.Unfinished + "x"} {
			if err := b.Place(p, &def.Volume{Name: n}); err == nil {
				t.Errorf("%q is taken", n)
			}
		}
	})
	t.Run("a clone has the data, also when it is larger", func(t *testing.T) {
		p := up(t)
		source := create(t, b, p, "one", 8<<20, 0)
		write(t, b, p, source, bytes.Repeat([]byte("virtree "), 1000), 3<<20+5)
		source = look(t, b, p, "one")
		c := &def.Volume{Name: "two", Format: source.Format, Capacity: 16 << 20, Permissions: def.NoPermissions}
		must(t, b.Place(p, c))
		must(t, b.Clone(t.Context(), &kit.Undo{}, p, c, source, 0))
		want := append(read(t, b, p, source), make([]byte, 8<<20)...)
		if got := look(t, b, p, "two"); got.Capacity != 16<<20 || !bytes.Equal(read(t, b, p, got), want) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("resize", func(t *testing.T) {
		p := up(t)
		create(t, b, p, "one", 1<<20, 0)
		for _, size := range []uint64{4 << 20, 2 << 20} {
			must(t, b.Resize(t.Context(), p, look(t, b, p, "one"), size, virt.StorageVolResizeShrink))
			if got := look(t, b, p, "one").Capacity; got != size {
				t.Error(got, size)
			}
		}
		must(t, b.Resize(t.Context(), p, look(t, b, p, "one"), 3<<20, virt.StorageVolResizeAllocate))
		if got := look(t, b, p, "one"); got.Allocation < 3<<20 {
			t.Error(got.Allocation)
		}
	})
	t.Run("wiped is zero, sparse or not", func(t *testing.T) {
		p := up(t)
		for name, allocation := range map[string]uint64{"sparse": 0, "full": 2 << 20} {
			v := create(t, b, p, name, 2<<20, allocation)
			write(t, b, p, v, bytes.Repeat([]byte{7}, 1<<20), 4096)
			must(t, b.Wipe(t.Context(), p, look(t, b, p, name), virt.StorageVolWipeAlgZero))
			if got := read(t, b, p, v); !bytes.Equal(got, make([]byte, 2<<20)) {
				t.Error(name, len(got))
			}
		}
	})
	t.Run("a second refresh returns what has not changed, and sees what has", func(t *testing.T) {
		p := up(t)
		create(t, b, p, "one", 1<<20, 0)
		two := create(t, b, p, "two", 1<<20, 0)
		first := refresh(t, b, p, nil)
		write(t, b, p, two, []byte("QFI\xfb\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x10\x00"), 0)
		second := refresh(t, b, p, first.Volumes)
		if second.Volumes["one"] != first.Volumes["one"] {
			t.Error("one was looked at again")
		}
		if v := second.Volumes["two"]; v.Format != "qcow2" || v.Capacity != 4096 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("work that is called off leaves nothing", func(t *testing.T) {
		p := up(t)
		ctx, cancel := context.WithCancel(t.Context())
		source := create(t, b, p, "one", 1<<20, 1<<20)
		write(t, b, p, source, []byte("x"), 0)
		cancel()
		c := &def.Volume{Name: "two", Format: source.Format, Capacity: 1 << 20, Permissions: def.NoPermissions}
		must(t, b.Place(p, c))
		if err := b.Clone(ctx, &kit.Undo{}, p, c, look(t, b, p, "one"), 0); err == nil {
			t.Error("no error")
		}
		must(t, b.Tidy(t.Context(), p)) // the undo list of the job does the same
		if got := names(refresh(t, b, p, nil)); !slices.Equal(got, []string{"one"}) {
			t.Error(got)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refresh(t *testing.T, b backend.Backend, p *def.Pool, known map[string]*def.Volume) *backend.Content {
	t.Helper()
	c, err := b.Refresh(t.Context(), p, known)
	must(t, err)
	return c
}

func names(c *backend.Content) []string { return slices.Sorted(maps.Keys(c.Volumes)) }

func look(t *testing.T, b backend.Backend, p *def.Pool, name string) *def.Volume {
	t.Helper()
	v, err := b.Look(t.Context(), p, name)
	must(t, err)
	return v
}

func create(t *testing.T, b backend.Backend, p *def.Pool, name string, capacity, allocation uint64) *def.Volume {
	t.Helper()
	v := &def.Volume{Name: name, Format: p.Kind.DefaultVolume, Capacity: capacity, Allocation: allocation, Permissions: def.NoPermissions}
	must(t, b.Place(p, v))
	must(t, b.Create(t.Context(), &kit.Undo{}, p, v, 0))
	return v
}

func open(t *testing.T, b backend.Backend, p *def.Pool, v *def.Volume, forWrite bool) *os.File {
	t.Helper()
	f, err := b.Open(t.Context(), p, v, forWrite)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func write(t *testing.T, b backend.Backend, p *def.Pool, v *def.Volume, data []byte, at int64) {
	t.Helper()
	_, err := open(t, b, p, v, true).WriteAt(data, at)
	must(t, err)
}

func read(t *testing.T, b backend.Backend, p *def.Pool, v *def.Volume) []byte {
	t.Helper()
	data, err := io.ReadAll(open(t, b, p, v, false))
	must(t, err)
	return data
}
