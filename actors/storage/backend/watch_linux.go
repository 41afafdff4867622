package backend

import (
	"bytes"
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"

	"virtree/actors/storage/def"
	"virtree/wire/liberr"
)

// what others do to a folder that a list of it must know. Not writes: sizes are looked at when they are asked for.
const watched = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_ONLYDIR

// Watch hears what happens on this host; what another host does to a shared folder shows at the next refresh.
func (dir) Watch(p *def.Pool, changed func(names []string)) (func(), error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, liberr.System(from, err, "cannot watch '%s'", p.Path)
	}
	if _, err := unix.InotifyAddWatch(fd, p.Path, watched); err != nil {
		_ = unix.Close(fd)
		return nil, liberr.System(from, err, "cannot watch '%s'", p.Path)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, liberr.System(from, err, "cannot watch '%s'", p.Path)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer unix.Close(fd)
		watch(fd, wake, changed)
	}()
	var once sync.Once
	return func() {
		once.Do(func() {
			_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			<-ended
			_ = unix.Close(wake)
		})
	}, nil
}

func watch(fd, wake int, changed func([]string)) {
	buf := make([]byte, 64<<10)
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return
		}
		if poll[1].Revents != 0 {
			return
		}
		n, err := unix.Read(fd, buf)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		if names, all := parseEvents(buf[:n]); all {
			changed(nil)
		} else if len(names) > 0 {
			changed(names)
		}
	}
}

// parseEvents returns the names in a read of inotify, each once; all means that some were lost.
func parseEvents(b []byte) (names []string, all bool) {
	seen := map[string]bool{}
	for len(b) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(b[4:])
		n := int(binary.NativeEndian.Uint32(b[12:]))
		b = b[unix.SizeofInotifyEvent:]
		if n > len(b) {
			return nil, true
		}
		name := string(bytes.TrimRight(b[:n], "\x00"))
		b = b[n:]
		all = all || mask&unix.IN_Q_OVERFLOW != 0
		if name != "" && mayBeVolume(name) && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, all
}
