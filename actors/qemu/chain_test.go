package qemu

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
	}
}

func qcow2Disk(path string) *libvirtxml.DomainDisk {
	return &libvirtxml.DomainDisk{
		Driver: &libvirtxml.DomainDiskDriver{Type: "qcow2"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}},
	}
}

func TestChainIsRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	qemuImg(t, "create", "-q", "-f", "raw", at("base.raw"), "1M")
	qemuImg(t, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", at("base.raw"), at("mid.qcow2"))
	qemuImg(t, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "mid.qcow2", at("top.qcow2"))
	d := qcow2Disk(at("top.qcow2"))
	if err := completeChain(d); err != nil {
		t.Fatal(err)
	}
	mid := d.BackingStore
	if mid == nil || mid.Format.Type != "qcow2" || mid.Source.File.File != at("mid.qcow2") {
		t.Fatalf("%+v", mid)
	}
	base := mid.BackingStore
	if base == nil || base.Format.Type != "raw" || base.Source.File.File != at("base.raw") || base.BackingStore == nil || base.BackingStore.Source != nil {
		t.Fatalf("%+v", base)
	}
}

func TestChainsThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	qemuImg(t, "create", "-q", "-f", "qcow2", at("a.qcow2"), "1M")
	qemuImg(t, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", at("a.qcow2"), at("b.qcow2"))
	qemuImg(t, "rebase", "-u", "-F", "qcow2", "-b", at("b.qcow2"), at("a.qcow2"))
	if err := completeChain(qcow2Disk(at("b.qcow2"))); err == nil || !strings.Contains(err.Error(), "self-referential") {
		t.Fatalf("a loop: %v", err)
	}
	qemuImg(t, "rebase", "-u", "-F", "qcow2", "-b", at("gone.qcow2"), at("a.qcow2"))
	if err := completeChain(qcow2Disk(at("a.qcow2"))); err == nil || !strings.Contains(err.Error(), "Cannot access backing file") {
		t.Fatalf("a missing file: %v", err)
	}
}

func FuzzQcow2Header(f *testing.F) {
	f.Add([]byte{'Q', 'F', 'I', 0xfb, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseQcow2(b)
		if err != nil && h.backing != "" {
			t.Fatal("a backing file beside an error")
		}
	})
}
