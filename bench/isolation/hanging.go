package isolation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"virtree/actors/storage/storagetest/hangfs"
	"virtree/bench/internal/lab"
)

// hanging has a helper mount a file system at path, in the box. SIGUSR1 makes it hang, SIGTERM ends it.
func (w *world) hanging(ctx context.Context, path string) (*lab.Proc, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, err
	}
	p, err := w.target.Box.Start(filepath.Join(w.dir, "hangfs.log"), []string{helperOrder{Do: "hangfs", Path: path}.env()}, "/proc/self/exe", "bench")
	if err != nil {
		return nil, err
	}
	inside := fmt.Sprintf("/proc/%d/root%s/one", p.PID, path)
	if !lab.Await(ctx, func() bool {
		_, err := os.Stat(inside)
		return err == nil
	}) {
		_ = p.Signal(syscall.SIGKILL)
		log, _ := os.ReadFile(filepath.Join(w.dir, "hangfs.log"))
		return nil, errors.New("the file system that hangs did not come up: " + string(log))
	}
	return p, nil
}

// serveHanging is the file system that hangs once it is told to, in the box.
func serveHanging(path string) error {
	fs, err := hangfs.Mount(path)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGTERM)
	for s := range signals {
		if s == syscall.SIGTERM {
			break
		}
		fs.Hang()
	}
	fs.Close()
	return nil
}
