package conf

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"virtree/actors/internal/disk"
)

// A copy of the whole configuration lies in a folder of ours until the change it covers is good:
//
//	(none) --take--> <name>.new (being written) --rename--> <name> --discard--> <name>.old (being removed)
//	                                                          \--restore--> files put back, then discarded
//
// Everything is synced before each rename, so that at any moment there is a whole copy or none; a restore that was cut
// short is begun again and comes to the same end.

const (
	transactionCopy = "transaction"
	changeCopy      = "change"
)

// manifest lists what a copy holds.
type manifest struct {
	Boot   string   // of the time when it was made
	Active []string // interfaces that were active then
	Files  []copied
}

// copied is one file, whose text is in the copy below "tree", under its own path: the copy can be read as a configuration.
type copied struct {
	Path     string // without the root
	Mode     fs.FileMode
	UID, GID int
	Link     string // where a symbolic link points to
}

// files lists everything that a transaction covers, by path without the root.
func (h Host) files() ([]string, error) {
	seen := map[string]bool{}
	parsed, err := h.ifupdown().read()
	if err != nil {
		return nil, err
	}
	for _, f := range parsed {
		seen[f.path] = true
	}
	for _, dir := range []string{"/etc/network/interfaces.d", "/etc/systemd/network"} {
		err := filepath.WalkDir(h.at(dir), func(path string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil
			case err == nil && !d.IsDir():
				seen[path] = true
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	list := slices.Sorted(maps.Keys(seen))
	for i := range list {
		list[i] = "/" + strings.TrimPrefix(strings.TrimPrefix(list[i], h.at("/")), "/")
	}
	return list, nil
}

func (h Host) copyDir(name string) string { return filepath.Join(h.Lib, name) }

// hasCopy tells whether a copy is open.
func (h Host) hasCopy(name string) bool { return disk.Exists(h.copyDir(name)) }

// copyTo makes a copy. There must be none of that name.
func (h Host) copyTo(name string, active []string) (err error) {
	dir := h.copyDir(name) + ".new"
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	list, err := h.files()
	if err != nil {
		return err
	}
	m := manifest{Boot: h.Boot, Active: active}
	for _, path := range list {
		c, err := h.copyFile(path, filepath.Join(dir, "tree"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		m.Files = append(m.Files, c)
	}
	if err := syncTree(dir); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := disk.Write(filepath.Join(dir, "manifest.json"), text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(dir, h.copyDir(name)); err != nil {
		return err
	}
	return disk.SyncDir(h.Lib)
}

func (h Host) copyFile(path, tree string) (c copied, err error) {
	st, err := os.Lstat(h.at(path))
	if err != nil {
		return c, err
	}
	c = copied{Path: path, Mode: st.Mode().Perm()}
	c.UID, c.GID = ownerOf(st)
	if st.Mode()&fs.ModeSymlink != 0 {
		if c.Link, err = os.Readlink(h.at(path)); err != nil {
			return c, err
		}
	}
	text, err := os.ReadFile(h.at(path))
	if err != nil {
		if c.Link != "" && errors.Is(err, fs.ErrNotExist) { // points nowhere
			err = nil
		}
		return c, err
	}
	return c, disk.Write(filepath.Join(tree, path), text, 0o600)
}

// syncTree makes the names of all folders below dir durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return disk.SyncDir(path)
	})
}

func (h Host) manifest(name string) (m manifest, err error) {
	text, err := os.ReadFile(filepath.Join(h.copyDir(name), "manifest.json"))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err
}

// restore puts all files back as they were, and discards the copy.
func (h Host) restore(name string) (m manifest, err error) {
	if m, err = h.manifest(name); err != nil {
		return m, err
	}
	now, err := h.files()
	if err != nil {
		return m, err
	}
	then := map[string]bool{}
	for _, c := range m.Files {
		then[c.Path] = true
		if err := h.putBack(c, filepath.Join(h.copyDir(name), "tree", c.Path)); err != nil {
			return m, err
		}
	}
	for _, path := range now {
		if !then[path] {
			if err := disk.Remove(h.at(path)); err != nil {
				return m, err
			}
		}
	}
	return m, h.discard(name)
}

func (h Host) putBack(c copied, from string) error {
	path := h.at(c.Path)
	if c.Link != "" {
		if is, err := os.Readlink(path); err == nil && is == c.Link {
			return nil
		}
		return disk.Symlink(c.Link, path)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() && st.Mode().Perm() == c.Mode {
		if is, err := os.ReadFile(path); err == nil && string(is) == string(text) {
			return nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := disk.Write(path, text, c.Mode); err != nil {
		return err
	}
	return os.Chown(path, c.UID, c.GID)
}

// discard ends a copy.
func (h Host) discard(name string) error {
	old := h.copyDir(name) + ".old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(h.copyDir(name), old); err != nil {
		return err
	}
	if err := disk.SyncDir(h.Lib); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// carryOut writes and removes files, keeping modes and following symbolic links.
func (c change) carryOut() error {
	for _, path := range slices.Sorted(maps.Keys(c)) {
		if real, err := filepath.EvalSymlinks(path); err == nil && c[path] != nil {
			path, c[real] = real, c[path]
		}
		if c[path] == nil {
			if err := disk.Remove(path); err != nil {
				return err
			}
			continue
		}
		mode, uid, gid := fs.FileMode(0o644), -1, -1
		if st, err := os.Stat(path); err == nil {
			mode = st.Mode().Perm()
			uid, gid = ownerOf(st)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := disk.Write(path, c[path], mode); err != nil {
			return err
		}
		if uid >= 0 {
			if err := os.Chown(path, uid, gid); err != nil {
				return err
			}
		}
	}
	return nil
}
