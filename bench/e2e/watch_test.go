package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// watch is a client in the background whose output can be waited for.
type watch struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{} // a token: output came since the last look
}

func (b *watch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return b.out.Write(p)
}

func (b *watch) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

// until waits for output that satisfies match.
func (b *watch) until(what string, match func(text string) bool, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !match(b.text()) {
		select {
		case <-b.more:
		case <-b.done:
			if match(b.text()) {
				return nil
			}
			return fmt.Errorf("ended before it printed %s; it printed:\n%s", what, b.text())
		case <-ctx.Done():
			return fmt.Errorf("no %s within %v; it printed:\n%s", what, patience, b.text())
		}
	}
	return nil
}

// after waits for mark behind position *at, and moves the position behind it.
func (b *watch) after(at *int, mark string, patience time.Duration) error {
	return b.until(mark, func(text string) bool {
		i := strings.Index(text[*at:], mark)
		if i < 0 {
			return false
		}
		*at += i + len(mark)
		return true
	}, patience)
}

// end interrupts the client as Ctrl-C would, and insists after a while.
func (b *watch) end() {
	b.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-b.done:
	case <-time.After(5 * time.Second):
		b.cmd.Process.Kill()
		<-b.done
	}
}

func cmdWatch(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 3)
	w, t := tree(ts)
	var cmd *exec.Cmd
	switch args[1] {
	case "virsh":
		cmd = exec.Command("virsh", append([]string{"-c", t.URI()}, args[2:]...)...)
	default:
		cmd = exec.Command(args[1], args[2:]...)
	}
	cmd.Env = t.Env()
	cmd.Dir = ts.Getenv("WORK")
	b, err := startWatch(cmd)
	ts.Check(err)
	w.watches[args[0]] = b
}

// startWatch starts a client in the background.
func startWatch(cmd *exec.Cmd) (*watch, error) {
	b := &watch{cmd: cmd, done: make(chan struct{}), more: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = b, b, 2*time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(b.done)
	}()
	return b, nil
}

func watched(ts *testscript.TestScript, name string) *watch {
	b := of(ts).watches[name]
	if b == nil {
		ts.Fatalf("nothing is watched as %s", name)
	}
	return b
}

func cmdSeen(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if err := watched(ts, args[0]).until(args[1], re.MatchString, 30*time.Second); err != nil {
		ts.Fatalf("%s: %v", args[0], err)
	}
}

func cmdUnseen(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	if text := watched(ts, args[0]).text(); re.MatchString(text) {
		ts.Fatalf("%s printed %s:\n%s", args[0], args[1], text)
	}
}

func cmdUnwatch(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	b := watched(ts, args[0])
	delete(of(ts).watches, args[0])
	b.end()
	fmt.Fprint(ts.Stdout(), b.text())
}
