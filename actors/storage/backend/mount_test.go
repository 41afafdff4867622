package backend_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/actors/storage/storagetest"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

// loopDevice makes a device of a file; the test is skipped where that is not allowed.
func loopDevice(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", image).Output()
	if err != nil {
		t.Skip("no loop devices: ", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", device).Run() })
	return device
}

func newFS(t *testing.T) *def.Pool {
	t.Helper()
	p, err := def.ParsePool("<pool type='fs'><name>p</name><source><device path='" + loopDevice(t) + "'/><format type='ext4'/></source>" +
		"<target><path>" + t.TempDir() + "/a/pool</path></target></pool>")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFS(t *testing.T) {
	k, _ := def.KindNamed("fs")
	b, err := backend.For(k)
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Backend(t, b, func(t *testing.T) *def.Pool {
		p := newFS(t)
		device, folder := p.Source.Device(), t.TempDir()
		for _, cmd := range [][]string{{"mkfs", "-t", "ext4", "-q", device}, {"mount", device, folder}, {"rmdir", folder + "/lost+found"}, {"umount", folder}} {
			if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
				t.Skipf("%v: %s", cmd, out)
			}
		}
		return p
	})
}

func TestAFileSystemIsMadeWhereThereIsNone(t *testing.T) {
	p := newFS(t)
	b := dirBackend(t, p)
	if err := b.Build(t.Context(), p, virt.StoragePoolBuildNoOverwrite); err != nil {
		t.Fatal(err)
	}
	if err := b.Build(t.Context(), p, virt.StoragePoolBuildNoOverwrite); !errors.Is(err, liberr.StoragePoolBuilt) {
		t.Error(err)
	}
	if err := b.Build(t.Context(), p, virt.StoragePoolBuildOverwrite); err != nil {
		t.Error(err)
	}
}
