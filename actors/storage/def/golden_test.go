package def

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"virtree/wire/liberr"
)

// recorded reads an archive of documents and of what libvirtd 9.0.0 said to each: its own document, or the domain and code
// of an error with its message.
func recorded(t *testing.T, file string, say func(doc string) (string, error)) {
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]string{}
	for _, f := range a.Files {
		name, isOut := strings.CutSuffix(f.Name, ".out")
		if !isOut {
			given[strings.TrimSuffix(f.Name, ".in")] = string(f.Data)
			continue
		}
		got, err := say(given[name])
		if err != nil {
			var e *liberr.Error
			if !errors.As(err, &e) {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got = fmt.Sprintf("%d %d %s\n", e.Domain, e.Code, e.Message)
		}
		if d := cmp.Diff(string(f.Data), got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestPoolsAreReadAsLibvirtReadsThem(t *testing.T) {
	recorded(t, "testdata/pools.txtar", func(doc string) (string, error) {
		p, err := ParsePool(doc)
		if err != nil {
			return "", err
		}
		return p.Format(), nil
	})
}

func TestPoolsAreValidated(t *testing.T) {
	recorded(t, "testdata/valid-pools.txtar", func(doc string) (string, error) {
		_, err := ParseValidPool(doc)
		if err != nil {
			return "", err
		}
		return "valid\n", nil
	})
}

func TestVolumesAreValidated(t *testing.T) {
	dir, _ := KindNamed("dir")
	recorded(t, "testdata/valid-volumes.txtar", func(doc string) (string, error) {
		_, err := ParseValidVolume(doc, dir, false)
		if err != nil {
			return "", err
		}
		return "valid\n", nil
	})
}
