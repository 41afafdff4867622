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

// A daemon that is idle leaves, and comes back when another one needs it. On a host the service manager starts it; in a
// session nobody else starts daemons, so that, as libvirt's drivers do for virtlogd, who needs one starts it.

// sessionIdle is how long a daemon that was started this way stays without anybody who needs it.
const sessionIdle = "120"

// wakeTimeout bounds how long a woken daemon may take until it listens; messages to it wait that long.
const wakeTimeout = 20 * time.Second

// dialDaemon connects to another daemon of the tree, which is woken when it does not run.
func (d *daemon) dialDaemon(ctx context.Context, address string) (*net.UnixConn, error) {
	path := strings.TrimPrefix(address, "unix:")
	conn, err := dialUnix(ctx, path)
	if err == nil || !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ECONNREFUSED) {
		return conn, err
	}
	b, ok := supervisors.Host.Find(strings.TrimSuffix(filepath.Base(path), ".sock"))
	if !ok || b.Daemon == "" {
		return nil, err
	}
	wake := d.knock
	if d.paths.Session {
		wake = d.startDaemon
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%wakeAgain == 0 { // the one before may still have been on its way out
			awake, werr := wake(ctx, b.Daemon)
			if werr != nil {
				d.log.Debug().Err(werr).Str("daemon", b.Daemon).Msg("another daemon of the tree cannot be woken")
				return nil, err
			}
			defer awake()
		}
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

// wakeAgain is after how many looks for its socket a daemon is woken once more.
const wakeAgain = 50

// knock connects to a daemon as a client does: the service manager, which has its socket, then starts it, and the
// connection keeps it from ending at once for want of work.
func (d *daemon) knock(ctx context.Context, name string) (leave func(), err error) {
	conn, err := dialUnix(ctx, d.paths.Socket(name))
	if err != nil {
		return nil, err
	}
	return func() { _ = conn.Close() }, nil
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
func (d *daemon) startDaemon(_ context.Context, name string) (leave func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{name, "--timeout", sessionIdle}
	if d.opts.Root != "" {
		args = append(args, "--root", d.opts.Root)
	}
	cmd := &exec.Cmd{Path: exe, Args: args, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }() // or it would stay a zombie
	return func() {}, nil
}
