package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// order is one line from the opener to the box: run a program.
type order struct {
	Serial int      `json:"serial"`
	Argv   []string `json:"argv"`
	Env    []string `json:"env"`
	Log    string   `json:"log"` // file that takes its standard output and error
}

// report is one line from the box to the opener.
type report struct {
	Ready  bool   `json:"ready,omitempty"`
	Serial int    `json:"serial,omitempty"` // answers an order
	PID    int    `json:"pid,omitempty"`
	Ended  int    `json:"ended,omitempty"` // pid of a program that has ended
	Status int    `json:"status,omitempty"`
	Err    string `json:"err,omitempty"`
}

// BoxConfig says how a box differs from the host.
type BoxConfig struct {
	// Binds maps a folder inside the box to the folder outside that stands there.
	Binds map[string]string
}

// Box is the opener's handle on a running box.
type Box struct {
	cmd    *exec.Cmd
	orders io.WriteCloser

	mu      sync.Mutex
	serial  int
	waiting map[int]chan started
	procs   map[int]*Proc
	broken  error
	done    chan struct{}
}

// started is what Start waits for.
type started struct {
	proc *Proc
	err  error
}

// Proc is a program started by order; orphans that the box adopted have none.
type Proc struct {
	PID  int
	Done chan struct{} // closed when it has ended and was reaped
	// Status is valid once Done is closed.
	Status syscall.WaitStatus
}

// Signal sends a signal to the program.
func (p *Proc) Signal(s syscall.Signal) error { return syscall.Kill(p.PID, s) }

// OpenBox starts a box. Everything in it ends with Close, or with this process.
func OpenBox(cfg BoxConfig) (*Box, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("namespaces of its own need root")
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", "bench") // the word is for virtree itself; others do not look at it
	cmd.Env = append(os.Environ(), boxVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		Setsid:     true, // a Ctrl-C at the test ends the test, which ends the box in order
	}
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	reports, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("open a box: %w", err)
	}
	b := &Box{cmd: cmd, orders: orders, waiting: map[int]chan started{}, procs: map[int]*Proc{},
		done: make(chan struct{})}
	lines := bufio.NewScanner(reports)
	if !lines.Scan() {
		orders.Close()
		return nil, fmt.Errorf("the box did not come up: %w", cmd.Wait())
	}
	var first report
	if err := json.Unmarshal(lines.Bytes(), &first); err != nil || !first.Ready {
		orders.Close()
		cmd.Wait()
		return nil, fmt.Errorf("the box did not come up: %s", first.Err)
	}
	go b.listen(lines)
	return b, nil
}

func (b *Box) listen(lines *bufio.Scanner) {
	defer close(b.done)
	for lines.Scan() {
		var r report
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue
		}
		b.mu.Lock()
		switch {
		case r.Ended != 0:
			if p := b.procs[r.Ended]; p != nil {
				p.Status = syscall.WaitStatus(r.Status)
				close(p.Done)
				delete(b.procs, r.Ended)
			}
		case b.waiting[r.Serial] != nil:
			// The box reports the start of a program before its end, so the Proc is known
			// when the end arrives.
			var s started
			if r.Err == "" {
				s.proc = &Proc{PID: r.PID, Done: make(chan struct{})}
				b.procs[r.PID] = s.proc
			} else {
				s.err = errors.New(r.Err)
			}
			b.waiting[r.Serial] <- s
			delete(b.waiting, r.Serial)
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	b.broken = errors.New("the box has ended")
	for _, w := range b.waiting {
		w <- started{err: b.broken}
	}
	for _, p := range b.procs {
		close(p.Done)
	}
	b.waiting, b.procs = map[int]chan started{}, map[int]*Proc{}
	b.mu.Unlock()
}

// Start runs a program in the box; its output is appended to the file log.
func (b *Box) Start(log string, env []string, argv ...string) (*Proc, error) {
	b.mu.Lock()
	if b.broken != nil {
		b.mu.Unlock()
		return nil, b.broken
	}
	b.serial++
	answer := make(chan started, 1)
	b.waiting[b.serial] = answer
	line, err := json.Marshal(order{Serial: b.serial, Argv: argv, Env: env, Log: log})
	if err == nil {
		_, err = b.orders.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s := <-answer
	if s.err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], s.err)
	}
	return s.proc, nil
}

// Command prepares a client that runs inside the box's namespaces, for what
// cannot be reached through a UNIX socket. It is a child of the caller.
func (b *Box) Command(ctx context.Context, name string, arg ...string) *exec.Cmd {
	pid := fmt.Sprint(b.cmd.Process.Pid)
	return exec.CommandContext(ctx, "nsenter", append([]string{"-t", pid, "-m", "-n", "--", name}, arg...)...)
}

// PID is the process that every orphan in the box ends up under.
func (b *Box) PID() int { return b.cmd.Process.Pid }

// Close kills everything in the box and waits until it is gone.
func (b *Box) Close() error {
	b.orders.Close()
	<-b.done
	return b.cmd.Wait()
}
