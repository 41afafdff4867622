package qemu

import (
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

func TestSnapshotsAreReadBack(t *testing.T) {
	s := &snapshot{
		name: "a & b", description: "it's <one>", state: "running", created: 12, parent: "root", memory: "external", memoryFile: "/m",
		disks: []snapshotDisk{
			{name: "vda", mode: "internal"}, {name: "vdb", mode: "no"},
			{name: "vdc", mode: "external", format: "qcow2", source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: "/x.new"}}},
		},
		domain: "<domain type='qemu'>\n  <name>n</name>\n</domain>\n", inactive: "<domain type='kvm'>\n  <name>n</name>\n</domain>\n",
	}
	text := s.xml(true, true)
	got, current, err := parseSnapshot(header("n") + text)
	if err != nil || !current {
		t.Fatal(current, err)
	}
	if again := got.xml(true, true); again != text {
		t.Errorf("read back:\n%s\nwas:\n%s", again, text)
	}
	if got.domain != s.domain || got.inactive != s.inactive || !got.external() {
		t.Errorf("definitions %q, %q", got.domain, got.inactive)
	}
	if public := s.xml(false, true); strings.Contains(public, "inactiveDomain") || strings.Contains(public, "<active>") {
		t.Errorf("clients see %s", public)
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add("<domainsnapshot><name>a</name><domain type='x'/></domainsnapshot>")
	f.Fuzz(func(_ *testing.T, doc string) {
		if s, current, err := parseSnapshot(doc); err == nil {
			_ = s.xml(true, current)
		}
	})
}

func tree() *domain {
	return &domain{snaps: snapshotList{current: "c", all: []*snapshot{
		{name: "a", state: "shutoff"}, {name: "b", parent: "a", state: "running"}, {name: "c", parent: "b", state: "disk-snapshot"}, {name: "d", parent: "a", state: "paused"}}}}
}

func TestSnapshotFilters(t *testing.T) {
	d := tree()
	for _, c := range []struct {
		of    string
		flags uint32
		want  string
	}{
		{"", 0, "a b c d"}, {"", 1, "a"}, {"", 4, "c d"}, {"", 8, "a b"}, {"", 12, "a b c d"}, {"", 32, "a"}, {"", 64, "b d"}, {"", 128, "c"},
		{"", 16, ""}, {"", 2, "a b c d"}, {"", 256, "a b c d"}, {"", 512, ""}, {"a", 0, "b d"}, {"a", 1, "b c d"}, {"", 1024, "a b c d"},
	} {
		var got []string
		for _, s := range d.selectSnapshots(c.of, c.flags) {
			got = append(got, s.name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("below %q with flags %d: %v, want %s", c.of, c.flags, got, c.want)
		}
	}
}
