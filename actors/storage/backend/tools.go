package backend

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtree/wire/liberr"
)

// Host is where a backend works. The zero Host is this one; tests put other tools and other trees of files in its place,
// for hardware that they do not have.
type Host struct {
	Tools Tools  // nil: the programs of this host
	Root  string // before /dev, /sys and /proc
	Run   string // folder for mounts of our own; gone at the next boot
	// Secret returns the value of a secret, for servers that ask who we are; nil where nobody knows any.
	Secret func(ctx context.Context, name SecretName) ([]byte, error)
}

// SecretName names a secret by UUID, or by usage where that is empty.
type SecretName struct{ Type, UUID, Usage string }

// Tools are the programs of a host.
type Tools interface {
	// Find returns where a program is; libvirt's error when it is nowhere.
	Find(name string) (path string, err error)
	// Run runs a program that Find has found, in the C locale, and returns its output. Where it fails, the error is
	// libvirt's and wraps an [Exit].
	Run(ctx context.Context, input []byte, path string, args ...string) ([]byte, error)
}

// Exit is how a program ended that did not end well.
type Exit struct {
	Code   int // -1: by a signal
	Stderr string
}

func (e *Exit) Error() string { return "exit status " + strings.TrimSpace(e.Stderr) }

func (h *Host) tools() Tools {
	if h == nil || h.Tools == nil {
		return programs{}
	}
	return h.Tools
}

// at returns where a file of the host is.
func (h *Host) at(path string) string {
	if h == nil || h.Root == "" {
		return path
	}
	return filepath.Join(h.Root, path)
}

// run runs a program.
func (h *Host) run(ctx context.Context, name string, args ...string) error {
	_, err := h.output(ctx, name, args...)
	return err
}

// output runs a program and returns what it says.
func (h *Host) output(ctx context.Context, name string, args ...string) ([]byte, error) {
	return h.feed(ctx, nil, name, args...)
}

// feed is output for a program that reads something.
func (h *Host) feed(ctx context.Context, input []byte, name string, args ...string) ([]byte, error) {
	t := h.tools()
	path, err := t.Find(name)
	if err != nil {
		return nil, err
	}
	return t.Run(ctx, input, path, args...)
}

// settle waits until udev has made the device nodes of what has just appeared, where there is udev.
func (h *Host) settle(ctx context.Context) {
	if h != nil && h.Tools != nil {
		return
	}
	if _, err := os.Stat("/run/udev/control"); err == nil {
		_ = h.run(ctx, "udevadm", "settle", "--timeout=10")
	}
}

// appears waits for a device node that the kernel or udev is about to make.
func (h *Host) appears(ctx context.Context, path string) error {
	h.settle(ctx)
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		_, err := os.Stat(h.at(path))
		if err == nil {
			return nil
		}
		select {
		case <-wait.Done():
			return liberr.System(from, err, "cannot stat '%s'", path)
		case <-time.After(20 * time.Millisecond): // the kernel tells nobody but udev
		}
	}
}

// exitCode returns the code that a program ended with; 0 where the error is another one.
func exitCode(err error) int {
	var e *Exit
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// programs are those of this host.
type programs struct{}

// Find prefers the folders that libvirt names in its messages.
func (programs) Find(name string) (string, error) {
	for _, d := range []string{"/bin/", "/sbin/"} {
		if _, err := os.Stat(d + name); err == nil {
			return d + name, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", NotFound(name)
	}
	return path, nil
}

// NotFound is libvirt's error for a program that is not there.
func NotFound(name string) error {
	return liberr.System(liberr.FromNone, unix.ENOENT, "Cannot find '%s' in path", name)
}

// maxOutput is more than any tool says of 100,000 volumes.
const maxOutput = 64 << 20

func (programs) Run(ctx context.Context, input []byte, path string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1")
	if input != nil {
		cmd.Stdin = bytes.NewReader(input)
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &limited{&stdout, maxOutput}, &limited{&stderr, 64 << 10}
	err := cmd.Run()
	switch {
	case err == nil:
		return []byte(stdout.String()), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	how, code := err.Error(), 0
	if x, ok := err.(*exec.ExitError); ok {
		code = x.ExitCode()
		how = "unexpected " + x.String()
		if code < 0 {
			how = "unexpected fatal " + x.String()
		}
	}
	return []byte(stdout.String()), Failed(append([]string{path}, args...), how, &Exit{Code: code, Stderr: stderr.String()})
}

// Failed is libvirt's error for a program that ended in another way than well: how says which.
func Failed(argv []string, how string, e *Exit) error {
	return liberr.New(from, liberr.InternalError, "Child process (%s) %s: %s", strings.Join(quoted(argv), " "), how, e.Stderr).WithCause(e)
}

// quoted puts arguments with blanks into quotes, as libvirt shows commands.
func quoted(argv []string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`<>|&;()*?#~!{}[]") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out[i] = a
	}
	return out
}

// limited keeps the beginning of what is written.
type limited struct {
	b    *strings.Builder
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	keep := p[:min(len(p), l.left)]
	l.b.Write(keep)
	l.left -= len(keep)
	return len(p), nil
}

// run runs a program of this host, tool one by its name.
func run(ctx context.Context, path string, args ...string) error {
	_, err := programs{}.Run(ctx, nil, path, args...)
	return err
}
