package lockd

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"virtree/actors/internal/branchtest"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// connect makes a client whose process is pid, and registers it in the name of owner.
func connect(t *testing.T, b *branchtest.Branch, pid int32, owner uint32) *branchtest.Client {
	t.Helper()
	c := b.Client()
	c.Caller.PID = pid
	if _, err := branchtest.Do(c, protocol.LockRegister, &protocol.LockRegisterArgs{Owner: protocol.LockOwner{Name: "g", Pid: owner}}); err != nil {
		t.Error(err)
	}
	return c
}

func ok(t *testing.T, err *liberr.Error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func acquire(c *branchtest.Client, space, name string, flags uint32) *liberr.Error {
	_, err := branchtest.Do(c, protocol.LockAcquireResource, &protocol.LockAcquireResourceArgs{Path: space, Name: name, Flags: flags})
	return err
}

func release(c *branchtest.Client, space, name string) *liberr.Error {
	_, err := branchtest.Do(c, protocol.LockReleaseResource, &protocol.LockReleaseResourceArgs{Path: space, Name: name})
	return err
}

func create(c *branchtest.Client, space, name string) *liberr.Error {
	_, err := branchtest.Do(c, protocol.LockCreateResource, &protocol.LockCreateResourceArgs{Path: space, Name: name})
	return err
}

func is(t *testing.T, err *liberr.Error, domain liberr.Domain, code liberr.Code, message string) {
	t.Helper()
	if err == nil || err.Domain != domain || err.Code != code || err.Message != message {
		t.Errorf("got %+v, want %s", err, message)
	}
}

func busy(t *testing.T, err *liberr.Error, name string) {
	t.Helper()
	is(t, err, space, liberr.ResourceBusy, "resource busy: Lockspace resource '"+name+"' is locked")
}

// othersLock tells whether another process could lock the file's first byte.
func othersLock(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l) == nil
}

// The messages were recorded from virtlockd 9.0.0.
func TestProtocol(t *testing.T) {
	b := branchtest.Start(t, New(branchtest.Env(t)))
	dir := filepath.Join(t.TempDir(), "deep", "space")
	c := b.Client()
	unregistered := "Requested operation is not valid: lock owner details have not been registered"
	branchtest.Fails(c, protocol.LockNew, &protocol.LockNewArgs{Path: dir}, from, liberr.OperationInvalid, unregistered)
	branchtest.Fails(c, protocol.LockRestrict, &protocol.LockRestrictArgs{}, from, liberr.OperationInvalid, unregistered)
	is(t, acquire(c, "", "x", 0), from, liberr.OperationInvalid, unregistered)
	branchtest.Fails(c, protocol.LockRegister, &protocol.LockRegisterArgs{Flags: 1}, from, liberr.InvalidArg, "")

	a := connect(t, b, 11, 11)
	branchtest.Fails(a, protocol.LockNew, &protocol.LockNewArgs{}, from, liberr.OperationInvalid, "Requested operation is not valid: the default lockspace already exists")
	_, err := branchtest.Do(a, protocol.LockNew, &protocol.LockNewArgs{Path: dir})
	ok(t, err)
	branchtest.Fails(a, protocol.LockNew, &protocol.LockNewArgs{Path: dir}, from, liberr.InternalError, "internal error: Lockspace for path "+dir+" already exists")
	_, err = branchtest.Do(c, protocol.LockCreateLockspace, &protocol.LockCreateLockSpaceArgs{Path: dir})
	ok(t, err)
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st, err)
	}

	nospace := "internal error: Lockspace for path /nosuch does not exist"
	is(t, create(a, "/nosuch", "r"), from, liberr.InternalError, nospace)
	is(t, acquire(a, "/nosuch", "r", 0), from, liberr.InternalError, nospace)
	is(t, release(a, "/nosuch", "r"), from, liberr.InternalError, nospace)
	ok(t, create(a, dir, "r1"))
	ok(t, create(a, dir, "r1"))
	missing := filepath.Join(dir, "no/r")
	is(t, create(a, dir, "no/r"), liberr.FromNone, liberr.SystemError, "cannot create file '"+missing+"': No such file or directory")
	is(t, acquire(a, dir, "nope", 0), space, liberr.SystemError, "Unable to open resource "+filepath.Join(dir, "nope")+": No such file or directory")
	if err := acquire(a, dir, "r1", 8); err == nil || err.Code != liberr.InvalidArg {
		t.Error(err)
	}
	is(t, release(a, dir, "r1"), space, liberr.ResourceBusy, "resource busy: Lockspace resource 'r1' is not locked")

	ok(t, acquire(a, dir, "r1", 0))
	busy(t, acquire(a, dir, "r1", 0), "r1")
	busy(t, create(a, dir, "r1"), "r1")
	branchtest.Fails(a, protocol.LockDeleteResource, &protocol.LockDeleteResourceArgs{Path: dir, Name: "r1"}, space, liberr.ResourceBusy, "resource busy: Lockspace resource 'r1' is locked")
	o := connect(t, b, 22, 22)
	busy(t, acquire(o, dir, "r1", 1), "r1")
	is(t, release(o, dir, "r1"), space, liberr.InternalError, "internal error: owner 22 does not hold the resource lock")
	if othersLock(t, filepath.Join(dir, "r1")) {
		t.Error("the file is not locked")
	}
	ok(t, release(a, dir, "r1"))
	if !othersLock(t, filepath.Join(dir, "r1")) {
		t.Error("the file is still locked")
	}

	ok(t, acquire(a, dir, "r1", 1))
	ok(t, acquire(o, dir, "r1", 1))
	ok(t, acquire(a, dir, "r1", 1))
	busy(t, acquire(o, dir, "r1", 0), "r1")
	ok(t, release(a, dir, "r1"))
	ok(t, release(a, dir, "r1"))
	if othersLock(t, filepath.Join(dir, "r1")) {
		t.Error("the last owner's lease is gone")
	}
	ok(t, release(o, dir, "r1"))

	ok(t, acquire(a, dir, "auto", 2))
	if _, err := os.Stat(filepath.Join(dir, "auto")); err != nil {
		t.Error(err)
	}
	ok(t, release(a, dir, "auto"))
	if _, err := os.Stat(filepath.Join(dir, "auto")); err == nil {
		t.Error("the automatic file stays")
	}

	_, err = branchtest.Do(a, protocol.LockRestrict, &protocol.LockRestrictArgs{})
	ok(t, err)
	restricted := "operation forbidden: lock manager connection has been restricted"
	is(t, acquire(a, dir, "r1", 0), from, liberr.OperationDenied, restricted)
	is(t, release(a, dir, "r1"), from, liberr.OperationDenied, restricted)
	branchtest.Fails(a, protocol.LockRegister, &protocol.LockRegisterArgs{}, from, liberr.OperationDenied, restricted)
	branchtest.Fails(a, protocol.LockCreateLockspace, &protocol.LockCreateLockSpaceArgs{Path: dir + "2"}, from, liberr.OperationDenied, restricted)
}

