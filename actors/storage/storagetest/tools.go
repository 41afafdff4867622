package storagetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"virtree/actors/storage/backend"
)

// Program stands for one of the host's: it gets its arguments and what it is fed, and returns what it says or an *Exit.
type Program func(args []string, input string) (string, error)

// Tools are programs that are not there. What they do they do to files below Root, which stands for the host's /.
type Tools struct {
	Root     string
	Programs map[string]Program

	mu    sync.Mutex
	calls []string
}

// NewHost makes a host without any programs but these.
func NewHost(t *testing.T, programs map[string]Program) (*backend.Host, *Tools) {
	t.Helper()
	tools := &Tools{Root: t.TempDir(), Programs: programs}
	return &backend.Host{Tools: tools, Root: tools.Root, Run: t.TempDir()}, tools
}

// Find finds what was given.
func (f *Tools) Find(name string) (string, error) {
	if f.Programs[name] == nil {
		return "", backend.NotFound(name)
	}
	return "/usr/sbin/" + name, nil
}

// Run has one program at a time do what it does.
func (f *Tools) Run(ctx context.Context, input []byte, path string, args ...string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	name := filepath.Base(path)
	f.calls = append(f.calls, strings.Join(append([]string{name}, args...), " "))
	program := f.Programs[name]
	if program == nil {
		return nil, backend.Failed(append([]string{path}, args...), "unexpected exit status 127", &backend.Exit{Code: 127})
	}
	out, err := program(args, string(input))
	if x, ok := err.(*backend.Exit); ok {
		err = backend.Failed(append([]string{path}, args...), fmt.Sprintf("unexpected exit status %d", x.Code), x)
	}
	return []byte(out), err
}

// Calls are the commands that were run so far.
func (f *Tools) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

// Device makes a file that stands for a device.
func (f *Tools) Device(path string, size int64) error {
	path = filepath.Join(f.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

// File makes a file with that text.
func (f *Tools) File(path, text string) error {
	path = filepath.Join(f.Root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

func (f *Tools) remove(path string) error { return os.Remove(filepath.Join(f.Root, path)) }

// flagged returns the value behind a flag, and what is no flag.
func flagged(args []string, valued ...string) (values map[string]string, rest []string) {
	values = map[string]string{}
next:
	for i := 0; i < len(args); i++ {
		for _, v := range valued {
			if args[i] == v && i+1 < len(args) {
				values[v] = args[i+1]
				i++
				continue next
			}
		}
		if strings.HasPrefix(args[i], "-") {
			values[args[i]] = "yes"
			continue
		}
		rest = append(rest, args[i])
	}
	return values, rest
}

func fail(code int, format string, args ...any) error {
	return &backend.Exit{Code: code, Stderr: fmt.Sprintf(format, args...)}
}
