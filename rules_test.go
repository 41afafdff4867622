package main

import (
	"bufio"
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sources walks the repository's own Go files.
func sources(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin" || d.Name() == "testdata" || d.Name() == "cache") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			visit(filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryPackageIsDocumented: a reader's first look at a package is its comment.
func TestEveryPackageIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	sources(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(path)
		documented[dir] = documented[dir] || f.Doc != nil
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// TestImports holds the borders between the layers.
func TestImports(t *testing.T) {
	sources(t, func(path string) {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			name := strings.Trim(i.Path.Value, `"`)
			if strings.HasPrefix(name, "github.com/asynkron/protoactor-go") {
				if strings.HasPrefix(path, "wire/") && !strings.HasPrefix(path, "wire/remoting/") {
					t.Errorf("%s imports actors: of wire/ only remoting has heard of them", path)
				}
				if strings.Contains(name, "/remote") || strings.Contains(name, "/cluster") {
					t.Errorf("%s imports %s: ours is wire/remoting", path, name)
				}
			}
			if strings.HasPrefix(name, "virtree/") && strings.HasPrefix(path, "wire/") && !strings.HasPrefix(name, "virtree/wire/") {
				t.Errorf("%s imports %s: wire stands on nothing", path, name)
			}
		}
	})
}

// mayWait lists the files of drivers, and folders, that hold a lock or wait for a future, and why.
var mayWait = map[string]string{
	"actors/qemu/monitors.go":    "the successor of a stuck actor closes what that one holds",
	"actors/qemu/shared.go":      "jobs of all domains ask for the host's identity, and other branches for answers",
	"actors/qemu/bulk_driver.go": "a job asks all domains",
	"actors/qemu/locks.go":       "jobs of all domains take leases, between the driver and the monitor",
	"actors/lockd/hold.go":       "jobs of other drivers ask for leases",

	"actors/nwfilter/rules/nftables_linux.go": "jobs of the driver share the way to the kernel, one transaction at a time",
	"actors/secret/fetch.go":                  "jobs of other drivers ask for a value",
	"actors/storage/apart/":                   "jobs of a pool share the socket to its process; the rest runs in that process",
	"actors/storage/storagetest/":             "tests only",
}

// mayWaitIn finds the reason for a file, or for its folder.
func mayWaitIn(path string) bool { return mayWait[path] != "" || mayWait[filepath.Dir(path)+"/"] != "" }

// TestDriversDoNotWait: state belongs to one actor, and a Receive never blocks.
func TestDriversDoNotWait(t *testing.T) {
	drivers := []string{"actors/network/", "actors/storage/", "actors/nwfilter/", "actors/nodedev/", "actors/iface/", "actors/secret/", "actors/lockd/"}
	sources(t, func(path string) {
		driver := filepath.Dir(path) == "actors/qemu"
		for _, d := range drivers {
			driver = driver || strings.HasPrefix(path, d)
		}
		if !driver || strings.HasSuffix(path, "_test.go") || mayWaitIn(path) {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		line := 0
		for sc := bufio.NewScanner(bytes.NewReader(b)); sc.Scan(); {
			line++
			for _, bad := range []string{"sync.Mutex", "sync.RWMutex", "time.Sleep(", ").Result()"} {
				if code, _, _ := strings.Cut(sc.Text(), "//"); strings.Contains(code, bad) {
					t.Errorf("%s:%d: %s in a driver", path, line, bad)
				}
			}
		}
	})
}

// TestDependenciesHaveAReason: every module that go.mod asks for by itself is named in ARCHITECTURE.md.
func TestDependenciesHaveAReason(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(mod), "\n") {
		w := strings.Fields(l)
		if len(w) < 2 || !strings.Contains(w[0], ".") || strings.Contains(l, "// indirect") {
			continue
		}
		name := w[0]
		name = strings.TrimPrefix(name, "github.com/")
		if i := strings.LastIndex(name, "/v"); i > 0 {
			name = name[:i]
		}
		if !strings.Contains(string(text), name) {
			t.Errorf("go.mod asks for %s, and ARCHITECTURE.md does not say what for", w[0])
		}
	}
}
