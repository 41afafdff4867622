package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Result is what a client program left behind.
type Result struct {
	Exit           int
	Stdout, Stderr string
	Took           time.Duration
}

// Env is the environment of every client: no colours, no locale, no defaults from
// the user's own files.
func (t *Target) Env() []string {
	env := []string{"LC_ALL=C.UTF-8", "HOME=" + t.Dir, "PATH=" + os.Getenv("PATH"),
		"XDG_RUNTIME_DIR=" + t.Dir + "/xdg", "URI=" + t.URI(), "ROURI=" + t.ReadOnlyURI()}
	return env
}

// Virsh runs virsh against the target.
func (t *Target) Virsh(ctx context.Context, arg ...string) Result {
	return t.Run(ctx, "virsh", append([]string{"-c", t.URI()}, arg...)...)
}

// Run runs a client program outside the box, with the target's environment.
func (t *Target) Run(ctx context.Context, name string, arg ...string) Result {
	cmd := exec.CommandContext(ctx, name, arg...)
	cmd.Env = t.Env()
	return Finish(cmd)
}

// Finish runs a prepared command to its end. A program killed by its context has
// exit code -1.
func Finish(cmd *exec.Cmd) Result {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 2 * time.Second
	begin := time.Now()
	err := cmd.Run()
	r := Result{Stdout: out.String(), Stderr: errs.String(), Took: time.Since(begin)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.Exit = exit.ExitCode()
	case err != nil:
		r.Exit = -1
		r.Stderr += err.Error() + "\n"
	}
	return r
}

// Python is the interpreter that has Debian's libvirt module: the first python3 in
// PATH may be another one.
func Python() (string, error) {
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(p, "-c", "import libvirt").Run() == nil {
			return p, nil
		}
	}
	return "", errors.New("needs python3-libvirt")
}

// Await runs check until it says yes, the context ends or ten seconds have gone. It
// is for conditions that another process decides and announces to nobody.
func Await(ctx context.Context, check func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if check() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// Lines splits output into its lines without the last, empty one.
func Lines(s string) []string {
	s = strings.TrimRight(s, "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
