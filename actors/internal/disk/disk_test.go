package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "a.xml")
	for _, want := range []string{"one", "two"} {
		if err := Write(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	st, _ := os.Stat(path)
	if st.Mode().Perm() != 0o600 {
		t.Fatal(st.Mode())
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Fatalf("%d files left in the folder", len(left))
	}
}

// TestWriteFailureLeavesTheOldFile makes the rename fail, by a folder in the file's place.
func TestWriteFailureLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.xml")
	if err := os.MkdirAll(filepath.Join(path, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if Write(path, []byte("x"), 0o600) == nil {
		t.Fatal("no error")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("a temporary file is left: %v", left)
	}
}

func TestRemoveAndSymlink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "autostart", "a.xml")
	for _, target := range []string{"/x", "/y"} {
		if err := Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.Readlink(link); got != target {
			t.Fatal(got)
		}
	}
	for range 2 { // the second time it is not there
		if err := Remove(link); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTidyRemovesWhatWriteLeft(t *testing.T) {
	dir := t.TempDir()
	stay := []string{".hidden", "a.xml", "a.xml.12", ".a.xml", ".5"}
	for _, name := range append([]string{".a.xml.1234567", ".b.3"}, stay...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.CreateTemp(dir, ".made-by-Write.") // as Write does
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if err := Tidy(dir); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != len(stay) {
		t.Errorf("%v are left, want %v", left, stay)
	}
	if err := Tidy(filepath.Join(dir, "nowhere")); err != nil {
		t.Error(err)
	}
}
