package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Write replaces path by data: through a temporary file in the same folder, renamed over path, all of it
// synced when Write returns. The folder is made (0700) when it is missing.
func Write(path string, data []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return err
	}
	// A file that replaces another one is synced first: at no moment may the name lead to less than a whole file.
	// Behind a new name there is nothing to lose; synced after the rename, file and name go to disk in one
	// commit of the journal instead of two, and the folder's sync finds nothing left to do.
	replaces := Exists(path)
	if replaces {
		if err = f.Sync(); err != nil {
			return err
		}
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	if !replaces {
		if err := f.Sync(); err != nil {
			_ = os.Remove(path)
			return err
		}
	}
	return SyncDir(dir)
}

// WriteVolatile replaces path by data atomically but without syncing: for what ends with the boot anyway
// (status files below /run).
func WriteVolatile(path string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	err := os.WriteFile(tmp, data, mode)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // half a file, on a full disk
	}
	return err
}

// Exists tells whether something, be it a broken link, has that path.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Remove unlinks path and syncs the folder; a file that is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Symlink makes link point to target, replacing what was there, and syncs the folder.
func Symlink(target, link string) error {
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		return err
	}
	tmp := link + ".new"
	_ = os.Remove(tmp)
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, link); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return SyncDir(filepath.Dir(link))
}

// SyncDir makes renames and unlinks in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Tidy removes what Write leaves in a folder when the process is killed before the file has its name. Only the one who
// writes there may call it, before the first Write.
func Tidy(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if name := e.Name(); e.Type().IsRegular() && temporary(name) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}

// temporary tells whether a name is one that Write makes up: a dot, the file's own name, a dot and a number.
func temporary(name string) bool {
	number := strings.LastIndexByte(name, '.')
	if number < 2 || name[0] != '.' {
		return false
	}
	_, err := strconv.ParseUint(name[number+1:], 10, 64)
	return err == nil
}
