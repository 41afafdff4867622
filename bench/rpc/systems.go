package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"virtree/bench/internal/lab"
)

// system is one thing that is measured.
type system struct {
	name   string
	socket string
	target *lab.Target // nil for echo
	echo   *exec.Cmd
	// shares is the system whose target this one uses too: proxy and direct are two
	// sockets of one tree, and what costs the tree is measured once.
	shares string
}

func (s *system) open() (net.Conn, error) {
	if s.target == nil {
		return net.Dial("unix", s.socket)
	}
	return dial(s.socket)
}

// usage is what the system's processes hold.
func (s *system) usage() lab.Usage {
	if s.echo != nil {
		return lab.UsageOf(s.echo.Process.Pid)
	}
	return lab.UsageOf(s.target.DaemonPIDs()...)
}

func (s *system) close() {
	switch {
	case s.echo != nil:
		s.echo.Process.Kill()
		s.echo.Wait()
		os.RemoveAll(filepath.Dir(s.socket))
	case s.shares == "":
		s.target.Close()
	}
}

const echoVariable = "VIRTREE_BENCH_ECHO"

// enterEcho makes this process the echo if it was started as one.
func enterEcho() {
	path := os.Getenv(echoVariable)
	if path == "" {
		return
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 4096)
			for {
				n, err := c.Read(buf)
				if err != nil {
					if err != io.EOF {
						fmt.Fprintln(os.Stderr, err)
					}
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

func openEcho() (*system, error) {
	dir, err := os.MkdirTemp("", "echo")
	if err != nil {
		return nil, err
	}
	s := &system{name: "echo", socket: filepath.Join(dir, "sock")}
	s.echo = exec.Command("/proc/self/exe")
	s.echo.Env = append(os.Environ(), echoVariable+"="+s.socket)
	s.echo.Stderr = os.Stderr
	if err := s.echo.Start(); err != nil {
		return nil, err
	}
	if !lab.Await(context.Background(), func() bool {
		c, err := net.Dial("unix", s.socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		s.close()
		return nil, fmt.Errorf("the echo did not come up")
	}
	return s, nil
}

// openSystems starts what was asked for. What cannot be started here is left out with
// its reason.
func openSystems(ctx context.Context, names []string) (all []*system, skipped []string) {
	var split *lab.Target
	for _, name := range names {
		if name == "echo" {
			s, err := openEcho()
			if err != nil {
				skipped = append(skipped, err.Error())
				continue
			}
			all = append(all, s)
			continue
		}
		kind, socket := lab.Kind(name), "libvirt-sock"
		shares := ""
		switch name {
		case "proxy":
			kind = lab.Split
		case "direct":
			kind, socket = lab.Split, "virtqemud-sock"
		}
		t := split
		if kind != lab.Split || t == nil {
			var err error
			if t, err = lab.Open(ctx, kind, lab.Options{}); err != nil {
				skipped = append(skipped, err.Error())
				continue
			}
		} else {
			shares = "split"
		}
		if kind == lab.Split {
			split = t
		}
		all = append(all, &system{name: name, socket: t.Socket(socket), target: t, shares: shares})
	}
	return all, skipped
}

// firstAnswer restarts the daemon and takes the time from exec to the first answer.
// The socket may be there before the drivers are; an answer to CONNECT_OPEN needs both.
func (s *system) firstAnswer(ctx context.Context) (time.Duration, error) {
	if err := s.target.Stop(ctx); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := s.target.Start(ctx); err != nil {
		return 0, err
	}
	c, err := dial(s.socket)
	if err != nil {
		return 0, err
	}
	took := time.Since(begin)
	return took, c.Close()
}
