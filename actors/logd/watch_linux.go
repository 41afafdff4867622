package logd

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pace is the least time between two reports of a watcher: a guest that writes all the time is looked at that often.
const pace = 250 * time.Millisecond

// watcher tells when files are written or closed. Its methods are called in Receive; its goroutine ends with close.
type watcher struct {
	file *os.File // the inotify descriptor, in the runtime's poller, so that close ends a read
	done chan struct{}
}

func newWatcher(report func(*touched)) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	w := &watcher{file: os.NewFile(uintptr(fd), "inotify"), done: make(chan struct{})}
	go w.run(report)
	return w, nil
}

// add watches a file; a file watched before has the same number again.
func (w *watcher) add(path string) (n int32, err error) {
	rc, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := rc.Control(func(fd uintptr) {
		var wd int
		wd, err = unix.InotifyAddWatch(int(fd), path, unix.IN_MODIFY|unix.IN_CLOSE_WRITE|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF)
		n = int32(wd)
	})
	if cerr != nil {
		err = cerr
	}
	return n, err
}

func (w *watcher) remove(n int32) {
	if rc, err := w.file.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(n)) })
	}
}

func (w *watcher) close() {
	close(w.done)
	_ = w.file.Close()
}

func (w *watcher) run(report func(*touched)) {
	buf := make([]byte, 16<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		if t := parseEvents(buf[:n]); len(t.watches) > 0 || t.lost {
			report(t)
		}
		select {
		case <-w.done:
			return
		case <-time.After(pace): // equal events pile up into one meanwhile
		}
	}
}

// parseEvents collects which watches the kernel speaks of, each once.
func parseEvents(b []byte) *touched {
	t := &touched{}
	seen := map[int32]bool{}
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b[0:]))
		mask := binary.NativeEndian.Uint32(b[4:])
		name := int(binary.NativeEndian.Uint32(b[12:]))
		if b = b[unix.SizeofInotifyEvent:]; name > len(b) {
			break
		}
		b = b[name:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			t.lost = true
		case mask&unix.IN_IGNORED != 0: // the watch's own end
		case !seen[wd]:
			seen[wd] = true
			t.watches = append(t.watches, wd)
		}
	}
	return t
}