// In the default lockspace the image itself is locked, against other programs too.
func TestImages(t *testing.T) {
	b := branchtest.Start(t, New(branchtest.Env(t)))
	img := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := connect(t, b, 0, 7)
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := unix.Flock_t{Type: unix.F_WRLCK, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l); err != nil {
		t.Fatal(err)
	}
	busy(t, acquire(c, "", img, 0), img)
	f.Close()
	ok(t, acquire(c, "", img, 0))
	ok(t, release(c, "", img))
}

func TestTheEndOfAConnection(t *testing.T) {
	b := branchtest.Start(t, New(branchtest.Env(t)))
	dir := t.TempDir()
	name := func(i int) string { return fmt.Sprint("r", i) }
	first := connect(t, b, 0, 1)
	_, err := branchtest.Do(first, protocol.LockCreateLockspace, &protocol.LockCreateLockSpaceArgs{Path: dir})
	ok(t, err)
	for i := range 4 {
		ok(t, create(first, dir, name(i)))
	}
	holder, helper, tree := connect(t, b, 11, 11), connect(t, b, 99, 11), connect(t, b, 0, 12)
	ok(t, acquire(holder, dir, name(0), 0))
	ok(t, acquire(helper, dir, name(1), 0)) // for the guest of process 11
	ok(t, acquire(tree, dir, name(2), 1))
	ok(t, acquire(first, dir, name(2), 1))

	helper.Gone()
	busy(t, acquire(first, dir, name(1), 0), name(1)) // the helper's end changes nothing
	holder.Gone()
	ok(t, acquire(first, dir, name(0), 0))
	ok(t, acquire(first, dir, name(1), 0)) // what was acquired in its name is gone with it
	tree.Gone()
	busy(t, acquire(connect(t, b, 0, 13), dir, name(2), 0), name(2)) // first still shares it
	ok(t, release(first, dir, name(2)))
	ok(t, acquire(connect(t, b, 0, 13), dir, name(2), 0))
}

// Many owners fight for one resource: at each time one has it.
func TestContention(t *testing.T) {
	b := branchtest.Start(t, New(branchtest.Env(t)))
	dir := t.TempDir()
	c := connect(t, b, 0, 1)
	_, err := branchtest.Do(c, protocol.LockCreateLockspace, &protocol.LockCreateLockSpaceArgs{Path: dir})
	ok(t, err)
	const n = 40
	clients := make([]*branchtest.Client, n)
	for i := range clients {
		clients[i] = connect(t, b, 0, uint32(100+i))
	}
	for _, c := range clients {
		c.Send(protocol.LockAcquireResource.Procedure, &protocol.LockAcquireResourceArgs{Path: dir, Name: "r", Flags: acquireAutoCreate})
	}
	var winner *branchtest.Client
	for _, c := range clients {
		switch r := c.Reply(); {
		case r.Err == nil && winner == nil:
			winner = c
		case r.Err == nil:
			t.Error("two have it")
		case r.Err.Code != liberr.ResourceBusy:
			t.Error(r.Err)
		}
	}
	if winner == nil {
		t.Fatal("nobody has it")
	}
	winner.Gone()
	ok(t, acquire(c, dir, "r", acquireAutoCreate))
}
