package supervisors

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keeper owns one life of a process. Its goroutine holds its thread from fork to the end, since the kernel's "signal me
// when my parent dies" means the thread that forked.
type keeper struct {
	began time.Time

	mu      sync.Mutex
	process *os.Process    // nil before the fork; it knows by itself when it has ended
	pending syscall.Signal // came before the fork
}

// keep forks and tells: processForked, then processNotice for each datagram, then processExited, in this order.
func keep(c Command, tell func(any)) *keeper {
	k := &keeper{began: time.Now()}
	go k.live(c, tell)
	return k
}

func (k *keeper) live(c Command, tell func(any)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := k.run(c, tell)
	tell(&processExited{k, err})
}

func (k *keeper) run(c Command, tell func(any)) error {
	notify, err := listenNotify()
	if err != nil {
		return err
	}
	defer notify.Close()

	cmd := &exec.Cmd{Path: c.Path, Args: c.Args, Dir: c.Dir, ExtraFiles: c.ExtraFiles, Stdout: os.Stdout, Stderr: os.Stderr}
	if cmd.Path == "" {
		if cmd.Path, err = os.Executable(); err != nil {
			return err
		}
	}
	if c.Stdout != nil { // compared before it becomes an interface, which is never nil
		cmd.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	cmd.Env = childEnv(notify.LocalAddr().String(), c)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGTERM, // no orphans: it stops in order when we are killed
		Setpgid:   true,            // a Ctrl-C at our terminal is for us; we stop it in its turn
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	k.forked(cmd.Process)
	tell(&processForked{k})
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		k.listen(notify, tell)
	}()
	err = cmd.Wait()
	_ = notify.SetReadDeadline(time.Now()) // whatever it said last, its end says more
	<-heard
	return err
}

// listenNotify opens a socket in the abstract namespace: no file to clean up, and no path that could be too long.
func listenNotify() (*net.UnixConn, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: "@virtree/" + rand.Text()})
	if err != nil {
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var opt error
		err = raw.Control(func(fd uintptr) { opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
		if err == nil {
			err = opt
		}
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	return conn, nil
}

// listen takes what the process itself says; anybody may write to an abstract socket, so the kernel's word decides.
func (k *keeper) listen(conn *net.UnixConn, tell func(any)) {
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		n, on, _, _, err := conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		if credPid(oob[:on]) == k.pid() {
			tell(&processNotice{k, string(buf[:n])})
		}
	}
}

func credPid(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for i := range msgs {
		if cred, err := unix.ParseUnixCredentials(&msgs[i]); err == nil {
			return int(cred.Pid)
		}
	}
	return 0
}

func (k *keeper) pid() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process == nil {
		return 0
	}
	return k.process.Pid
}

func (k *keeper) forked(p *os.Process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.process = p
	if k.pending != 0 {
		_ = p.Signal(k.pending)
	}
}

// signal reaches the process also when the fork is just under way. One that has ended does not mind.
func (k *keeper) signal(s syscall.Signal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.process == nil {
		k.pending = s
		return
	}
	_ = k.process.Signal(s)
}

func (k *keeper) killAfter(d time.Duration) {
	time.AfterFunc(d, func() { k.signal(syscall.SIGKILL) })
}
