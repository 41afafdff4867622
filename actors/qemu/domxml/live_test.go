package domxml

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"

	"virtree/actors/internal/xmltree"
)

// TestRecordLive starts every document of testdata/live in the reference libvirtd, paused, and stores what the running
// domain looks like: .live.xml, and .inactive.xml as what would be left of it.
func TestRecordLive(t *testing.T) {
	if !*update {
		t.Skip("needs a reference libvirtd; -update records again")
	}
	uri, _ := url.Parse("qemu:///system")
	l, err := libvirt.ConnectToURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	images(t)
	files, _ := filepath.Glob("testdata/live/*.in.xml")
	for _, file := range files {
		base := strings.TrimSuffix(file, ".in.xml")
		d, err := l.DomainCreateXML(read(t, file), libvirt.DomainStartPaused)
		if err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		for name, flags := range map[string]libvirt.DomainXMLFlags{".live.xml": libvirt.DomainXMLSecure, ".public.xml": 0, ".inactive.xml": libvirt.DomainXMLSecure | libvirt.DomainXMLInactive} {
			text, err := l.DomainGetXMLDesc(d, flags)
			if err != nil {
				t.Errorf("%s: %v", base, err)
			}
			write(t, base+name, text)
		}
		l.DomainDestroy(d)
	}
}

// images makes the files the documents name.
func images(t *testing.T) {
	const dir = "/tmp/dx-live"
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir); os.Remove("/tmp/dx-live.log"); os.Remove("/tmp/dx-live2.log") })
	for _, name := range []string{"raw.img", "usb.img", "cd.iso", "fd.img", "base.img"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 1440*1024), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("qemu-img", "create", "-f", "qcow2", "-b", dir+"/base.img", "-F", "raw", dir+"/over.qcow2").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// lives calls f with every recorded running domain: its document for those who may see passwords, for others, and what
// is left of it when it stops.
func lives(t *testing.T, f func(t *testing.T, live, public, inactive string)) {
	files, _ := filepath.Glob("testdata/live/*.live.xml")
	if len(files) == 0 {
		t.Fatal("no recorded domains")
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".live.xml")
		t.Run(filepath.Base(base), func(t *testing.T) {
			f(t, read(t, file), read(t, base+".public.xml"), read(t, base+".inactive.xml"))
		})
	}
}

// A running domain looks as libvirt shows it, in all three views.
func TestLiveViews(t *testing.T) {
	env := referenceEnv(t)
	lives(t, func(t *testing.T, live, public, inactive string) {
		d, err := Parse([]byte(live), env, ParseTrusted|ParseLive)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []struct {
			name  string
			flags FormatFlags
			want  string
		}{{"secure", Secure, live}, {"public", 0, public}, {"inactive", Secure | Inactive, inactive}} {
			got, err := Format(d, v.flags)
			if err != nil {
				t.Fatal(err)
			}
			if diff := lineDiff(v.want, got); diff != "" {
				t.Errorf("%s (-libvirt +ours)\n%s", v.name, diff)
			}
		}
	})
}

// Aliases taken away come back the same.
func TestAssignAliases(t *testing.T) {
	env := referenceEnv(t)
	lives(t, func(t *testing.T, live, _, _ string) {
		root, bad := xmltree.Scan(live)
		if bad != nil {
			t.Fatal(bad.Complaint)
		}
		for _, d := range root.Kid("devices").Kids {
			if !strings.HasPrefix(d.Kid("alias").Get("name"), "ua-") {
				d.Drop("alias")
			}
		}
		var b strings.Builder
		root.Print(&b, 0)
		d, err := Parse([]byte(b.String()), env, ParseTrusted|ParseLive)
		if err != nil {
			t.Fatal(err)
		}
		if err := AssignAliases(d); err != nil {
			t.Fatal(err)
		}
		got, err := Format(d, Secure)
		if err != nil {
			t.Fatal(err)
		}
		if diff := lineDiff(live, got); diff != "" {
			t.Errorf("(-libvirt +ours)\n%s", diff)
		}
	})
}
