package lockd

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"
)

// watchGuest holds a process by a pidfd and tells the branch of its end, also when the driver that asked is away. It is
// waited for in the poller, so that it costs no thread.
func (d *driver) watchGuest(ctx actor.Context, pid int32, since uint64) (*guest, error) {
	fd, err := unix.PidfdOpen(int(pid), unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), fmt.Sprintf("pidfd %d", pid))
	if started, err := startTime(pid); err != nil || started != since {
		_ = f.Close()
		return nil, unix.ESRCH
	}
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	release := d.env.Hold(fmt.Sprintf("leases of process %d", pid))
	g := &guest{since: since, current: true}
	g.end = func() {
		_ = f.SetReadDeadline(time.Unix(1, 0)) // which ends the goroutine
		release()
	}
	root, self := ctx.ActorSystem().Root, ctx.Self()
	go func() {
		defer f.Close()
		gone := false
		err := raw.Read(func(fd uintptr) bool {
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(poll, 0)
			gone = err == nil && n == 1
			return gone
		})
		if err == nil && gone {
			root.Send(self, &guestGone{g})
		}
	}()
	return g, nil
}

// startTime is when a process began, in clock ticks since boot.
func startTime(pid int32) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
	if err != nil {
		return 0, err
	}
	const field = 22 - 3 // counted behind the name, which may have blanks and brackets in it
	rest := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(rest) <= field {
		return 0, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	return strconv.ParseUint(string(rest[field]), 10, 64)
}
