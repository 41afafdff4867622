package domxml

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"virtree/actors/internal/xmltree"
	"virtree/wire/liberr"
)

// FuzzParse: no document brings Parse down; it answers with a libvirt error, or with a domain that can be printed, and
// whose print is a document again.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"define", "reject", "live"} {
		files, _ := filepath.Glob("testdata/" + dir + "/*.in.xml")
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil {
				f.Add(b)
			}
		}
	}
	env := referenceEnv(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		d, err := Parse(doc, env, 0)
		if err != nil {
			var e *liberr.Error
			if !errors.As(err, &e) {
				t.Fatalf("not a libvirt error: %v", err)
			}
			return
		}
		for _, flags := range []FormatFlags{Secure | Inactive, 0} {
			text, err := Format(d, flags)
			if err != nil {
				t.Fatalf("cannot print what was accepted: %v", err)
			}
			if _, bad := xmltree.Scan(text); bad != nil {
				t.Fatalf("printed no document: %s\n%s", bad.Complaint, text)
			}
		}
	})
}
