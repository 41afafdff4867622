package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one QEMU, our child or adopted. It is held by a pidfd, so that a reused pid is never
// signalled, and waited for in the poller, so that a thousand guests cost no thread.
type process struct {
	pid   int
	since uint64 // start time in clock ticks since boot, as in /proc/PID/stat
	fd    *os.File
}

// spawn starts a command in a session of its own: it survives us. files become its descriptors from 0 on.
// cred is whom it runs as; nil is us.
func spawn(binary string, argv, env []string, files []*os.File, cred *syscall.Credential) (*process, error) {
	fds := make([]uintptr, len(files))
	for i, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			return nil, err
		}
		if err := raw.Control(func(fd uintptr) { fds[i] = fd }); err != nil {
			return nil, err
		}
	}
	pidfd := -1
	pid, err := syscall.ForkExec(binary, argv, &syscall.ProcAttr{
		Dir: "/", Env: env, Files: fds,
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd, Credential: cred},
	})
	if err != nil {
		return nil, err
	}
	return newProcess(pid, pidfd)
}

// openProcess adopts a running process, if it is still the one that started at since; 0 accepts any.
func openProcess(pid int, since uint64) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	p, err := newProcess(pid, fd)
	if err != nil {
		return nil, err
	}
	if since != 0 && p.since != since {
		p.Close()
		return nil, syscall.ESRCH
	}
	return p, nil
}

func newProcess(pid, fd int) (*process, error) {
	if fd < 0 {
		var err error
		if fd, err = unix.PidfdOpen(pid, 0); err != nil {
			return nil, err
		}
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	since, _ := startTime(pid) // 0 for one that has exited already, which Wait will tell
	return &process{pid: pid, since: since, fd: os.NewFile(uintptr(fd), fmt.Sprintf("pidfd %d", pid))}, nil
}

// Wait returns when the process has exited, reaping it if it is our child.
func (p *process) Wait(ctx context.Context) error {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.fd.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			_ = p.fd.SetReadDeadline(time.Time{})
		}
	}()
	err = raw.Read(func(fd uintptr) bool { return exited(int(fd)) })
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// Alive tells whether the process still runs; it reaps a child that does not.
func (p *process) Alive() bool {
	alive := true
	if raw, err := p.fd.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { alive = !exited(int(fd)) })
	}
	return alive
}

// exited polls a pidfd and reaps the child behind it.
func exited(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
		return false
	}
	_ = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil) // ECHILD for adopted ones
	return true
}

// Signal sends a signal to this process and no other.
func (p *process) Signal(sig syscall.Signal) error {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	return sent
}

// End asks the process to go, and takes it down when it has not gone within grace. force false gives up
// instead, with a deadline error.
func (p *process) End(ctx context.Context, grace time.Duration, force bool) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	soft, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := p.Wait(soft)
	if err == nil || !force || ctx.Err() != nil {
		return err
	}
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return p.Wait(ctx)
}

// Close lets go of the process, which runs on.
func (p *process) Close() { _ = p.fd.Close() }

// startTime reads when a process started.
func startTime(pid int) (uint64, error) {
	f, err := procStat("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// procStat returns the fields of a stat file from the state (field 3 of proc(5)) on: index 0.
func procStat(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 40 {
		return nil, fmt.Errorf("%s is too short", path)
	}
	return f, nil
}
