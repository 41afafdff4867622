package logd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// held is an environment that tells when the branch holds the process and lets it go.
func held(t *testing.T) (*branch.Env, chan bool) {
	env := branchtest.Env(t)
	holds := make(chan bool, 100)
	env.Hold = func(string) func() {
		holds <- true
		var once sync.Once
		return func() { once.Do(func() { holds <- false }) }
	}
	return env, holds
}

func await(t *testing.T, holds chan bool, want bool) {
	t.Helper()
	select {
	case got := <-holds:
		if got != want {
			t.Errorf("hold %v, want %v", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("the process is not held or let go: want %v", want)
	}
}

func open(t *testing.T, c *branchtest.Client, path string, flags uint32) (*os.File, protocol.LogLogFilePosition) {
	t.Helper()
	c.Send(protocol.LogOpenLogFile.Procedure, &protocol.LogDomainOpenLogFileArgs{Driver: "qemu", Dom: protocol.LogDomain{Name: "g"}, Path: path, Flags: flags})
	r := c.Reply()
	var ret protocol.LogDomainOpenLogFileRet
	if r.Err != nil || len(r.FDs) != 1 || protocol.Unmarshal(r.Ret, &ret) != nil {
		t.Fatalf("open: %+v", r)
	}
	return os.NewFile(uintptr(r.FDs[0]), path), ret.Pos
}

func read(t *testing.T, c *branchtest.Client, path string, pos protocol.LogLogFilePosition, n uint64) string {
	t.Helper()
	r, err := branchtest.Do(c, protocol.LogReadLogFile, &protocol.LogDomainReadLogFileArgs{Path: path, Pos: pos, Maxlen: n})
	if err != nil {
		t.Errorf("read: %v", err)
	}
	return r.Data
}

func TestOpenWriteRead(t *testing.T) {
	env, holds := held(t)
	c := branchtest.Start(t, New(env, Defaults())).Client()
	path := filepath.Join(t.TempDir(), "g.log")
	if _, err := branchtest.Do(c, protocol.LogAppendLogFile, &protocol.LogDomainAppendLogFileArgs{Path: path, Message: "starting\n"}); err != nil {
		t.Error(err)
	}
	branchtest.Fails(c, protocol.LogGetLogFilePosition, &protocol.LogDomainGetLogFilePositionArgs{Path: path}, from, liberr.InternalError, "internal error: No open log file "+path)
	f, pos := open(t, c, path, 0)
	await(t, holds, true)
	if pos.Offset != 9 {
		t.Error(pos)
	}
	fmt.Fprint(f, "guest\n")
	if p, err := branchtest.Do(c, protocol.LogGetLogFilePosition, &protocol.LogDomainGetLogFilePositionArgs{Path: path}); err != nil || p.Pos.Offset != 15 || p.Pos.Inode != pos.Inode {
		t.Error(p, err)
	}
	for _, x := range []struct {
		off, n uint64
		want   string
	}{{9, 100, "guest\n"}, {0, 100, "starting\nguest\n"}, {9, 3, "gue"}, {15, 5, ""}} {
		if got := read(t, c, path, protocol.LogLogFilePosition{Inode: pos.Inode, Offset: x.off}, x.n); got != x.want {
			t.Errorf("%+v: %q", x, got)
		}
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Error(st.Mode())
	}
	f.Close()
	await(t, holds, false)
	branchtest.Fails(c, protocol.LogGetLogFilePosition, &protocol.LogDomainGetLogFilePositionArgs{Path: path}, from, liberr.InternalError, "")

	f, pos = open(t, c, path, uint32(protocol.LogManagerProtocolDomainOpenLogFileTruncate))
	if st, _ := f.Stat(); pos.Offset != 0 || st.Size() != 0 {
		t.Error("not truncated", pos)
	}
	f.Close()
}

// The messages were recorded from virtlogd 9.0.0.
func TestErrors(t *testing.T) {
	c := branchtest.Start(t, New(branchtest.Env(t), Defaults())).Client()
	path := filepath.Join(t.TempDir(), "none", "g.log")
	branchtest.Fails(c, protocol.LogOpenLogFile, &protocol.LogDomainOpenLogFileArgs{Path: path}, liberr.FromNone, liberr.SystemError, "Unable to open file: "+path+": No such file or directory")
	branchtest.Fails(c, protocol.LogAppendLogFile, &protocol.LogDomainAppendLogFileArgs{Path: path}, liberr.FromNone, liberr.SystemError, "Unable to open file: "+path+": No such file or directory")
	branchtest.Fails(c, protocol.LogReadLogFile, &protocol.LogDomainReadLogFileArgs{Path: path, Maxlen: 100}, liberr.FromNone, liberr.SystemError, "Unable to seek to inode 0 offset 0: Bad file descriptor")
	branchtest.Fails(c, protocol.LogReadLogFile, &protocol.LogDomainReadLogFileArgs{Path: path, Maxlen: 1 << 40}, liberr.FromRPC, liberr.InternalError, "internal error: Requested data len 1099511627776 is larger than maximum 4194304")
	branchtest.Fails(c, protocol.LogReadLogFile, &protocol.LogDomainReadLogFileArgs{Path: path, Flags: 1}, from, liberr.InvalidArg, "")
	branchtest.Fails(c, protocol.LogAppendLogFile, &protocol.LogDomainAppendLogFileArgs{Path: path, Flags: 1}, from, liberr.InvalidArg, "")
	branchtest.Fails(c, protocol.LogGetLogFilePosition, &protocol.LogDomainGetLogFilePositionArgs{Path: path, Flags: 1}, from, liberr.InvalidArg, "")
}

// awaitFile waits until a file is there and holds at least n bytes, by watching its folder.
func awaitFile(t *testing.T, path string, n int64) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MOVED_TO|unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if st, err := os.Stat(path); err == nil && st.Size() >= n {
			return
		}
		left := time.Until(deadline)
		if left <= 0 {
			t.Fatalf("%s does not come", path)
		}
		if k, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())); k > 0 {
			_, _ = unix.Read(fd, make([]byte, 4096))
		}
	}
}

