package qemu

import (
	"testing"

	"libvirt.org/go/libvirtxml"
)

func TestDiskNumber(t *testing.T) {
	for target, want := range map[string]uint{"sda": 0, "sdz": 25, "sdaa": 26, "vdb": 1, "hdc": 2, "": 0, "sd": 0, "fdb": 1} {
		if got := diskNumber(target); got != want {
			t.Errorf("%s is number %d, not %d", target, got, want)
		}
	}
}

func diskOf(index uint, backing ...uint) libvirtxml.DomainDisk {
	d := libvirtxml.DomainDisk{Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: "/i"}, Index: index}}
	to := &d.BackingStore
	for _, n := range backing {
		*to = &libvirtxml.DomainDiskBackingStore{Index: n, Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: "/b"}}}
		to = &(*to).BackingStore
	}
	return d
}

func TestFirstNode(t *testing.T) {
	for _, tt := range []struct {
		name  string
		disks []libvirtxml.DomainDisk
		want  uint
	}{
		{"no disk", nil, 1},
		{"an empty drive has used a number", []libvirtxml.DomainDisk{{}}, 2},
		{"a chain uses one for each image", []libvirtxml.DomainDisk{diskOf(1, 2, 3)}, 4},
		{"numbers of disks that went are not used again", []libvirtxml.DomainDisk{diskOf(1), diskOf(17)}, 18},
	} {
		def := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Disks: tt.disks}}
		if got := firstNode(def); got != tt.want {
			t.Errorf("%s: %d, not %d", tt.name, got, tt.want)
		}
	}
}

func TestControllersOfATypeStandTogether(t *testing.T) {
	c := func(kind string, index uint) libvirtxml.DomainController {
		return libvirtxml.DomainController{Type: kind, Index: &index}
	}
	def := &libvirtxml.Domain{Devices: &libvirtxml.DomainDeviceList{Controllers: []libvirtxml.DomainController{
		c("usb", 0), c("scsi", 0), c("pci", 0), c("scsi", 3), c("scsi", 1)}}}
	gatherControllers(def)
	got := ""
	for _, c := range def.Devices.Controllers {
		got += c.Type + itoa(int(value(c.Index))) + " "
	}
	if want := "usb0 scsi0 scsi1 scsi3 pci0 "; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

func TestFixedFields(t *testing.T) {
	parse := func(inner string) *libvirtxml.DomainDisk {
		d := &libvirtxml.DomainDisk{}
		if err := d.Unmarshal(`<disk type='file' device='disk'>` + inner + `</disk>`); err != nil {
			t.Fatal(err)
		}
		return d
	}
	const plain = `<driver name='qemu' type='raw' io='threads'/><source file='/a'/><target dev='vda' bus='virtio'/>`
	for _, tt := range []struct{ name, old, want, field string }{
		{"the same", plain, plain, ""},
		{"another source is no matter of these", plain, `<driver name='qemu' type='raw'/><source file='/b'/><target dev='vda' bus='virtio'/>`, ""},
		{"what is left open stays", plain, `<target dev='vda' bus='virtio'/>`, ""},
		{"another bus", plain, `<target dev='vda' bus='scsi'/>`, "bus"},
		{"another cache", plain, `<driver name='qemu' cache='none'/><target dev='vda' bus='virtio'/>`, "cache"},
		{"the default cache", plain, `<driver name='qemu' cache='default'/><target dev='vda' bus='virtio'/>`, ""},
		{"a serial number", plain, plain + `<serial>x</serial>`, "serial"},
		{"limits come first", plain, plain + `<serial>x</serial><iotune><write_iops_sec>3</write_iops_sec></iotune>`, "blkdeviotune write_iops_sec"},
		{"read only", plain, plain + `<readonly/>`, "readonly"},
		{"not shareable any more", plain + `<shareable/>`, plain, "shareable"},
	} {
		if got := fixedField(parse(tt.old), parse(tt.want)); got != tt.field {
			t.Errorf("%s: %q, not %q", tt.name, got, tt.field)
		}
	}
}
