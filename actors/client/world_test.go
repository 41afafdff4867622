package client

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/sockets"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/rpc"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// world is a server on real sockets, and below it a branch that does what a test tells it.
type world struct {
	t      testing.TB
	sys    *actor.ActorSystem
	conf   *Config
	server *actor.PID
	set    *sockets.Set
	rw, ro string
	serves sync.WaitGroup

	branches sync.Map // name -> *actor.PID
	idle     atomic.Int64
	fake     *script
}

// script is what the fake branch does; the functions run inside its actor.
type script struct {
	stream atomic.Pointer[serve]           // console streams
	fds    atomic.Pointer[serve]           // procedures with descriptors
	args   atomic.Pointer[chan *call.Call] // what came, if a test wants it
}

// record keeps the next n calls for the test.
func (s *script) record(n int) {
	args := make(chan *call.Call, n)
	s.args.Store(&args)
}

type serve func(ctx actor.Context, r *call.Request)

func does(f serve) *serve { return &f }

// start starts it all; change may alter the configuration.
func start(t testing.TB, change func(*Config)) *world {
	t.Helper()
	return startIn(t, kit.NewSystem("", zerolog.Nop()), change)
}

func startIn(t testing.TB, sys *actor.ActorSystem, change func(*Config)) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, sys: sys, rw: filepath.Join(dir, "rw"), ro: filepath.Join(dir, "ro"), fake: &script{}}
	w.conf = &Config{
		Name: "virtqemud", Daemon: "virtqemud", Programs: []uint32{protocol.RemoteProgram, protocol.QemuProgram, protocol.LxcProgram},
		Drivers: map[string]string{"qemu": "qemu", "network": "network"}, Primary: "qemu",
		Branch: func(name string) *actor.PID {
			if pid, ok := w.branches.Load(name); ok {
				return pid.(*actor.PID)
			}
			return nil
		},
		Auth: func(sockets.Kind) Auth { return AuthNone }, Limits: DefaultLimits, Log: zerolog.Nop(),
		IdleChange: func(n int) { w.idle.Store(int64(n)) },
	}
	if change != nil {
		change(w.conf)
	}
	w.branch("qemu")
	w.branch("network")
	w.server = sys.Root.Spawn(kit.Props(NewServer(w.conf), kit.Limit(0)))
	var err error
	w.set, err = sockets.Listen(sockets.Spec{
		Daemon: "virtqemud",
		RW:     sockets.UnixSocket{Path: w.rw, Mode: 0o777},
		RO:     sockets.UnixSocket{Path: w.ro, Mode: 0o777},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range w.set.Listeners {
		w.serves.Go(func() {
			if err := Serve(sys.Root, w.server, l, w.conf); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a listener ended with %v", err)
			}
		})
	}
	t.Cleanup(w.stop)
	return w
}

func (w *world) stop() {
	_ = w.set.Close()
	_ = w.sys.Root.StopFuture(w.server).Wait()
	w.serves.Wait()
	w.branches.Range(func(_, pid any) bool {
		_ = w.sys.Root.StopFuture(pid.(*actor.PID)).Wait()
		return true
	})
}

// branch starts a branch, or its successor.
func (w *world) branch(name string) *actor.PID {
	fake := w.fake
	pid := w.sys.Root.Spawn(kit.Props(func() actor.Actor { return &fakeBranch{name: name, script: fake} }, kit.Kind("branch"), kit.Limit(0)))
	w.branches.Store(name, pid)
	return pid
}

func (w *world) pid(name string) *actor.PID {
	pid, _ := w.branches.Load(name)
	return pid.(*actor.PID)
}