// The guest writes on through rotations, to the same descriptor; nothing is lost that was written between them.
func TestRotation(t *testing.T) {
	env, holds := held(t)
	c := branchtest.Start(t, New(env, Config{MaxSize: 1000, MaxBackups: 2})).Client()
	path := filepath.Join(t.TempDir(), "g.log")
	f, pos := open(t, c, path, 0)
	await(t, holds, true)
	line := strings.Repeat("x", 1500)
	for i := range 3 {
		if i > 0 {
			_ = os.Truncate(backup(path, 0), 0)
		}
		fmt.Fprintf(f, "%d%s\n", i, line)
		awaitFile(t, backup(path, 0), 1500)
	}
	fmt.Fprint(f, "end\n")
	if got := read(t, c, path, pos, 100); got != "end\n" {
		t.Errorf("the position from before the rotations reads %q", got)
	}
	b0, _ := os.ReadFile(backup(path, 0))
	if string(b0) != "2"+line+"\n" {
		t.Errorf("first backup: %.10q, %d bytes", b0, len(b0))
	}
	if st, err := os.Stat(backup(path, 1)); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	if _, err := os.Stat(backup(path, 2)); err == nil {
		t.Error("a backup too many")
	}
	f.Close()
	await(t, holds, false)
}

// What was open when the branch died is rotated by its next life, and forgotten when it is closed.
func TestRestartGoesOnWithOpenFiles(t *testing.T) {
	env, holds := held(t)
	if err := env.Paths.Prepare(); err != nil {
		t.Fatal(err)
	}
	b := branchtest.Start(t, New(env, Config{MaxSize: 1000, MaxBackups: 1}))
	path := filepath.Join(t.TempDir(), "g.log")
	f, _ := open(t, b.Client(), path, 0)
	await(t, holds, true)
	awaitFile(t, filepath.Join(env.Paths.ActorDir(), "logd.json"), 3)
	b.Stop()
	await(t, holds, false)

	branchtest.Start(t, New(env, Config{MaxSize: 1000, MaxBackups: 1}))
	await(t, holds, true)
	fmt.Fprint(f, strings.Repeat("y", 1500))
	awaitFile(t, backup(path, 0), 1500)
	f.Close()
	await(t, holds, false)
}

func TestRotateFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g.log")
	put := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for i := range 4 {
		put(fmt.Sprint("gen", i))
		if err := rotate(path, 3, now, 0); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"gen3", "gen2", "gen1"} {
		if b, _ := os.ReadFile(backup(path, i)); string(b) != want {
			t.Errorf("backup %d: %q, want %q", i, b, want)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(backup(path, 1), &st); err != nil {
		t.Fatal(err)
	}
	put("live")
	if got, err := readFrom(path, 3, protocol.LogLogFilePosition{Inode: st.Ino, Offset: 1}, 1000); err != nil || string(got) != "en2gen3live" {
		t.Errorf("reading on from a backup: %q %v", got, err)
	}
	if err := expire(path, 3, now.Add(48*time.Hour), 24*time.Hour); err != nil {
		t.Error(err)
	}
	if m, _ := filepath.Glob(path + ".*"); len(m) != 0 {
		t.Error("old backups stay: ", m)
	}
	put("x")
	if err := rotate(path, 0, now, 0); err != nil {
		t.Error(err)
	}
	if m, _ := filepath.Glob(path + "*"); len(m) != 1 {
		t.Error(m)
	}
}

func TestReadConfig(t *testing.T) {
	name := filepath.Join(t.TempDir(), "virtlogd.conf")
	if c, err := ReadConfig(name); err != nil || c != Defaults() {
		t.Error(c, err)
	}
	if err := os.WriteFile(name, []byte("#max_size = 1\nlog_level = 3\nlog_outputs=\"1:stderr\"\nmax_size = 4096 # small\n max_backups=7\nmax_age_days = 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := ReadConfig(name); err != nil || c != (Config{4096, 7, 48 * time.Hour}) {
		t.Error(c, err)
	}
	if err := os.WriteFile(name, []byte("max_size = many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(name); err == nil {
		t.Error("a size that is no number was taken")
	}
}
