package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a dnsmasq that is not our child: it detached itself, so that it outlives us.
type process struct {
	pid int
	fd  *os.File // pidfd, which never means another process; polled by the runtime, so that waiting costs no thread
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
	p := openProcess(pid)
	if p == nil {
		return nil
	}
	// Looked at behind the open: the descriptor and /proc mean the same process as long as it lives.
	args, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || !bytes.Contains(args, []byte(conf)) {
		p.close()
		return nil
	}
	return p
}

func openProcess(pid int) *process {
	fd, err := unix.PidfdOpen(pid, unix.O_NONBLOCK)
	if err != nil {
		return nil
	}
	unix.CloseOnExec(fd)
	return &process{pid: pid, fd: os.NewFile(uintptr(fd), fmt.Sprintf("pidfd %d", pid))}
}

// dup is another descriptor of the same process.
func (p *process) dup() *process {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return nil
	}
	own := -1
	if err := raw.Control(func(fd uintptr) { own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || own < 0 {
		return nil
	}
	return &process{pid: p.pid, fd: os.NewFile(uintptr(own), p.fd.Name())}
}

func (p *process) close() { _ = p.fd.Close() }

func (p *process) signal(s unix.Signal) error {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, 0) }); err != nil {
		return err
	}
	return sent
}

// wait returns nil when the process has ended, else why it did not wait on: its deadline, or that it was closed.
func (p *process) wait(deadline time.Time) error {
	if err := p.fd.SetReadDeadline(deadline); err != nil {
		return err
	}
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0
	})
}

// patience is how long dnsmasq may take to end.
const patience = 5 * time.Second

// kill ends the process: it is asked, and forced when it has not gone in time.
func (p *process) kill(context.Context) error {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := p.signal(s); errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) { // closed: its end was noticed
			return nil
		} else if err != nil {
			return err
		}
		if p.wait(time.Now().Add(patience)) == nil {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", p.pid)
}

// watcher tells once when a process ends, unless it is closed first.
type watcher struct{ p *process }

// watch begins to wait for the end of the process, by a descriptor of its own.
func (p *process) watch(ended func()) *watcher {
	own := p.dup()
	if own == nil { // closed already: whoever did so knew that it had ended
		ended()
		return nil
	}
	go func() {
		if own.wait(time.Time{}) == nil {
			ended()
		}
		own.close()
	}()
	return &watcher{own}
}

// Close ends the watch. What it told before may still be on its way.
func (w *watcher) Close() {
	if w != nil {
		w.p.close()
	}
}

// killStray ends every dnsmasq of the network, also one that has not written its pid file yet.
func (s *shared) killStray(ctx context.Context, def *definition) (err error) {
	conf := []byte("--conf-file=" + s.dnsmasqPath(def.name, ".conf") + "\x00")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if args, e := os.ReadFile(dir + "/cmdline"); e != nil || !bytes.Contains(args, conf) {
			continue
		}
		p := openProcess(pid)
		if p == nil {
			continue
		}
		if args, e := os.ReadFile(dir + "/cmdline"); e == nil && bytes.Contains(args, conf) { // still the same
			err = errors.Join(err, p.kill(ctx))
		}
		p.close()
	}
	return err
}