// dial connects; the connection is closed at the end of the test.
func (w *world) dial(path string) *rpc.Client {
	w.t.Helper()
	c, err := rpc.Dial(w.t.Context(), "unix", path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// open connects and opens the hypervisor's connection.
func (w *world) open() *rpc.Client {
	w.t.Helper()
	c := w.dial(w.rw)
	if err := c.Connect(w.soon(), "qemu:///system", false); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// soon is a context that ends before the test does.
func (w *world) soon() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// members asks the server who is there.
func (w *world) members() *Members {
	w.t.Helper()
	r, err := w.sys.Root.RequestFuture(w.server, &List{}, patience).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return r.(*Members)
}

// info asks the only client for what it knows.
func (w *world) info(pid *actor.PID) *Info {
	w.t.Helper()
	r, err := w.sys.Root.RequestFuture(pid, &infoRequest{}, patience).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return r.(*Info)
}

// eventually waits for something that no message announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// closed waits until the server has closed the connection.
func closed(t testing.TB, c *rpc.Client) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the connection is still open")
	}
}

// lookup makes the call by which tests command the fake branch.
func lookup(ctx context.Context, c *rpc.Client, command string) error {
	_, err := rpc.Do(ctx, c, protocol.DomainLookupByName, &protocol.DomainLookupByNameArgs{Name: command})
	return err
}

// want checks an error down to its domain and its words.
func want(t testing.TB, what string, err error, from liberr.Domain, code liberr.Code, message string) {
	t.Helper()
	var e *liberr.Error
	switch {
	case !errors.As(err, &e):
		t.Errorf("%s: %v, want %q", what, err, message)
	case e.Code != code || e.Domain != from || e.Message != message:
		t.Errorf("%s: error %d of %d: %s\n\twant %d of %d: %s", what, e.Code, e.Domain, e.Message, code, from, message)
	}
}

// fakeBranch answers lookups by name: at once, never, after a release; or panics, or dies.
type fakeBranch struct {
	name string
	*script
	bus  branch.Bus
	held []*call.Request
}

// Messages that tests send to the branch.
type (
	release struct{ n int } // answers so many of the held calls, the last one first
	publish struct{ ev *call.Event }
)

func (f *fakeBranch) Receive(ctx actor.Context) {
	if f.bus.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *call.Call:
		f.call(ctx, call.NewRequest(ctx, m))
	case *release:
		for range min(m.n, len(f.held)) {
			last := len(f.held) - 1
			f.held[last].Reply(&protocol.DomainLookupByNameRet{})
			f.held = f.held[:last]
		}
		if ctx.Sender() != nil {
			ctx.Respond(len(f.held))
		}
	case *publish:
		f.bus.Publish(ctx, m.ev)
	case *call.StreamEnded:
		ctx.Respond(&call.StreamResult{Serial: m.Serial})
	}
}

func (f *fakeBranch) call(ctx actor.Context, r *call.Request) {
	if args := f.args.Load(); args != nil {
		*args <- &call.Call{ // the arguments are the client's again after the answer
			Proc: r.Proc, Serial: r.Serial, Args: slices.Clone(r.Args), Caller: r.Caller, Deadline: r.Deadline, FDs: r.FDs,
		}
	}
	switch r.Proc {
	case protocol.DomainLookupByName.Procedure:
		var a protocol.DomainLookupByNameArgs
		if err := protocol.UnmarshalArgs(r.Args, &a); err != nil {
			r.Fail(liberr.New(liberr.FromRPC, liberr.RPC, "Unable to decode message payload"))
			return
		}
		switch a.Name {
		case "hold":
			f.held = append(f.held, r)
		case "panic":
			panic("as the test wants")
		case "die":
			ctx.Stop(ctx.Self())
		case "error":
			r.Fail(liberr.New(liberr.FromQemu, liberr.NoDomain, "no domain with matching name '%s'", a.Name))
		default:
			r.Reply(&protocol.DomainLookupByNameRet{Dom: protocol.Domain{Name: a.Name}})
		}
	case protocol.DomainOpenConsole.Procedure, protocol.StorageVolDownload.Procedure:
		(*f.stream.Load())(ctx, r)
	case protocol.DomainOpenGraphicsFD.Procedure, protocol.DomainOpenGraphics.Procedure, protocol.DomainCreateWithFiles.Procedure:
		(*f.fds.Load())(ctx, r)
	case protocol.ConnectGetHostname.Procedure:
		r.Reply(&protocol.ConnectGetHostnameRet{Hostname: f.name})
	default:
		call.CloseFDs(r.FDs)
		r.Fail(call.Unsupported(r.Proc))
	}
}
