package qemu

import (
	"fmt"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"virtree/actors/qemu/domxml"
	"virtree/wire/virt"
)

// stack is a disk of four images: top(4) on mid(3) on low(2) on base(1).
func stack() *libvirtxml.DomainDisk {
	var below *libvirtxml.DomainDiskBackingStore = &libvirtxml.DomainDiskBackingStore{}
	for i, n := range []string{"base", "low", "mid"} {
		below = &libvirtxml.DomainDiskBackingStore{Index: uint(i + 1), Format: &libvirtxml.DomainDiskFormat{Type: "qcow2"}, Source: fileSource("/" + n), BackingStore: below}
	}
	top := fileSource("/top")
	top.Index = 4
	return &libvirtxml.DomainDisk{Target: &libvirtxml.DomainDiskTarget{Dev: "vda"}, Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "qcow2"}, Source: top, BackingStore: below}
}

func fileSource(path string) *libvirtxml.DomainDiskSource {
	return &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: path}}
}

func show(layers []chainLayer) string {
	var out []string
	for _, l := range layers {
		out = append(out, fmt.Sprintf("%s(%d)", l.path, l.index))
	}
	return strings.Join(out, " ")
}

func TestOutcomesOfBlockJobs(t *testing.T) {
	mirror := fileSource("/copy")
	mirror.Index = 9
	for name, c := range map[string]struct {
		job            blockJob
		ok             bool
		chain, dropped string
	}{
		"pull of everything":   {blockJob{kind: virt.DomainBlockJobTypePull}, true, "/top(4)", "/mid(3) /low(2) /base(1)"},
		"pull down to a base":  {blockJob{kind: virt.DomainBlockJobTypePull, base: 2}, true, "/top(4) /low(2) /base(1)", "/mid(3)"},
		"pull that failed":     {blockJob{kind: virt.DomainBlockJobTypePull}, false, "/top(4) /mid(3) /low(2) /base(1)", ""},
		"commit in the middle": {blockJob{kind: virt.DomainBlockJobTypeCommit, top: 3, base: 1}, true, "/top(4) /base(1)", "/mid(3) /low(2)"},
		"commit below another": {blockJob{kind: virt.DomainBlockJobTypeCommit, top: 2, base: 1}, true, "/top(4) /mid(3) /base(1)", "/low(2)"},
		"active commit, pivot": {blockJob{kind: virt.DomainBlockJobTypeActiveCommit, top: 4, base: 3, pivot: true}, true, "/mid(3) /low(2) /base(1)", "/top(4)"},
		"active commit, ended": {blockJob{kind: virt.DomainBlockJobTypeActiveCommit, top: 4, base: 3, abort: true}, false, "/top(4) /mid(3) /low(2) /base(1)", ""},
		"copy, pivot":          {blockJob{kind: virt.DomainBlockJobTypeCopy, mirror: mirror, format: "raw", pivot: true}, true, "/copy(9)", "/top(4) /mid(3) /low(2) /base(1)"},
		"copy, ended":          {blockJob{kind: virt.DomainBlockJobTypeCopy, mirror: mirror, format: "raw", abort: true}, false, "/top(4) /mid(3) /low(2) /base(1)", "/copy(9)"},
	} {
		before := stack()
		after, dropped := c.job.outcome(before, c.ok)
		if got := show(chain(after)); got != c.chain {
			t.Errorf("%s: the chain is %s, want %s", name, got, c.chain)
		}
		if got := show(dropped); got != c.dropped {
			t.Errorf("%s: dropped %s, want %s", name, got, c.dropped)
		}
		if got := show(chain(before)); got != "/top(4) /mid(3) /low(2) /base(1)" {
			t.Errorf("%s: the definition itself was changed: %s", name, got)
		}
	}
}

func TestLayersByName(t *testing.T) {
	layers := chain(stack())
	for name, want := range map[string]int{"/low": 2, "vda[1]": 3, "/nope": -1, "vda[4]": -1, "vdb[1]": -1} {
		i, err := findLayer(layers, 1, name, "vda")
		if err != nil {
			i = -1
		}
		if i != want {
			t.Errorf("%s is layer %d (%v), want %d", name, i, err, want)
		}
	}
}

// The end of a chain is an element without a source, which reading makes one with an empty source.
func TestAChainEndsBeforeItsEnd(t *testing.T) {
	d := &libvirtxml.Domain{Type: "qemu", Name: "d", Devices: &libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{*stack()}}}
	again, err := domxml.Clone(d)
	if err != nil {
		t.Fatal(err)
	}
	if got := show(chain(&again.Devices.Disks[0])); got != "/top(4) /mid(3) /low(2) /base(1)" {
		t.Errorf("the chain is %s", got)
	}
}

// The key that a document names beside the disk's source belongs to the image that was there, not to the one put above it.
func TestAKeyGoesWithItsImage(t *testing.T) {
	d := stack()
	key := &libvirtxml.DomainDiskEncryption{Format: "luks"}
	d.Encryption = key
	below := chain(d)[0].asBacking()
	onto(d, fileSource("/above"), 5, "qcow2", below)
	if d.Encryption != nil || d.Source.Encryption != nil {
		t.Error("the image above is taken for encrypted")
	}
	if got := chain(d)[1].source.Encryption; got != key {
		t.Errorf("the image below has the key %v", got)
	}
}
