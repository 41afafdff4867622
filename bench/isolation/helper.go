package isolation

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"virtree/bench/internal/lab"
)

// helperVariable in the environment makes a process a helper; its value is the order.
const helperVariable = "VIRTREE_ISOLATION_HELPER"

// helperOrder says what a helper is to do.
type helperOrder struct {
	Do     string
	Socket string
	Count  int
	Name   string // of a domain to ask about
	Path   string // where the file system goes
}

// Enter turns this process into a box of the lab or into a helper, if it was started as one, and does not return then. It
// comes first in whatever runs the harness.
func Enter() {
	lab.Enter()
	text := os.Getenv(helperVariable)
	if text == "" {
		return
	}
	os.Unsetenv(helperVariable)
	var o helperOrder
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "isolation:", o.Do+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (o helperOrder) run() error {
	switch o.Do {
	case "hangfs":
		return serveHanging(o.Path)
	case "garble":
		return garble(os.Args[2:])
	}
	// The rest says that it is ready, begins when it is told, and ends with its input.
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return nil
	}
	go func() {
		switch outside(o.Do) {
		case outFlood:
			flood(o)
		case outIdle:
			idle(o)
		case outDeaf:
			deaf(o)
		}
	}()
	_, _ = io.Copy(io.Discard, in)
	return nil
}

// helper is a running one.
type helper struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	done  chan struct{}
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

// orderEnv is a helper's environment.
func (o helperOrder) env() string {
	text, _ := json.Marshal(o) // strings and numbers
	return helperVariable + "=" + string(text)
}

func startHelper(o helperOrder) (*helper, error) {
	h := &helper{cmd: exec.Command("/proc/self/exe", "bench"), done: make(chan struct{}), more: make(chan struct{}, 1000)}
	h.cmd.Env = append(os.Environ(), o.env())
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := h.cmd.StdoutPipe()
	if err == nil {
		h.in, err = h.cmd.StdinPipe()
	}
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		_ = h.cmd.Process.Kill()
		return nil, errors.Join(errors.New("the helper did not come up"), h.cmd.Wait())
	}
	go func() {
		defer close(h.done)
		for lines.Scan() {
			h.mu.Lock()
			h.lines = append(h.lines, lines.Text())
			h.mu.Unlock()
			select {
			case h.more <- struct{}{}:
			default:
			}
		}
		_ = h.cmd.Wait()
	}()
	return h, nil
}

func (h *helper) pid() int { return h.cmd.Process.Pid }

// begin lets it begin.
func (h *helper) begin() { _, _ = io.WriteString(h.in, "begin\n") }

// await waits for its next note.
func (h *helper) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	select {
	case <-h.more:
		return nil
	case <-h.done:
	case <-ctx.Done():
	}
	return errors.New("the helper said nothing")
}

// notes is the last that it said.
func (h *helper) notes() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lines) == 0 {
		return ""
	}
	return strings.TrimSpace(h.lines[len(h.lines)-1])
}

// end ends it, at once.
func (h *helper) end() {
	_ = h.in.Close()
	_ = h.cmd.Process.Kill()
	<-h.done
}
