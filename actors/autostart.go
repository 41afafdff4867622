package actors

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"virtree/supervisors"
)

// In a session nobody else starts daemons: no service manager, and no root of a tree. As libvirt's drivers do for
// virtlogd, a daemon that needs another one starts it, and that one leaves again when it is idle.

// sessionIdle is how long a daemon that was started this way stays without anybody who needs it.
const sessionIdle = "120"

// autostartWait bounds how long a started daemon may take until it listens.
const autostartWait = 4 * time.Second

// dialSession connects to another daemon of the user, which it starts when it does not run.
func (d *daemon) dialSession(ctx context.Context, address string) (*net.UnixConn, error) {
	path := strings.TrimPrefix(address, "unix:")
	conn, err := dialUnix(ctx, path)
	if err == nil || !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ECONNREFUSED) {
		return conn, err
	}
	b, ok := supervisors.Host.Find(strings.TrimSuffix(filepath.Base(path), ".sock"))
	if !ok {
		return nil, err
	}
	if serr := d.startDaemon(b.Daemon); serr != nil {
		d.log.Error().Err(serr).Str("daemon", b.Daemon).Msg("cannot start a daemon of the session")
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, autostartWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
			if conn, err = dialUnix(ctx, path); err == nil {
				return conn, nil
			}
		}
	}
}

func dialUnix(ctx context.Context, path string) (*net.UnixConn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// startDaemon starts another name of this binary, in a session of its own. When two do so at once, the second
// finds the first one's pid file locked and ends.
func (d *daemon) startDaemon(name string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{name, "--timeout", sessionIdle}
	if d.opts.Root != "" {
		args = append(args, "--root", d.opts.Root)
	}
	cmd := &exec.Cmd{Path: exe, Args: args, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // or it would stay a zombie
	return nil
}
