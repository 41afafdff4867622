package branch_test

import (
	"context"
	"errors"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/branchtest"
	"virtree/actors/internal/call"
	"virtree/actors/internal/kit"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
)

// clerk is a driver whose calls all wait for something.
type clerk struct {
	desk  branch.Desk
	bus   branch.Bus
	gate  chan struct{} // ends the jobs
	taken chan struct{} // a call was taken
}

type (
	boom  struct{}
	ready struct{}
)

func (c *clerk) Receive(ctx actor.Context) {
	if c.bus.Receive(ctx) || c.desk.Receive(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *call.Call:
		if !c.desk.Hold(ctx) {
			branch.Serve(&c.desk, clerkRoutes, c, ctx, m)
		}
		c.taken <- struct{}{}
	case *ready:
		c.desk.Release(ctx)
	case *boom:
		panic("as the test wants")
	}
}

var clerkRoutes = call.NewTable(
	branch.Job(protocol.ConnectGetHostname, patience, func(c *clerk) (*branch.Desk, chan struct{}) { return &c.desk, c.gate },
		func(jc context.Context, gate chan struct{}, _ *protocol.Void) (*protocol.ConnectGetHostnameRet, error) {
			select {
			case <-gate:
				return &protocol.ConnectGetHostnameRet{Hostname: "here"}, nil
			case <-jc.Done():
				return nil, context.Cause(jc)
			}
		}),
	// This one forgets its request.
	call.Later(protocol.ConnectGetVersion, func(*clerk, actor.Context, *call.Request, *protocol.Void) error { return nil }),
	branch.Job(protocol.ConnectGetLibVersion, patience, func(c *clerk) (*branch.Desk, struct{}) { return &c.desk, struct{}{} },
		func(context.Context, struct{}, *protocol.Void) (*protocol.ConnectGetLibVersionRet, error) {
			return nil, errors.New("no luck")
		}),
)

func startClerk(t *testing.T) (*branchtest.Branch, *clerk) {
	shared := &clerk{gate: make(chan struct{}), taken: make(chan struct{}, 16)}
	return branchtest.Start(t, func() actor.Actor {
		return &clerk{desk: branch.NewDesk(liberr.FromNodedev, "clerk"), gate: shared.gate, taken: shared.taken}
	}), shared
}

func TestCallsWaitUntilTheBranchIsReady(t *testing.T) {
	b, c := startClerk(t)
	client := b.Client()
	client.Send(protocol.ConnectGetHostname.Procedure, nil)
	<-c.taken
	close(c.gate)
	b.Root().Send(b.PID, &ready{})
	if r := client.Reply(); r.Err != nil || len(r.Ret) == 0 {
		t.Errorf("%+v", r)
	}
	client.Send(protocol.ConnectGetLibVersion.Procedure, nil)
	if r := client.Reply(); r.Err == nil || r.Err.Domain != liberr.FromNodedev || r.Err.Code != liberr.InternalError {
		t.Errorf("%+v", r.Err)
	}
}

// Whatever a call waits for when its driver panics, it has one answer.
func TestAPanicLeavesNoCallUnanswered(t *testing.T) {
	for name, prepare := range map[string]func(b *branchtest.Branch){
		"held before the branch is ready": func(*branchtest.Branch) {},
		"in a job, and forgotten":         func(b *branchtest.Branch) { b.Root().Send(b.PID, &ready{}) },
	} {
		t.Run(name, func(t *testing.T) {
			b, c := startClerk(t)
			prepare(b)
			client := b.Client()
			client.Send(protocol.ConnectGetHostname.Procedure, nil)
			client.Send(protocol.ConnectGetVersion.Procedure, nil)
			<-c.taken
			<-c.taken
			b.Root().Send(b.PID, &boom{})
			seen := map[uint64]bool{}
			for range 2 {
				r := client.Reply()
				if r.Err == nil || r.Err.Domain != liberr.FromNodedev || !errors.Is(r.Err, kit.ErrActorGone) || seen[r.Serial] {
					t.Errorf("%+v", r)
				}
				seen[r.Serial] = true
			}
			close(c.gate)
			b.Root().Send(b.PID, &ready{}) // the next life serves, and what the last one began disturbs nobody
			client.Send(protocol.ConnectGetHostname.Procedure, nil)
			if r := client.Reply(); r.Err != nil || seen[r.Serial] {
				t.Errorf("%+v", r)
			}
		})
	}
}
