package client

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/sys/unix"

	"virtree/actors/internal/call"
	"virtree/sockets"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

func TestDescriptorsTravelInBothDirections(t *testing.T) {
	w := start(t, nil)
	w.fake.fds.Store(does(func(_ actor.Context, r *call.Request) {
		// The branch returns a pipe whose other end is what it got.
		if r.Proc == protocol.DomainOpenGraphicsFD.Procedure {
			fds := make([]int, 2)
			_ = unix.Pipe2(fds, unix.O_CLOEXEC)
			_, _ = unix.Write(fds[1], []byte("from the branch"))
			_ = unix.Close(fds[1])
			r.ReplyRaw(&call.Reply{FDs: fds[:1]})
			return
		}
		for _, fd := range r.FDs {
			_, _ = unix.Write(fd, []byte("to the client"))
		}
		call.CloseFDs(r.FDs)
		r.Reply(nil)
	}))
	c := w.open()
	files, err := c.CallFDs(w.soon(), protocol.DomainOpenGraphicsFD.Procedure, &protocol.DomainOpenGraphicsFDArgs{Dom: web}, nil)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d descriptors, %v", len(files), err)
	}
	defer files[0].Close()
	if b, err := io.ReadAll(files[0]); string(b) != "from the branch" {
		t.Errorf("%q, %v", b, err)
	}
	r, p, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := c.CallFDs(w.soon(), protocol.DomainOpenGraphics.Procedure, &protocol.DomainOpenGraphicsArgs{Dom: web}, nil, p); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "to the client" {
		t.Errorf("%q, %v", b, err)
	}
}

// Descriptors of calls that nobody serves are closed.
func TestDescriptorsThatNobodyTakesAreClosed(t *testing.T) {
	w := start(t, nil)
	c := w.open()
	before := openFiles(t)
	for range 20 {
		_, p, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		q, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Close()
		_, _ = c.CallFDs(w.soon(), protocol.DomainCreateXMLWithFiles.Procedure, &protocol.DomainCreateXMLWithFilesArgs{XMLDesc: "x"}, nil, q)
	}
	runtime.GC()
	eventually(t, "descriptors are closed", func() bool { runtime.GC(); return openFiles(t) <= before+1 })
}

