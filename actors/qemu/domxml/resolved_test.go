package domxml

import (
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"
)

func onVolumes(t *testing.T) *libvirtxml.Domain {
	t.Helper()
	volume := func(name string) *libvirtxml.DomainDiskSource {
		return &libvirtxml.DomainDiskSource{Volume: &libvirtxml.DomainDiskSourceVolume{Pool: "images", Volume: name}}
	}
	top, below, iscsi := volume("top"), volume("below"), volume("unit:0:0:1")
	top.File, below.Block = &libvirtxml.DomainDiskSourceFile{File: "/pool/top"}, &libvirtxml.DomainDiskSourceBlock{Dev: "/dev/below"}
	top.Index = 1
	iscsi.Volume.Mode = "direct"
	iscsi.Network = &libvirtxml.DomainDiskSourceNetwork{Protocol: "iscsi", Name: "iqn/1", Hosts: []libvirtxml.DomainDiskSourceHost{{Name: "san", Port: "3260"}},
		Auth: &libvirtxml.DomainDiskAuth{Username: "me", Secret: &libvirtxml.DomainDiskSecret{Type: "iscsi", Usage: "san"}}}
	return &libvirtxml.Domain{Type: "qemu", Name: "d", Devices: &libvirtxml.DomainDeviceList{Disks: []libvirtxml.DomainDisk{
		{Device: "disk", Source: top, Target: &libvirtxml.DomainDiskTarget{Dev: "vda", Bus: "virtio"},
			BackingStore: &libvirtxml.DomainDiskBackingStore{Index: 2, Format: &libvirtxml.DomainDiskFormat{Type: "raw"}, Source: below}},
		{Device: "disk", Source: iscsi, Target: &libvirtxml.DomainDiskTarget{Dev: "vdb", Bus: "virtio"}},
		{Device: "disk", Source: volume("unknown"), Target: &libvirtxml.DomainDiskTarget{Dev: "vdc", Bus: "virtio"}},
	}}}
}

// check looks whether what the volumes are is still known.
func check(t *testing.T, where string, d *libvirtxml.Domain) {
	t.Helper()
	disks := d.Devices.Disks
	top := disks[0].Source
	if top.Volume == nil || top.Volume.Volume != "top" || top.File == nil || top.File.File != "/pool/top" || top.Index != 1 {
		t.Errorf("%s: the first disk is on %+v", where, top)
	}
	if b := disks[0].BackingStore; b == nil || b.Source == nil || b.Source.Volume == nil || b.Source.Block == nil || b.Source.Block.Dev != "/dev/below" {
		t.Errorf("%s: below the first disk is %+v", where, b)
	}
	if s := disks[1].Source; s.Volume == nil || s.Volume.Mode != "direct" || s.Network == nil || s.Network.Name != "iqn/1" || len(s.Network.Hosts) != 1 || s.Network.Auth == nil {
		t.Errorf("%s: the second disk is on %+v", where, s)
	}
	if s := disks[2].Source; s.Volume == nil || Resolved(s) {
		t.Errorf("%s: the third disk is on %+v", where, s)
	}
}

func TestWhatAVolumeIsStaysKnown(t *testing.T) {
	d := onVolumes(t)
	copied, err := Clone(d)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "a copy", copied)
	check(t, "what was copied", d)
	status, err := Format(d, Secure|Status)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(status, "<resolved "); n != 3 {
		t.Errorf("%d of 3 volumes are noted in the status:\n%s", n, status)
	}
}

func TestClientsSeeVolumes(t *testing.T) {
	text, err := Format(onVolumes(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, no := range []string{"resolved", "/pool/top", "/dev/below", "iqn/1"} {
		if strings.Contains(text, no) {
			t.Errorf("clients see %s:\n%s", no, text)
		}
	}
	if n := strings.Count(text, "type='volume'"); n != 4 {
		t.Errorf("clients see %d volumes of 4:\n%s", n, text)
	}
}
