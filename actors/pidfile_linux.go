package actors

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockPIDFile writes our number into the pid file and keeps it locked, so that a second daemon of the
// name refuses to start, and a file that a crash left does not hinder.
func (d *daemon) lockPIDFile() error {
	path := d.opts.PIDFile
	if path == "" {
		name := d.kind.daemon
		if d.opts.Split {
			name = "virtree"
		}
		path = d.paths.PIDFile(name)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		_ = f.Close()
		return fmt.Errorf("Failed to acquire pid file '%s': %w", path, err) //nolint:staticcheck // libvirt's wording
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "%d\n", os.Getpid()); err != nil {
		return err
	}
	d.lock = f
	return nil
}
