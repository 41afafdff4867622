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
