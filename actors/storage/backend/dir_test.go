package backend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"virtree/actors/internal/kit"
	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/actors/storage/storagetest"
)

func newDir(t *testing.T) *def.Pool {
	t.Helper()
	p, err := def.ParsePool("<pool type='dir'><name>p</name><target><path>" + t.TempDir() + "/a/pool</path></target></pool>")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func dirBackend(t *testing.T, p *def.Pool) backend.Backend {
	t.Helper()
	b, err := backend.For(p.Kind)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDir(t *testing.T) {
	k, _ := def.KindNamed("dir")
	b, err := backend.For(k)
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Backend(t, b, newDir)
}

// qemu-img and our own reading of headers must agree, on images that both of us made.
func TestHeadersAgreeWithQemuImg(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	p := newDir(t)
	b := dirBackend(t, p)
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"raw", "qcow2", "qcow", "vmdk", "vdi", "qed"} {
		v := &def.Volume{Name: "one." + format, Format: format, Capacity: 3 << 20, CapacityGiven: true, Permissions: def.NoPermissions}
		if err := b.Place(p, v); err != nil {
			t.Fatal(err)
		}
		if err := b.Create(t.Context(), &kit.Undo{}, p, v, 0); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range map[string][]string{
		"overlay": {"-f", "qcow2", "-b", "one.qcow2", "-F", "qcow2"}, "extended": {"-f", "qcow2", "-o", "extended_l2=on,lazy_refcounts=on,cluster_size=128k"},
		"of raw": {"-f", "qcow2", "-b", "one.raw", "-F", "raw"}, "qed overlay": {"-f", "qed", "-b", "one.raw", "-F", "raw"}, "vmdk overlay": {"-f", "vmdk", "-b", "one.vmdk", "-F", "vmdk"},
	} {
		if out, err := exec.Command("qemu-img", append(append([]string{"create", "-q"}, args...), p.VolumePath(name), "3M")...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %s", name, out)
		}
	}
	c, err := b.Refresh(t.Context(), p, nil)
	if err != nil || len(c.Volumes) != 11 {
		t.Fatal(len(c.Volumes), err)
	}
	for name, v := range c.Volumes {
		out, err := exec.Command("qemu-img", "info", "--output=json", v.Path).Output()
		if err != nil {
			t.Fatal(name, err)
		}
		var i struct {
			Format  string `json:"format"`
			Size    uint64 `json:"virtual-size"`
			Actual  uint64 `json:"actual-size"`
			Full    string `json:"full-backing-filename"`
			BFormat string `json:"backing-filename-format"`
		}
		if err := json.Unmarshal(out, &i); err != nil {
			t.Fatal(err)
		}
		if i.Format != v.Format || i.Size != v.Capacity || i.Actual != v.Allocation {
			t.Errorf("%s: %+v, we say %+v", name, i, v)
		}
		if (v.Backing == nil) != (i.Full == "") || v.Backing != nil && (v.Backing.Path != i.Full || i.BFormat != "" && v.Backing.Format != i.BFormat) {
			t.Errorf("%s: backing %+v, we say %+v", name, i, v.Backing)
		}
	}
}

func TestWatchHearsOfOthers(t *testing.T) {
	p := newDir(t)
	b := dirBackend(t, p)
	if err := b.Build(context.Background(), p, 0); err != nil {
		t.Fatal(err)
	}
	heard := make(chan []string, 100)
	stop, err := b.(backend.Watcher).Watch(p, func(names []string) { heard <- names })
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{
		func() error { return os.WriteFile(p.VolumePath("new"), []byte("x"), 0o600) },
		func() error { return os.Rename(p.VolumePath("new"), p.VolumePath("newer")) },
		func() error { return os.Remove(p.VolumePath("newer")) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		select {
		case names := <-heard:
			if !slices.Contains(names, "new") && !slices.Contains(names, "newer") {
				t.Error(names)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was heard")
		}
	}
	stop()
	stop() // does nothing
}

func TestLeftoversAreHiddenAndTidiedAway(t *testing.T) {
	p := newDir(t)
	b := dirBackend(t, p)
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	ours := backend.Unfinished + p.UUID.String() + "-abc"
	others := backend.Unfinished + "00000000-0000-0000-0000-000000000000-abc"
	for _, n := range []string{ours, others, "bad\nname", "bad\x01name", "\xff\xfe"} {
		if err := os.WriteFile(p.VolumePath(n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", p.VolumePath("dangling")); err != nil {
		t.Fatal(err)
	}
	c, err := b.Refresh(t.Context(), p, nil)
	if err != nil || len(c.Volumes) != 1 {
		t.Error(fmt.Sprint(c.Volumes), err)
	}
	if err := b.Tidy(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(p.Path, ours)); !os.IsNotExist(err) {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(p.Path, others)); err != nil {
		t.Error("another host's work was removed")
	}
}
