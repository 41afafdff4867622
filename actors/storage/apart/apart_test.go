package apart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/storage/backend"
	"virtree/actors/storage/def"
	"virtree/actors/storage/storagetest"
	"virtree/wire/liberr"
	"virtree/wire/virt"
)

func TestMain(m *testing.M) {
	if Main(os.Args) {
		return
	}
	os.Exit(m.Run())
}

func newPool(t *testing.T) *def.Pool {
	t.Helper()
	p, err := def.ParsePool("<pool type='dir'><name>p</name><target><path>" + t.TempDir() + "/a/pool</path></target></pool>")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// hanging is a folder that counts as one that may hang.
func hanging(t *testing.T) *Backend {
	t.Helper()
	local, err := (&backend.Host{}).For(newPool(t).Kind)
	if err != nil {
		t.Fatal(err)
	}
	b := &Backend{Local: local, Hangs: func(*def.Pool) bool { return true }}
	t.Cleanup(b.link.end)
	return b
}

// A backend in another process is like one in this.
func TestConformance(t *testing.T) {
	storagetest.Backend(t, hanging(t), newPool)
}

func TestErrorsArriveAsTheyAre(t *testing.T) {
	b, p := hanging(t), newPool(t)
	_, err := b.Refresh(t.Context(), p, nil)
	var e *liberr.Error
	if !errors.As(err, &e) || e.Code != liberr.SystemError || e.Int1 != int32(unix.ENOENT) || !strings.Contains(e.Message, "cannot open directory '"+p.Path+"'") {
		t.Errorf("%+v", err)
	}
	if err := b.Build(t.Context(), p, virt.StoragePoolBuildOverwrite); !errors.Is(err, liberr.OperationInvalid) {
		t.Error(err)
	}
}

// A worker that does not come back is killed, its calls fail, and the next call has another.
func TestAStuckWorkerIsAbandoned(t *testing.T) {
	b, p := hanging(t), newPool(t)
	b.Grace = 100 * time.Millisecond
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	stuck := b.Worker()
	if err := unix.Kill(stuck, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !stopped(stuck); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the worker does not stop")
		}
	}
	other := make(chan error, 1)
	go func() {
		_, err := b.Look(context.Background(), p, "x") // without any deadline of its own
		other <- err
	}()
	for end := time.Now().Add(20 * time.Second); b.waiting() == 0; time.Sleep(time.Millisecond) { // until that call is under way
		if time.Now().After(end) {
			t.Fatal("the call does not come")
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	began := time.Now()
	if _, err := b.Refresh(ctx, p, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Error(took)
	}
	if err := <-other; !errors.Is(err, liberr.OperationFailed) {
		t.Error(err)
	}
	if c, err := b.Refresh(t.Context(), p, nil); err != nil || c.Space.Capacity == 0 {
		t.Error(c, err)
	}
	if now := b.Worker(); now == stuck || now == 0 {
		t.Error(now, stuck)
	}
	for end := time.Now().Add(20 * time.Second); unix.Kill(stuck, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it still runs")
		}
	}
}

// stopped tells whether a process has obeyed SIGSTOP, all its threads.
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, f := range threads {
		text, err := os.ReadFile(f)
		if _, after, ok := strings.Cut(string(text), ") "); err != nil || !ok || after[0] != 'T' {
			return false
		}
	}
	return len(threads) > 0
}

func (b *Backend) waiting() int {
	b.link.mu.Lock()
	p := b.link.current
	b.link.mu.Unlock()
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// A worker that crashes costs its calls and nothing else.
func TestAWorkerThatDiesIsReplaced(t *testing.T) {
	b, p := hanging(t), newPool(t)
	if err := b.Build(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(b.Worker(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		_, err := b.Refresh(t.Context(), p, nil)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestFileSystemsAreTold(t *testing.T) {
	const table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /srv/with\\040space rw shared:1 - nfs4 h:/x rw\n3 1 0:6 / /srv/f rw - fuse.sshfs h: rw\n4 3 0:7 / /srv/f/in rw - tmpfs none rw\nbroken\n"
	for path, want := range map[string]string{"/": "ext4", "/srv": "ext4", "/srv/with space/a": "nfs4", "/srv/f": "fuse.sshfs", "/srv/fx": "ext4", "/srv/f/in/x": "tmpfs"} {
		if got := fileSystem(strings.NewReader(table), path); got != want {
			t.Error(path, got, want)
		}
	}
}
