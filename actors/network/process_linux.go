package network

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a dnsmasq that is not our child: it detached itself, so that it outlives us.
type process struct {
	pid int
	fd  int // pidfd; never mistakes another process for ours
}

// findProcess finds the dnsmasq of a pid file, when it is still the one that was started with the configuration file.
func findProcess(pidFile, conf string) *process {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	p := &process{pid: pid, fd: fd}
	args, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || !bytes.Contains(args, []byte(conf)) {
		p.close()
		return nil
	}
	return p
}

func (p *process) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
		p.fd = -1
	}
}

func (p *process) signal(s unix.Signal) error { return unix.PidfdSendSignal(p.fd, s, nil, 0) }

// wait returns when the process has ended, or with the context's error. closing is readable when it shall not wait on.
func (p *process) wait(limit time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for end := time.Now().Add(limit); ; {
		n, err := unix.Poll(fds, int(time.Until(end).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		return n > 0
	}
}

// kill ends the process: it is asked, and forced when it has not gone in time.
func (p *process) kill(context.Context) error {
	if err := p.signal(unix.SIGTERM); err == unix.ESRCH {
		return nil
	}
	if p.wait(5 * time.Second) {
		return nil
	}
	if err := p.signal(unix.SIGKILL); err != nil && err != unix.ESRCH {
		return err
	}
	p.wait(5 * time.Second)
	return nil
}

// watcher tells once when a process ends, unless it is closed first.
type watcher struct{ pipe int }

// watch begins to wait for the end of the process; it works on a descriptor of its own.
func (p *process) watch(ended func()) *watcher {
	fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		_ = unix.Close(fd)
		return nil
	}
	go func() {
		defer unix.Close(fd)
		defer unix.Close(pipe[0])
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(pipe[0])}}
		for {
			_, err := unix.Poll(fds, -1)
			if err == unix.EINTR {
				continue
			}
			if err == nil && fds[1].Revents == 0 {
				ended()
			}
			return
		}
	}()
	return &watcher{pipe[1]}
}

// Close ends the watch without a word.
func (w *watcher) Close() {
	if w != nil && w.pipe >= 0 {
		_ = unix.Close(w.pipe)
		w.pipe = -1
	}
}
