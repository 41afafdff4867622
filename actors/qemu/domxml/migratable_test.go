package domxml

import (
	"net/url"
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"
)

var migratableCases = []string{
	"minimal-pc", "minimal-q35", "virtinstall-q35", "virtinstall-pc", "console-pty-pc", "gfx-vnc-auto-pc", "gfx-spice-pc", "memdev", "cpu-hostpass", "head-all",
	"usb-many-pc", "pci-bridges-pc", "b2-kubevirt-like-q35", "b2-nova-like-pc", "audio2-q35", "b2-video2-pc-ok",
}

// The form for a migration is libvirt's.
func TestMigratable(t *testing.T) {
	env := referenceEnv(t)
	for _, name := range migratableCases {
		t.Run(name, func(t *testing.T) {
			in, file := read(t, "testdata/define/"+name+".in.xml"), "testdata/migratable/"+name+".out.xml"
			if *update {
				recordMigratable(t, in, file)
			}
			d, err := Parse([]byte(in), env, 0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Format(d, Inactive|Migratable)
			if err != nil {
				t.Fatal(err)
			}
			if diff := lineDiff(read(t, file), got); diff != "" {
				t.Errorf("(-libvirt +ours)\n%s", diff)
			}
		})
	}
}

func recordMigratable(t *testing.T, in, file string) {
	uri, _ := url.Parse("qemu:///system")
	l, err := libvirt.ConnectToURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	d, err := l.DomainDefineXMLFlags(in, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.DomainUndefineFlags(d, 0)
	text, err := l.DomainGetXMLDesc(d, libvirt.DomainXMLInactive|libvirt.DomainXMLMigratable)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, text)
}
