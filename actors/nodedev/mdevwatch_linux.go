package nodedev

import (
	"encoding/binary"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mdevNews is told when somebody changed the definitions of mediated devices.
type mdevNews struct{}

// Urgent puts news before calls.
func (*mdevNews) Urgent() bool { return true }

// mdevWatcher listens to mdevctl's folder, and to those of the parents in it. Its goroutine ends with close.
type mdevWatcher struct {
	file *os.File
	fd   int
	dir  string
}

const mdevChanges = unix.IN_CLOSE_WRITE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_CREATE

func watchMdevs(dir string, report func()) (*mdevWatcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	w := &mdevWatcher{file: os.NewFile(uintptr(fd), "inotify"), fd: fd, dir: dir}
	w.look()
	go w.run(report)
	return w, nil
}

// look watches all folders that there are; where the folder itself is missing, the one that it would be made in.
func (w *mdevWatcher) look() {
	if _, err := unix.InotifyAddWatch(w.fd, w.dir, mdevChanges|unix.IN_ONLYDIR); err != nil {
		_, _ = unix.InotifyAddWatch(w.fd, filepath.Dir(w.dir), unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
		return
	}
	entries, _ := os.ReadDir(w.dir)
	for _, e := range entries {
		if e.IsDir() && e.Name() != scriptsFolder {
			_, _ = unix.InotifyAddWatch(w.fd, filepath.Join(w.dir, e.Name()), mdevChanges|unix.IN_ONLYDIR)
		}
	}
}

// scriptsFolder lies among the parents' folders in mdevctl's, and holds no definitions.
const scriptsFolder = "scripts.d"

func (w *mdevWatcher) close() { _ = w.file.Close() }

func (w *mdevWatcher) run(report func()) {
	buf := make([]byte, 16<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		if folders, definitions := mdevEvents(buf[:n]); folders || definitions {
			if folders {
				w.look() // before the list: what comes into a new folder then is heard
			}
			report()
		}
	}
}

// mdevEvents tells whether folders came, and whether definitions changed. A file that was just made is not written yet.
func mdevEvents(b []byte) (folders, definitions bool) {
	for len(b) >= unix.SizeofInotifyEvent {
		mask, size := binary.NativeEndian.Uint32(b[4:]), int(binary.NativeEndian.Uint32(b[12:]))
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			folders, definitions = true, true
		case mask&unix.IN_ISDIR != 0:
			folders = true
		case mask&^unix.IN_CREATE != 0:
			definitions = true
		}
		if unix.SizeofInotifyEvent+size > len(b) {
			break
		}
		b = b[unix.SizeofInotifyEvent+size:]
	}
	return folders, definitions
}

// hasDefinitions tells without the tool whether there can be any: the folder of a parent.
func (h host) hasDefinitions() bool {
	entries, _ := os.ReadDir(h.mdevs)
	for _, e := range entries {
		if e.IsDir() && e.Name() != scriptsFolder {
			return true
		}
	}
	return false
}
