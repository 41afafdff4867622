package lockd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
)

// sleeper is a process that leases are held for.
func sleeper(t *testing.T) (pid int32, since uint64, kill func()) {
	t.Helper()
	c := exec.Command("sleep", "600")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	t.Cleanup(kill)
	since, err := startTime(int32(c.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return int32(c.Process.Pid), since, kill
}

// free waits until others can lock the file.
func free(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if othersLock(t, path) {
			return
		}
	}
	t.Error(path, "is still locked")
}

func TestLeasesOfProcesses(t *testing.T) {
	b := branchtest.Start(t, New(branchtest.Env(t)))
	branchPID := b.PID
	dir := t.TempDir()
	one, two, three := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "three")
	for _, p := range []string{one, two, three} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pid, since, kill := sleeper(t)
	other, otherSince, _ := sleeper(t)
	ask := func(do string, pid int32, since uint64, l ...Lease) *liberr.Error {
		t.Helper()
		err := Request(t.Context(), b.Root(), branchPID, Ask{Do: do, PID: pid, Since: since, Leases: l})
		if err == nil {
			return nil
		}
		return liberr.From(space, err)
	}
	ok(t, ask(Take, pid, since, Lease{Name: one}, Lease{Name: two, Shared: true}))
	ok(t, ask(Take, pid, since, Lease{Name: one}, Lease{Name: two, Shared: true})) // again
	busy(t, ask(TakeNew, pid, since, Lease{Name: one}), one)
	busy(t, ask(Take, pid, since, Lease{Name: three}, Lease{Name: three}), three) // twice in one guest
	if !othersLock(t, three) {
		t.Error("a failed request left a lease")
	}
	// All or nothing, and what was held before stays.
	busy(t, ask(Take, other, otherSince, Lease{Name: two, Shared: true}, Lease{Name: three}, Lease{Name: one}), one)
	if !othersLock(t, three) || othersLock(t, one) {
		t.Error("a failed request changed something")
	}
	ok(t, ask(Take, other, otherSince, Lease{Name: two, Shared: true}))
	// Indirect leases make their lockspace and take their files away.
	files := filepath.Join(dir, "files")
	ok(t, ask(Take, pid, since, Lease{Space: files, Name: "hash", Make: true}))
	if _, err := os.Stat(filepath.Join(files, "hash")); err != nil {
		t.Error(err)
	}
	is(t, ask(Take, pid, since, Lease{Space: dir + "/none", Name: "x"}), from, liberr.InternalError, "internal error: Lockspace for path "+dir+"/none does not exist")
	// A process that is not the one that was meant has no leases.
	if err := ask(Take, pid, since+1, Lease{Name: three}); err == nil || err.Code != liberr.OperationInvalid {
		t.Error(err)
	}
	ok(t, ask(Take, pid, since, Lease{Name: one}, Lease{Space: files, Name: "hash", Make: true}, Lease{Name: two, Shared: true}))
	ok(t, ask(Drop, pid, since, Lease{Name: one}, Lease{Name: three}))
	free(t, one)
	ok(t, ask(Take, pid, since, Lease{Name: one}))
	if othersLock(t, one) {
		t.Error("the file is not locked")
	}
	kill()
	free(t, one)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(files, "hash")); os.IsNotExist(err) {
			break
		} else if time.Now().After(end) {
			t.Fatal("the file of an indirect lease outlived it")
		}
	}
	if othersLock(t, two) {
		t.Error("the end of one process took the lease of another one")
	}
	ok(t, ask(DropAll, other, otherSince))
	free(t, two)
}
