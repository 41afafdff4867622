package apart

import (
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// defaultGrace is how long a worker may take to end what it was told to end.
const defaultGrace = 2 * time.Second

// link is the way to a pool's worker. It is used by jobs, several at a time.
type link struct {
	mu      sync.Mutex
	current *process // nil: none runs
}

// process is one worker, as the branch's process sees it.
type process struct {
	pid   int
	calls *os.File
	files int

	mu      sync.Mutex
	out     *gob.Encoder
	last    uint64
	waiting map[uint64]chan *answer
	opened  map[uint64]*os.File
	gone    error
}

func (l *link) pid() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return 0
	}
	return l.current.pid
}

// end lets the worker go.
func (l *link) end() {
	l.mu.Lock()
	p := l.current
	l.current = nil
	l.mu.Unlock()
	if p != nil {
		p.drop(errors.New("the worker was ended"))
	}
}

// ask has the worker do something and waits for it, or until the context and the grace have ended.
func (l *link) ask(ctx context.Context, r *request, grace time.Duration) (*answer, *os.File, error) {
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	p, err := l.worker()
	if err != nil {
		return nil, nil, err
	}
	done, err := p.send(r)
	if err != nil {
		return nil, nil, err
	}
	select {
	case a := <-done:
		return p.take(r.ID, a)
	case <-ctx.Done():
	}
	if grace == 0 {
		grace = defaultGrace
	}
	_, _ = p.send(&request{ID: r.ID, Method: cancel})
	select {
	case a := <-done:
		if a.Err == nil { // it went well all the same
			return p.take(r.ID, a)
		}
	case <-time.After(grace):
		l.abandon(p)
	}
	return nil, nil, context.Cause(ctx)
}

// worker returns the one that runs, or starts one.
func (l *link) worker() (*process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil && l.current.alive() {
		return l.current, nil
	}
	p, err := startProcess()
	if err != nil {
		return nil, liberr.New(liberr.FromStorage, liberr.InternalError, "cannot start a storage worker").WithCause(err)
	}
	l.current = p
	return p, nil
}

// abandon kills a worker that does not come back. Nobody waits for its end: it may never come.
func (l *link) abandon(p *process) {
	l.mu.Lock()
	if l.current == p {
		l.current = nil
	}
	l.mu.Unlock()
	_ = unix.Kill(p.pid, unix.SIGKILL)
	p.drop(liberr.New(liberr.FromStorage, liberr.OperationFailed, "the storage does not respond"))
}

func startProcess() (*process, error) {
	calls, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	files, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		_, _ = unix.Close(calls[0]), unix.Close(calls[1])
		return nil, err
	}
	theirs := []*os.File{os.NewFile(uintptr(calls[1]), "calls"), os.NewFile(uintptr(files[1]), "files")}
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	cmd := exec.Command("/proc/self/exe", Argument)
	cmd.ExtraFiles = theirs
	cmd.Stderr = os.Stderr
	cmd.Dir = "/"
	if err = unix.SetNonblock(calls[0], true); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_, _ = unix.Close(calls[0]), unix.Close(files[0])
		return nil, err
	}
	go func() { _ = cmd.Wait() }() // however long it takes
	f := os.NewFile(uintptr(calls[0]), "worker")
	p := &process{pid: cmd.Process.Pid, calls: f, files: files[0], out: gob.NewEncoder(f), waiting: map[uint64]chan *answer{}, opened: map[uint64]*os.File{}}
	go p.read()
	return p, nil
}

func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone == nil
}

// send hands a request over. A worker that hangs reads on all the same: only its calls hang, each in a thread of its own.
func (p *process) send(r *request) (<-chan *answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone != nil {
		return nil, p.gone
	}
	done := make(chan *answer, 1)
	if r.Method != cancel {
		p.last++
		r.ID = p.last
		p.waiting[r.ID] = done
	}
	_ = p.calls.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if err := p.out.Encode(r); err != nil {
		delete(p.waiting, r.ID)
		return nil, liberr.New(liberr.FromStorage, liberr.InternalError, "cannot ask the storage worker").WithCause(err)
	}
	return done, nil
}

// read takes answers until the worker has gone.
func (p *process) read() {
	in := gob.NewDecoder(p.calls)
	for {
		a := &answer{}
		if err := in.Decode(a); err != nil {
			p.drop(liberr.New(liberr.FromStorage, liberr.OperationFailed, "the storage worker has ended").WithCause(err))
			return
		}
		var f *os.File
		var id uint64
		if a.File {
			if id, f = p.receive(); f == nil {
				a.Err = wireError(errors.New("no descriptor came"))
			}
		}
		p.mu.Lock()
		if f != nil {
			p.opened[id] = f
		}
		if done := p.waiting[a.ID]; done != nil {
			delete(p.waiting, a.ID)
			done <- a
		}
		p.mu.Unlock()
	}
}

// receive takes one descriptor, which its worker sent before the answer.
func (p *process) receive() (uint64, *os.File) {
	id, control := make([]byte, 8), make([]byte, unix.CmsgSpace(4))
	n, cn, _, _, err := unix.Recvmsg(p.files, id, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n != 8 {
		return 0, nil
	}
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil || len(messages) != 1 {
		return 0, nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, nil
	}
	return binary.NativeEndian.Uint64(id), os.NewFile(uintptr(fds[0]), "volume")
}

// take turns an answer into what the caller gets.
func (p *process) take(id uint64, a *answer) (*answer, *os.File, error) {
	p.mu.Lock()
	f := p.opened[id]
	delete(p.opened, id)
	p.mu.Unlock()
	if err := a.Err.err(); err != nil {
		return nil, nil, err
	}
	return a, f, nil
}

// drop ends the connection: all calls fail with why.
func (p *process) drop(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone != nil {
		return
	}
	p.gone = why
	_ = p.calls.Close()
	_ = unix.Close(p.files)
	for id, done := range p.waiting {
		done <- &answer{ID: id, Err: wireError(why)}
	}
	for _, f := range p.opened {
		_ = f.Close()
	}
	p.waiting, p.opened = nil, nil
}
