package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func sleeper(t *testing.T, argv ...string) *process {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, err := spawn("/bin/sh", argv, os.Environ(), []*os.File{null, null, null}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestProcessEnds(t *testing.T) {
	p := sleeper(t, "sh", "-c", "exec sleep 60")
	if !p.Alive() || p.since == 0 {
		t.Fatal("not alive after the start")
	}
	same, err := openProcess(p.pid, p.since)
	if err != nil {
		t.Fatal(err)
	}
	same.Close()
	if other, err := openProcess(p.pid, p.since+1); err == nil {
		other.Close()
		t.Fatal("another process with this pid was adopted")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.End(ctx, 10*time.Second, true); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Fatal("alive after its end")
	}
	if _, err := os.Stat("/proc/" + itoa(p.pid)); err == nil {
		t.Fatal("the child was not reaped")
	}
}

func TestProcessThatIgnoresSIGTERM(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	p := sleeper(t, "sh", "-c", "trap '' TERM; mkfifo "+ready+"; echo > "+ready+"; while :; do sleep 0.05; done")
	for { // the trap is set when the fifo is there, and it is written when we have read it
		if _, err := os.ReadFile(ready); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.End(ctx, 50*time.Millisecond, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("gracefully: %v", err)
	}
	if err := p.End(ctx, 50*time.Millisecond, true); err != nil {
		t.Fatal(err)
	}
}
