package branchtest

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/supervisors/paths"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// patience is how long a test waits for a message that must come.
const patience = time.Minute

// Env is the environment of a tree below a folder of the test's own, without other branches.
func Env(t testing.TB) *branch.Env {
	return &branch.Env{
		Paths:  paths.System(t.TempDir()),
		Log:    zerolog.Nop(),
		Branch: func(string) *actor.PID { return nil },
		Hold:   func(string) func() { return func() {} },
	}
}

// Branch is a running branch.
type Branch struct {
	t   testing.TB
	sys *actor.ActorSystem
	PID *actor.PID
}

// Start runs a branch until the end of the test.
func Start(t testing.TB, producer actor.Producer) *Branch {
	sys := kit.NewSystem("", zerolog.Nop())
	b := &Branch{t: t, sys: sys, PID: sys.Root.Spawn(kit.Props(producer))}
	t.Cleanup(b.Stop)
	return b
}

// Stop ends the branch and waits for its end and that of its jobs, which may write to the test's folder; a second call
// does nothing.
func (b *Branch) Stop() {
	if b.PID == nil {
		return
	}
	_ = b.sys.Root.StopFuture(b.PID).Wait()
	b.PID = nil
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); len(kit.Observe(b.sys).Jobs()) > 0; <-tick.C {
		if time.Now().After(end) {
			b.t.Error("jobs do not end")
			return
		}
	}
}

// Root sends messages from outside of any actor.
func (b *Branch) Root() *actor.RootContext { return b.sys.Root }

// Client is one connected client: an actor that collects what it is sent.
type Client struct {
	branch *Branch
	PID    *actor.PID
	Caller *call.Caller

	serial  uint64
	replies chan *call.Reply
	events  chan *call.Event
}

// Client connects a client.
func (b *Branch) Client() *Client {
	c := &Client{
		branch:  b,
		Caller:  &call.Caller{Client: 1, Transport: "unix"},
		replies: make(chan *call.Reply, 1024),
		events:  make(chan *call.Event, 4096),
	}
	subscribed := make(chan *call.SubscribeResult, 1)
	c.PID = b.sys.Root.Spawn(kit.Func(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *call.Reply:
			c.replies <- m
		case *call.Event:
			c.events <- m
		case *call.SubscribeResult:
			subscribed <- m
		}
	}))
	b.sys.Root.RequestWithCustomSender(b.PID, &call.Subscribe{Serial: 1}, c.PID)
	select {
	case <-subscribed:
	case <-time.After(patience):
		b.t.Error("no answer to a subscription")
	}
	return c
}

// Gone ends the client, as the end of its connection does.
func (c *Client) Gone() { _ = c.branch.sys.Root.StopFuture(c.PID).Wait() }

// Send sends a call and does not wait for its answer.
func (c *Client) Send(p *protocol.Procedure, args protocol.Encoder, fds ...int) {
	c.serial++
	m := &call.Call{Proc: p, Serial: c.serial, Caller: c.Caller, FDs: fds}
	if args != nil {
		m.Args = args.AppendXDR(nil)
	}
	c.branch.sys.Root.RequestWithCustomSender(c.branch.PID, m, c.PID)
}

// Reply waits for the next answer.
func (c *Client) Reply() *call.Reply {
	select {
	case r := <-c.replies:
		return r
	case <-time.After(patience):
		c.branch.t.Error("no answer to a call")
		return &call.Reply{Err: liberr.New(liberr.FromNone, liberr.OperationTimeout, "no answer")}
	}
}

// Event waits for the next event.
func (c *Client) Event() *call.Event {
	select {
	case e := <-c.events:
		return e
	case <-time.After(patience):
		c.branch.t.Error("an event is missing")
		return &call.Event{}
	}
}

// NoEvent checks that nothing more has come.
func (c *Client) NoEvent() {
	select {
	case e := <-c.events:
		c.branch.t.Errorf("unexpected event: %+v", e)
	default:
	}
}

type encoder[A any] interface {
	*A
	protocol.Encoder
}

type decoder[R any] interface {
	*R
	protocol.Decodable
}

// Do makes a call and waits for its result. The error is nil or what the client would see.
func Do[A, R any, PA encoder[A], PR decoder[R]](c *Client, p protocol.Proc[A, R], args PA) (ret R, err *liberr.Error) {
	c.Send(p.Procedure, args)
	r := c.Reply()
	if r.Serial != c.serial {
		c.branch.t.Errorf("%s: the answer has serial %d, want %d", p.Name, r.Serial, c.serial)
	}
	if r.Err != nil {
		return ret, r.Err
	}
	if e := protocol.Unmarshal(r.Ret, PR(&ret)); e != nil {
		c.branch.t.Errorf("%s: result does not decode: %v", p.Name, e)
	}
	return ret, nil
}

// Fails makes a call and checks the error it gets; message "" is not compared.
func Fails[A, R any, PA encoder[A], PR decoder[R]](c *Client, p protocol.Proc[A, R], args PA, from liberr.Domain, code liberr.Code, message string) {
	c.branch.t.Helper()
	_, err := Do[A, R, PA, PR](c, p, args)
	switch {
	case err == nil:
		c.branch.t.Errorf("%s: no error, want %q", p.Name, message)
	case err.Code != code || err.Domain != from || message != "" && err.Message != message:
		c.branch.t.Errorf("%s: error %d of %d: %s\n\twant %d of %d: %s", p.Name, err.Code, err.Domain, err.Message, code, from, message)
	}
}