func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestTheCloseCallbackIsCalledWhenTheDriverGoes(t *testing.T) {
	w := start(t, nil)
	c, quietOne := w.open(), w.open()
	for _, c := range []*rpc.Client{c, quietOne} {
		if _, err := rpc.Do(w.soon(), c, protocol.ConnectRegisterCloseCallback, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rpc.Do(w.soon(), quietOne, protocol.ConnectUnregisterCloseCallback, nil); err != nil {
		t.Fatal(err)
	}
	_ = lookup(w.soon(), c, "die")
	e := event(t, c)
	var m protocol.ConnectEventConnectionClosedMsg
	if err := protocol.Unmarshal(e.Payload, &m); err != nil || e.Proc != protocol.ConnectEventConnectionClosed.Number || m.Reason != closeReasonError {
		t.Errorf("%+v %+v, %v", e.Header, m, err)
	}
	w.branch("qemu")
	quiet(t, w, quietOne)
}

func TestKeepalive(t *testing.T) {
	fast := func(c *Config) { c.Keepalive, c.KeepCount = 20*time.Millisecond, 2 }
	t.Run("who answers stays", func(t *testing.T) {
		w := start(t, fast)
		c := w.open() // its reader answers PINGs
		read, _ := c.Conn().Packets()
		eventually(t, "ten PINGs came", func() bool { now, _ := c.Conn().Packets(); return now >= read+10 })
		if err := lookup(w.soon(), c, "x"); err != nil {
			t.Error(err)
		}
	})
	t.Run("who does not is closed", func(t *testing.T) {
		w := start(t, fast)
		nc, err := net.Dial("unix", w.rw)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		conn := rpc.NewConn(nc, nil)
		h := header(protocol.ConnectSupportsFeature.Procedure)
		if err := conn.SendBody(h, &protocol.ConnectSupportsFeatureArgs{Feature: featureProgramKeepalive}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is closed", func() bool { return w.idle.Load() == 0 && w.members().Limits.Clients > 0 })
	})
	t.Run("who never said that it understands PINGs gets none", func(t *testing.T) {
		w := start(t, fast)
		c := w.dial(w.rw)
		if err := c.Open(w.soon(), "qemu:///system", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // for what must not happen, nothing can be awaited
		if read, _ := c.Conn().Packets(); read != 1 {
			t.Errorf("%d packets came", read)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Run("clients beyond the limit wait for a place", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Limits.Clients = 2 })
		first, _ := w.open(), w.open()
		opened := make(chan error, 3)
		for range 3 {
			go func() {
				c := w.dial(w.rw)
				opened <- c.Connect(w.t.Context(), "qemu:///system", false)
			}()
		}
		select {
		case err := <-opened:
			t.Errorf("a third client was let in: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		if n := len(w.members().Clients); n != 2 {
			t.Errorf("%d clients", n)
		}
		_ = first.Close()
		if err := <-opened; err != nil {
			t.Error(err)
		}
		w.sys.Root.Send(w.server, &SetLimits{Limits{Clients: 10, Unauth: 20, InFlight: 5, Backlog: 10, BytesHeld: 1 << 20}})
		for range 2 {
			if err := <-opened; err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("anonymous clients beyond theirs wait for somebody to authenticate", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root is spared polkit")
		}
		w := start(t, func(c *Config) {
			c.Limits.Unauth = 2
			c.Auth = func(k sockets.Kind) Auth {
				if k == sockets.ReadOnly {
					return AuthNone
				}
				return AuthPolkit
			}
		})
		silent := w.dial(w.rw)
		w.dial(w.rw)
		eventually(t, "both are connected", func() bool { return w.members().Unauth == 2 })
		opened := make(chan error, 1)
		go func() {
			c := w.dial(w.rw)
			opened <- c.Connect(w.t.Context(), "qemu:///system", false)
		}()
		ro := w.dial(w.ro) // needs no authentication and does not wait
		if err := ro.Connect(w.soon(), "qemu:///system", false); err != nil {
			t.Error(err)
		}
		if n := len(w.members().Clients); n != 3 {
			t.Errorf("%d clients", n)
		}
		if err := silent.Authenticate(w.soon()); err != nil {
			t.Error(err)
		}
		if err := <-opened; err != nil {
			t.Error(err)
		}
	})
	t.Run("a crowd larger than the waiting room", func(t *testing.T) {
		w := start(t, func(c *Config) { c.Limits.Clients = 4 })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				c := w.dial(w.rw)
				if err := c.Connect(w.t.Context(), "qemu:///system", false); err != nil {
					t.Error(err)
				}
				_ = c.Close()
			})
		}
		wg.Wait()
	})
}

func TestDisconnectAndDrain(t *testing.T) {
	w := start(t, nil)
	c, other := w.open(), w.open()
	for _, m := range w.members().Clients {
		if m.ID == 1 {
			w.sys.Root.Send(m.PID, &Disconnect{})
		}
	}
	closed(t, c)
	if err := lookup(w.soon(), other, "x"); err != nil {
		t.Error(err)
	}
	w.sys.Root.Send(w.server, &Drain{})
	closed(t, other)
	late := w.dial(w.rw)
	closed(t, late)
}

// Nothing is left of 5,000 clients that came, subscribed, called and went: no goroutine, descriptor or memory, in
// the server or in the branch that they watched.
func TestClientsLeaveNothingBehind(t *testing.T) {
	w := start(t, nil)
	visit := func() {
		c, err := rpc.Dial(t.Context(), "unix", w.rw, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if err := c.Connect(t.Context(), "qemu:///system", false); err != nil {
			t.Error(err)
		}
		if _, err := rpc.Do(t.Context(), c, protocol.ConnectDomainEventRegister, nil); err != nil {
			t.Error(err)
		}
		if err := lookup(t.Context(), c, "x"); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
	visits := func(n int) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range n / 8 {
					visit()
				}
			})
		}
		wg.Wait()
		eventually(t, "all are gone", func() bool { return w.idle.Load() == 0 })
	}
	type use struct {
		goroutines, files int
		heap              uint64
	}
	measure := func() use {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return use{runtime.NumGoroutine(), openFiles(t), m.HeapAlloc}
	}
	// The framework's table of actors is tens of thousands of small maps, each of which allocates at its first use.
	table, dead := w.sys.ProcessRegistry, actor.NewActorProcess(nil)
	for i := range 400_000 {
		pid, _ := table.Add(dead, fmt.Sprintf("warm-%d", i))
		table.Remove(pid)
	}
	visits(400)
	before := measure()
	visits(5000)
	eventually(t, "goroutines and descriptors are given back", func() bool {
		now := measure()
		return now.goroutines <= before.goroutines+2 && now.files <= before.files
	})
	after := measure()
	t.Logf("before %+v, after 5,000 clients %+v", before, after)
	if grown := int64(after.heap) - int64(before.heap); grown > 1<<20 {
		t.Errorf("the heap grew by %d KiB, %d bytes a client", grown>>10, grown/5000)
	}
}
