package domxml

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtree/actors/internal/xmltree"
)

// goldens calls f with the name and both files of every recorded document.
func goldens(t *testing.T, f func(t *testing.T, in, out string)) {
	files, err := filepath.Glob("testdata/define/*.out.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded documents: %v", err)
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".out.xml")
		t.Run(filepath.Base(base), func(t *testing.T) {
			f(t, read(t, base+".in.xml"), read(t, file))
		})
	}
}

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What libvirtd prints goes through the struct and back without a change.
func TestFormatKeepsWhatLibvirtPrints(t *testing.T) {
	goldens(t, func(t *testing.T, _, out string) {
		root, bad := xmltree.Scan(out)
		if bad != nil {
			t.Fatal(bad.Complaint)
		}
		grammar["domain"].arrange(root)
		d, err := toStruct(root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Format(d, Secure|Inactive)
		if err != nil {
			t.Fatal(err)
		}
		if diff := lineDiff(out, got); diff != "" {
			t.Errorf("(-libvirt +ours)\n%s", diff)
		}
	})
}

// What clients send becomes what libvirtd makes of it.
func TestDefineMatchesLibvirt(t *testing.T) {
	env := referenceEnv(t)
	goldens(t, func(t *testing.T, in, out string) {
		d, err := Parse([]byte(in), env, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Format(d, Secure|Inactive)
		if err != nil {
			t.Fatal(err)
		}
		if diff := lineDiff(out, got); diff != "" {
			t.Errorf("(-libvirt +ours)\n%s", diff)
		}
	})
}

// A printed definition means the same when it is read back, as this daemon does with its own files.
func TestOwnFilesAreStable(t *testing.T) {
	env := referenceEnv(t)
	goldens(t, func(t *testing.T, _, out string) {
		for _, flags := range []ParseFlags{ParseTrusted, ParseTrusted | ParseNoCaps} {
			d, err := Parse([]byte(out), env, flags)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Format(d, Secure|Inactive)
			if err != nil {
				t.Fatal(err)
			}
			if diff := lineDiff(out, got); diff != "" {
				t.Errorf("flags %x (-file +read back)\n%s", flags, diff)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	env := referenceEnv(b)
	doc := []byte(read(b, "testdata/define/virtinstall-q35.in.xml"))
	for b.Loop() {
		if _, err := Parse(doc, env, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFormat(b *testing.B) {
	d, err := Parse([]byte(read(b, "testdata/define/virtinstall-q35.in.xml")), referenceEnv(b), 0)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Format(d, Secure|Inactive); err != nil {
			b.Fatal(err)
		}
	}
}
