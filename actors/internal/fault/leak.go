package fault

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What is taken and not given back. A leak does not hold the actor up, so that its effect is on everybody; it ends after
// For, since a test has to go on.

// held is what leaks without end refer to, so that it is not collected.
var held sync.Map

// hold gives back after d; 0 is never.
func hold(d time.Duration, release func()) {
	if d > 0 {
		time.AfterFunc(d, release)
		return
	}
	held.Store(new(int), release)
}

// Alloc takes memory, and touches it.
type Alloc struct {
	MiB int
	For time.Duration
}

// Inject implements mailbox.Fault.
func (a *Alloc) Inject() {
	taken := make([][]byte, 0, a.MiB)
	for range a.MiB {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		taken = append(taken, b)
	}
	hold(a.For, func() { clear(taken) })
}

// Goroutines leaks goroutines that wait for what never comes.
type Goroutines struct {
	Count int
	For   time.Duration
}

// Inject implements mailbox.Fault.
func (g *Goroutines) Inject() {
	never := make(chan struct{})
	for range g.Count {
		go func() { <-never }()
	}
	hold(g.For, func() { close(never) })
}

// Descriptors leaks open files, until there are Count or the process may have no more.
type Descriptors struct {
	Count int
	For   time.Duration
}

// Inject implements mailbox.Fault.
func (d *Descriptors) Inject() {
	var open []int
	for range d.Count {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		open = append(open, fd)
	}
	hold(d.For, func() {
		for _, fd := range open {
			_ = unix.Close(fd)
		}
	})
}

// CloseTwice closes a file, lets somebody else have its number, and closes it again: the bug that costs others their
// descriptors in languages where a descriptor is a number. Here the second close is refused; when it is not, the actor
// panics, so that a test sees it.
type CloseTwice struct{}

// Inject implements mailbox.Fault.
func (*CloseTwice) Inject() {
	mine, err := os.Open(os.DevNull)
	if err != nil {
		panic(err)
	}
	_ = mine.Close()
	other, err := os.Open(os.DevNull) // most likely has the same number
	if err != nil {
		panic(err)
	}
	defer other.Close()
	if err := mine.Close(); !errors.Is(err, os.ErrClosed) {
		panic(fmt.Sprintf("the second close was not refused: %v", err))
	}
	if _, err := other.Stat(); err != nil {
		panic(fmt.Sprintf("the descriptor of another was closed: %v", err))
	}
}

// Steal closes by their numbers, behind Go's back, the connections that a client has to this process: what a wrong close
// in C does to another's connection.
type Steal struct{ Client int } // its process id

// Inject implements mailbox.Fault.
func (s *Steal) Inject() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			continue
		}
		if peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && int(peer.Pid) == s.Client {
			_ = unix.Close(fd)
		}
	}
}
