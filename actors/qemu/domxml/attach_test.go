package domxml

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"virtree/wire/liberr"
)

const attachBase = "testdata/define/virtinstall-q35.in.xml"

// TestRecordAttach plays testdata/attach/steps.txt on a stored domain of the reference libvirtd.
func TestRecordAttach(t *testing.T) {
	if !*update {
		t.Skip("needs a reference libvirtd; -update records again")
	}
	uri, _ := url.Parse("qemu:///system")
	l, err := libvirt.ConnectToURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	d, err := l.DomainDefineXMLFlags(read(t, attachBase), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.DomainUndefineFlags(d, 0)
	const config = libvirt.DomainDeviceModifyConfig
	record(t, func(verb, doc string) (err error) {
		switch verb {
		case "attach":
			err = l.DomainAttachDeviceFlags(d, doc, uint32(config))
		case "detach":
			err = l.DomainDetachDeviceFlags(d, doc, uint32(config))
		case "update":
			err = l.DomainUpdateDeviceFlags(d, doc, config)
		}
		return err
	}, func(results string) {
		write(t, "testdata/attach/results.txt", results)
		text, err := l.DomainGetXMLDesc(d, libvirt.DomainXMLSecure|libvirt.DomainXMLInactive)
		if err != nil {
			t.Fatal(err)
		}
		write(t, "testdata/attach/final.xml", text)
	})
}

// record plays the steps; the results have a line for each: "ok", or the error.
func record(t *testing.T, play func(verb, doc string) error, done func(results string)) {
	var b strings.Builder
	for line := range strings.Lines(read(t, "testdata/attach/steps.txt")) {
		verb, doc, _ := strings.Cut(strings.TrimSpace(line), " ")
		err := play(verb, doc)
		var remote libvirt.Error
		var own *liberr.Error
		switch {
		case err == nil:
			b.WriteString("ok")
		case errors.As(err, &remote):
			fmt.Fprintf(&b, "%d %s", remote.Code, remote.Message)
		case errors.As(err, &own):
			fmt.Fprintf(&b, "%d %s", own.Code, own.Message)
		default:
			t.Fatalf("%s: %v", line, err)
		}
		fmt.Fprintf(&b, "  <- %s", line)
	}
	done(b.String())
}

// Devices come and go as libvirt would have it, down to the addresses, and to the words for what cannot be done.
func TestAttachDetachUpdate(t *testing.T) {
	env := referenceEnv(t)
	d, err := Parse([]byte(read(t, attachBase)), env, 0)
	if err != nil {
		t.Fatal(err)
	}
	record(t, func(verb, doc string) error {
		dev, err := ParseDevice([]byte(doc), d, env, 0)
		if err != nil {
			return err
		}
		switch verb {
		case "attach":
			_, err = Attach(d, dev, env, false)
		case "detach":
			_, err = Detach(d, dev)
		case "update":
			_, _, err = Update(d, dev)
		}
		return err
	}, func(results string) {
		if diff := lineDiff(read(t, "testdata/attach/results.txt"), results); diff != "" {
			t.Errorf("results (-libvirt +ours)\n%s", diff)
		}
	})
	got, err := Format(d, Secure|Inactive)
	if err != nil {
		t.Fatal(err)
	}
	if diff := lineDiff(read(t, "testdata/attach/final.xml"), got); diff != "" {
		t.Errorf("domain (-libvirt +ours)\n%s", diff)
	}
}

// What is plugged into a running domain has an address and an alias, its controller comes first, and the domain shows
// both.
func TestAttachLive(t *testing.T) {
	env := referenceEnv(t)
	d, err := Parse([]byte(read(t, "testdata/define/virtinstall-pc.in.xml")), env, 0)
	if err != nil {
		t.Fatal(err)
	}
	id := 1
	d.ID = &id
	if err := AssignAliases(d); err != nil {
		t.Fatal(err)
	}
	dev, err := ParseDevice([]byte(`<disk type='file'><source file='/c'/><target dev='sdb' bus='scsi'/></disk>`), d, env, ParseLive)
	if err != nil {
		t.Fatal(err)
	}
	added, err := Attach(d, dev, env, true)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range added {
		text, err := FormatDevice(a, Secure)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, text)
	}
	want := `<controller type='scsi' index='0' model='lsilogic'>`
	if len(got) != 2 || !strings.HasPrefix(got[0], want) || !strings.Contains(got[0], "<alias name='scsi0'/>") || !strings.Contains(got[1], "<alias name='scsi0-0-1'/>") {
		t.Errorf("plugged in: %q", got)
	}
	if n := len(d.Devices.Disks); n != 3 {
		t.Errorf("the domain has %d disks", n)
	}
	if out, err := Detach(d, dev); err != nil || out.Disks[0].Alias.Name != "scsi0-0-1" {
		t.Errorf("detach: %v, %v", out, err)
	}
}

// A module plugged in counts as memory, and no longer when it is gone.
func TestAttachMemory(t *testing.T) {
	env := referenceEnv(t)
	d, err := Parse([]byte(read(t, "testdata/define/b2-memdev2-ok.in.xml")), env, 0)
	if err != nil {
		t.Fatal(err)
	}
	before := memoryOf(d)
	dev, err := ParseDevice([]byte(`<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>`), d, env, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(d, dev, env, false); err != nil {
		t.Fatal(err)
	}
	if got := memoryOf(d); got != before+128*1024 {
		t.Errorf("memory is %d KiB after %d and 128 MiB", got, before)
	}
	if _, err := Detach(d, dev); err != nil {
		t.Fatal(err)
	}
	if got := memoryOf(d); got != before {
		t.Errorf("memory is %d KiB, was %d", got, before)
	}
}

func memoryOf(d *libvirtxml.Domain) uint { return d.Memory.Value }
