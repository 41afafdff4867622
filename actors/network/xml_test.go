package network

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// defineDoc does what the driver does to a document before it is stored.
func defineDoc(doc string) (*definition, error) {
	d, err := parse(doc)
	if err != nil {
		return nil, err
	}
	if err := d.validate("/sys"); err != nil {
		return nil, err
	}
	d.complete(func(string) bool { return false }, 1)
	return d, nil
}

// recorded are the files of an archive, by their names: what was asked of libvirt, and what it answered.
func recorded(t *testing.T, archive string) map[string]string {
	t.Helper()
	ar, err := txtar.ParseFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range ar.Files {
		files[f.Name] = strings.TrimSpace(string(f.Data))
	}
	return files
}

func TestDefineAgreesWithLibvirt(t *testing.T) {
	want := recorded(t, "testdata/define.txtar")
	for name, doc := range want {
		name, ok := strings.CutSuffix(name, ".in")
		if !ok {
			continue
		}
		d, err := defineDoc(doc)
		got := ""
		if err != nil {
			var e *liberr.Error
			if !errors.As(err, &e) {
				t.Errorf("%s: %v is no libvirt error", name, err)
				continue
			}
			got = strings.TrimSpace(fmt.Sprintf("%d %d %s", e.Domain, e.Code, e.Message))
			if got != want[name+".err"] {
				t.Errorf("%s: %s\n\twant %s%s", name, got, want[name+".err"], want[name+".out"])
			}
			continue
		}
		if !strings.Contains(doc, "<uuid>") { // made up by both
			d.uuid, _ = xmltree.UUID(between(want[name+".out"], "<uuid>", "</uuid>"))
		}
		if !strings.Contains(doc, "<mac ") && d.mac != "" {
			d.mac = between(want[name+".out"], "<mac address='", "'")
		}
		got = strings.TrimSpace(d.format(nil))
		if diff := cmp.Diff(want[name+".out"], got); diff != "" {
			t.Errorf("%s (%s): %s", name, want[name+".err"], diff)
			continue
		}
		if name == "bwzero" { // libvirt prints an element that it reads as none
			continue
		}
		again, err := parse(got)
		if err != nil || strings.TrimSpace(again.format(nil)) != got {
			t.Errorf("%s: the document does not read back: %v", name, err)
		}
	}
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}
