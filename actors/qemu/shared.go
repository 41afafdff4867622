package qemu

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"virtree/actors/internal/branch"
	"virtree/actors/internal/call"
	"virtree/actors/internal/lease"
	"virtree/actors/qemu/caps"
	"virtree/actors/qemu/domxml"
	"virtree/wire/liberr"
	"virtree/wire/protocol"
	"virtree/wire/remoting"
)

// shared is what the branch and its domains have in common: constant after start, or safe to use from
// any goroutine by itself.
type shared struct {
	env    *branch.Env
	conf   Config
	caps   *caps.Finder
	xmlEnv domxml.Env
	system *actor.ActorSystem

	ids      lease.Counter
	runs     lease.Counter // numbers the starts of this process
	vnets    lease.Counter // taps
	macvtaps lease.Counter
	vnc      lease.Range

	sampler  sampler
	adopting adoptions
	monitors monitors
	locks    *locks    // nil without a lock manager
	guest    guestUser // whom guests run as; set before the first domain is loaded
	tidied   sync.Once // not when the actor is restarted: its last life's jobs may be writing
	hostOnce sync.Once // guards hostID, which jobs of several callers may want at once
	hostID   string
}

// Config is the part of qemu.conf that the driver goes by.
type Config struct {
	VNCListen                                             string
	VNCPassword                                           string
	SpiceListen                                           string
	TLS                                                   tlsUses
	PortMin                                               int
	PortMax                                               int
	User, Group                                           string // whom guests run as; "" leaves it to findGuestUser
	SaveImageFormat, DumpImageFormat, SnapshotImageFormat string // "" is raw
	MaxQueued                                             int    // jobs that may wait for one domain; 0: no limit
	locks                                                 lockConf
	AutostartDelay                                        time.Duration
	HostUUID                                              string // host_uuid; "" takes the source
	HostUUIDSource                                        string // "smbios" or "machine-id"
}

// DefaultConfig is libvirt's.
var DefaultConfig = Config{VNCListen: "127.0.0.1", SpiceListen: "127.0.0.1", PortMin: 5900, PortMax: 65535}

// ask makes a call to another branch from a job and waits for the answer. A branch whose process has just died is being
// started again: what did not reach it is sent again for a while.
func (s *shared) ask(ctx context.Context, name string, proc *protocol.Procedure, args protocol.Encoder) (*call.Reply, error) {
	patience := time.NewTimer(branchPatience)
	defer patience.Stop()
	for {
		r, err := s.askOnce(ctx, name, proc, args)
		if !errors.Is(err, &remoting.Failure{Code: remoting.Unreachable}) && !errors.Is(err, &remoting.Failure{Code: remoting.NotFound}) {
			return r, err
		}
		select {
		case <-time.After(askPause):
		case <-patience.C:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

// askPause is the time between two attempts to reach a branch.
const askPause = 100 * time.Millisecond

func (s *shared) askOnce(ctx context.Context, name string, proc *protocol.Procedure, args protocol.Encoder) (*call.Reply, error) {
	to := s.env.Branch(name)
	if to == nil {
		return nil, call.Unsupported(proc)
	}
	timeout := 30 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	c := &call.Call{Proc: proc, Serial: 1, Args: args.AppendXDR(nil), Caller: selfCaller}
	answer, err := s.system.Root.RequestFuture(to, c, max(timeout, time.Millisecond)).Result()
	if err != nil {
		return nil, liberr.New(liberr.FromRPC, liberr.OperationTimeout, "the %s driver does not answer", name).WithCause(err)
	}
	r, ok := answer.(*call.Reply)
	if !ok {
		return nil, liberr.New(liberr.FromRPC, liberr.InternalError, "unexpected answer %T", answer)
	}
	if r.Err != nil {
		return nil, r.Err
	}
	return r, nil
}

// selfCaller is the driver itself, when it calls other drivers on its own behalf.
var selfCaller = &call.Caller{User: "root", Group: "root", Transport: "unix"}

func itoa(n int) string { return strconv.Itoa(n) }
