package storagetest

import (
	"testing"

	"virtree/actors/storage/storagetest/hangfs"
)

// Hanging is a folder with one file, "one", of a file system whose server can be made to answer nothing any more.
type Hanging struct {
	*hangfs.FS
	Path string
}

// NewHanging mounts one for the time of a test. It needs root and /dev/fuse.
func NewHanging(t *testing.T) *Hanging {
	t.Helper()
	path := t.TempDir()
	fs, err := hangfs.Mount(path)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(fs.Close)
	return &Hanging{fs, path}
}
