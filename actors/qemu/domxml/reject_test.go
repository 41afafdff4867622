package domxml

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"virtree/wire/liberr"
)

// What libvirtd refuses is refused with its code and its words.
func TestRefusesAsLibvirt(t *testing.T) {
	refuses(t, referenceEnv(t))
}

func refuses(t *testing.T, env Env) {
	files, _ := filepath.Glob("testdata/reject/*.in.xml")
	for _, file := range files {
		base := strings.TrimSuffix(file, ".in.xml")
		t.Run(filepath.Base(base), func(t *testing.T) {
			want := read(t, base+".err")
			d, err := Parse([]byte(read(t, file)), env, 0)
			if err == nil {
				text, _ := Format(d, Secure|Inactive)
				t.Fatalf("accepted; libvirt says %s\n%.0s", want, text)
			}
			var e *liberr.Error
			if !errors.As(err, &e) {
				t.Fatalf("not a libvirt error: %v", err)
			}
			if got := fmt.Sprintf("%d\n%s\n", e.Code, e.Message); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}
