package domxml

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	libvirt "github.com/digitalocean/go-libvirt"
)

var update = flag.Bool("update", false, "record testdata again, with the libvirtd of this machine")

// TestRecord defines every document of testdata in the reference libvirtd and stores what it prints or refuses with.
// The domains' names all begin with "dx-".
func TestRecord(t *testing.T) {
	if !*update {
		t.Skip("needs a reference libvirtd; -update records again")
	}
	uri, _ := url.Parse("qemu:///system")
	l, err := libvirt.ConnectToURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Disconnect()
	for _, dir := range []string{"testdata/define", "testdata/reject"} {
		files, _ := filepath.Glob(dir + "/*.in.xml")
		for _, file := range files {
			base := strings.TrimSuffix(file, ".in.xml")
			out, refusal := reference(l, read(t, file))
			os.Remove(base + ".out.xml")
			os.Remove(base + ".err")
			if refusal != "" {
				write(t, base+".err", refusal)
			} else {
				write(t, base+".out.xml", out)
			}
		}
	}
}

func reference(l *libvirt.Libvirt, doc string) (out, refusal string) {
	d, err := l.DomainDefineXMLFlags(doc, 0)
	if err == nil {
		defer l.DomainUndefineFlags(d, libvirt.DomainUndefineNvram|libvirt.DomainUndefineTpm)
		out, err = l.DomainGetXMLDesc(d, libvirt.DomainXMLSecure|libvirt.DomainXMLInactive)
	}
	var e libvirt.Error
	if errors.As(err, &e) {
		return "", fmt.Sprintf("%d\n%s\n", e.Code, e.Message)
	} else if err != nil {
		return "", err.Error()
	}
	return out, ""
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
